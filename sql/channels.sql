-- Purpose: settings, threads and errors of every channel but the two of group replication.
-- Privileges: SELECT ON performance_schema.*
-- Versions: MySQL 8.0.26 and later.
SELECT
  configuration.CHANNEL_NAME AS name,
  configuration.HOST AS host,
  configuration.PORT AS port,
  configuration.USER AS user,
  configuration.AUTO_POSITION AS auto_position,
  configuration.SSL_ALLOWED AS ssl_allowed,
  configuration.SSL_CA_FILE AS ssl_ca,
  configuration.SSL_CERTIFICATE AS ssl_cert,
  configuration.SSL_KEY AS ssl_key,
  configuration.SSL_VERIFY_SERVER_CERTIFICATE AS ssl_verify,
  configuration.GET_PUBLIC_KEY AS get_public_key,
  configuration.CONNECTION_RETRY_INTERVAL AS connect_retry,
  configuration.CONNECTION_RETRY_COUNT AS retry_count,
  CAST(ROUND(configuration.HEARTBEAT_INTERVAL * 1000) AS UNSIGNED) AS heartbeat_ms,
  configuration.COMPRESSION_ALGORITHM AS compression,
  configuration.ZSTD_COMPRESSION_LEVEL AS zstd_level,
  held.DESIRED_DELAY AS delay_seconds,
  receiver.SOURCE_UUID AS source_uuid,
  receiver.SERVICE_STATE AS receiver_state,
  receiver.LAST_ERROR_NUMBER AS receiver_errno,
  receiver.LAST_ERROR_MESSAGE AS receiver_error,
  receiver.LAST_ERROR_TIMESTAMP AS receiver_error_at,
  receiver.RECEIVED_TRANSACTION_SET AS received,
  receiver.LAST_HEARTBEAT_TIMESTAMP AS heartbeat_at,
  receiver.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP AS queued_at,
  receiver.QUEUEING_TRANSACTION_START_QUEUE_TIMESTAMP AS queueing_at,
  (SELECT PROCESSLIST_STATE FROM performance_schema.threads WHERE threads.THREAD_ID = receiver.THREAD_ID) AS receiver_doing,
  applier.SERVICE_STATE AS applier_state,
  coordinator.LAST_ERROR_NUMBER AS coordinator_errno,
  coordinator.LAST_ERROR_MESSAGE AS coordinator_error,
  coordinator.LAST_ERROR_TIMESTAMP AS coordinator_error_at
FROM performance_schema.replication_connection_configuration AS configuration
JOIN performance_schema.replication_connection_status AS receiver USING (CHANNEL_NAME)
JOIN performance_schema.replication_applier_configuration AS held USING (CHANNEL_NAME)
JOIN performance_schema.replication_applier_status AS applier USING (CHANNEL_NAME)
LEFT JOIN performance_schema.replication_applier_status_by_coordinator AS coordinator USING (CHANNEL_NAME)
WHERE configuration.CHANNEL_NAME NOT IN ('group_replication_applier', 'group_replication_recovery')
ORDER BY configuration.CHANNEL_NAME
