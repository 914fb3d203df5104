//! The commands of `cargo sandbox` that list faults, break a world on purpose and mend it.

use std::{fs, io};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use sandbox::cache::Cache;
use sandbox::faults::{self, Fault, FaultError, Finder, Mender, Scope, Site};
use sandbox::plain::Plain;
use sandbox::progress::{Progress, took};
use sandbox::world::{Cluster, World, WorldError};

use crate::cli::{argument, print};
use crate::cli_world::Name;
use crate::demo;

/// The file with the links of faults that have one of their own, in the world's directory.
const LINKS: &str = "faults.yaml";

#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// List the ways to break a world on purpose
    Faults,
    /// Break a world on purpose
    Break(Which),
    /// Mend what `break` broke; harmless where nothing is broken
    Mend(Which),
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The fault; `faults` lists them
    #[arg(value_parser = fault_parser(), hide_possible_values = true)]
    fault: &'static Fault,
    #[command(flatten)]
    name: Name,
}

/// Why a command on faults ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FaultCliError {
    #[error(transparent)]
    World(#[from] WorldError),
    #[error("`{name}` is only half done: {cause}; once that is seen to, run `cargo sandbox mend {name}{argument}`")]
    Half { name: &'static str, argument: String, cause: Box<FaultError> },
    #[error("`{name}` breaks a link that is up; run `{command}` first, then break it again")]
    Unlinked { name: &'static str, command: String },
    #[error("could not write the output or start working: {0}")]
    Io(#[from] io::Error),
}

/// What stands of the name that was given, of the kind that a fault is for.
enum Opened {
    World(Box<World>),
    Plain(Box<Plain>),
}

impl Opened {
    fn of(cache: &Cache, fault: &Fault, name: &str) -> Result<Self, WorldError> {
        Ok(match fault.scope {
            Scope::Plain => Self::Plain(Box::new(Plain::open(cache, name)?)),
            Scope::World(_) | Scope::Pair => Self::World(Box::new(World::open(cache, name)?)),
        })
    }

    fn site(&self) -> Site<'_> {
        match self {
            Self::World(world) => Site::World(world),
            Self::Plain(plain) => Site::Plain(plain),
        }
    }
}

fn fault_parser() -> impl TypedValueParser<Value = &'static Fault> {
    PossibleValuesParser::new(faults::all().map(|fault| PossibleValue::new(fault.name).help(fault.what)))
        .try_map(|name| faults::find(&name).ok_or("there is no such fault"))
}

impl FaultCommand {
    pub(crate) fn run(self, cache: &Cache) -> Result<(), FaultCliError> {
        let (which, breaks) = match self {
            Self::Faults => return Ok(print(&list())?),
            Self::Break(which) => (which, true),
            Self::Mend(which) => (which, false),
        };
        let Which { fault, name: Name { name } } = which;
        let site = Opened::of(cache, fault, &name)?;
        let progress = Progress::new();
        progress.note(&format!("{} `{name}`: {}", if breaks { "breaking" } else { "mending" }, fault.what));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let half = |cause| FaultCliError::Half { name: fault.name, argument: argument(&name), cause: Box::new(cause) };
        let done: Result<(), FaultCliError> = runtime.block_on(async {
            if breaks {
                fault.prepare(site.site()).await.map_err(half)?;
                if let (Scope::Pair, Opened::World(world)) = (fault.scope, &site) {
                    fs::write(world.dir().join(LINKS), faults::configuration())?;
                }
                if fault.found_by == Finder::Verify && !fault.is_linked(site.site()).await.map_err(half)? {
                    return Err(FaultCliError::Unlinked { name: fault.name, command: typed(fault, &site, "setup") });
                }
                Ok(fault.apply(site.site()).await.map_err(half)?)
            } else {
                fault.mend(site.site()).await.map_err(half)?;
                // A pair stays, so that it can be seen whole.
                if matches!(fault.scope, Scope::Pair) {
                    Ok(())
                } else {
                    Ok(fault.clear(site.site()).await.map_err(half)?)
                }
            }
        });
        done?;
        progress.note(&format!("{} ({})", if breaks { "broken" } else { "mended" }, took(progress.elapsed())));
        Ok(print(&if breaks { after_break(fault, &site, &name) } else { after_mend(fault, &site, &name) })?)
    }
}

/// One line a fault, the code last.
fn list() -> String {
    let by = |fault: &Fault| match fault.mended_by {
        Mender::Hint => "its hint",
        Mender::Table => "mend",
    };
    let mut lines = vec![["FAULT", "WHAT IS BROKEN", "MENDED BY", "ROWS", "CODE"].map(str::to_owned)];
    lines.extend(faults::all().map(|fault| {
        [fault.name, fault.what, by(fault), &fault.rows.join(" "), fault.code].map(|cell| match cell {
            "" => "-".to_owned(),
            text => text.to_owned(),
        })
    }));
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
    let (name, what, mended, rows) = (width(0), width(1), width(2), width(3));
    let line = |[a, b, c, d, e]: &[String; 5]| format!("{a:<name$}  {b:<what$}  {c:<mended$}  {d:<rows$}  {e}\n");
    lines.iter().map(line).collect()
}

/// A command of pxc-link on the link of a fault, as it is typed.
fn typed(fault: &Fault, site: &Opened, command: &str) -> String {
    let config = match (fault.scope, site) {
        (Scope::Pair, Opened::World(world)) => format!("--config {} ", world.dir().join(LINKS).display()),
        (_, Opened::Plain(plain)) => format!("--config {} ", plain.dir().join(demo::CONFIG_FILE).display()),
        _ => String::new(),
    };
    let yes = if command == "setup" { " --yes" } else { "" };
    format!("pxc-link {config}{command} --source {}{yes}", fault.link())
}

fn after_break(fault: &Fault, site: &Opened, place: &str) -> String {
    let argument = argument(place);
    let by_hand = if fault.mended_by == Mender::Hint { "as the hint says, or " } else { "" };
    let find = typed(
        fault,
        site,
        match fault.found_by {
            Finder::Setup | Finder::Start => "setup",
            Finder::Verify => "verify",
        },
    );
    let mut text = format!(
        "to see it found ({code}):  {find}\nto read about it:          pxc-link explain {code}\n\
         to mend it:                {by_hand}cargo sandbox mend {name}{argument}\n",
        code = fault.code,
        name = fault.name,
    );
    text.push_str(&emptied(fault, place));
    text
}

fn after_mend(fault: &Fault, site: &Opened, place: &str) -> String {
    let mut text = format!(
        "to see that it is whole:   {}\n                           {}\n",
        typed(fault, site, "setup"),
        typed(fault, site, "verify")
    );
    text.push_str(&emptied(fault, place));
    text
}

/// Servers keep their data as long as their pods live; a fault that restarts pods leaves them empty.
fn emptied(fault: &Fault, world: &str) -> String {
    let restarted: Vec<_> = fault.restarts().iter().map(|cluster| cluster.name()).collect();
    if restarted.is_empty() {
        return String::new();
    }
    let seen = format!("note: MySQL in {} was started anew and is empty", restarted.join(" and "));
    if !fault.restarts().contains(&Cluster::Production) {
        return seen + "; setup brings everything again\n";
    }
    let argument = argument(world);
    format!(
        "{seen}, so what the replica has from before is foreign to it;\n      \
         for a pair that fits: cargo sandbox down{argument}, then cargo sandbox up{argument}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_line_that_ends_with_its_code() {
        let text = list();
        assert_eq!(text.lines().count(), faults::all().count() + 1);
        for (line, fault) in text.lines().skip(1).zip(faults::all()) {
            assert!(line.starts_with(fault.name) && line.ends_with(fault.code), "{line}");
        }
    }

    #[test]
    fn an_emptied_source_is_told() {
        let told = |name: &str| emptied(faults::find(name).unwrap(), "default");
        assert_eq!(told("endpoint-silent"), "");
        assert!(told("no-dns-capture").contains("in dr was") && !told("no-dns-capture").contains("down"));
        assert!(
            told("strict-hang").contains("in production was") && told("strict-hang").contains("cargo sandbox down")
        );
    }
}
