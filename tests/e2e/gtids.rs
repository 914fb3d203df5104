//! GTID sets: the tool's algebra and printing against the server's own functions, and GTIDs that say something else than the data.

use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use pxc_link::domain::gtid::GtidSet;
use sandbox::{plain::End, world::Cluster};

use crate::{
    Body,
    plain::soon,
    runbook,
    stage::{Checked, Stage},
};

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("gtid_algebra_agrees_with_the_server", gtid_algebra),
    ("gtids_of_the_replicas_own_are_reported_as_they_grow", growth),
    ("data_that_no_gtid_stands_for_is_found", without_gtids),
    ("gtids_that_no_data_stands_for_stop_a_setup", without_data),
    ("a_purged_source_is_cloned_through_the_name", cloned),
];

const SETUP: [&str; 4] = ["setup", "--source", "production", "--yes"];

/// Rows enough for an estimate to be believed.
const FILL: &str = "SET SESSION cte_max_recursion_depth = 5000; INSERT INTO audit.entries WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i, 'x' FROM n";
const TABLE: &str = "CREATE DATABASE audit; CREATE TABLE audit.entries (id INT PRIMARY KEY, what VARCHAR(20))";

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

/// A check of `verify` shows this code, however the command ends.
fn verify_shows(stage: &Stage, exit: i32, code: &str, seen: &str) -> Checked {
    let ended = stage.tool().run(&["verify"])?;
    ended.exits(exit)?;
    ended.says(&format!("[{code}]"))?;
    ended.says(seen)
}

/// A setup is refused with this code and leaves nothing behind.
fn setup_is_refused(stage: &Stage, code: &str, seen: &[&str]) -> Checked {
    let before = stage.untouched()?;
    let ended = stage.tool().run(&SETUP)?;
    ended.fails(4, code, seen)?;
    if before == stage.untouched()? {
        Ok(())
    } else {
        Err(format!("the refused setup wrote something\n{ended}").into())
    }
}

fn checksums_are_equal(stage: &Stage) -> Checked {
    let of = |cluster| stage.sql(cluster, "CHECKSUM TABLE audit.entries");
    let (source, replica) = (of(Cluster::Production)?, of(Cluster::Dr)?);
    if source == replica && !source.contains("NULL") {
        Ok(())
    } else {
        Err(format!("{source} is not {replica}").into())
    }
}

fn growth(stage: &Stage) -> Checked {
    stage.unlinked()?;
    stage.sql(Cluster::Dr, "CREATE DATABASE before_setup; DROP DATABASE before_setup")?;
    stage.linked()?;
    stage.tool().run(&["verify"])?.says("all there when the link was set up")?;
    stage.sql(Cluster::Dr, "CREATE DATABASE after_setup; DROP DATABASE after_setup")?;
    verify_shows(stage, 0, "PXL522", "2 transaction(s) of its own more than when the link was set up")?;
    // Another setup does not take it for granted.
    stage.linked()?;
    verify_shows(stage, 0, "PXL522", "2 transaction(s)")
}

/// Rows that were loaded on the source without the binary log.
fn without_gtids(stage: &Stage) -> Checked {
    stage.linked()?;
    let quietly = |cluster, statement: &str| stage.sql(cluster, &format!("SET sql_log_bin = 0; {statement}"));
    quietly(Cluster::Production, &format!("{TABLE}; {FILL}"))?;
    verify_shows(stage, 4, "PXL536", "audit.entries")?;
    // The table is there and its rows are not.
    quietly(Cluster::Dr, TABLE)?;
    verify_shows(stage, 0, "PXL537", "audit.entries: about 3000 rows on source pxc-0, 0 here")?;
    // Mended as the code's text says: the table is copied with what it holds.
    quietly(Cluster::Dr, FILL)?;
    let ended = stage.tool().run(&["verify"])?;
    ended.exits(0)?;
    if ended.stdout.contains("PXL537") {
        return Err(format!("the rows are there\n{ended}").into());
    }
    checksums_are_equal(stage)?;
    for cluster in Cluster::ALL {
        quietly(cluster, "DROP DATABASE audit")?;
    }
    Ok(())
}

