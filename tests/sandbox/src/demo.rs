//! `cargo sandbox demo`: pxc-link at work on a world, with a writer on the source, until both sides are equal.

pub(crate) mod build;
mod compare;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sandbox::cache::Cache;
use sandbox::prepare::{self, Cancel, Options, PrepareError, Prepared};
use sandbox::progress::Progress;
use sandbox::world::{self, Cluster, ExecError, World, WorldError, WorldOptions};
use tokio::process::Command;

use self::compare::Compared;
use crate::cli::print;

/// The link of the world, the same that the end-to-end tests use.
pub(crate) const CONFIG: &str = include_str!("../../e2e/pxc-link.yaml");
pub(crate) const CONFIG_FILE: &str = "pxc-link.yaml";
pub(crate) const CONFIG_VARIABLE: &str = "PXC_LINK_CONFIG";

const SETUP: &[&str] = &["setup", "--source", "production", "--yes"];
const STATUS: &[&str] = &["status"];

const TABLE: &str = "CREATE DATABASE IF NOT EXISTS demo; CREATE TABLE IF NOT EXISTS demo.orders (id BIGINT UNSIGNED \
    AUTO_INCREMENT PRIMARY KEY, article VARCHAR(40) NOT NULL, pieces INT NOT NULL, placed TIMESTAMP(6) NOT NULL DEFAULT \
    CURRENT_TIMESTAMP(6))";
/// Rows that are there before the link is set up.
const FIRST_ROWS: u32 = 10;
const BETWEEN_ROWS: Duration = Duration::from_millis(100);
/// How long the replica has for what it lacks when the writer has ended; shorter than the deadline of a query.
const CATCH_UP_SECONDS: u32 = 45;
/// pxc-link ends by itself long before.
const TOOL_DEADLINE: Duration = Duration::from_mins(15);

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error(transparent)]
    Prepare(#[from] Box<PrepareError>),
    #[error(transparent)]
    World(#[from] WorldError),
    #[error(transparent)]
    Sql(#[from] ExecError),
    #[error("the demo was interrupted; run again, it goes on from where it was")]
    Interrupted,
    #[error("could not {what}: {cause}")]
    Io { what: String, cause: io::Error },
    #[error("`{command}` had no end after {deadline:?} and was ended")]
    Late { command: String, deadline: Duration },
    #[error("`{command}` ended with {status}; what it printed above says why and what mends it")]
    Ended { command: String, status: ExitStatus },
    #[error("`cargo build` named no executable of pxc-link; is `{0}` its repository?")]
    NoExecutable(&'static str),
    #[error("the world `default` has {0} members a cluster, the demo is for one; run `cargo sandbox down` first")]
    Members(u32),
    #[error(
        "the replica has not executed {missing} {CATCH_UP_SECONDS} s after the last row; `pxc-link status` says why"
    )]
    Behind { missing: String },
    #[error(
        "the replica has executed {0}, which the source lacks: a fault made the source anew, or somebody wrote on the \
         replica; run `cargo sandbox down`, then the demo again"
    )]
    Foreign(String),
    #[error("the sides differ, though the replica has executed everything; was something written on the replica?")]
    Differ,
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> DemoError {
    let what = what.into();
    |cause| DemoError::Io { what, cause }
}

/// Raises what is needed and shows the main job from one end to the other.
pub(crate) fn run(cache: &Cache) -> Result<(), DemoError> {
    let cancel = Cancel::on_signals().map_err(doing("handle signals"))?;
    let progress = Progress::new();
    let prepared = match Prepared::open(cache) {
        Err(PrepareError::NotPrepared { .. }) => {
            say("$ cargo sandbox prepare")?;
            prepare::prepare(cache, Options::default(), &progress, &cancel)
        }
        open => open,
    };
    let prepared = prepared.map_err(|error| match error {
        PrepareError::Interrupted => DemoError::Interrupted,
        error => Box::new(error).into(),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(doing("start working"))?;
    runtime.block_on(async {
        let tool = build::pxc_link(&[], &cancel).await?;
        let world = raise(&prepared, &progress, &cancel).await?;
        Demo { world, tool, cancel }.show().await
    })
}

/// What a shell needs beside [`World::exports`] to go on where a demo ended: nothing where there was none.
pub(crate) fn exports(world: &World) -> String {
    let mut text = beside();
    let config = world.dir().join(CONFIG_FILE);
    if config.exists() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "export {CONFIG_VARIABLE}='{}'", quoted(&config));
    }
    text
}

/// Puts pxc-link into a shell's path, where it was built beside this program.
pub(crate) fn beside() -> String {
    let beside = std::env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned));
    let dir = beside.filter(|dir| dir.join("pxc-link").exists());
    dir.map(|dir| format!("export PATH='{}':\"$PATH\"\n", quoted(&dir))).unwrap_or_default()
}

fn quoted(path: &Path) -> String {
    path.display().to_string().replace('\'', r"'\''")
}

