//! Two plain servers of a trial's own, and the tool pointed at them.

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use sandbox::{
    cache::Cache,
    plain::{self, End, Plain, Stay},
    prepare::{self, Cancel, Options},
    progress::Progress,
};

use crate::{stage::Checked, tool::Tool};

/// The cache is filled once, by whoever comes first.
static PREPARED: Mutex<bool> = Mutex::new(false);
/// How long servers may take until a change is seen on both.
const SEEN: Duration = Duration::from_secs(30);
/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// The pair, with a table of rows on its source.
pub(crate) struct Duo {
    pub(crate) plain: Plain,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Duo {
    /// Raises a pair; its servers end with it.
    pub(crate) fn raise(name: &str) -> Result<Self, Failed> {
        let cache = Cache::of_user()?;
        prepared(&cache)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let plain = runtime.block_on(plain::raise(&cache, name, Stay::WithMe))?;
        let duo = Self { plain, runtime, folder: tempfile::tempdir()? };
        duo.configure(&duo.plain.configuration("production"))?;
        duo.sql(
            End::Source,
            "CREATE DATABASE t; CREATE TABLE t.a (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40) NOT NULL); \
             INSERT INTO t.a (v) VALUES ('one'), ('two'), ('three')",
        )?;
        Ok(duo)
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, text: &str) -> Checked {
        Ok(fs::write(self.folder.path().join("pxc-link.yaml"), text)?)
    }

    /// The tool in a folder with the configuration, with the passwords in its environment.
    pub(crate) fn tool(&self) -> Tool {
        let environment: BTreeMap<&'static str, String> = self.plain.environment();
        Tool::new(self.folder.path(), environment)
    }

    /// Waits for something of the pair.
    pub(crate) fn now<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Failed>
    where
        Failed: From<E>,
    {
        Ok(self.runtime.block_on(work)?)
    }

    /// SQL as root.
    pub(crate) fn sql(&self, end: End, statements: &str) -> Result<String, Failed> {
        Ok(self.now(self.plain.sql(end, statements))?.trim().to_owned())
    }

    /// Sets the link up.
    pub(crate) fn linked(&self) -> Checked {
        self.tool().run(&["setup", "--yes"])?.exits(0)
    }

    /// Demands that the replica gets every row, and that its tables are then those of the source.
    pub(crate) fn rows_arrive(&self) -> Checked {
        let begun = Instant::now();
        loop {
            match self.now(self.plain.same_tables("t"))? {
                Ok(()) => return Ok(()),
                Err(differ) if begun.elapsed() > SEEN => return Err(format!("the tables differ\n{differ}").into()),
                Err(_) => std::thread::sleep(EVERY),
            }
        }
    }

    /// What a run that changes nothing leaves as it was on the replica.
    pub(crate) fn replica_state(&self) -> Result<String, Failed> {
        self.sql(
            End::Replica,
            "SELECT @@gtid_executed; SELECT * FROM performance_schema.replication_connection_configuration; \
             SELECT channel_name, service_state FROM performance_schema.replication_connection_status; \
             SELECT * FROM performance_schema.metadata_locks WHERE object_type = 'USER LEVEL LOCK'",
        )
    }

    /// What there is of channels on the replica: configuration, metadata, files of relay logs. A server has a set of relay logs for
    /// its default channel from its first start.
    pub(crate) fn left_of_channels(&self) -> Result<String, Failed> {
        let metadata = self.sql(
            End::Replica,
            "SELECT channel_name FROM performance_schema.replication_connection_configuration; \
             SELECT Channel_name FROM mysql.slave_master_info; SELECT Channel_name FROM mysql.slave_relay_log_info WHERE Channel_name <> ''; \
             SELECT Channel_name FROM mysql.slave_worker_info; SELECT * FROM performance_schema.replication_asynchronous_connection_failover",
        )?;
        let files = self.now(self.plain.shell(End::Replica, "ls data | grep -- '-relay-bin-' || true"))?;
        Ok(metadata + &files)
    }
}

fn prepared(cache: &Cache) -> Checked {
    let mut prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*prepared {
        prepare::prepare(cache, Options::default(), &Progress::new(), &Cancel::on_signals()?)?;
        *prepared = true;
    }
    Ok(())
}