/// A replica whose GTIDs were lost or set by hand, and a source whose GTIDs were lost.
fn without_data(stage: &Stage) -> Checked {
    stage.linked()?;
    stage.sql(Cluster::Production, &format!("{TABLE}; {FILL}"))?;
    stage.tool().run(&[&SETUP[..], &["--wait", "caught-up"]].concat())?.exits(0)?;
    stage.unlinked()?;
    let executed =
        |cluster| Ok::<_, libtest_mimic::Failed>(stage.sql(cluster, "SELECT @@gtid_executed")?.replace('\n', ""));
    let (of_source, of_replica) = (executed(Cluster::Production)?, executed(Cluster::Dr)?);
    let reset = |cluster, to: &str| {
        stage.sql(cluster, &format!("RESET BINARY LOGS AND GTIDS; SET GLOBAL gtid_purged = '{to}'"))
    };

    // The data is there and its GTIDs are not: nothing is played over it.
    reset(Cluster::Dr, "")?;
    setup_is_refused(stage, "PXL539", &["audit.entries"])?;
    // The GTIDs are there and the data is not.
    stage.sql(Cluster::Dr, "SET sql_log_bin = 0; RENAME TABLE audit.entries TO audit.kept")?;
    reset(Cluster::Dr, &of_replica)?;
    setup_is_refused(stage, "PXL536", &["audit.entries"])?;
    stage.sql(Cluster::Dr, "SET sql_log_bin = 0; RENAME TABLE audit.kept TO audit.entries")?;
    // The source's own history is gone: its next transactions would be taken for known.
    reset(Cluster::Production, "")?;
    setup_is_refused(stage, "PXL504", &["the two have gone separate ways"])?;

    // What was not written to since gets back the set that belongs to it.
    reset(Cluster::Production, &of_source)?;
    stage.linked()?;
    stage.sql(Cluster::Production, "INSERT INTO audit.entries VALUES (90000, 'after')")?;
    stage.tool().run(&[&SETUP[..], &["--wait", "caught-up"]].concat())?.exits(0)?;
    checksums_are_equal(stage)?;
    stage.sql(Cluster::Production, "DROP DATABASE audit").map(drop)
}

/// A new link to a source that has purged what the replica lacks: the runbook makes the mesh name first, and the replica clones
/// through it.
fn cloned(stage: &Stage) -> Checked {
    stage.unlinked()?;
    stage.sql(
        Cluster::Production,
        &format!("{TABLE}; {FILL}; FLUSH BINARY LOGS; DO SLEEP(1.1); PURGE BINARY LOGS BEFORE NOW()"),
    )?;
    let ended = stage.tool().run(&SETUP)?;
    ended.fails(4, "PXL503", &["CLONE"])?;
    let sql = |end, statement: &str| {
        let cluster = if end == End::Source { Cluster::Production } else { Cluster::Dr };
        let cloning = statement.starts_with("CLONE INSTANCE");
        let answer = stage.sql(cluster, statement);
        if !cloning {
            return answer;
        }
        // The server ends with what it cloned and is no child of anything that starts it again; the kubelet makes its container anew.
        match answer {
            Err(error) if error.message().is_some_and(|said| said.contains("3707")) => {}
            other => return Err(format!("the replica was to clone, and to end with error 3707: {other:?}").into()),
        }
        soon(|| stage.sql(cluster, "SELECT COUNT(*) FROM audit.entries"))
    };
    let command = |argv: &[String]| {
        let arguments: Vec<&str> = argv.iter().skip(1).map(String::as_str).chain(["--yes"]).collect();
        if !arguments.contains(&"mesh") {
            // The source's accounts came along, and what they may is what the source's need. Before that the pod has to be ready.
            let ended = soon(|| {
                let ended = stage.tool().run(&arguments)?;
                ended.fails(5, "PXL403", &["REPLICATION_SLAVE_ADMIN"])?;
                Ok(ended)
            })?;
            return runbook::run(&ended.stderr, sql, |_| Ok(())).map(drop);
        }
        let ended = stage.tool().run(&arguments)?;
        ended.exits(0)?;
        ended.says("its replication was left alone")?;
        let channels = stage.sql(Cluster::Dr, "SELECT COUNT(*) FROM mysql.slave_master_info")?;
        if channels == "0" { Ok(()) } else { Err("only the mesh was to be set up".into()) }
    };
    runbook::run(&ended.stderr, sql, command)?;
    stage.sql(Cluster::Production, "INSERT INTO audit.entries VALUES (90000, 'after')")?;
    stage.tool().run(&[&SETUP[..], &["--wait", "caught-up"]].concat())?.exits(0)?;
    checksums_are_equal(stage)?;
    stage.sql(Cluster::Production, "DROP USER pxc_clone; UNINSTALL PLUGIN clone; DROP DATABASE audit").map(drop)
}
