//! The worlds that trials share: each raised by the first that needs it, taken down after its last.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use sandbox::{
    cache::Cache,
    prepare::{self, Cancel, Options},
    progress::Progress,
    world::{self, Cluster, World, WorldOptions},
};
use serde_json::Value;

use crate::tool::{Ended, Tool};

/// How a trial ends.
pub(crate) type Checked = Result<(), Failed>;

/// A world of the tests' own, never the one a person has up: how it is raised, and what stands of it.
pub(crate) struct Scene {
    name: &'static str,
    dns_capture: bool,
    stage: OnceLock<Result<Stage, String>>,
}

impl Scene {
    const fn new(name: &'static str, dns_capture: bool) -> Self {
        Self { name, dns_capture, stage: OnceLock::new() }
    }
}

/// The world of nearly all trials.
pub(crate) static SHARED: Scene = Scene::new("e2e", true);
/// Its sidecars leave DNS to CoreDNS, as Istio's do unless they are told otherwise.
pub(crate) static WITHOUT_CAPTURE: Scene = Scene::new("e2e-dns", false);
/// No trial may take longer; raising the world is not part of it.
const TRIAL: Duration = Duration::from_mins(4);

/// A world with the tool pointed at it.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) folder: tempfile::TempDir,
    _lock: File,
}

/// Runs one trial on the stage of a scene, which is raised where it does not stand.
pub(crate) fn run(scene: &Scene, name: &str, body: impl FnOnce(&Stage) -> Checked) -> Checked {
    let stage = scene.stage.get_or_init(|| raise(scene)).as_ref().map_err(|error| Failed::from(error.clone()))?;
    timed(name, || body(stage))
}

/// Runs a trial and fails it where it takes too long.
pub(crate) fn timed(name: &str, body: impl FnOnce() -> Checked) -> Checked {
    let begun = Instant::now();
    body()?;
    let took = begun.elapsed();
    if took > TRIAL { Err(format!("{name} took {took:?}, longer than {TRIAL:?}").into()) } else { Ok(()) }
}

fn raise(scene: &Scene) -> Result<Stage, String> {
    let words = |error: &dyn std::error::Error| format!("the sandbox does not stand: {error}");
    let cache = Cache::of_user().map_err(|error| words(&error))?;
    let lock = File::options().create(true).append(true).open(cache.root().join(format!(".{}.lock", scene.name)));
    let lock = lock.map_err(|error| words(&error))?;
    if lock.try_lock().is_err() {
        eprintln!("another run of the end-to-end tests has their world; waiting for it");
        lock.lock().map_err(|error| words(&error))?;
    }
    let progress = Progress::new();
    let cancel = Cancel::on_signals().map_err(|error| words(&error))?;
    let prepared = prepare::prepare(&cache, Options::default(), &progress, &cancel).map_err(|error| words(&error))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| words(&error))?;
    let world = runtime.block_on(async {
        // What an earlier run that was cut left behind is no ground to test on.
        world::down(&cache, scene.name).await?;
        let options =
            WorldOptions { name: scene.name.into(), dns_capture: scene.dns_capture, ..WorldOptions::default() };
        world::up(&prepared, &options, &progress).await
    });
    let world = world.map_err(|error| words(&error))?;
    let folder = tempfile::tempdir().map_err(|error| words(&error))?;
    let stage = Stage { world, runtime, folder, _lock: lock };
    stage.write("pxc-link.yaml", LINK).map_err(|error| words(&*error))?;
    fs::create_dir(stage.pairs()).map_err(|error| words(&error))?;
    stage.write("pairs/pxc-link.yaml", &sandbox::faults::configuration()).map_err(|error| words(&*error))?;
    Ok(stage)
}

/// Takes the world of a scene down if a trial raised it.
pub(crate) fn strike(scene: &Scene) -> Result<(), String> {
    let Some(Ok(stage)) = scene.stage.get() else { return Ok(()) };
    let cache = Cache::of_user().map_err(|error| error.to_string())?;
    stage.runtime.block_on(world::down(&cache, scene.name)).map_err(|error| error.to_string())?;
    Ok(())
}

/// The configuration of the world's link, as the README has it.
pub(crate) const LINK: &str = include_str!("pxc-link.yaml");

/// What must stay as it was when nothing is changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Untouched {
    gtid_executed: String,
    channels: String,
    objects: String,
    writes: BTreeSet<String>,
}

