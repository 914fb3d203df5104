//! Whether transactions get GTIDs, and whether the binary log holds all that is to be replicated, for long enough.

use super::super::{Asked, named};
use crate::domain::{
    check::{Check, Side},
    code::Code,
    facts::{MemberFacts, ServerFacts},
    hint::Hint,
    problem::Problem,
};

/// Binary logs kept for less than a day do not outlast a night's outage. In seconds.
const SHORT_RETENTION: u64 = 24 * 60 * 60;

fn on(value: &str) -> bool {
    value.eq_ignore_ascii_case("ON") || value == "1"
}

pub(super) fn gtid_mode(link: &str, side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    const STEPS: [&str; 4] = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    let (mode, consistency) = (&server.gtid_mode, &server.enforce_gtid_consistency);
    if on(mode) && on(consistency) {
        return asked.passed(["gtid_mode ON, enforce_gtid_consistency ON"]);
    }
    let name = named(side, one);
    let mut hint = Hint::text(
        "raise it step by step, each step on every server of both sides before the next; before ON wait until `Ongoing_anonymous_transaction_count` is 0, and write both into the configuration file too",
    );
    if !on(consistency) {
        hint = hint.sql(&name, "SET PERSIST enforce_gtid_consistency = ON");
    }
    let at = STEPS.iter().position(|step| mode.eq_ignore_ascii_case(step)).unwrap_or(0);
    for step in &STEPS[at + 1..] {
        hint = hint.sql(&name, format!("SET PERSIST gtid_mode = {step}"));
    }
    asked.failed(
        Problem::new(
            Code::GtidsOff,
            format!("{name} has gtid_mode {mode} and enforce_gtid_consistency {consistency}; both must be ON"),
        )
        .seen(format!("@@gtid_mode = {mode}"))
        .seen(format!("@@enforce_gtid_consistency = {consistency}"))
        // A receiver that met it is off until somebody starts it.
        .hint(hint.then(["pxc-link", "setup", "--source", link])),
    )
}

pub(super) fn binlog(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let shown = |flag: bool| if flag { "ON" } else { "OFF" };
    let (log, updates) = (shown(server.log_bin), shown(server.log_replica_updates));
    if server.log_bin && server.log_replica_updates {
        return asked.passed(["log_bin ON, log_replica_updates ON"]);
    }
    let name = named(side, one);
    let why = match side {
        Side::Source => "what it does not log, its members' writes included, never reaches the replica",
        Side::Replica | Side::Client => "the channel works, but this member can pass nothing on",
    };
    let problem = Problem::new(
        Code::BinaryLogOff,
        format!("{name} has log_bin {log} and log_replica_updates {updates}: {why}"),
    )
    .seen(format!("@@log_bin = {log}"))
    .seen(format!("@@log_replica_updates = {updates}"))
    .hint(Hint::text("neither can be set at run time: write `log_bin` and `log_replica_updates=ON` into the server's configuration and restart it"));
    if side == Side::Source { asked.failed(problem) } else { asked.warned(problem) }
}

pub(super) fn format(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let (format, image) = (&server.binlog_format, &server.binlog_row_image);
    let (row, full) = (format.eq_ignore_ascii_case("ROW"), image.eq_ignore_ascii_case("FULL"));
    if row && full {
        return asked.passed(["binlog_format ROW, binlog_row_image FULL"]);
    }
    let name = named(side, one);
    let mut hint = Hint::text("sessions that are open keep the old value until they reconnect");
    if !row {
        hint = hint.sql(&name, "SET PERSIST binlog_format = 'ROW'");
    }
    if !full {
        hint = hint.sql(&name, "SET PERSIST binlog_row_image = 'FULL'");
    }
    let problem = Problem::new(
        Code::NotRowFormat,
        format!("{name} has binlog_format {format} and binlog_row_image {image} instead of ROW and FULL"),
    )
    .seen(format!("@@binlog_format = {format}"))
    .seen(format!("@@binlog_row_image = {image}"))
    .hint(hint);
    // Statements can give other rows on the replica; a smaller image only makes repair harder.
    if side == Side::Source && !row { asked.failed(problem) } else { asked.warned(problem) }
}

pub(super) fn retention(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let seconds = server.binlog_expire_logs_seconds;
    match seconds {
        0 => asked.passed(["binary logs are not purged by age"]),
        1..SHORT_RETENTION => asked.warned(
            Problem::new(
                Code::ShortRetention,
                format!(
                    "{} keeps binary logs for {} min only; a longer outage ends the link",
                    named(side, one),
                    seconds / 60
                ),
            )
            .seen(format!("@@binlog_expire_logs_seconds = {seconds}"))
            .hint(
                Hint::text("keep them for twice the longest outage the link must outlast, for example a week")
                    .sql(named(side, one), "SET PERSIST binlog_expire_logs_seconds = 604800"),
            ),
        ),
        _ => asked.passed([format!("binary logs are kept for {} h", seconds / 3600)]),
    }
}
