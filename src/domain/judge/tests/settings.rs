//! Settings in which the replica must be like the source, those of its applier, and releases with known bugs.

use super::{broken, check_of, commands, replica, shown, source, unread, verdict};
use crate::domain::{
    check::CheckId,
    code::Code,
    facts::{Facts, ServerSettings},
    judge::ids,
    sample::{self, facts, replicas, spec},
};

/// A member of the replica that is not the carrier gets another setting; the source's member that is compared says so.
fn differs(id: CheckId, code: Code, change: impl Fn(&mut ServerSettings)) -> (String, Vec<String>) {
    let check = broken(id, &source(1), ("warned", code), |_, facts| change(&mut sample::replica(facts, 1).settings));
    assert!(shown(&check).contains("source pxc-1") && shown(&check).contains("replica pxc-1"), "{}", shown(&check));
    broken(id, &source(0), ("unknown", Code::ServerUnreachable), |_, facts| {
        replicas(facts)[1].server = Some(unread(Code::ServerUnreachable));
    });
    (shown(&check), commands(&check))
}

#[test]
fn settings_that_differ_name_both_values_and_mend_the_replica() {
    let (text, _) = differs(ids::TABLE_NAMES, Code::NamesDiffer, |settings| settings.lower_case_table_names = 1);
    assert!(text.contains("0 on source pxc-1, 1 on replica pxc-1"), "{text}");
    let (_, commands) = differs(ids::PACKET_SIZE, Code::PacketTooSmall, |settings| {
        settings.replica_max_allowed_packet = (64 << 20) - 1024;
    });
    assert_eq!(commands, ["SET PERSIST replica_max_allowed_packet = 1073741824;  -- on replica pxc-1"]);
    let (_, commands) = differs(ids::COLLATION, Code::CollationDiffers, |settings| {
        settings.collation_server = "latin1_swedish_ci".to_owned();
    });
    assert_eq!(
        commands,
        [
            "SET PERSIST character_set_server = 'utf8mb4';  -- on replica pxc-1",
            "SET PERSIST collation_server = 'utf8mb4_0900_ai_ci';  -- on replica pxc-1",
        ]
    );
    let (_, commands) = differs(ids::TIMESTAMPS, Code::TimestampsDiffer, |settings| {
        settings.explicit_defaults_for_timestamp = false;
    });
    assert_eq!(commands, ["SET PERSIST explicit_defaults_for_timestamp = ON;  -- on replica pxc-1"]);
}

#[test]
fn time_zones_must_be_known_by_name_where_the_source_knows_them() {
    let (text, commands) = differs(ids::TIME_ZONES, Code::TimeZonesDiffer, |settings| settings.time_zone_names = false);
    assert!(text.contains("names of zones unknown") && commands.is_empty(), "{text}");
    let (_, commands) = differs(ids::TIME_ZONES, Code::TimeZonesDiffer, |settings| {
        (settings.time_zone, settings.utc_offset_seconds) = ("+02:00".to_owned(), Some(7200));
    });
    assert_eq!(commands, ["SET PERSIST time_zone = '+00:00';  -- on replica pxc-1"]);
    let same = |change: &dyn Fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        assert_eq!(verdict(&check_of(&spec(), &facts, ids::TIME_ZONES, &source(0))), ("passed", None));
    };
    // The same time by another name, and a replica that knows more than its source.
    same(&|facts| sample::replica(facts, 0).settings.system_time_zone = "GMT".to_owned());
    same(&|facts| (0..2).for_each(|number| sample::source(facts, number).settings.time_zone_names = false));
}

