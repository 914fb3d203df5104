-- Purpose: the settings and GTID sets that decide whether a server can be the source or a replica of a link.
-- Privileges: none; every account may read performance_schema.global_status and global_variables.
-- Versions: MySQL 8.0.26 and later (log_replica_updates and skip_replica_start have these names since then).
SELECT
  @@GLOBAL.server_uuid AS server_uuid,
  @@GLOBAL.server_id AS server_id,
  @@GLOBAL.hostname AS hostname,
  @@GLOBAL.version AS version,
  COALESCE(
    (SELECT NULLIF(VARIABLE_VALUE, '') FROM performance_schema.global_status WHERE VARIABLE_NAME = 'wsrep_cluster_state_uuid'),
    (SELECT NULLIF(VARIABLE_VALUE, '') FROM performance_schema.global_variables WHERE VARIABLE_NAME = 'group_replication_group_name')
  ) AS cluster_uuid,
  CASE
    WHEN (SELECT VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME = 'wsrep_provider') NOT IN ('', 'none') THEN 'galera'
    WHEN (SELECT VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME = 'group_replication_group_name') <> '' THEN 'group'
  END AS cluster_kind,
  @@GLOBAL.gtid_mode AS gtid_mode,
  @@GLOBAL.enforce_gtid_consistency AS enforce_gtid_consistency,
  @@GLOBAL.log_bin AS log_bin,
  @@GLOBAL.log_replica_updates AS log_replica_updates,
  @@GLOBAL.binlog_format AS binlog_format,
  @@GLOBAL.binlog_row_image AS binlog_row_image,
  @@GLOBAL.skip_replica_start AS skip_replica_start,
  @@GLOBAL.super_read_only AS super_read_only,
  @@GLOBAL.binlog_expire_logs_seconds AS binlog_expire_logs_seconds,
  @@GLOBAL.version_comment AS version_comment,
  (SELECT VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME = 'pxc_strict_mode') AS pxc_strict_mode,
  @@GLOBAL.lower_case_table_names AS lower_case_table_names,
  @@GLOBAL.collation_server AS collation_server,
  @@GLOBAL.explicit_defaults_for_timestamp AS explicit_defaults_for_timestamp,
  @@GLOBAL.max_allowed_packet AS max_allowed_packet,
  @@GLOBAL.replica_max_allowed_packet AS replica_max_allowed_packet,
  @@GLOBAL.time_zone AS time_zone,
  @@GLOBAL.system_time_zone AS system_time_zone,
  TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@GLOBAL.time_zone)) AS utc_offset_seconds,
  CONVERT_TZ('2000-01-01 00:00:00', '+00:00', 'UTC') IS NOT NULL AS time_zone_names,
  @@GLOBAL.replica_parallel_workers AS replica_parallel_workers,
  @@GLOBAL.replica_preserve_commit_order AS replica_preserve_commit_order,
  @@GLOBAL.relay_log_recovery AS relay_log_recovery,
  @@GLOBAL.gtid_executed AS gtid_executed,
  @@GLOBAL.gtid_purged AS gtid_purged,
  UTC_TIMESTAMP(6) AS clock
