-- Purpose: which session has the lock of a channel; no row where it has just been given back.
-- Privileges: SELECT ON performance_schema.*
-- Versions: MySQL 8.0 and later.
SELECT PROCESSLIST_ID AS id, PROCESSLIST_USER AS user, PROCESSLIST_HOST AS host
FROM performance_schema.threads
WHERE PROCESSLIST_ID = IS_USED_LOCK(CONCAT('pxc-link ', LEFT(SHA2({channel}, 256), 40)))
