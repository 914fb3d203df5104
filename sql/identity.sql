-- Purpose: which server answers as whom, and whether its version is one this tool knows.
-- Privileges: none.
-- Versions: every MySQL since 5.6.
SELECT @@GLOBAL.server_uuid AS server_uuid, @@GLOBAL.version AS version, CURRENT_USER() AS account
