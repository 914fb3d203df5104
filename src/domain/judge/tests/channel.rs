//! The channel: where it is, what it is set to, what its threads say; and the lag.

use super::{broken, check_of, commands, replica, shown, unread, verdict};
use crate::domain::{
    check::Subject,
    code::Code,
    facts::{ChannelFacts, Facts, ThreadError, ThreadState},
    judge::{channel_preflight, ids, lag},
    sample::{self, REPLICA, SOURCE, facts, replicas, sources, spec, unlinked},
    spec::Tls,
    status::Lag,
};

fn channel(facts: &mut Facts) -> &mut ChannelFacts {
    &mut sample::replica(facts, 0).channels[0]
}

fn stopped(errno: u32, text: &str) -> ThreadState {
    ThreadState { state: "OFF".to_owned(), error: Some(ThreadError { errno, text: text.to_owned(), at: None }) }
}

#[test]
fn a_second_copy_of_the_channel_is_stopped_where_it_does_not_work() {
    let check = broken(ids::CHANNEL_UNIQUE, &Subject::Link, ("failed", Code::ChannelTwice), |_, facts| {
        let mut copy = sample::channel();
        copy.receiver = ThreadState { state: "OFF".to_owned(), error: None };
        sample::replica(facts, 1).channels.push(copy);
    });
    assert!(shown(&check).contains("replica pxc-1: receiver OFF, applier ON"), "{}", shown(&check));
    let setup = "pxc-link setup --source production";
    assert_eq!(commands(&check), ["STOP REPLICA FOR CHANNEL 'production';  -- on replica pxc-1", setup]);
    let mut facts = facts();
    let mut leftover = sample::channel();
    for thread in [&mut leftover.receiver, &mut leftover.applier] {
        *thread = ThreadState { state: "OFF".to_owned(), error: None };
    }
    sample::replica(&mut facts, 1).channels.push(leftover);
    assert_eq!(commands(&check_of(&spec(), &facts, ids::CHANNEL_UNIQUE, &Subject::Link)), [setup]);
    for (number, wanted) in [(0, "passed"), (1, "skipped")] {
        let check = check_of(&spec(), &facts, ids::RECEIVER_RUNNING, &replica(number));
        assert_eq!(verdict(&check).0, wanted, "{check:?}");
    }
}

#[test]
fn a_member_that_cannot_be_read_may_have_a_second_copy() {
    broken(ids::CHANNEL_UNIQUE, &Subject::Link, ("unknown", Code::ServerUnreachable), |_, facts| {
        replicas(facts)[1].server = Some(unread(Code::ServerUnreachable));
    });
}

#[test]
fn a_link_without_a_channel_says_what_makes_one() {
    let check = broken(ids::CHANNEL_UNIQUE, &Subject::Link, ("failed", Code::NoChannel), |_, facts| {
        sample::replica(facts, 0).channels.clear();
    });
    assert_eq!(commands(&check), ["pxc-link setup --source production"]);
}

#[test]
fn a_channel_that_points_elsewhere_is_not_the_same_as_one_that_differs() {
    for host in ["db.example.com", ""] {
        let check = broken(ids::CHANNEL_SETTINGS, &replica(0), ("failed", Code::ChannelElsewhere), |_, facts| {
            channel(facts).settings.host = host.to_owned();
            channel(facts).source_uuid = None;
        });
        assert!(shown(&check).contains("SOURCE_HOST: "), "{}", shown(&check));
    }
    broken(ids::CHANNEL_SETTINGS, &replica(0), ("failed", Code::ChannelElsewhere), |_, facts| {
        channel(facts).settings.port = 3307;
        channel(facts).source_uuid = Some("6d1b0a4e-0000-11f1-8000-0242ac110002".to_owned());
    });
    let check = broken(ids::CHANNEL_SETTINGS, &replica(0), ("failed", Code::ChannelDiffers), |_, facts| {
        channel(facts).settings.tls = Tls::Disabled;
        channel(facts).settings.options.retry_count = 10;
    });
    assert!(shown(&check).contains("SOURCE_RETRY_COUNT: 10 instead of 86400"), "{}", shown(&check));
}

