//! The README's table of failures says what is true: every row of 1 to 59 with the code that the registry gives it and the faults
//! of the sandbox that reproduce it.

use std::collections::BTreeMap;

use pxc_link::domain::code::Code;

/// Rows of the mesh; those above are about a request's way through gateways, which no command walks yet.
const ROWS: u8 = 59;

/// A row as the README has it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    code: String,
    shown_by: String,
}

/// `| 36 | what is seen, why | PXL340 | endpoint-refused |`
fn in_readme() -> BTreeMap<u8, Row> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let table = include_str!("../README.md").lines().skip_while(|line| !line.starts_with("| row |"));
    let mut rows = BTreeMap::new();
    for line in table.skip(2).take_while(|line| line.starts_with('|')) {
        let [number, what, code, shown_by] = <[String; 4]>::try_from(cells(line)).expect(line);
        assert!(what.len() > 10, "row {number} says what is wrong");
        let twice = rows.insert(number.parse().expect(line), Row { code, shown_by });
        assert_eq!(twice, None, "row {number} stands there twice");
    }
    rows
}

fn in_code() -> BTreeMap<u8, Row> {
    let row = |number: u8| {
        let name = format!("mesh:{number}");
        let code = Code::ALL.iter().find(|code| code.rows().contains(&name.as_str()));
        let faults: Vec<&str> = sandbox::faults::all()
            .filter(|fault| fault.rows.contains(&name.as_str()))
            .map(|fault| fault.name)
            .collect();
        let shown_by = if faults.is_empty() { "recorded facts".to_owned() } else { faults.join(", ") };
        (number, Row { code: code.map(ToString::to_string).unwrap_or_default(), shown_by })
    };
    (1..=ROWS).map(row).collect()
}

#[test]
fn the_table_is_what_the_registry_and_the_faults_say() {
    let (told, true_ones) = (in_readme(), in_code());
    for (number, row) in &true_ones {
        assert_eq!(told.get(number), Some(row), "row {number} of the README, and what is so");
    }
    assert_eq!(told.len(), true_ones.len(), "no further rows");
}

#[test]
fn at_least_35_rows_are_reproduced_and_each_fault_reports_the_code_of_its_rows() {
    let reproduced = in_code().values().filter(|row| row.shown_by != "recorded facts").count();
    assert!(reproduced >= 35, "{reproduced} rows are");
    for fault in sandbox::faults::all() {
        for row in fault.rows.iter().filter(|row| row.starts_with("mesh:")) {
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
