-- Purpose: the first tables by name, 1000 and one more: engine, estimated rows, key, shape.
-- Privileges: none; what the account has no privilege on is left out, and REFERENCES ON *.* shows every table without a row of it.
-- Versions: MySQL 8.0.14 and later (LATERAL). Ended by the server after 3 s; the session then goes on.
SELECT /*+ MAX_EXECUTION_TIME(3000) */
  listed.TABLE_SCHEMA AS table_schema,
  listed.TABLE_NAME AS table_name,
  listed.ENGINE AS engine,
  listed.TABLE_ROWS AS table_rows,
  shape.has_key AS has_key,
  shape.columns AS columns
FROM (
  SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_ROWS
  FROM information_schema.TABLES
  WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')
  ORDER BY TABLE_SCHEMA, TABLE_NAME
  LIMIT 1001
) AS listed
JOIN LATERAL (
  SELECT
    MAX(COLUMN_KEY = 'PRI') AS has_key,
    BIT_XOR(CRC32(CONCAT_WS(' ', ORDINAL_POSITION, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE))) AS columns
  FROM information_schema.COLUMNS
  WHERE TABLE_SCHEMA = listed.TABLE_SCHEMA AND TABLE_NAME = listed.TABLE_NAME
) AS shape
ORDER BY listed.TABLE_SCHEMA, listed.TABLE_NAME
