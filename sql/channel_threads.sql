-- Purpose: the states of one channel's receiver and applier, while it is waited for them to stop.
-- Privileges: SELECT ON performance_schema.*
-- Versions: MySQL 8.0.26 and later.
SELECT receiver.SERVICE_STATE AS receiver_state, applier.SERVICE_STATE AS applier_state
FROM performance_schema.replication_connection_status AS receiver
JOIN performance_schema.replication_applier_status AS applier USING (CHANNEL_NAME)
WHERE receiver.CHANNEL_NAME = {channel}
