-- Purpose: the character set in which every literal of this tool is written.
-- Privileges: none.
-- Versions: every MySQL since 5.5.3.
SET NAMES utf8mb4
