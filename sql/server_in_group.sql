-- Purpose: how a member of a Group Replication group sees its group; of one that is outside of it what it has left.
-- Privileges: SELECT ON performance_schema.*
-- Versions: MySQL 8.0 and later.
SELECT
  LOWER(MEMBER_ID) AS member,
  MEMBER_STATE AS state,
  MEMBER_ROLE AS role,
  (SELECT VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME = 'group_replication_single_primary_mode') AS single_primary
FROM performance_schema.replication_group_members
