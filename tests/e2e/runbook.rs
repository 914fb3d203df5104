//! Runbooks that are carried out as they are printed: commands and SQL in their order, as a person at both consoles would.

use libtest_mimic::Failed;
use pxc_link::{domain::hint::Remedy, report};
use sandbox::plain::End;

use crate::stage::Checked;

/// Runs what a refused setup prints; gives how many statements that were. The password that a statement makes goes where the next
/// one wants it. `sql` runs a statement on a side's server, `command` a command line.
pub(crate) fn run(
    printed: &str,
    mut sql: impl FnMut(End, &str) -> Result<String, Failed>,
    mut command: impl FnMut(&[String]) -> Checked,
) -> Result<usize, Failed> {
    let mut password = String::new();
    let mut statements = 0;
    for remedy in report::commands(printed) {
        match remedy {
            Remedy::Argv(argv) => command(&argv)?,
            Remedy::Sql { server, statement } => {
                statements += 1;
                let end = if server.starts_with("source ") { End::Source } else { End::Replica };
                let filled = statement.replace("<the password shown>", &format!("'{}'", password.replace('\'', "''")));
                let answer = sql(end, &filled)?;
                if statement.contains("RANDOM PASSWORD") {
                    answer.split('\t').nth(2).unwrap_or_default().clone_into(&mut password);
                }
            }
        }
    }
    Ok(statements)
}
