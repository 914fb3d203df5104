-- Purpose: stop the applier of one channel; without a channel the statement would stop every channel's.
-- Privileges: REPLICATION_SLAVE_ADMIN
-- Versions: MySQL 8.0.22 and later.
STOP REPLICA SQL_THREAD FOR CHANNEL {channel}
