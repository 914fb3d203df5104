//! The commands of `cargo sandbox plain`: two MySQL servers without Kubernetes.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read as _},
};

use clap::{Args, Subcommand, ValueEnum};
use sandbox::{
    cache::Cache,
    plain::{self, End, Plain, Stay},
    progress::{Progress, took},
    world::WorldError,
};

use crate::{
    cli::{argument, print},
    demo,
};

#[derive(Debug, Subcommand)]
pub(crate) enum PlainCommand {
    /// Raise two empty servers, source and replica, in place of those of that name
    Up(Name),
    /// End and remove them
    Down(Name),
    /// Show which pairs there are and what of them runs
    Status,
    /// Print exports for `eval`: configuration and passwords
    Env(Name),
    /// Run SQL as root
    Sql(Sql),
    /// Kill a server
    Kill(Which),
    /// Start a server that does not run
    Start(Which),
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Name of the pair
    #[arg(long, default_value = "default")]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The server
    server: Server,
    #[command(flatten)]
    name: Name,
}

#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// The server
    server: Server,
    /// The statements; read from standard input where there are none
    statements: Option<String>,
    #[command(flatten)]
    name: Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    Source,
    Replica,
}

impl From<Server> for End {
    fn from(server: Server) -> Self {
        match server {
            Server::Source => Self::Source,
            Server::Replica => Self::Replica,
        }
    }
}

/// Why a command on plain servers ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlainCliError {
    #[error(transparent)]
    World(#[from] WorldError),
    #[error("could not write the output or start working: {0}")]
    Io(#[from] io::Error),
}

impl PlainCommand {
    pub(crate) fn run(self, cache: &Cache) -> Result<(), PlainCliError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Up(name) => up(cache, &name.name).await,
                Self::Down(name) => down(cache, &name.name).await,
                Self::Status => Ok(print(&status(cache)?)?),
                Self::Env(name) => Ok(print(&exports(&Plain::open(cache, &name.name)?))?),
                Self::Sql(sql) => {
                    let statements = sql.statements.map_or_else(
                        || {
                            let mut text = String::new();
                            io::stdin().read_to_string(&mut text).map(|_| text)
                        },
                        Ok,
                    )?;
                    let rows = Plain::open(cache, &sql.name.name)?.sql(sql.server.into(), &statements).await?;
                    Ok(print(&rows)?)
                }
                Self::Kill(which) => {
                    Plain::open(cache, &which.name.name)?.kill(which.server.into()).await?;
                    Ok(())
                }
                Self::Start(which) => Ok(Plain::open(cache, &which.name.name)?.start(which.server.into(), &[]).await?),
            }
        })
    }
}

async fn up(cache: &Cache, name: &str) -> Result<(), PlainCliError> {
    let progress = Progress::new();
    let plain = plain::raise(cache, name, Stay::Kept).await?;
    fs::write(plain.dir().join(demo::CONFIG_FILE), plain.configuration("production"))?;
    progress.note(&format!(
        "source on 127.0.0.1:{}, replica on 127.0.0.1:{} ({})",
        plain.port(End::Source),
        plain.port(End::Replica),
        took(progress.elapsed())
    ));
    progress.note(&format!("for your shell: eval \"$(cargo sandbox plain env{})\"", argument(name)));
    Ok(())
}

async fn down(cache: &Cache, name: &str) -> Result<(), PlainCliError> {
    let progress = Progress::new();
    let there = plain::down(cache, name).await?;
    progress
        .note(&format!("{} `{name}`", if there { "gone: the plain servers" } else { "there are no plain servers" }));
    Ok(())
}

fn status(cache: &Cache) -> Result<String, WorldError> {
    let mut text = String::new();
    for name in plain::list(cache) {
        let plain = Plain::open(cache, &name)?;
        for end in End::ALL {
            let state = plain.process(end).map_or("does not run".to_owned(), |process| format!("pid {}", process.pid));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}/{end:<10} 127.0.0.1:{:<6} {state}", plain.port(end));
        }
    }
    Ok(if text.is_empty() {
        "there are no plain servers; raise them with `cargo sandbox plain up`\n".to_owned()
    } else {
        text
    })
}

/// Lines for a shell's `eval`.
fn exports(plain: &Plain) -> String {
    let quoted = |text: &str| text.replace('\'', r"'\''");
    let mut text = demo::beside();
    let config = plain.dir().join(demo::CONFIG_FILE).display().to_string();
    let passwords = plain.environment().into_iter().filter(|(name, _)| name.starts_with("PXC_"));
    for (name, value) in [(demo::CONFIG_VARIABLE, config)].into_iter().chain(passwords) {
        let _ = writeln!(text, "export {name}='{}'", quoted(&value));
    }
    text
}