async fn raise(prepared: &Prepared, progress: &Progress, cancel: &Cancel) -> Result<World, DemoError> {
    let name = WorldOptions::default().name;
    let options = match World::open(prepared.cache(), &name) {
        Ok(world) if world.options().members != 1 => return Err(DemoError::Members(world.options().members)),
        Ok(world) => world.options().clone(),
        Err(WorldError::Absent { .. }) => WorldOptions::default(),
        Err(error) => return Err(error.into()),
    };
    say("$ cargo sandbox up")?;
    let interrupted = async {
        while !cancel.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let world = tokio::select! {
        world = world::up(prepared, &options, progress) => world?,
        // A world that is half raised is made whole by the next `up`.
        () = interrupted => return Err(DemoError::Interrupted),
    };
    let config = world.dir().join(CONFIG_FILE);
    std::fs::write(&config, CONFIG).map_err(doing(format!("write {}", config.display())))?;
    Ok(world)
}

struct Demo {
    world: World,
    tool: PathBuf,
    cancel: Cancel,
}

impl Demo {
    async fn show(&self) -> Result<(), DemoError> {
        let foreign = self.lacking(Cluster::Production, &self.executed(Cluster::Dr).await?).await?;
        if !foreign.is_empty() {
            return Err(DemoError::Foreign(foreign));
        }
        self.world.mysql(Cluster::Production, 0, TABLE).await?;
        for _ in 0..FIRST_ROWS {
            self.write_row().await?;
        }
        say(&format!("demo.orders has rows on the source, and a writer adds to it every {BETWEEN_ROWS:?}"))?;
        let ends = AtomicBool::new(false);
        let link = async {
            let linked = match self.pxc_link(SETUP).await {
                Ok(()) => self.pxc_link(STATUS).await,
                refused => refused,
            };
            ends.store(true, Ordering::SeqCst);
            linked
        };
        let (linked, written) = tokio::join!(link, self.write_until(&ends));
        linked?;
        say(&format!("\nthe writer has ended: {} rows since the link was asked for", written?))?;
        self.caught_up().await?;
        let tables = compare::both_sides(&self.world).await?;
        print(&compare::table(&tables)).map_err(doing("write the output"))?;
        if tables.is_empty() || !tables.iter().all(Compared::is_equal) {
            return Err(DemoError::Differ);
        }
        say(NEXT)
    }

    async fn write_row(&self) -> Result<(), DemoError> {
        let row = "INSERT INTO demo.orders (article, pieces) SELECT CONCAT('article ', 1 + FLOOR(RAND() * 100)), 1 + FLOOR(RAND() * 9)";
        self.world.mysql(Cluster::Production, 0, row).await?;
        go_on(&self.cancel)
    }

    /// Writes until it is to end, and returns how many rows that were.
    async fn write_until(&self, ends: &AtomicBool) -> Result<u32, DemoError> {
        let mut rows = 0;
        while !ends.load(Ordering::SeqCst) {
            self.write_row().await?;
            rows += 1;
            tokio::time::sleep(BETWEEN_ROWS).await;
        }
        Ok(rows)
    }

    /// Runs pxc-link as a user does; what it prints is seen as it comes.
    async fn pxc_link(&self, arguments: &[&str]) -> Result<(), DemoError> {
        let typed = format!("pxc-link {}", arguments.join(" "));
        say(&format!("\n$ {typed}"))?;
        let mut command = Command::new(&self.tool);
        command.args(arguments).envs(self.world.environment()).env(CONFIG_VARIABLE, self.world.dir().join(CONFIG_FILE));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let status = tokio::time::timeout(TOOL_DEADLINE, command.status()).await;
        let status = status
            .map_err(|_| DemoError::Late { command: typed.clone(), deadline: TOOL_DEADLINE })?
            .map_err(doing(format!("run {}", self.tool.display())))?;
        go_on(&self.cancel)?;
        if status.success() { Ok(()) } else { Err(DemoError::Ended { command: typed, status }) }
    }

    /// Waits until the replica has executed all that the source has.
    async fn caught_up(&self) -> Result<(), DemoError> {
        let executed = self.executed(Cluster::Production).await?;
        let wait = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', {CATCH_UP_SECONDS})");
        if self.world.mysql(Cluster::Dr, 0, &wait).await?.trim() == "0" {
            return say(&format!("the replica has executed all that the source has: {executed}"));
        }
        let missing = self.lacking(Cluster::Dr, &executed).await?;
        Err(DemoError::Behind { missing })
    }

    /// The GTIDs that a side has executed.
    async fn executed(&self, on: Cluster) -> Result<String, DemoError> {
        Ok(self.world.mysql(on, 0, "SELECT @@gtid_executed").await?.replace('\n', ""))
    }

    /// Those of some GTIDs that a side has not executed; empty when it has them all.
    async fn lacking(&self, on: Cluster, gtids: &str) -> Result<String, DemoError> {
        let query = format!("SELECT GTID_SUBTRACT('{gtids}', @@gtid_executed)");
        Ok(self.world.mysql(on, 0, &query).await?.replace('\n', ""))
    }
}

fn go_on(cancel: &Cancel) -> Result<(), DemoError> {
    if cancel.is_cancelled() { Err(DemoError::Interrupted) } else { Ok(()) }
}

fn say(text: &str) -> Result<(), DemoError> {
    print(&format!("{text}\n")).map_err(doing("write the output"))
}

const NEXT: &str = r#"
The replica follows its source. Go on with:
  eval "$(cargo sandbox env)"               kubeconfig, kubectl, pxc-link, passwords for this shell
  pxc-link status                           also: verify, monitor, each with --source production
  cargo sandbox break endpoint-silent       then see it found: pxc-link setup --source production --yes
  cargo sandbox mend endpoint-silent        and whole again; all the faults: cargo sandbox faults
  pxc-link teardown --source production     takes the link away
  cargo sandbox down                        takes the world away"#;