#[test]
fn clocks_are_compared_as_exactly_as_they_were_read() {
    let at = |replica_clock: &str, took_ms: u64| {
        let mut facts = facts();
        let server = sample::replica(&mut facts, 0);
        (server.clock, server.asked_for_ms) = (replica_clock.parse().unwrap(), took_ms);
        check_of(&spec(), &facts, ids::CLOCKS, &source(0))
    };
    let warned = ("warned", Some(Code::ClocksDiffer));
    assert_eq!(verdict(&at("2026-11-21T08:00:11.500Z", 4)), warned);
    assert_eq!(verdict(&at("2026-11-21T08:00:08.500Z", 4)), warned);
    assert_eq!(verdict(&at("2026-11-21T08:00:10.900Z", 4)), ("passed", None));
    assert_eq!(verdict(&at("2026-11-21T08:00:11.500Z", 1200)), ("passed", None), "the reading may be wrong by as much");
    let text = shown(&at("2026-11-21T08:00:08.500Z", 4));
    assert!(text.contains("replica pxc-0 is 1500 ms behind that of source pxc-0"), "{text}");
}

#[test]
fn an_applier_that_loses_the_order_is_stopped_to_mend_it_where_it_runs() {
    let order = |_: &mut _, facts: &mut Facts| {
        for number in 0..2 {
            sample::replica(facts, number).settings.replica_preserve_commit_order = false;
        }
    };
    let check = broken(ids::APPLIER_ORDER, &replica(0), ("warned", Code::CommitOrderLost), order);
    assert_eq!(
        commands(&check),
        [
            "STOP REPLICA SQL_THREAD FOR CHANNEL 'production';  -- on replica pxc-0",
            "SET PERSIST replica_preserve_commit_order = ON;  -- on replica pxc-0",
            "START REPLICA SQL_THREAD FOR CHANNEL 'production';  -- on replica pxc-0",
        ]
    );
    let check = broken(ids::APPLIER_ORDER, &replica(1), ("warned", Code::CommitOrderLost), order);
    assert_eq!(commands(&check), ["SET PERSIST replica_preserve_commit_order = ON;  -- on replica pxc-1"]);
    let mut facts = facts();
    order(&mut spec(), &mut facts);
    sample::replica(&mut facts, 0).settings.replica_parallel_workers = 1;
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::APPLIER_ORDER, &replica(0))), ("passed", None));
    broken(ids::RELAY_LOG, &replica(1), ("warned", Code::RelayLogKept), |_, facts| {
        sample::replica(facts, 1).settings.relay_log_recovery = false;
    });
}

#[test]
fn known_bugs_are_told_by_release_and_side() {
    let pxc = |side_is_source: bool, version: &str| {
        let mut facts = facts();
        let server = if side_is_source { sample::source(&mut facts, 0) } else { sample::replica(&mut facts, 0) };
        server.version = version.to_owned();
        server.settings.version_comment = "Percona XtraDB Cluster (GPL), Release rel28, Revision x".to_owned();
        let subject = if side_is_source { source(0) } else { replica(0) };
        check_of(&spec(), &facts, ids::SERVER_BUGS, &subject)
    };
    let warned = ("warned", Some(Code::KnownServerBug));
    let old = pxc(false, "8.0.36-28.1");
    assert_eq!(verdict(&old), warned);
    let text = shown(&old);
    assert!(text.contains("PXC-4312") && text.contains("PXC-4664") && !text.contains("PXC-4506"), "{text}");
    assert!(!text.contains("PXC-4318"), "mended in 8.0.35: {text}");
    let hint = &old.problem().unwrap().hint.as_ref().unwrap().text;
    assert!(hint.contains("8.0.42"), "{hint}");
    assert!(shown(&pxc(false, "8.0.37-29.1")).contains("PXC-4506"));
    assert!(shown(&pxc(false, "8.4.3-3.1")).contains("until 8.4.4"));
    let source = pxc(true, "8.0.36-28.1");
    assert!(verdict(&source) == warned && !shown(&source).contains("PXC-4664"), "{source:?}");
    for fine in ["8.0.42-33.1", "8.4.4-4.1", "9.1.0"] {
        assert_eq!(verdict(&pxc(false, fine)), ("passed", None), "{fine}");
    }
    // The same numbers of another build say nothing.
    let mut facts = facts();
    sample::replica(&mut facts, 0).version = "8.0.36-28".to_owned();
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::SERVER_BUGS, &replica(0))), ("passed", None));
}
