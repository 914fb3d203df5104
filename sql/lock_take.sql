-- Purpose: the lock of a channel, held until the session ends; at once or not at all: 1 taken, 0 somebody else has it.
-- Privileges: none.
-- Versions: MySQL 5.7 and later; PXC with pxc_strict_mode=ENFORCING denies it.
SELECT GET_LOCK(CONCAT('pxc-link ', LEFT(SHA2({channel}, 256), 40)), 0) AS taken
