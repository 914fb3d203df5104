-- Purpose: a Galera member that lags behind its cluster must not hold up reads of its own state.
-- Privileges: none.
-- Versions: Percona XtraDB Cluster; others answer with error 1193, which is no error here.
SET SESSION wsrep_sync_wait = 0
