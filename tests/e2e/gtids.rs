//! GTID sets: the tool's algebra and printing against the server's own functions, and GTIDs that say something else than the data.

use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use pxc_link::domain::gtid::GtidSet;
use sandbox::world::Cluster;

use crate::{
    Body,
    stage::{Checked, Stage},
};

pub(crate) const TRIALS: &[(&str, Body)] = &[("gtid_algebra_agrees_with_the_server", gtid_algebra)];

/// Pairs of sets that are compared, and how many of them a statement carries.
const PAIRS: usize = 400;
const AT_ONCE: usize = 50;

/// Intervals of a few UUIDs and tags as people type them: any order, overlapping, in both cases, with white space.
fn sets() -> impl Strategy<Value = String> {
    let interval = (1u64..60, 0u64..12).prop_map(|(start, more)| match more {
        0 => format!("{start}"),
        _ => format!("{start}-{}", start + more),
    });
    let tag = prop_oneof![
        Just(String::new()),
        Just("blue:".to_owned()),
        Just("_R2:".to_owned()),
        Just(format!("{}:", "x".repeat(32)))
    ];
    let uuid = prop_oneof![
        Just("3e11fa47-71ca-11e1-9e33-c80aa9429562"),
        Just("3E11FA47-71CA-11E1-9E33-C80AA9429563"),
        Just("ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ];
    let numbers = prop_oneof![
        9 => vec(interval, 1..5).prop_map(|parts| parts.join(":")),
        1 => Just("9223372036854775800-9223372036854775806".to_owned()),
    ];
    let part = (uuid, tag, numbers, prop_oneof![Just(""), Just(" ")])
        .prop_map(|(uuid, tag, numbers, space)| format!("{uuid}:{space}{tag}{numbers}{space}"));
    vec(part, 0..6).prop_map(|parts| parts.join(","))
}

/// The server is asked for difference, subset, canonical form, union and intersection of the same random sets every time.
fn gtid_algebra(stage: &Stage) -> Checked {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let pairs: Vec<(String, String)> = (0..PAIRS)
        .map(|_| Ok((sets(), sets()).new_tree(&mut runner)?.current()))
        .collect::<Result<_, proptest::test_runner::Reason>>()
        .map_err(|reason| reason.to_string())?;
    for some in pairs.chunks(AT_ONCE) {
        let asked: Vec<String> = some
            .iter()
            .map(|(a, b)| {
                let plain = |set: &str| format!("REPLACE({set}, '\\n', '')");
                let columns = [
                    plain(&format!("GTID_SUBTRACT('{a}', '{b}')")),
                    format!("GTID_SUBSET('{a}', '{b}')"),
                    plain(&format!("GTID_SUBTRACT('{a}', '')")),
                    plain(&format!("GTID_SUBTRACT('{a},{b}', '')")),
                    plain(&format!("GTID_SUBTRACT('{a}', GTID_SUBTRACT('{a}', '{b}'))")),
                ];
                format!("SELECT CONCAT_WS('|', {})", columns.join(", "))
            })
            .collect();
        let said = stage.sql(Cluster::Production, &asked.join(" UNION ALL "))?;
        let lines: Vec<&str> = said.lines().collect();
        if lines.len() != some.len() {
            return Err(format!("{} answers to {} questions:\n{said}", lines.len(), some.len()).into());
        }
        for ((a, b), server) in some.iter().zip(lines) {
            let (x, y): (GtidSet, GtidSet) = (a.parse()?, b.parse()?);
            let (less, subset) = (x.subtract(&y), u8::from(x.is_subset_of(&y)));
            let own = format!("{less}|{subset}|{x}|{}|{}", x.union(&y), x.intersect(&y));
            if server != own {
                return Err(format!("of {a:?} and {b:?} the server says {server}, the tool {own}").into());
            }
        }
    }
    Ok(())
}
