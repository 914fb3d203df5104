-- Purpose: let a restart no longer close the server by what was persisted.
-- Privileges: SYSTEM_VARIABLES_ADMIN, for a promotion
-- Versions: MySQL 8.0 and later.
RESET PERSIST IF EXISTS super_read_only
