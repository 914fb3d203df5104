-- Purpose: the errors of applier workers, the causing one first: 3030 only says that a worker stopped because of another.
-- Privileges: SELECT ON performance_schema.*
-- Versions: MySQL 8.0.26 and later.
SELECT
  CHANNEL_NAME AS name,
  LAST_ERROR_NUMBER AS errno,
  LAST_ERROR_MESSAGE AS error,
  LAST_ERROR_TIMESTAMP AS error_at
FROM performance_schema.replication_applier_status_by_worker
WHERE LAST_ERROR_NUMBER <> 0
ORDER BY LAST_ERROR_NUMBER = 3030, LAST_ERROR_TIMESTAMP, WORKER_ID
