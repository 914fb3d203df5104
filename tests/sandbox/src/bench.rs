//! What `cargo sandbox bench` shares, and `bench verify`: how long `pxc-link verify` takes beside the slowest thing it has to do, and
//! how that grows with members behind a slow API server.

mod setup;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use sandbox::cache::Cache;
use sandbox::kills::KillsError;
use sandbox::prepare::{Cancel, PrepareError, Prepared};
use sandbox::progress::Progress;
use sandbox::relay::{Behind, Relay, Requests};
use sandbox::world::{self, Cluster, ExecError, SOURCE_HOST, World, WorldError, WorldOptions};
use serde_json::Value;
use tokio::process::Command;

use crate::cli::print;
use crate::demo::{self, DemoError, build};

pub(crate) use self::setup::Setup;

/// The namespace of the light clients.
const CLIENTS: &str = "bench";
/// The query of the single probe.
const QUERY: &str = "SELECT @@server_uuid, @@hostname, USER()";
/// pxc-link ends by itself long before.
const LONGEST: Duration = Duration::from_mins(5);
/// The link of the light clients.
const HELLO: &str = "\
apiVersion: pxc-link.io/v1alpha1
kind: Links
links:
  hello:
    host: hello.production.global
    ports: [{number: 8080, name: http, protocol: HTTP}]
    source: {kubernetes: {context: production, namespace: demo, service: hello}}
    client: {kubernetes: {context: dr, namespace: bench, selector: app=client, container: client}}
";

/// The arguments of `bench verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A world that stands [default: one of its own, which is removed in the end]
    #[arg(long)]
    name: Option<String>,
    /// How many times each
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How many members behind the slow API server
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=50))]
    members: u32,
    /// What that server adds to each request and its answer, in milliseconds
    #[arg(long, default_value_t = 300)]
    delay: u64,
}

