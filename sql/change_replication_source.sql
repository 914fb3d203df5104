-- Purpose: every setting of a channel that this tool owns, so that no older value stays behind; both threads must be off.
-- Privileges: REPLICATION_SLAVE_ADMIN
-- Versions: MySQL 8.0.23 and later. A literal longer than 32 bytes as the password, or with a newline, is refused.
CHANGE REPLICATION SOURCE TO
  SOURCE_HOST = {host},
  SOURCE_PORT = {port},
  SOURCE_USER = {user},
  SOURCE_PASSWORD = {password},
  SOURCE_AUTO_POSITION = {auto_position},
  SOURCE_CONNECT_RETRY = {connect_retry},
  SOURCE_RETRY_COUNT = {retry_count},
  SOURCE_HEARTBEAT_PERIOD = {heartbeat_seconds},
  SOURCE_SSL = {ssl},
  SOURCE_SSL_CA = {ssl_ca},
  SOURCE_SSL_VERIFY_SERVER_CERT = {ssl_verify},
  GET_SOURCE_PUBLIC_KEY = {get_public_key}
FOR CHANNEL {channel}
