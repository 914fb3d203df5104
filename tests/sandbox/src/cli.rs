//! The command line of `cargo sandbox`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use sandbox::{
    cache::Cache,
    prepare::{self, Cancel, Options, PrepareError},
    progress::{Progress, took},
};

use crate::{
    cli_faults::{FaultCliError, FaultCommand},
    cli_plain::{PlainCliError, PlainCommand},
    cli_soak::{SoakCommand, SoakError},
    cli_world::{WorldCliError, WorldCommand},
    demo::{self, DemoError},
};

/// Two real Kubernetes clusters with Istio and MySQL on one machine.
#[derive(Debug, Parser)]
#[command(name = "cargo sandbox", bin_name = "cargo sandbox", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build, fetch and unpack everything a world needs (once; 15 to 30 minutes on 2 cores)
    Prepare(Prepare),
    /// Empty the cache
    Clean,
    /// Show pxc-link at work: raise a world, write on the source, set the link up, compare both sides
    Demo,
    #[command(flatten)]
    World(WorldCommand),
    #[command(flatten)]
    Fault(FaultCommand),
    /// Two MySQL servers without Kubernetes, in seconds
    #[command(subcommand)]
    Plain(PlainCommand),
    /// Try what takes too long for the tests
    #[command(subcommand)]
    Soak(SoakCommand),
}

#[derive(Debug, Args)]
struct Prepare {
    /// Keep Go's build and module caches (11 GB) for the next change of a version
    #[arg(long)]
    keep_build_caches: bool,
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Cache(#[from] sandbox::cache::NoCacheHome),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    World(#[from] WorldCliError),
    #[error(transparent)]
    Fault(#[from] FaultCliError),
    #[error(transparent)]
    Plain(#[from] PlainCliError),
    #[error(transparent)]
    Soak(#[from] SoakError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error("cannot handle signals: {0}")]
    Signals(#[from] std::io::Error),
}

impl CliError {
    /// 130 after an interruption, as shells have it; else 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Prepare(PrepareError::Interrupted) | Self::Demo(DemoError::Interrupted) => ExitCode::from(130),
            _ => ExitCode::FAILURE,
        }
    }
}

impl Cli {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let cache = Cache::of_user()?;
        match self.command {
            Command::World(command) => command.run(&cache)?,
            Command::Fault(command) => command.run(&cache)?,
            Command::Plain(command) => command.run(&cache)?,
            Command::Soak(command) => command.run(&cache)?,
            Command::Demo => demo::run(&cache)?,
            Command::Prepare(arguments) => {
                let progress = Progress::new();
                let options = Options { keep_build_caches: arguments.keep_build_caches };
                prepare::prepare(&cache, options, &progress, &Cancel::on_signals()?)?;
                progress.note(&format!("the sandbox is prepared ({})", took(progress.elapsed())));
            }
            Command::Clean => {
                let progress = Progress::new();
                let size = prepare::clean(&cache, &progress, &Cancel::on_signals()?)?;
                progress.note(&format!(
                    "removed `{}` ({}.{} GB)",
                    cache.root().display(),
                    size / 1_000_000_000,
                    size / 100_000_000 % 10
                ));
            }
        }
        Ok(())
    }
}

/// The argument that names a world, where it needs one.
pub(crate) fn argument(world: &str) -> String {
    if world == "default" { String::new() } else { format!(" --name {world}") }
}

/// Writes a result. A reader who had enough is no failure.
pub(crate) fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