#[test]
fn before_writing_only_what_setup_must_not_touch_stands_in_the_way() {
    let verdicts =
        |facts: &Facts| channel_preflight(spec().replication().unwrap(), facts).iter().map(verdict).collect::<Vec<_>>();
    assert_eq!(verdicts(&unlinked()), [("passed", None)]);
    assert_eq!(verdicts(&facts()), [("passed", None), ("passed", None)]);
    let mut differs = facts();
    channel(&mut differs).settings.options.retry_count = 10;
    assert_eq!(verdicts(&differs), [("passed", None), ("passed", None)]);
    let mut elsewhere = facts();
    channel(&mut elsewhere).settings.host = "db.example.com".to_owned();
    assert_eq!(
        verdicts(&elsewhere),
        [("passed", None), ("passed", None)],
        "it is attached to the link's source: it only moves"
    );
    channel(&mut elsewhere).source_uuid = None;
    assert_eq!(verdicts(&elsewhere), [("passed", None), ("failed", Some(Code::ChannelElsewhere))]);
    let mut twice = facts();
    sample::replica(&mut twice, 1).channels.push(sample::channel());
    assert_eq!(verdicts(&twice)[0], ("passed", None), "setup takes the second copy away");
    let mut third = replicas(&mut twice)[1].clone();
    (third.pod().name, third.server) = ("pxc-2".to_owned(), Some(unread(Code::ServerUnreachable)));
    replicas(&mut twice).push(third);
    assert_eq!(verdicts(&twice)[0], ("failed", Some(Code::ChannelTwice)), "and not where a third may be");
}

#[test]
fn a_password_that_is_not_the_configured_one_is_to_be_rotated() {
    let denied = "Access denied for user 'repl'@'198.18.0.11' (using password: YES)";
    let refused = |facts: &mut Facts| channel(facts).receiver = stopped(1045, denied);
    let code = ("failed", Code::ReplicationAccessDenied);
    let check = broken(ids::RECEIVER_RUNNING, &replica(0), code, |_, facts| refused(facts));
    assert_eq!(commands(&check), ["pxc-link setup --source production --rotate-password"]);
    let check = broken(ids::RECEIVER_RUNNING, &replica(0), code, |_, facts| {
        refused(facts);
        facts.paths.clear();
    });
    assert!(!commands(&check).concat().contains("--rotate-password"), "{}", shown(&check));
}

#[test]
fn a_receivers_error_is_judged_by_its_text() {
    let lost = "Error connecting to source 'repl@pxc-source.production.global:3306'. Message: Lost connection to MySQL server at 'waiting for initial communication packet', system error: 110";
    for (errno, text, code) in [
        (
            13114,
            "Got fatal error 1236 from source when reading data from binary log: 'Cannot replicate because the source purged required binary logs.'",
            Code::Purged,
        ),
        (13114, "Got fatal error 1236 from source: 'The replica has more GTIDs than the source has'", Code::Errant),
        (
            13114,
            "Got fatal error 1236: 'A replica with the same server_uuid/server_id as this replica has connected to the source'",
            Code::ServerIdClash,
        ),
        (13117, "source and replica have equal MySQL server ids", Code::ServerIdClash),
        (13117, "The source has GTID_MODE = OFF", Code::GtidsOff),
        (1045, "Access denied for user 'repl'@'198.18.0.11'", Code::ReplicationAccessDenied),
        (3159, "insecure transport", Code::TlsRequired),
        (2061, "requires secure connection", Code::PublicKeyNeeded),
        (2026, "certificate verify failed", Code::TlsVerification),
        (2013, lost, Code::ReceiverNotConnecting),
        (2003, "Can't connect to MySQL server (111)", Code::ReceiverNotConnecting),
        (13114, "Got fatal error 1236: 'bogus data in log event'", Code::SourceLogDamaged),
        (13125, "Got a packet bigger than 'replica_max_allowed_packet' bytes", Code::EventTooLarge),
        (13122, "Relay log write failure: could not queue event from source", Code::RelayLogUnwritable),
        (1047, "WSREP has not yet prepared node for application use", Code::SourceNotReady),
        (1040, "Too many connections", Code::ServerFull),
        (3118, "Account is locked.", Code::AccountClosed),
        (1524, "Plugin 'mysql_native_password' is not loaded", Code::PluginMissing),
        (1129, "Host '10.0.0.9' is blocked because of many connection errors", Code::AddressRefused),
        (
            13120,
            "Source command COM_REGISTER_REPLICA failed: Access denied for user 'repl'@'%' (using password: YES) (Errno: 1045)",
            Code::ReplicationNotGranted,
        ),
    ] {
        let check = broken(ids::RECEIVER_RUNNING, &replica(0), ("failed", code), |_, facts| {
            channel(facts).receiver = stopped(errno, text);
        });
        assert!(shown(&check).contains(text) && shown(&check).contains(&errno.to_string()), "{}", shown(&check));
        assert!(check.problem().unwrap().hint.is_some(), "{code} has no hint");
        for line in commands(&check) {
            assert!(!line.contains("RESET") && !line.contains("gtid_next"), "{line}");
        }
    }
}

#[test]
fn a_receiver_without_an_error_is_off_or_connecting() {
    for (state, code) in [("OFF", Code::ReceiverStopped), ("CONNECTING", Code::ReceiverNotConnecting)] {
        broken(ids::RECEIVER_RUNNING, &replica(0), ("failed", code), |_, facts| {
            channel(facts).receiver = ThreadState { state: state.to_owned(), error: None };
        });
    }
}

