//! The README's two tables of failures, the mesh's and replication's, say what is true: every row with the code that the registry
//! gives it and the faults of the sandbox that reproduce it.

use std::collections::BTreeMap;

use pxc_link::domain::code::Code;
use sandbox::faults::Scope;

/// One of the tables.
struct Table {
    /// As rows are named: `mesh:36`, `repl:20`.
    name: &'static str,
    /// What its heading begins with.
    heading: &'static str,
    /// Rows that it has.
    rows: u8,
    /// Rows that faults must show at the least.
    reproduced: usize,
}

/// Rows of the mesh above 59 are about a request's way through gateways, which no command walks yet.
const TABLES: [Table; 2] = [
    Table { name: "mesh", heading: "| row |", rows: 59, reproduced: 35 },
    Table { name: "repl", heading: "| row of replication |", rows: 47, reproduced: 28 },
];

/// A row as the README has it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    code: String,
    shown_by: String,
}

impl Table {
    /// `| 36 | what is seen, why | PXL340 | endpoint-refused |`
    fn in_readme(&self) -> BTreeMap<u8, Row> {
        let cells =
            |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let table = include_str!("../README.md").lines().skip_while(|line| !line.starts_with(self.heading));
        let mut rows = BTreeMap::new();
        for line in table.skip(2).take_while(|line| line.starts_with('|')) {
            let [number, what, code, shown_by] = <[String; 4]>::try_from(cells(line)).expect(line);
            assert!(what.len() > 10, "row {number} says what is wrong");
            let twice = rows.insert(number.parse().expect(line), Row { code, shown_by });
            assert_eq!(twice, None, "row {number} stands there twice");
        }
        rows
    }

    fn in_code(&self) -> BTreeMap<u8, Row> {
        let row = |number: u8| {
            let name = format!("{}:{number}", self.name);
            let code = Code::ALL.iter().find(|code| code.rows().contains(&name.as_str()));
            let code = code.map(ToString::to_string).unwrap_or_default();
            // What a fault of the mesh does to replication may be told by the mesh's own code: then it does not show this one's.
            let faults: Vec<&str> = sandbox::faults::all()
                .filter(|fault| fault.rows.contains(&name.as_str()) && fault.code == code)
                .map(|fault| fault.name)
                .collect();
            let shown_by = if faults.is_empty() { "recorded facts".to_owned() } else { faults.join(", ") };
            (number, Row { code, shown_by })
        };
        (1..=self.rows).map(row).collect()
    }
}

#[test]
fn the_tables_are_what_the_registry_and_the_faults_say() {
    for table in &TABLES {
        let (told, true_ones) = (table.in_readme(), table.in_code());
        for (number, row) in &true_ones {
            assert_eq!(told.get(number), Some(row), "{}:{number} of the README, and what is so", table.name);
        }
        assert_eq!(told.len(), true_ones.len(), "no further rows of {}", table.name);
    }
}

#[test]
fn enough_rows_are_reproduced_and_each_fault_reports_the_code_of_its_rows() {
    for table in &TABLES {
        let reproduced = table.in_code().values().filter(|row| row.shown_by != "recorded facts").count();
        assert!(reproduced >= table.reproduced, "{reproduced} rows of {} are", table.name);
    }
    for fault in sandbox::faults::all() {
        let own = if matches!(fault.scope, Scope::Plain) { "repl:" } else { "mesh:" };
        for row in fault.rows.iter().filter(|row| row.starts_with(own)) {
            let code = Code::ALL.iter().find(|code| code.rows().contains(row)).expect(row);
            assert_eq!(code.to_string(), fault.code, "{row} of fault {}", fault.name);
        }
    }
}

#[test]
fn the_readme_counts_the_faults_right() {
    let readme = include_str!("../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let all = sandbox::faults::all().count();
    let by_hint = sandbox::faults::all().filter(|fault| fault.mended_by == sandbox::faults::Mender::Hint).count();
    for told in [format!("lists the {all} ways"), format!("{by_hint} by the commands of the hint")] {
        assert!(readme.contains(&told), "{told}");
    }
}
