//! Where pxc-link is killed: two plain servers or a world, with relays before what it asks, and rows that show what became of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;

use super::{KillsError, doing};
use crate::plain::{End, Plain};
use crate::relay::{Behind, Relay, Requests};
use crate::world::{Cluster, World};

/// How long the replica has for what it lacks.
const ARRIVE: Duration = Duration::from_secs(30);
/// Between two looks at it.
const EVERY: Duration = Duration::from_millis(100);
/// The table has no key: a row that came twice would be there twice.
const TABLE: &str =
    "CREATE DATABASE IF NOT EXISTS kills; CREATE TABLE IF NOT EXISTS kills.once (v BIGINT UNSIGNED NOT NULL)";
/// How many rows are written while pxc-link runs, and its next run.
const ROWS: usize = 30;
/// A row, and a while until the next.
const ROW: &str = "INSERT INTO kills.once VALUES (UUID_SHORT()); DO SLEEP(0.05);";
/// Equal on both sides where every row is there as often.
const SUMS: &str = "SELECT COUNT(*) - COUNT(DISTINCT v) FROM kills.once; CHECKSUM TABLE kills.once";
/// What there is of channels and of locks of runs.
const CHANNELS: &str = "SELECT channel_name FROM performance_schema.replication_connection_configuration; \
    SELECT Channel_name FROM mysql.slave_master_info; \
    SELECT Channel_name FROM mysql.slave_relay_log_info WHERE Channel_name <> ''; \
    SELECT Channel_name FROM mysql.slave_worker_info; \
    SELECT object_name FROM performance_schema.metadata_locks WHERE object_type = 'USER LEVEL LOCK'";
/// What a promotion needs of its accounts besides.
const MAY_PROMOTE: &str = "SET sql_log_bin = 0; GRANT SYSTEM_VARIABLES_ADMIN, EVENT ON *.* TO pxc_link@'%'";
const OPEN: &str = "RESET PERSIST IF EXISTS super_read_only; RESET PERSIST IF EXISTS read_only; \
    SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF";

/// Two servers, and the relays before what pxc-link asks.
pub struct Ground<'a> {
    site: Site<'a>,
    /// Of pxc-link, as it comes through the relays.
    configuration: String,
    environment: BTreeMap<&'static str, String>,
    requests: Arc<Requests>,
    _relays: Vec<Relay>,
    _folder: Option<TempDir>,
}

