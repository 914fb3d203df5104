-- Purpose: whether this session still has the lock of a channel.
-- Privileges: none.
-- Versions: MySQL 5.7 and later.
SELECT COALESCE(IS_USED_LOCK(CONCAT('pxc-link ', LEFT(SHA2({channel}, 256), 40))) = CONNECTION_ID(), 0) AS held
