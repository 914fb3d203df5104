//! The replica promoted, with the source alive, cut off and dead, and what stays of a link where a part of it is kept.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use sandbox::plain::End;

use crate::{duo::Duo, plain::Body, stage::Checked, tool::Ended};

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("a_source_that_lives_is_closed_and_caught_up_with", alive),
    ("events_are_listed_and_enabled_when_asked_for", events),
    ("what_does_not_arrive_keeps_the_source_open", not_arriving),
    ("a_source_that_is_cut_off_is_left_behind", cut_off),
    ("a_source_that_is_dead_needs_force", dead),
];

const PROMOTE: [&str; 3] = ["teardown", "--promote", "--yes"];

/// A pair with the link up, whose accounts may promote and whose replica is closed as it should be.
fn linked(name: &str) -> Result<Duo, Failed> {
    let duo = Duo::raise(name)?;
    duo.sql(End::Source, "GRANT SYSTEM_VARIABLES_ADMIN ON *.* TO pxc_link@'%'")?;
    duo.sql(
        End::Replica,
        "SET sql_log_bin=0; GRANT SYSTEM_VARIABLES_ADMIN, EVENT, SET_ANY_DEFINER ON *.* TO pxc_link@'%'",
    )?;
    duo.linked()?;
    duo.sql(End::Replica, "SET PERSIST super_read_only = ON")?;
    duo.rows_arrive()?;
    Ok(duo)
}

fn one(duo: &Duo, end: End, value: &str, wanted: &str) -> Checked {
    let seen = duo.sql(end, &format!("SELECT {value}"))?;
    if seen == wanted { Ok(()) } else { Err(format!("{value} of the {end} is {seen}, not {wanted}").into()) }
}

fn open(duo: &Duo, end: End, wanted: bool) -> Checked {
    one(duo, end, "CONCAT(@@read_only, @@super_read_only)", if wanted { "00" } else { "11" })
}

/// Nothing of the channel is left, and the replica takes writes now and when it starts again.
fn promoted(duo: &Duo) -> Checked {
    let left = duo.left_of_channels()?;
    if !left.trim().is_empty() {
        return Err(format!("of the channel is left: {left}").into());
    }
    open(duo, End::Replica, true)?;
    duo.sql(End::Replica, "INSERT INTO t.a (v) VALUES ('written on the new source')")?;
    duo.now(duo.plain.kill(End::Replica))?;
    duo.now(duo.plain.start(End::Replica, &[]))?;
    open(duo, End::Replica, true)
}

fn alive() -> Checked {
    let duo = Duo::raise("e2e-promote")?;
    duo.linked()?;
    let refused = duo.tool().run(&PROMOTE)?;
    refused.fails(5, "PXL403", &["SYSTEM_VARIABLES_ADMIN ON *.*", "on replica 127.0.0.1:"])?;
    duo.sql(End::Replica, "SET sql_log_bin=0; GRANT SYSTEM_VARIABLES_ADMIN, EVENT ON *.* TO pxc_link@'%'")?;
    duo.tool().run(&PROMOTE)?.fails(5, "PXL403", &["SYSTEM_VARIABLES_ADMIN ON *.*", "on source 127.0.0.1:"])?;
    duo.sql(End::Source, "SET sql_log_bin=0; GRANT SYSTEM_VARIABLES_ADMIN ON *.* TO pxc_link@'%'")?;
    open(&duo, End::Source, true)?;
    duo.sql(End::Replica, "SET PERSIST super_read_only = ON")?;
    // Written at the last moment, by somebody who does not know.
    duo.sql(End::Source, "INSERT INTO t.a (v) SELECT CONCAT('late ', id) FROM t.a")?;
    let ended = duo.tool().run(&PROMOTE)?;
    ended.exits(0)?;
    ended.says("ended and its replica takes writes")?;
    ended.says("promotion.arrived")?;
    duo.rows_arrive()?;
    open(&duo, End::Source, false)?;
    if duo.sql(End::Source, "INSERT INTO t.a (v) VALUES ('too late')").is_ok() {
        return Err("the old source took a write".into());
    }
    promoted(&duo)?;
    // The old source stays closed when it starts again.
    duo.now(duo.plain.kill(End::Source))?;
    duo.now(duo.plain.start(End::Source, &[]))?;
    open(&duo, End::Source, false)
}

