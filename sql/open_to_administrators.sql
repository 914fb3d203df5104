-- Purpose: take super_read_only back and leave read_only as it is.
-- Privileges: SYSTEM_VARIABLES_ADMIN, for a promotion
-- Versions: MySQL 5.7.8 and later.
SET GLOBAL super_read_only = OFF
