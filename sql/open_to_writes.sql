-- Purpose: open the server to every writer; super_read_only goes off with it.
-- Privileges: SYSTEM_VARIABLES_ADMIN, for a promotion
-- Versions: MySQL 5.7.8 and later.
SET GLOBAL read_only = OFF
