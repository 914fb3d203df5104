-- Purpose: what a Galera member says of itself and its cluster.
-- Privileges: none; every account may read performance_schema.global_status and global_variables.
-- Versions: Percona XtraDB Cluster 8.0 and later.
SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value FROM performance_schema.global_status
WHERE VARIABLE_NAME IN ('wsrep_cluster_status', 'wsrep_ready', 'wsrep_local_state', 'wsrep_local_state_comment', 'wsrep_cluster_size')
UNION ALL
SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.global_variables
WHERE VARIABLE_NAME IN ('wsrep_desync', 'pxc_maint_mode')
