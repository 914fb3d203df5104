//! The commands of `cargo sandbox` that list faults, break a world on purpose and mend it.

use std::io;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use sandbox::cache::Cache;
use sandbox::faults::{self, FAULTS, Fault, FaultError, Mender};
use sandbox::progress::{Progress, took};
use sandbox::world::{Cluster, World, WorldError};

use crate::cli::{argument, print};
use crate::cli_world::Name;

/// What finds a fault, as it is typed.
const FIND: &str = "pxc-link setup --source production --yes";

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
    #[error("could not write the output or start working: {0}")]
    Io(#[from] io::Error),
}

fn fault_parser() -> impl TypedValueParser<Value = &'static Fault> {
    PossibleValuesParser::new(FAULTS.iter().map(|fault| PossibleValue::new(fault.name).help(fault.what)))
        .try_map(|name| faults::find(&name).ok_or("there is no such fault"))
}

impl FaultCommand {
    pub(crate) fn run(self, cache: &Cache) -> Result<(), FaultCliError> {
        let (which, breaks) = match self {
            Self::Faults => return Ok(print(&list(FAULTS))?),
            Self::Break(which) => (which, true),
            Self::Mend(which) => (which, false),
        };
        let Which { fault, name: Name { name } } = which;
        let world = World::open(cache, &name)?;
        let progress = Progress::new();
        progress.note(&format!("{} `{name}`: {}", if breaks { "breaking" } else { "mending" }, fault.what));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let done =
            runtime.block_on(async { if breaks { fault.apply(&world).await } else { fault.mend(&world).await } });
        done.map_err(|cause| FaultCliError::Half {
            name: fault.name,
            argument: argument(&name),
            cause: Box::new(cause),
        })?;
        progress.note(&format!("{} ({})", if breaks { "broken" } else { "mended" }, took(progress.elapsed())));
        Ok(print(&if breaks { after_break(fault, &name) } else { after_mend(fault, &name) })?)
    }
}

/// One line a fault, the code last.
fn list(faults: &[Fault]) -> String {
    let by = |fault: &Fault| match fault.mended_by {
        Mender::Hint => "its hint",
        Mender::Table => "mend",
    };
    let mut lines = vec![["FAULT", "WHAT IS BROKEN", "MENDED BY", "ROWS", "CODE"].map(str::to_owned)];
    lines.extend(faults.iter().map(|fault| {
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

fn after_break(fault: &Fault, world: &str) -> String {
    let argument = argument(world);
    let by_hand = if fault.mended_by == Mender::Hint { "as the hint says, or " } else { "" };
    let mut text = format!(
        "to see it found ({code}):  {FIND}\nto read about it:          pxc-link explain {code}\n\
         to mend it:                {by_hand}cargo sandbox mend {name}{argument}\n",
        code = fault.code,
        name = fault.name,
    );
    text.push_str(&emptied(fault, world));
    text
}

fn after_mend(fault: &Fault, world: &str) -> String {
    let mut text =
        format!("to see that it is whole:   {FIND}\n                           pxc-link verify --source production\n");
    text.push_str(&emptied(fault, world));
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
        let text = list(FAULTS);
        assert_eq!(text.lines().count(), FAULTS.len() + 1);
        for (line, fault) in text.lines().skip(1).zip(FAULTS) {
            assert!(line.starts_with(fault.name) && line.ends_with(fault.code), "{line}");
        }
    }

    #[test]
    fn what_to_type_names_the_world() {
        let fault = faults::find("no-sidecar").unwrap();
        assert!(after_break(fault, "other").contains("cargo sandbox mend no-sidecar --name other\n"));
        assert!(after_break(fault, "default").contains("cargo sandbox mend no-sidecar\n"));
    }

    #[test]
    fn an_emptied_source_is_told() {
        let told = |name: &str| emptied(faults::find(name).unwrap(), "default");
        assert_eq!(told("endpoint-silent"), "");
        assert!(told("no-sidecar").contains("in dr was") && !told("no-sidecar").contains("down"));
        assert!(
            told("strict-hang").contains("in production was") && told("strict-hang").contains("cargo sandbox down")
        );
    }
}
