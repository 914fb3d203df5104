-- Purpose: what a server is that does not know what every MySQL knows.
-- Privileges: none.
-- Versions: any.
SELECT @@GLOBAL.version AS version
