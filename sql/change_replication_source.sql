-- Purpose: settings of a channel: all that this tool owns where it makes one, else those that differ; what reads them must be off.
-- Privileges: REPLICATION_SLAVE_ADMIN
-- Versions: MySQL 8.0.23 and later. A literal longer than 32 bytes as the password, or with a newline, is refused.
CHANGE REPLICATION SOURCE TO
  {options}
FOR CHANNEL {channel}
