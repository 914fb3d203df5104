//! Settings that do not fit, on two plain servers: each is warned of by its code, and the printed statements mend it.

use pxc_link::{domain::hint::Remedy, report};
use sandbox::plain::End;

use crate::{duo::Duo, stage::Checked};

/// A trial that raises its own servers.
type Body = fn() -> Checked;

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("what_differs_is_warned_of_and_mended_as_printed", warned_and_mended),
    ("tables_are_compared_only_where_they_may_be_seen", privilege_to_see),
];

/// What is broken on the replica, by the code that tells of it; every one of these prints what mends it.
const REPLICA: [(&str, &str); 5] = [
    ("PXL525", "SET GLOBAL replica_max_allowed_packet = 16777216"),
    ("PXL526", "SET GLOBAL character_set_server = latin1; SET GLOBAL collation_server = latin1_swedish_ci"),
    ("PXL527", "SET GLOBAL time_zone = '+02:00'"),
    ("PXL528", "SET GLOBAL explicit_defaults_for_timestamp = OFF"),
    (
        "PXL530",
        "STOP REPLICA SQL_THREAD FOR CHANNEL 'production'; SET GLOBAL replica_preserve_commit_order = OFF; START REPLICA SQL_THREAD FOR CHANNEL 'production'",
    ),
];

/// What no statement can be printed for, with what a person would do.
const DECISIONS: [(&str, End, &str, &str); 3] = [
    (
        "PXL533",
        End::Replica,
        "DO asynchronous_connection_failover_add_source('production', '192.0.2.9', 3306, '', 50)",
        "DO asynchronous_connection_failover_delete_source('production', '192.0.2.9', 3306, '')",
    ),
    (
        "PXL534",
        End::Source,
        "CREATE TABLE t.keyless (x INT)",
        "ALTER TABLE t.keyless ADD id INT AUTO_INCREMENT PRIMARY KEY",
    ),
    (
        "PXL535",
        End::Source,
        "CREATE TABLE t.heap (x INT PRIMARY KEY) ENGINE = MyISAM",
        "ALTER TABLE t.heap ENGINE = InnoDB",
    ),
];

fn warned_and_mended() -> Checked {
    let duo = Duo::raise("e2e-settings")?;
    for end in [End::Source, End::Replica] {
        duo.sql(end, "SET sql_log_bin = 0; GRANT REFERENCES ON *.* TO pxc_link@'%'")?;
    }
    duo.linked()?;
    for (_, statement) in REPLICA {
        duo.sql(End::Replica, statement)?;
    }
    for (_, end, statement, _) in DECISIONS {
        duo.sql(end, statement)?;
    }
    duo.rows_arrive()?;
    let ended = duo.tool().run(&["verify"])?;
    ended.exits(0)?;
    for code in REPLICA.map(|(code, _)| code).into_iter().chain(DECISIONS.map(|(code, ..)| code)) {
        ended.says(&format!("[{code}]"))?;
    }
    for (_, end, _, statement) in DECISIONS {
        duo.sql(end, statement)?;
    }
    for remedy in report::commands(&ended.stdout) {
        match remedy {
            Remedy::Sql { server, statement } if server.starts_with("replica ") => {
                duo.sql(End::Replica, &statement)?;
            }
            Remedy::Sql { server, statement } if server.starts_with("source ") => {
                duo.sql(End::Source, &statement)?;
            }
            other => return Err(format!("nothing but statements was expected: {other}\n{ended}").into()),
        }
    }
    duo.rows_arrive()?;
    let ended = duo.tool().run(&["verify"])?;
    ended.exits(0)?;
    for code in REPLICA.map(|(code, _)| code).into_iter().chain(DECISIONS.map(|(code, ..)| code)) {
        if ended.stdout.contains(code) {
            return Err(format!("{code} was to be mended\n{ended}").into());
        }
    }
    Ok(())
}

/// Without the one privilege that shows tables they are unknown, which stops nothing; the printed grant shows them.
fn privilege_to_see() -> Checked {
    let duo = Duo::raise("e2e-unseen")?;
    duo.linked()?;
    duo.rows_arrive()?;
    // Once for each side: the second is asked when the first can be seen.
    for end in [End::Source, End::Replica] {
        let ended = duo.tool().run(&["verify"])?;
        ended.exits(0)?;
        ended.says("[PXL540]")?;
        let grant = report::commands(&ended.stdout).into_iter().find_map(|remedy| match remedy {
            Remedy::Sql { server, statement } if statement.starts_with("GRANT REFERENCES") => Some((server, statement)),
            _ => None,
        });
        let (server, grant) = grant.ok_or("no grant was printed")?;
        if !server.starts_with(&end.to_string()) {
            return Err(format!("{end} was to be granted first\n{ended}").into());
        }
        duo.sql(end, &format!("SET sql_log_bin = 0; {grant}"))?;
    }
    let ended = duo.tool().run(&["verify"])?;
    ended.exits(0)?;
    ended.says("every table that source")?;
    if ended.stdout.contains("PXL540") { Err(format!("the tables can be seen\n{ended}").into()) } else { Ok(()) }
}
