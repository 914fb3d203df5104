-- Purpose: estimates of rows as the engines have them now; a cached one would call rows missing for a day after they were loaded.
-- Privileges: none.
-- Versions: MySQL 8.0.3 and later.
SET SESSION information_schema_stats_expiry = 0