/// Why a measurement ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Prepare(#[from] Box<PrepareError>),
    #[error(transparent)]
    World(#[from] WorldError),
    #[error(transparent)]
    Build(#[from] DemoError),
    #[error(transparent)]
    Sql(#[from] ExecError),
    #[error(transparent)]
    Kills(#[from] KillsError),
    #[error("could not {what}: {cause}")]
    Io { what: String, cause: std::io::Error },
    #[error("`{command}` ended with {status}:\n{said}")]
    Ended { command: String, status: String, said: String },
    #[error("{0}")]
    Unexpected(String),
}

fn doing(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> BenchError {
    let what = what.into();
    |cause| BenchError::Io { what, cause }
}

impl Verify {
    /// Measures and prints.
    pub(crate) async fn run(&self, cache: &Cache) -> Result<(), BenchError> {
        on_a_world(cache, self.name.as_deref(), self.runs, async |bench| {
            bench.beside_its_probe().await?;
            bench.with_members(self.members, Duration::from_millis(self.delay)).await
        })
        .await
    }
}

/// Measures a released pxc-link on a world of that name, or on one that stands as long as that takes.
async fn on_a_world(
    cache: &Cache,
    name: Option<&str>,
    runs: u32,
    measure: impl AsyncFnOnce(&Bench) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    let tool = build::pxc_link(&["--release"], &Cancel::on_signals().map_err(doing("handle signals"))?).await?;
    let own = format!("bench-{}", std::process::id());
    let world = if let Some(name) = name {
        World::open(cache, name)?
    } else {
        let prepared = Prepared::open(cache).map_err(Box::new)?;
        let options = WorldOptions { name: own.clone(), ..WorldOptions::default() };
        world::up(&prepared, &options, &Progress::silent()).await?
    };
    let folder = tempfile::tempdir().map_err(doing("make a folder"))?;
    let measured = measure(&Bench { world, tool, folder: folder.path().to_owned(), runs }).await;
    if name.is_none() {
        world::down(cache, &own).await?;
    }
    measured
}

struct Bench {
    world: World,
    tool: PathBuf,
    folder: PathBuf,
    runs: u32,
}

impl Bench {
    /// One member in order: the whole of verify, and the authenticated query through the name alone.
    async fn beside_its_probe(&self) -> Result<(), BenchError> {
        self.write("pxc-link.yaml", demo::CONFIG)?;
        self.pxc_link(&self.world.kubeconfig(), &["setup", "--source", "production", "--yes"]).await?;
        let (mut verify, mut slowest, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        // In turns, so that whatever else the machine does meets all of them; the first round only warms up.
        for round in 0..=self.runs {
            let (took, probes) = self.verify(&self.world.kubeconfig(), &["--source", "production"], 1).await?;
            let begun = Instant::now();
            self.world.mysql_through(0, SOURCE_HOST, QUERY).await?;
            if round > 0 {
                alone.push(begun.elapsed());
                verify.push(took);
                slowest.push(probes);
            }
        }
        self.pxc_link(&self.world.kubeconfig(), &["teardown", "--source", "production", "--yes"]).await?;
        let [verify, slowest, alone] = [verify, slowest, alone].map(Times::of);
        say(&format!("one member: verify {verify}"))?;
        say(&format!(
            "the slowest single probe, as it was in the same runs {slowest}: verify is {}",
            verify.over(&slowest)
        ))?;
        say(&format!("the query through the name with nothing beside it {alone}: verify is {}", verify.over(&alone)))
    }

    /// Light clients behind an API server that answers late: one, then many.
    async fn with_members(&self, members: u32, delay: Duration) -> Result<(), BenchError> {
        self.write("hello.yaml", HELLO)?;
        self.world.make_clients(&[CLIENTS]).await?;
        let arguments = |command: &'static str| ["--quiet", "--config", "hello.yaml", command, "--yes"];
        let direct = self.world.kubeconfig();
        self.pxc_link(&direct, &arguments("setup")).await?;
        let (late, _delays) = self.late_kubeconfig(delay).await?;
        let mut measured = Vec::new();
        for wanted in [1, members] {
            self.scale(wanted).await?;
            let mut times = Vec::new();
            // The first one only warms up.
            for round in 0..=self.runs {
                let (took, _) = self.verify(&late, &["--config", "hello.yaml"], wanted).await?;
                if round > 0 {
                    times.push(took);
                }
            }
            measured.push((wanted, Times::of(times)));
        }
        self.pxc_link(&direct, &arguments("teardown")).await?;
        self.kubectl(&["--context", "dr", "delete", "namespace", CLIENTS, "--wait=false"]).await?;
        for (members, times) in &measured {
            say(&format!("{members} member(s), {delay:?} more for each request: verify {times}"))?;
        }
        let [(_, one), (_, many)] = measured.as_slice() else { return Ok(()) };
        say(&format!("{members} members are {}", many.over(one)))
    }

    async fn scale(&self, members: u32) -> Result<(), BenchError> {
        let here = ["--context", "dr", "-n", CLIENTS];
        let replicas = format!("--replicas={members}");
        self.kubectl(&[&here[..], &["scale", "deployment/client", &replicas]].concat()).await?;
        self.kubectl(&[&here[..], &["rollout", "status", "deployment/client", "--timeout=110s"]].concat()).await
    }

    /// The kubeconfig of pxc-link with both API servers behind a delay. The servers' certificates name the loopback, too.
    async fn late_kubeconfig(&self, delay: Duration) -> Result<(PathBuf, Vec<Relay>), BenchError> {
        let path = self.world.kubeconfig();
        let mut text = std::fs::read_to_string(&path).map_err(doing(format!("read {}", path.display())))?;
        let mut delays = Vec::new();
        for cluster in Cluster::ALL {
            let server = (self.world.node_address(cluster), 6443);
            // A request and its answer pass once each.
            let behind = Behind::AsItIs(server.into());
            let late = Relay::before(behind, delay / 2, Requests::of_everybody()).await;
            let late = late.map_err(doing("listen on the loopback"))?;
            let address = format!("https://{}:6443", server.0);
            if !text.contains(&address) {
                return Err(BenchError::Unexpected(format!("{} does not name {address}", path.display())));
            }
            text = text.replace(&address, &format!("https://{}", late.address()));
            delays.push(late);
        }
        Ok((self.write("late.kubeconfig", &text)?, delays))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, BenchError> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).map_err(doing(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// Verifies so many members; returns how long that took, and how long the slowest single probe of theirs.
    async fn verify(
        &self,
        kubeconfig: &Path,
        arguments: &[&str],
        members: u32,
    ) -> Result<(Duration, Duration), BenchError> {
        let file = self.folder.join("facts.json");
        let saving = ["--quiet", "verify", "--save", "facts.json"];
        let took = self.pxc_link(kubeconfig, &[&saving[..], arguments].concat()).await?;
        let text = std::fs::read(&file).map_err(doing(format!("read {}", file.display())))?;
        let facts: Value = serde_json::from_slice(&text).map_err(|error| BenchError::Unexpected(error.to_string()))?;
        let probes: Vec<u64> = answers(&facts).filter_map(|answer| answer["got"]["took_ms"].as_u64()).collect();
        let walked = facts["paths"].as_array().map_or(0, Vec::len);
        match probes.iter().max() {
            Some(slowest) if walked == members as usize => Ok((took, Duration::from_millis(*slowest))),
            _ => Err(BenchError::Unexpected(format!("{walked} of {members} members were verified"))),
        }
    }

    /// Runs pxc-link to its end and returns how long it took; an end that is not good is an error.
    async fn pxc_link(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<Duration, BenchError> {
        let mut command = Command::new(&self.tool);
        command.args(arguments).current_dir(&self.folder).envs(self.world.environment()).env("KUBECONFIG", kubeconfig);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let typed = || format!("pxc-link {}", arguments.join(" "));
        let begun = Instant::now();
        let output = tokio::time::timeout(LONGEST, command.output()).await;
        let output =
            output.map_err(|_| doing(typed())(std::io::ErrorKind::TimedOut.into()))?.map_err(doing(typed()))?;
        ended(typed(), &output)?;
        Ok(begun.elapsed())
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<(), BenchError> {
        ended(format!("kubectl {}", arguments.join(" ")), &self.world.kubectl(arguments).await?)
    }
}

/// What every probe of recorded facts came to, through the name and past the mesh.
fn answers(facts: &Value) -> impl Iterator<Item = &Value> {
    facts["paths"].as_array().into_iter().flatten().flat_map(|path| {
        let direct = path["direct"].as_array().into_iter().flatten();
        std::iter::once(&path["probe"]).chain(direct.map(|direct| &direct["answer"]))
    })
}

fn ended(command: String, output: &std::process::Output) -> Result<(), BenchError> {
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Err(BenchError::Ended { command, status: output.status.to_string(), said })
}

fn say(text: &str) -> Result<(), BenchError> {
    print(&format!("{text}\n")).map_err(doing("write the output"))
}

/// The times of several runs, ascending; at least one.
struct Times(Vec<Duration>);

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// The ratio of the medians.
    fn over(&self, other: &Self) -> String {
        format!("{:.2} ×", self.median().as_secs_f64() / other.median().as_secs_f64())
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
        let (least, most) = (seconds(self.0.first()), seconds(self.0.last()));
        write!(f, "{:.2} s ({least:.2} to {most:.2})", self.median().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_by_their_median_and_their_ends() {
        let times = |of: &[u64]| Times::of(of.iter().map(|&ms| Duration::from_millis(ms)).collect());
        assert_eq!(times(&[900, 300, 500]).to_string(), "0.50 s (0.30 to 0.90)");
        assert_eq!(times(&[900, 300, 500]).over(&times(&[250])), "2.00 ×");
    }
}
