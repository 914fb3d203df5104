-- Purpose: close the server to every writer, after a restart too; returns when the last open commit has ended.
-- Privileges: SYSTEM_VARIABLES_ADMIN, for a promotion
-- Versions: MySQL 8.0 and later.
SET PERSIST super_read_only = ON
