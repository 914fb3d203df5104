-- Purpose: the settings and GTID sets that decide whether a server can be the source or a replica of a link.
-- Privileges: none; every account may read performance_schema.global_status and global_variables.
-- Versions: MySQL 8.0.26 and later (log_replica_updates and skip_replica_start have these names since then).
SELECT
  @@GLOBAL.server_uuid AS server_uuid,
  @@GLOBAL.server_id AS server_id,
  @@GLOBAL.hostname AS hostname,
  @@GLOBAL.version AS version,
  COALESCE(
    (SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = 'wsrep_cluster_state_uuid'),
    (SELECT NULLIF(VARIABLE_VALUE, '') FROM performance_schema.global_variables WHERE VARIABLE_NAME = 'group_replication_group_name')
  ) AS cluster_uuid,
  @@GLOBAL.gtid_mode AS gtid_mode,
  @@GLOBAL.enforce_gtid_consistency AS enforce_gtid_consistency,
  @@GLOBAL.log_bin AS log_bin,
  @@GLOBAL.log_replica_updates AS log_replica_updates,
  @@GLOBAL.binlog_format AS binlog_format,
  @@GLOBAL.binlog_row_image AS binlog_row_image,
  @@GLOBAL.skip_replica_start AS skip_replica_start,
  @@GLOBAL.super_read_only AS super_read_only,
  @@GLOBAL.binlog_expire_logs_seconds AS binlog_expire_logs_seconds,
  @@GLOBAL.gtid_executed AS gtid_executed,
  @@GLOBAL.gtid_purged AS gtid_purged,
  UTC_TIMESTAMP(6) AS clock
