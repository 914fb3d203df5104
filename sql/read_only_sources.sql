-- Purpose: the files and options that close the server to writes when it starts.
-- Privileges: SELECT ON performance_schema.*
-- Versions: MySQL 8.0 and later; a value that was set since the start hides where it came from before.
SELECT VARIABLE_NAME AS name, VARIABLE_SOURCE AS source, VARIABLE_PATH AS path
FROM performance_schema.variables_info
WHERE VARIABLE_NAME IN ('read_only', 'super_read_only') AND VARIABLE_SOURCE NOT IN ('COMPILED', 'DYNAMIC', 'PERSISTED')
ORDER BY name
