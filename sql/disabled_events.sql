-- Purpose: the events that replication brought and left disabled, of the schemas on which the account has EVENT.
-- Privileges: EVENT ON *.*, for a promotion
-- Versions: MySQL 5.7 and later; older ones say SLAVESIDE where newer ones say REPLICA_SIDE.
SELECT EVENT_SCHEMA AS schema_name, EVENT_NAME AS name, DEFINER AS definer
FROM information_schema.EVENTS
WHERE STATUS LIKE '%SIDE\_DISABLED'
ORDER BY schema_name, name
