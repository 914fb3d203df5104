-- Purpose: whether what was missing is applied, asked again and again while an applier begins.
-- Privileges: none.
-- Versions: MySQL 5.7 and later.
SELECT @@GLOBAL.gtid_executed AS gtid_executed
