//! The tables of the demo as both sides have them: rows and checksums.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sandbox::world::{Cluster, ExecError, World};

const TABLES: &str = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'demo' AND table_type = \
    'BASE TABLE' ORDER BY table_name";

/// One table as both sides have it: rows and checksum, source first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compared {
    table: String,
    sides: [(String, String); 2],
}

impl Compared {
    /// Whether both have the same; a checksum that is none (`NULL`) is not the same as another.
    pub(super) fn is_equal(&self) -> bool {
        self.sides[0] == self.sides[1] && self.sides[0].1.parse::<u64>().is_ok()
    }
}

/// Every table that either side has.
pub(super) async fn both_sides(world: &World) -> Result<Vec<Compared>, ExecError> {
    let mut names = BTreeSet::new();
    for cluster in Cluster::ALL {
        names.extend(world.mysql(cluster, 0, TABLES).await?.lines().map(str::to_owned));
    }
    let mut tables = Vec::new();
    for name in names {
        let quoted = name.replace('`', "``");
        let sql = format!("SELECT COUNT(*) FROM demo.`{quoted}`; CHECKSUM TABLE demo.`{quoted}`");
        let (source, replica) =
            (world.mysql(Cluster::Production, 0, &sql).await?, world.mysql(Cluster::Dr, 0, &sql).await?);
        tables.push(Compared { table: format!("demo.{name}"), sides: [figures(&source), figures(&replica)] });
    }
    Ok(tables)
}

/// Rows and checksum out of what the client printed: a number, then name and checksum.
fn figures(printed: &str) -> (String, String) {
    let mut lines = printed.lines();
    let rows = lines.next().unwrap_or_default().to_owned();
    (rows, lines.next().and_then(|line| line.rsplit('\t').next()).unwrap_or_default().to_owned())
}

/// The comparison for reading: a line a table.
pub(super) fn table(tables: &[Compared]) -> String {
    let mut text =
        format!("{:<16}{:>12}{:>12}{:>14}{:>14}\n", "TABLE", "ROWS source", "replica", "CHECKSUM src", "replica");
    for compared @ Compared { table, sides: [source, replica] } in tables {
        let verdict = if compared.is_equal() { "equal" } else { "DIFFERENT" };
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "{table:<16}{:>12}{:>12}{:>14}{:>14}  {verdict}", source.0, replica.0, source.1, replica.1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_seen() {
        let side = |text| figures(text);
        assert_eq!(side("12\ndemo.orders\t4242\n"), ("12".to_owned(), "4242".to_owned()));
        let compared = |replica| Compared {
            table: "demo.orders".to_owned(),
            sides: [side("12\ndemo.orders\t4242\n"), side(replica)],
        };
        assert!(table(&[compared("12\ndemo.orders\t4242\n")]).ends_with("  equal\n"));
        assert!(table(&[compared("12\ndemo.orders\t4243\n")]).ends_with("  DIFFERENT\n"));
        let nothing = Compared {
            table: "demo.orders".to_owned(),
            sides: [side("0\ndemo.orders\tNULL\n"), side("0\ndemo.orders\tNULL\n")],
        };
        assert!(!nothing.is_equal());
    }
}