impl Untouched {
    /// The mesh objects and the lock, by name.
    pub(crate) fn objects(&self) -> &str {
        &self.objects
    }
}

impl Stage {
    /// The tool in the stage's folder with the world's environment.
    pub(crate) fn tool(&self) -> Tool {
        Tool::new(self.folder.path(), self.world.environment())
    }

    /// The tool in the folder whose configuration has the links of faults that have one of their own.
    pub(crate) fn tool_of_pairs(&self) -> Tool {
        Tool::new(&self.pairs(), self.world.environment())
    }

    fn pairs(&self) -> PathBuf {
        self.folder.path().join("pairs")
    }

    /// Writes a file beside the configuration.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let path = self.folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// SQL as root on a side's member 0.
    pub(crate) fn sql(&self, cluster: Cluster, statement: &str) -> Result<String, Failed> {
        Ok(self.runtime.block_on(self.world.mysql(cluster, 0, statement))?.trim().to_owned())
    }

    /// kubectl as an administrator; its output.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, Failed> {
        let output = self.runtime.block_on(self.world.kubectl(arguments))?;
        if !output.status.success() {
            return Err(format!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A state without the link.
    pub(crate) fn unlinked(&self) -> Checked {
        let ended = self.tool().run(&["teardown", "--source", "production", "--yes"])?;
        ended.exits(0)
    }

    /// A state with the link up and running.
    pub(crate) fn linked(&self) -> Result<Ended, Failed> {
        let ended = self.tool().run(&["setup", "--source", "production", "--yes"])?;
        ended.exits(0)?;
        Ok(ended)
    }

    /// What a run that changes nothing leaves as it was.
    pub(crate) fn untouched(&self) -> Result<Untouched, Failed> {
        let objects = ["--context", "dr", "-n", "pxc", "get", "serviceentries,destinationrules,leases", "-o", "name"];
        Ok(Untouched {
            gtid_executed: self.sql(Cluster::Dr, "SELECT @@gtid_executed")?,
            channels: self.sql(Cluster::Dr, "SELECT * FROM performance_schema.replication_connection_configuration")?,
            objects: self.kubectl(&objects)?,
            writes: self.writes()?,
        })
    }

    /// The objects and the channel of the link, where servers may have been restarted since.
    pub(crate) fn untouched_objects(&self) -> Result<String, Failed> {
        let objects = ["--context", "dr", "-n", "pxc", "get", "serviceentries,destinationrules,leases", "-o", "name"];
        let channels =
            self.sql(Cluster::Dr, "SELECT channel_name FROM performance_schema.replication_connection_configuration")?;
        Ok(self.kubectl(&objects)? + &channels)
    }

    /// Every write that user pxc-link was granted so far, by the API servers' own logs: their audit IDs with what was asked.
    ///
    /// Not writes: dry runs, access reviews, and the streams of exec and port-forward, which need `create` on newer servers.
    pub(crate) fn writes(&self) -> Result<BTreeSet<String>, Failed> {
        let mut writes = BTreeSet::new();
        for cluster in [Cluster::Production, Cluster::Dr] {
            for line in fs::read_to_string(self.world.audit_log(cluster))?.lines() {
                // The last line may be half written.
                let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
                let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let allowed =
                    event.pointer("/responseStatus/code").and_then(Value::as_u64).is_some_and(|code| code < 300);
                let reading = ["get", "list", "watch"].contains(&text("/verb"))
                    || ["exec", "portforward"].contains(&text("/objectRef/subresource"))
                    || text("/objectRef/resource").starts_with("selfsubject")
                    || text("/requestURI").contains("dryRun=All");
                if text("/user/username") == "pxc-link" && allowed && !reading {
                    writes.insert(format!("{cluster} {} {} {}", text("/verb"), text("/requestURI"), text("/auditID")));
                }
            }
        }
        Ok(writes)
    }

    /// Runs the tool and demands a refusal: exit code, code, every text of the evidence, and nothing changed anywhere.
    pub(crate) fn refuses(&self, tool: &Tool, arguments: &[&str], exit: i32, code: &str, evidence: &[&str]) -> Checked {
        let before = self.untouched()?;
        let ended = tool.run(arguments)?;
        ended.fails(exit, code, evidence)?;
        let after = self.untouched()?;
        if before != after {
            return Err(format!("something was changed:\nbefore {before:#?}\nafter {after:#?}\n{ended}").into());
        }
        Ok(())
    }
}
