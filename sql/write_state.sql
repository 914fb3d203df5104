-- Purpose: whether the server takes writes.
-- Privileges: none.
-- Versions: MySQL 5.7.8 and later.
SELECT @@GLOBAL.read_only AS read_only, @@GLOBAL.super_read_only AS super_read_only
