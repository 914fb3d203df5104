-- Purpose: times come in UTC, and an empty sql_mode leaves the backslash its meaning in the literals of this tool.
-- Privileges: none.
-- Versions: every MySQL since 5.0.
SET SESSION time_zone = '+00:00', sql_mode = ''