fn events() -> Checked {
    let duo = linked("e2e-events")?;
    duo.sql(
        End::Source,
        "CREATE USER app@'%' IDENTIFIED BY 'app'; GRANT ALL ON t.* TO app@'%'; \
         CREATE DEFINER = app@'%' EVENT t.`night``ly` ON SCHEDULE EVERY 1 DAY DO DELETE FROM t.a WHERE id < 0; \
         CREATE EVENT t.hourly ON SCHEDULE EVERY 1 HOUR DO DELETE FROM t.a WHERE id < 0",
    )?;
    let states = "SELECT GROUP_CONCAT(event_name, ' ', status ORDER BY event_name) FROM information_schema.events";
    arrives(|| {
        let seen = duo.sql(End::Replica, states)?;
        Ok(seen == "hourly REPLICA_SIDE_DISABLED,night`ly REPLICA_SIDE_DISABLED")
    })?;
    let shown = duo.tool().run(&["teardown", "--promote", "--enable-events"])?;
    // Nobody agreed, so that the plan is all that came of it.
    shown.fails(2, "PXL112", &["event `t`.`hourly`", "event `t`.`night``ly`"])?;
    open(&duo, End::Source, true)?;
    let ended = duo.tool().run(&["teardown", "--promote", "--enable-events", "--yes"])?;
    ended.exits(0)?;
    // The definer of the other one is root, whose events not everybody may change.
    ended.says("ALTER DEFINER = 'root'@'%' EVENT `t`.`hourly` ENABLE")?;
    one(&duo, End::Replica, &format!("({states})"), "hourly REPLICA_SIDE_DISABLED,night`ly ENABLED")?;
    let definers = "(SELECT GROUP_CONCAT(definer ORDER BY event_name) FROM information_schema.events)";
    one(&duo, End::Replica, definers, "root@%,app@%")?;
    duo.sql(End::Replica, "ALTER DEFINER = 'root'@'%' EVENT `t`.`hourly` ENABLE")?;
    one(&duo, End::Replica, &format!("({states})"), "hourly ENABLED,night`ly ENABLED")?;
    promoted(&duo)
}

fn not_arriving() -> Checked {
    let duo = linked("e2e-behind")?;
    duo.sql(End::Replica, "STOP REPLICA SQL_THREAD FOR CHANNEL 'production'")?;
    duo.tool().run(&PROMOTE)?.fails(4, "PXL551", &["applier OFF", "pxc-link setup --source production"])?;
    duo.sql(End::Replica, "START REPLICA SQL_THREAD FOR CHANNEL 'production'")?;
    // An applier that runs and waits for a lock.
    let ended = std::thread::scope(|scope| {
        let lock = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let hold = "SET GLOBAL super_read_only = OFF; LOCK TABLES t.a WRITE; DO SLEEP(12)";
            Ok::<_, Failed>(runtime.block_on(duo.plain.sql(End::Replica, hold))?)
        });
        std::thread::sleep(Duration::from_millis(700));
        duo.sql(End::Source, "INSERT INTO t.a (v) VALUES ('behind a lock')")?;
        let ended = duo.tool().run(&["--timeout", "6s", "teardown", "--promote", "--yes"])?;
        lock.join().map_err(|_| Failed::from("the thread with the lock panicked"))??;
        Ok::<Ended, Failed>(ended)
    })?;
    ended.fails(4, "PXL551", &["1 transaction(s) missing"])?;
    open(&duo, End::Source, true)?;
    duo.sql(End::Source, "INSERT INTO t.a (v) VALUES ('goes on')")?;
    duo.rows_arrive()?;
    duo.tool().run(&["verify"])?.exits(0)?;
    // With force it waits for a while and then says what is lost.
    duo.sql(End::Replica, "STOP REPLICA IO_THREAD FOR CHANNEL 'production'")?;
    duo.sql(End::Source, "INSERT INTO t.a (v) VALUES ('never arrives')")?;
    let executed = duo.sql(End::Source, "SELECT @@gtid_executed")?;
    let last = executed.rsplit(['-', ':']).next().unwrap_or_default().to_owned();
    let forced = duo.tool().run(&["teardown", "--promote", "--force", "--yes"])?;
    forced.exits(0)?;
    forced.says("PXL551")?;
    forced.says(&format!(":{last}"))?;
    open(&duo, End::Source, false)?;
    promoted(&duo)
}

/// A source that hangs as one does behind a network that drops everything.
fn cut_off() -> Checked {
    let duo = linked("e2e-cut")?;
    let source = duo.plain.process(End::Source).ok_or("the source does not run")?;
    source.signal(Signal::SIGSTOP);
    let forced = duo.tool().run(&["--timeout", "60s", "teardown", "--promote", "--force", "--yes"])?;
    source.signal(Signal::SIGCONT);
    forced.exits(0)?;
    forced.says("PXL550")?;
    forced.says("the source was not read")?;
    promoted(&duo)
}

fn dead() -> Checked {
    let duo = linked("e2e-dead")?;
    duo.now(duo.plain.kill(End::Source))?;
    duo.tool().run(&PROMOTE)?.fails(4, "PXL550", &["source 127.0.0.1:", "--promote --force"])?;
    open(&duo, End::Replica, false)?;
    let forced = duo.tool().run(&["teardown", "--promote", "--force", "--yes"])?;
    forced.exits(0)?;
    forced.says("PXL550")?;
    promoted(&duo)?;
    duo.tool().run(&["teardown", "--yes"])?.says("nothing of link production")
}

/// Tries until it is so.
fn arrives(look: impl Fn() -> Result<bool, Failed>) -> Checked {
    let begun = Instant::now();
    while !look()? {
        if begun.elapsed() > Duration::from_secs(20) {
            return Err("it did not come about".into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
