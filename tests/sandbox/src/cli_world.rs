//! The commands of `cargo sandbox` that raise, show and remove worlds.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use sandbox::cache::Cache;
use sandbox::prepare::{PrepareError, Prepared};
use sandbox::progress::{Progress, took};
use sandbox::world::{self, Cluster, Ha, World, WorldError, WorldOptions};

use crate::bench::{self, BenchError};
use crate::cli::{argument, print};
use crate::demo;

#[derive(Debug, Subcommand)]
pub(crate) enum WorldCommand {
    /// Raise both clusters with Istio and MySQL, or make a standing world whole again
    Up(Up),
    /// Remove a world; the machine is as it was before
    Down(Name),
    /// Show which worlds stand and what of them lives
    Status(Status),
    /// Print the log of a part, such as `production/kubelet`
    Logs(Logs),
    /// Print exports for `eval`: kubeconfig, kubectl, passwords
    Env(Name),
    /// Measure
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Name of the world
    #[arg(long, default_value = "default")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    shape: Shape,
}

/// Left out, a standing world keeps what it has.
#[derive(Debug, Args)]
pub(crate) struct Shape {
    /// MySQL members in each cluster [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=9))]
    members: Option<u32>,
    /// Nodes in each cluster [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=16))]
    nodes: Option<u8>,
    /// Whether the sidecars answer their pods' DNS queries [default: on]
    #[arg(long)]
    dns: Option<Switch>,
    /// What the members of each cluster form: none, group-replication, group-replication=multi-primary [default: none]
    #[arg(long)]
    ha: Option<Ha>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only this world
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    name: Name,
    /// The part, as `status` names it
    part: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Raise and remove a world of its own several times and show how long each took
    Up {
        /// How many times
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        #[command(flatten)]
        shape: Shape,
    },
    /// Time `pxc-link verify` beside its slowest probe, and with many members behind a slow API server
    Verify(bench::Verify),
    /// Time `pxc-link setup` beside a script of kubectl and mysql that does the same, and count its requests
    Setup(bench::Setup),
}

/// Why a command on worlds ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorldCliError {
    #[error(transparent)]
    Prepare(#[from] Box<PrepareError>),
    #[error(transparent)]
    World(#[from] WorldError),
    #[error("could not write the output or start working: {0}")]
    Io(#[from] io::Error),
    #[error("{dead} part(s) of the world(s) do not run; `cargo sandbox up` restarts them")]
    Dead { dead: usize },
    #[error(transparent)]
    Bench(#[from] BenchError),
}

impl WorldCommand {
    pub(crate) fn run(self, cache: &Cache) -> Result<(), WorldCliError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Up(up) => raise(cache, &up.name.name, &up.shape).await,
                Self::Down(name) => remove(cache, &name.name).await,
                Self::Status(status) => show(cache, status.name),
                Self::Logs(logs) => Ok(print(&World::open(cache, &logs.name.name)?.read_log(&logs.part)?)?),
                Self::Env(name) => {
                    let world = World::open(cache, &name.name)?;
                    Ok(print(&(world.exports() + &demo::exports(&world)))?)
                }
                Self::Bench(Bench::Up { runs, shape }) => bench(cache, runs, &shape).await,
                Self::Bench(Bench::Verify(verify)) => Ok(verify.run(cache).await?),
                Self::Bench(Bench::Setup(setup)) => Ok(setup.run(cache).await?),
            }
        })
    }
}

impl Shape {
    /// What is asked for; the rest as the world has it, or as it is by default.
    fn options(&self, cache: &Cache, name: &str) -> Result<WorldOptions, WorldError> {
        let mut options = match World::open(cache, name) {
            Ok(world) => world.options().clone(),
            Err(WorldError::Absent { .. }) => WorldOptions { name: name.to_owned(), ..WorldOptions::default() },
            Err(error) => return Err(error),
        };
        options.members = self.members.unwrap_or(options.members);
        options.nodes = self.nodes.unwrap_or(options.nodes);
        options.ha = self.ha.unwrap_or(options.ha);
        options.dns_capture = self.dns.map_or(options.dns_capture, |dns| dns == Switch::On);
        Ok(options)
    }
}

async fn raise(cache: &Cache, name: &str, shape: &Shape) -> Result<(), WorldCliError> {
    let prepared = Prepared::open(cache).map_err(Box::new)?;
    let progress = Progress::new();
    let world = world::up(&prepared, &shape.options(cache, name)?, &progress).await?;
    progress.note(&format!("the world `{name}` is up ({})", took(progress.elapsed())));
    progress.note(&format!("kubeconfig of pxc-link: {}", world.kubeconfig().display()));
    progress.note(&format!("for your shell:         eval \"$(cargo sandbox env{})\"", argument(name)));
    Ok(())
}

async fn remove(cache: &Cache, name: &str) -> Result<(), WorldCliError> {
    let progress = Progress::new();
    if world::down(cache, name).await? {
        progress.note(&format!("the world `{name}` is gone ({})", took(progress.elapsed())));
    } else {
        progress.note(&format!("there is no world `{name}`"));
    }
    Ok(())
}

fn show(cache: &Cache, name: Option<String>) -> Result<(), WorldCliError> {
    let names = name.map_or_else(|| world::list(cache), |name| vec![name]);
    if names.is_empty() {
        return Ok(print("no world stands; raise one with `cargo sandbox up`\n")?);
    }
    let mut text = Vec::new();
    let mut dead = 0;
    for name in names {
        let world = World::open(cache, &name)?;
        let options = world.options();
        let dns = if options.dns_capture { "on" } else { "off" };
        let (members, nodes, ha) = (options.members, options.nodes, options.ha);
        writeln!(text, "{name}: members {members}, nodes {nodes}, dns {dns}, ha {ha}")?;
        for cluster in Cluster::ALL {
            writeln!(text, "  {cluster} at {}", world.node_address(cluster))?;
        }
        for part in world.status()? {
            let state = part.pid.map_or_else(|| "does not run".to_owned(), |pid| format!("pid {pid}"));
            dead += usize::from(part.pid.is_none());
            writeln!(text, "  {:<40} {state}", part.part)?;
        }
    }
    print(&String::from_utf8_lossy(&text))?;
    if dead == 0 { Ok(()) } else { Err(WorldCliError::Dead { dead }) }
}

async fn bench(cache: &Cache, runs: u32, shape: &Shape) -> Result<(), WorldCliError> {
    let name = format!("bench-{}", std::process::id());
    let prepared = Prepared::open(cache).map_err(Box::new)?;
    let options = shape.options(cache, &name)?;
    let mut times = Vec::new();
    for run in 1..=runs {
        let begun = Instant::now();
        let raised = world::up(&prepared, &options, &Progress::silent()).await;
        let up = begun.elapsed();
        let begun = Instant::now();
        world::down(cache, &name).await?;
        raised?;
        print(&format!("run {run}: up {}, down {}\n", seconds(up), seconds(begun.elapsed())))?;
        times.push(up);
    }
    times.sort();
    let (Some(least), Some(most)) = (times.first(), times.last()) else { return Ok(()) };
    let median = times.get(times.len() / 2).unwrap_or(most);
    print(&format!("up: least {}, median {}, most {}\n", seconds(*least), seconds(*median), seconds(*most)))?;
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
