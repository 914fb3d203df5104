//! pxc-link killed at its n-th request, and what the next run makes of that: whatever it was at, running it again has to bring it
//! to its end, with every row once on both sides and nothing left over.

mod ground;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::Command;

use crate::plain::End;
use crate::relay::{Asked, Kill, Moment, Requests};
use crate::world::{ExecError, WorldError};

pub use ground::Ground;

/// pxc-link ends by itself long before.
const LONGEST: Duration = Duration::from_mins(2);

/// What pxc-link is killed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// `setup`, from a state without the link.
    Setup,
    /// `teardown` of a link that runs.
    Teardown,
    /// `teardown --promote` of one.
    Promotion,
}

impl Job {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Setup => &["setup", "--yes"],
            Self::Teardown => &["teardown", "--yes"],
            Self::Promotion => &["teardown", "--promote", "--yes"],
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Setup => "setup",
            Self::Teardown => "teardown",
            Self::Promotion => "promotion",
        })
    }
}

/// Why a run that was killed was not made good by the next one, or why that could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum KillsError {
    /// The sandbox.
    #[error(transparent)]
    World(#[from] WorldError),
    /// SQL in a world.
    #[error(transparent)]
    Sql(#[from] ExecError),
    /// This machine.
    #[error("could not {what}: {cause}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        cause: io::Error,
    },
    /// A run that should have ended well did not.
    #[error("`pxc-link {command}` ended with {status}:\n{said}")]
    Ended {
        /// Its arguments.
        command: String,
        /// How.
        status: String,
        /// Both streams.
        said: String,
    },
    /// It ended well, and what it left is not as it should be.
    #[error("{0}")]
    Wrong(String),
}

fn doing(what: &'static str) -> impl FnOnce(io::Error) -> KillsError {
    move |cause| KillsError::Io { what, cause }
}

/// One run that was to be killed.
#[derive(Debug)]
pub struct Tried {
    /// What it was at when it was killed; `None` where it ended before it came to that request.
    pub killed_at: Option<String>,
    /// Every request of it.
    pub asked: Vec<Asked>,
    /// How long the next run took.
    pub again: Duration,
}

/// pxc-link before a ground, with a relay before each server that it asks.
pub struct Kills<'a> {
    ground: Ground<'a>,
    tool: PathBuf,
    folder: TempDir,
}

impl<'a> Kills<'a> {
    /// Gets everything ready; `tool` is the executable of pxc-link.
    pub async fn on(ground: Ground<'a>, tool: &Path) -> Result<Self, KillsError> {
        let folder = tempfile::tempdir().map_err(doing("make a folder"))?;
        let path = folder.path().join("pxc-link.yaml");
        std::fs::write(path, ground.configuration()).map_err(doing("write the configuration"))?;
        ground.make_table().await?;
        Ok(Self { ground, tool: tool.to_owned(), folder })
    }

    /// Runs a job with rows being written meanwhile, kills it where that is wanted, runs it again to its end, and demands that
    /// everything is then as after one run that nobody killed.
    pub async fn job(&self, job: Job, kill: Option<Kill>) -> Result<Tried, KillsError> {
        if job == Job::Promotion {
            self.ground.close_replica().await?;
        }
        let runs = async {
            let first = self.run(job.arguments(), kill).await?;
            let asked = self.ground.requests().asked();
            let killed_at = self.ground.requests().has_killed().then(|| at(&asked, kill, &first));
            if killed_at.is_none() {
                ended(job.arguments(), &first)?;
                return Ok(Tried { killed_at, asked, again: Duration::ZERO });
            }
            let begun = Instant::now();
            self.good(job.arguments()).await?;
            Ok::<_, KillsError>(Tried { killed_at, asked, again: begun.elapsed() })
        };
        let (tried, written) = tokio::join!(runs, self.ground.write());
        let tried = tried?;
        // A source that is closed for a promotion takes no more rows.
        if job != Job::Promotion {
            written?;
        }
        match job {
            Job::Setup => {
                self.ground.rows_are_equal().await?;
                self.verified().await?;
            }
            Job::Teardown => self.ground.nothing_is_left().await?,
            Job::Promotion => {
                self.ground.nothing_is_left().await?;
                self.ground.is_promoted_and_back().await?;
            }
        }
        Ok(tried)
    }

    /// Sets the link up and kills one of the servers at a request of that, starts the server again, and demands that the next setup
    /// makes it good. Says how the one that lost its server ended.
    pub async fn server(&self, end: End, request: usize) -> Result<String, KillsError> {
        let pair = self.ground.plain()?;
        let other = pair.process(end).map(|process| process.pid);
        let kill = Some(Kill { request, moment: Moment::Unanswered, other });
        let setup = Job::Setup.arguments();
        let first = self.run(setup, kill).await?;
        if !self.ground.requests().has_killed() {
            return Err(KillsError::Wrong(format!("setup ended before its request {request}")));
        }
        pair.kill(end).await?;
        pair.start(end, &[]).await?;
        self.good(setup).await?;
        self.ground.write().await?;
        self.ground.rows_are_equal().await?;
        self.verified().await?;
        Ok(at(&self.ground.requests().asked(), kill, &first))
    }

    /// Takes whatever there is of the link away, after a try that went wrong.
    pub async fn start_over(&self) -> Result<(), KillsError> {
        self.good(&["teardown", "--yes"]).await?;
        self.ground.open_source().await
    }

    /// Runs pxc-link and demands that it ends well.
    pub async fn good(&self, arguments: &[&str]) -> Result<(), KillsError> {
        ended(arguments, &self.run(arguments, None).await?)
    }

    /// A command of pxc-link, through the relays.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.tool);
        command.args(arguments).current_dir(self.folder.path()).env_clear().envs(self.ground.environment());
        // What it says last of itself tells what it was at.
        command.env("PXC_LINK_LOG", "pxc_link=debug");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// What it asked in its last run.
    pub fn asked(&self) -> Vec<Asked> {
        self.ground.requests().asked()
    }

    async fn run(&self, arguments: &[&str], kill: Option<Kill>) -> Result<Output, KillsError> {
        let requests: &Requests = self.ground.requests();
        let child = requests.start(&mut self.command(arguments), kill).map_err(doing("start pxc-link"))?;
        let output = tokio::time::timeout(LONGEST, child.wait_with_output()).await;
        output.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(doing("run pxc-link to its end"))
    }

    /// A receiver that was just started may not have heard of its source yet.
    async fn verified(&self) -> Result<(), KillsError> {
        self.good(&["verify", "--wait", "20s"]).await
    }
}

/// What a killed run was at: the request itself where it can be read, and the last statement that it had logged.
fn at(asked: &[Asked], kill: Option<Kill>, output: &Output) -> String {
    let request = kill.and_then(|kill| asked.get(kill.request - 1)).and_then(|asked| asked.what.clone());
    let log = String::from_utf8_lossy(&output.stderr);
    let statement = log.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("query ")?;
        Some(rest.replace('"', "").replace("server=", "").replace("statement=", ""))
    });
    request.or(statement).unwrap_or_else(|| "before any statement".to_owned())
}

fn ended(arguments: &[&str], output: &Output) -> Result<(), KillsError> {
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = log.lines().filter(|line| !line.contains("DEBUG")).collect();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), said.join("\n"));
    Err(KillsError::Ended { command: arguments.join(" "), status: output.status.to_string(), said })
}
