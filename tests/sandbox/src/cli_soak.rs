//! The commands of `cargo sandbox soak`: what takes too long for the tests.

use std::io;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use sandbox::cache::Cache;
use sandbox::kills::{Ground, Job, Kills, KillsError};
use sandbox::plain::{self, Stay};
use sandbox::prepare::{Cancel, PrepareError, Prepared};
use sandbox::progress::Progress;
use sandbox::relay::{Kill, Moment};
use sandbox::world::{self, World, WorldError, WorldOptions};

use crate::cli::print;
use crate::demo::{self, DemoError, build};

#[derive(Debug, Subcommand)]
pub(crate) enum SoakCommand {
    /// Kill setup and teardown at each of their requests, before it and after it, and see what the next run makes of that
    Kills(Arguments),
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A world that stands [default: one of its own, which is removed in the end]
    #[arg(long, conflicts_with = "plain")]
    name: Option<String>,
    /// Two plain servers without Kubernetes instead of a world
    #[arg(long)]
    plain: bool,
    /// `teardown --promote` in the place of `teardown`; on plain servers
    #[arg(long, requires = "plain")]
    promote: bool,
    /// The first request that is killed at
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    from: u16,
    /// Only every so many-th request from there on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    every: u16,
}

/// Why a soak ended early, or what it found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SoakError {
    #[error(transparent)]
    Prepare(#[from] Box<PrepareError>),
    #[error(transparent)]
    World(#[from] WorldError),
    #[error(transparent)]
    Build(#[from] DemoError),
    #[error(transparent)]
    Kills(#[from] KillsError),
    #[error("could not write the output or start working: {0}")]
    Io(#[from] io::Error),
    #[error("{bad} of {tries} killed runs were not made good by the next one")]
    Bad { bad: u32, tries: u32 },
}

impl SoakCommand {
    pub(crate) fn run(self, cache: &Cache) -> Result<(), SoakError> {
        let Self::Kills(arguments) = self;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(arguments.run(cache))
    }
}

impl Arguments {
    async fn run(&self, cache: &Cache) -> Result<(), SoakError> {
        let tool = build::pxc_link(&[], &Cancel::on_signals()?).await?;
        let own = format!("soak-{}", std::process::id());
        if self.plain {
            let pair = plain::raise(cache, &own, Stay::WithMe).await?;
            let ground = Ground::pair(&pair, Duration::ZERO).await?;
            return self.soak(&Kills::on(ground, &tool).await?).await;
        }
        let world = if let Some(name) = &self.name {
            World::open(cache, name)?
        } else {
            let prepared = Prepared::open(cache).map_err(Box::new)?;
            let options = WorldOptions { name: own.clone(), ..WorldOptions::default() };
            world::up(&prepared, &options, &Progress::silent()).await?
        };
        let soaked = async {
            let ground = Ground::world(&world, demo::CONFIG, Duration::ZERO).await?;
            self.soak(&Kills::on(ground, &tool).await?).await
        };
        let soaked = soaked.await;
        if self.name.is_none() {
            world::down(cache, &own).await?;
        }
        soaked
    }

    /// Setup and the end of the link take turns, so that each begins where the other one ends.
    async fn soak(&self, kills: &Kills<'_>) -> Result<(), SoakError> {
        let end = if self.promote { Job::Promotion } else { Job::Teardown };
        let begun = Instant::now();
        let mut tally = Tally::default();
        kills.start_over().await?;
        // A job that ended before it came to its request is not killed any more.
        let mut open = vec![Job::Setup, end];
        let mut request = usize::from(self.from);
        while !open.is_empty() {
            for moment in Moment::ALL {
                for job in [Job::Setup, end] {
                    let kill = Some(Kill { request, moment, other: None }).filter(|_| open.contains(&job));
                    match kills.job(job, kill).await {
                        Ok(tried) => match (kill, tried.killed_at) {
                            (None, _) => {}
                            // Nobody answered that one, and the job went on without.
                            (Some(_), None) if tried.asked.len() >= request => {}
                            (Some(_), None) => {
                                print(&format!("{job}: ends by itself after {} requests\n", tried.asked.len()))?;
                                open.retain(|other| *other != job);
                            }
                            (Some(_), Some(at)) => {
                                let again = tried.again.as_secs_f64();
                                print(&format!(
                                    "{job} {request} {moment}: killed at {at}; made good in {again:.1} s\n"
                                ))?;
                                tally.tries += 1;
                            }
                        },
                        Err(error) => {
                            print(&format!("{job} {request} {moment}: NOT MADE GOOD: {error}\n"))?;
                            tally.tries += 1;
                            tally.bad += 1;
                            kills.start_over().await?;
                            if job == Job::Setup {
                                kills.job(Job::Setup, None).await?;
                            }
                        }
                    }
                }
            }
            request += usize::from(self.every);
        }
        let Tally { tries, bad } = tally;
        print(&format!("{tries} runs killed, {} made good, {:.0} s\n", tries - bad, begun.elapsed().as_secs_f64()))?;
        if bad == 0 { Ok(()) } else { Err(SoakError::Bad { bad, tries }) }
    }
}

/// What was tried so far.
#[derive(Debug, Default)]
struct Tally {
    tries: u32,
    bad: u32,
}
