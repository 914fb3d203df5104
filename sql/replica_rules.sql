-- Purpose: what else decides about channels: the failover list of asynchronous connections, and filters.
-- Privileges: SELECT ON performance_schema.*
-- Versions: MySQL 8.0.23 and later.
SELECT 'failover' AS kind, CHANNEL_NAME AS channel, CONCAT(HOST, ':', PORT, ' weight ', WEIGHT) AS rule
FROM performance_schema.replication_asynchronous_connection_failover
UNION ALL
SELECT 'filter', CHANNEL_NAME, CONCAT(FILTER_NAME, ' ', FILTER_RULE)
FROM performance_schema.replication_applier_filters
UNION ALL
SELECT 'filter', '', CONCAT(FILTER_NAME, ' ', FILTER_RULE)
FROM performance_schema.replication_applier_global_filters