#[test]
fn the_receiver_must_be_attached_to_the_source() {
    for own in REPLICA {
        let check = broken(ids::RECEIVER_SOURCE, &replica(0), ("failed", Code::SelfConnection), |_, facts| {
            channel(facts).source_uuid = Some(own.to_owned());
        });
        assert_eq!(commands(&check), ["STOP REPLICA FOR CHANNEL 'production';  -- on replica pxc-0"]);
    }
    let stranger = "77000000-0000-0000-0000-000000000001";
    broken(ids::RECEIVER_SOURCE, &replica(0), ("failed", Code::UnknownSource), |_, facts| {
        channel(facts).source_uuid = Some(stranger.to_owned());
    });
    broken(ids::RECEIVER_SOURCE, &replica(0), ("unknown", Code::UnknownSource), |_, facts| {
        channel(facts).source_uuid = Some(stranger.to_owned());
        sources(facts)[1].server = Some(unread(Code::ServerUnreachable));
    });
    let mut facts = facts();
    channel(&mut facts).source_uuid = Some(SOURCE[1].to_owned());
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::RECEIVER_SOURCE, &replica(0))), ("passed", None));
    for never in [None, Some(String::new())] {
        channel(&mut facts).source_uuid = never;
        assert_eq!(verdict(&check_of(&spec(), &facts, ids::RECEIVER_SOURCE, &replica(0))), ("skipped", None));
    }
}

#[test]
fn an_appliers_error_is_never_answered_by_leaving_something_out() {
    for (errno, code) in [
        (1032, Code::RowMissing),
        (1062, Code::KeyTaken),
        (1146, Code::DefinitionsDiffer),
        (1452, Code::ParentMissing),
        (1213, Code::ApplierBlocked),
        (1836, Code::ApplierReadOnly),
        (1047, Code::MemberNotSynced),
        (3750, Code::StatementRefused),
        (1864, Code::ApplierStopped),
    ] {
        let check = broken(ids::APPLIER_RUNNING, &replica(0), ("failed", code), |_, facts| {
            channel(facts).applier = stopped(errno, "Worker 1 failed executing transaction");
        });
        let hint = check.problem().unwrap().hint.as_ref().unwrap();
        let all = format!("{} {}", hint.text, commands(&check).join(" ")).to_lowercase();
        for never in ["skip", "gtid_next", "reset", "replica_exec_mode", "sql_replica_skip_counter"] {
            assert!(!all.contains(never), "{errno}: {all}");
        }
        assert!(all.contains("start replica sql_thread"), "{errno}: {all}");
    }
    broken(ids::APPLIER_RUNNING, &replica(0), ("failed", Code::ApplierStopped), |_, facts| {
        channel(facts).applier = ThreadState { state: "OFF".to_owned(), error: None };
    });
    // A worker has failed while its coordinator still runs.
    broken(ids::APPLIER_RUNNING, &replica(0), ("failed", Code::KeyTaken), |_, facts| {
        channel(facts).applier = ThreadState { state: "ON".to_owned(), ..stopped(1062, "Duplicate entry") };
    });
}

#[test]
fn lag_is_judged_by_what_is_known_of_it() {
    let judged = |known| verdict(&lag(spec().replication().unwrap(), replica(0), known));
    assert_eq!(judged(Lag::Exactly { seconds: 0.0 }), ("passed", None));
    assert_eq!(judged(Lag::Exactly { seconds: 29.9 }), ("passed", None));
    assert_eq!(judged(Lag::Exactly { seconds: 30.0 }), ("warned", Some(Code::LagHigh)));
    assert_eq!(judged(Lag::AtLeast { seconds: 31.0 }), ("warned", Some(Code::LagHigh)));
    assert_eq!(judged(Lag::AtLeast { seconds: 300.0 }), ("failed", Some(Code::LagHigh)));
    assert_eq!(judged(Lag::AtLeast { seconds: 1.0 }), ("unknown", Some(Code::LagUnknown)));
    assert_eq!(judged(Lag::Unknown), ("unknown", Some(Code::LagUnknown)));
    let mut spec = spec();
    sample::replication(&mut spec).options.delay_seconds = 3600;
    let judged = |seconds| lag(spec.replication().unwrap(), replica(0), Lag::AtLeast { seconds });
    assert_eq!(verdict(&judged(3629.0)), ("unknown", Some(Code::LagUnknown)));
    let high = judged(3631.0);
    assert_eq!(verdict(&high), ("warned", Some(Code::LagHigh)));
    assert!(shown(&high).contains("above 3630s") && shown(&high).contains("of which 3600 s are `replication.delay`"));
}
