-- Purpose: delete one channel with its settings and relay logs; without a channel the statement would delete every channel.
-- Privileges: RELOAD
-- Versions: MySQL 8.0.22 and later.
RESET REPLICA ALL FOR CHANNEL {channel}
