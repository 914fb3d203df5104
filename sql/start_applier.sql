-- Purpose: start the applier of one channel; without a channel the statement would start every channel's.
-- Privileges: REPLICATION_SLAVE_ADMIN
-- Versions: MySQL 8.0.22 and later.
START REPLICA SQL_THREAD FOR CHANNEL {channel}