#[derive(Clone, Copy)]
enum Site<'a> {
    Plain(&'a Plain),
    World(&'a World),
}

impl<'a> Ground<'a> {
    /// A pair of servers: every statement is a request. The replica dials its source through the relay, too, as both know it by one
    /// address; that is no request of pxc-link.
    pub async fn pair(pair: &'a Plain, delay: Duration) -> Result<Self, KillsError> {
        let requests = Requests::of_its_process();
        let mut configuration = pair.configuration("production");
        let mut relays = Vec::new();
        for end in End::ALL {
            let server = Behind::AsItIs(([127, 0, 0, 1], pair.port(end)).into());
            let relay = Relay::before(server, delay / 2, requests.clone()).await.map_err(doing("listen"))?;
            let (port, through) =
                (format!("port: {}}}", pair.port(end)), format!("port: {}}}", relay.address().port()));
            configuration = configuration.replace(&port, &through);
            relays.push(relay);
        }
        let environment = pair.environment();
        Ok(Self { site: Site::Plain(pair), configuration, environment, requests, _relays: relays, _folder: None })
    }

    /// A world: every request to an API server is one, and every statement, which goes through a port-forward. `configuration` has
    /// a link `production`.
    pub async fn world(world: &'a World, configuration: &str, delay: Duration) -> Result<Self, KillsError> {
        let requests = Requests::of_everybody();
        let folder = tempfile::tempdir().map_err(doing("make a folder"))?;
        let (kubeconfig, relays) = through_relays(world, &folder, delay, &requests).await?;
        let mut environment = world.environment();
        environment.insert("KUBECONFIG", kubeconfig.display().to_string());
        let configuration = configuration.to_owned();
        Ok(Self {
            site: Site::World(world),
            configuration,
            environment,
            requests,
            _relays: relays,
            _folder: Some(folder),
        })
    }

    /// The pair.
    pub(super) fn plain(&self) -> Result<&Plain, KillsError> {
        match self.site {
            Site::Plain(pair) => Ok(pair),
            Site::World(_) => {
                Err(KillsError::Wrong("the servers of a world are no processes of this machine".to_owned()))
            }
        }
    }

    pub(super) fn requests(&self) -> &Requests {
        &self.requests
    }

    pub(super) fn configuration(&self) -> &str {
        &self.configuration
    }

    pub(super) fn environment(&self) -> &BTreeMap<&'static str, String> {
        &self.environment
    }

    /// SQL as root.
    async fn sql(&self, end: End, sql: &str) -> Result<String, KillsError> {
        Ok(match (self.site, end) {
            (Site::Plain(pair), end) => pair.sql(end, sql).await?,
            (Site::World(world), End::Source) => world.mysql(Cluster::Production, 0, sql).await?,
            (Site::World(world), End::Replica) => world.mysql(Cluster::Dr, 0, sql).await?,
        })
    }

    pub(super) async fn make_table(&self) -> Result<(), KillsError> {
        self.sql(End::Source, TABLE).await.map(drop)
    }

    /// Writes rows for a second and a half.
    pub(super) async fn write(&self) -> Result<(), KillsError> {
        self.sql(End::Source, &ROW.repeat(ROWS)).await.map(drop)
    }

    /// Waits until the replica has every row of the source, each as often as the source.
    pub(super) async fn rows_are_equal(&self) -> Result<(), KillsError> {
        let begun = Instant::now();
        loop {
            let source = self.sql(End::Source, SUMS).await?;
            // The table itself may not have arrived yet.
            let replica = self.sql(End::Replica, SUMS).await.unwrap_or_else(|error| error.to_string());
            if source == replica && source.starts_with("0\n") {
                return Ok(());
            }
            if begun.elapsed() > ARRIVE {
                let wrong =
                    format!("rows that are there more than once, checksum\nsource:  {source}replica: {replica}");
                return Err(KillsError::Wrong(wrong));
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Demands that there is no channel, no lock and no object of a link.
    pub(super) async fn nothing_is_left(&self) -> Result<(), KillsError> {
        let mut left = self.sql(End::Replica, CHANNELS).await?;
        if let Site::World(world) = self.site {
            let objects = "serviceentries,destinationrules,leases";
            let listed = world.kubectl(&["--context", "dr", "-n", "pxc", "get", objects, "-o", "name"]).await?;
            left += &String::from_utf8_lossy(&listed.stdout);
        }
        if left.trim().is_empty() { Ok(()) } else { Err(KillsError::Wrong(format!("left over:\n{left}"))) }
    }

    /// Makes a replica that takes no writes, as one that follows should, and accounts that may promote it.
    pub(super) async fn close_replica(&self) -> Result<(), KillsError> {
        self.sql(End::Source, MAY_PROMOTE).await?;
        self.sql(End::Replica, &format!("{MAY_PROMOTE}; SET PERSIST super_read_only = ON")).await.map(drop)
    }

    /// Demands that the replica takes writes and has all that the source has, which takes none; then lets the source take them again.
    pub(super) async fn is_promoted_and_back(&self) -> Result<(), KillsError> {
        let state = "SELECT CONCAT(@@read_only, @@super_read_only)";
        let states = (self.sql(End::Source, state).await?, self.sql(End::Replica, state).await?);
        if (states.0.trim(), states.1.trim()) != ("11", "00") {
            let wrong = format!("read_only, super_read_only: source {}replica {}", states.0, states.1);
            return Err(KillsError::Wrong(wrong));
        }
        self.rows_are_equal().await?;
        self.open_source().await
    }

    /// Lets the source take writes.
    pub(super) async fn open_source(&self) -> Result<(), KillsError> {
        self.sql(End::Source, OPEN).await.map(drop)
    }
}

/// The kubeconfig of pxc-link with a relay before each API server, which it speaks to in clear: the relay has its certificate.
async fn through_relays(
    world: &World,
    folder: &TempDir,
    delay: Duration,
    requests: &Arc<Requests>,
) -> Result<(PathBuf, Vec<Relay>), KillsError> {
    let path = world.kubeconfig();
    let wrong = |cause: String| KillsError::Wrong(format!("{}: {cause}", path.display()));
    let mut text = std::fs::read_to_string(&path).map_err(doing("read the kubeconfig"))?;
    let mut relays = Vec::new();
    for cluster in Cluster::ALL {
        let kubeconfig = Kubeconfig::read_from(&path).map_err(|error| wrong(error.to_string()))?;
        let options = KubeConfigOptions { context: Some(cluster.name().to_owned()), ..Default::default() };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let config = config.map_err(|error| wrong(error.to_string()))?;
        let tls = config.rustls_client_config().map_err(|error| wrong(error.to_string()))?;
        let address = world.node_address(cluster);
        let behind = Behind::Tls((address, 6443).into(), Arc::new(tls));
        let relay = Relay::before(behind, delay / 2, requests.clone()).await.map_err(doing("listen"))?;
        text = text.replace(&format!("https://{address}:6443"), &format!("http://{}", relay.address()));
        relays.push(relay);
    }
    let through = folder.path().join("kubeconfig");
    std::fs::write(&through, text).map_err(doing("write a kubeconfig"))?;
    Ok((through, relays))
}
