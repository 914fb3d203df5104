-- Purpose: times in UTC; an empty sql_mode leaves the backslash its meaning in literals; a session with a lock may be idle for hours.
-- Privileges: none.
-- Versions: every MySQL since 5.0.
SET SESSION time_zone = '+00:00', sql_mode = '', wait_timeout = 28800
