//! What the servers must have, each by itself and against the other side.

use super::{broken, check_of, commands, replica, shown, source, unread, verdict};
use crate::domain::{
    check::{Side, Subject},
    code::Code,
    facts::{Facts, GroupMember, Membership},
    judge::{ids, prerequisites},
    problem::Fetched,
    sample::{self, REPLICA, SOURCE, endpoints_spec, facts, gtids, replicas, sources, spec},
};

#[test]
fn gtid_mode_is_raised_by_the_steps_that_are_left() {
    let check = broken(ids::GTID_MODE, &source(0), ("failed", Code::GtidsOff), |_, facts| {
        sample::source(facts, 0).gtid_mode = "OFF_PERMISSIVE".to_owned();
    });
    assert_eq!(
        commands(&check),
        [
            "SET PERSIST gtid_mode = ON_PERMISSIVE;  -- on source pxc-0",
            "SET PERSIST gtid_mode = ON;  -- on source pxc-0",
            "pxc-link setup --source production",
        ]
    );
    let check = broken(ids::GTID_MODE, &replica(1), ("failed", Code::GtidsOff), |_, facts| {
        sample::replica(facts, 1).enforce_gtid_consistency = "WARN".to_owned();
    });
    assert_eq!(commands(&check)[0], "SET PERSIST enforce_gtid_consistency = ON;  -- on replica pxc-1");
}

#[test]
fn the_source_must_log_all_and_the_replica_should() {
    let breaks: [fn(&mut Facts, Side); 2] = [
        |facts, side| server(facts, side).log_bin = false,
        |facts, side| server(facts, side).log_replica_updates = false,
    ];
    for break_it in breaks {
        broken(ids::BINLOG_ENABLED, &source(0), ("failed", Code::BinaryLogOff), |_, facts| {
            break_it(facts, Side::Source);
        });
        broken(ids::BINLOG_ENABLED, &replica(0), ("warned", Code::BinaryLogOff), |_, facts| {
            break_it(facts, Side::Replica);
        });
    }
    let row = |side| move |_: &mut _, facts: &mut Facts| server(facts, side).binlog_format = "MIXED".to_owned();
    broken(ids::BINLOG_FORMAT, &source(0), ("failed", Code::NotRowFormat), row(Side::Source));
    broken(ids::BINLOG_FORMAT, &replica(0), ("warned", Code::NotRowFormat), row(Side::Replica));
    broken(ids::BINLOG_FORMAT, &source(0), ("warned", Code::NotRowFormat), |_, facts| {
        server(facts, Side::Source).binlog_row_image = "MINIMAL".to_owned();
    });
}

fn server(facts: &mut Facts, side: Side) -> &mut crate::domain::facts::ServerFacts {
    match side {
        Side::Source => sample::source(facts, 0),
        Side::Replica | Side::Client => sample::replica(facts, 0),
    }
}

#[test]
fn short_retention_is_a_warning_and_none_is_not() {
    broken(ids::BINLOG_RETENTION, &source(0), ("warned", Code::ShortRetention), |_, facts| {
        sample::source(facts, 0).binlog_expire_logs_seconds = 3600;
    });
    let mut facts = facts();
    sample::source(&mut facts, 0).binlog_expire_logs_seconds = 0;
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::BINLOG_RETENTION, &source(0))), ("passed", None));
}

#[test]
fn identities_must_differ_from_every_member_not_only_the_attached_one() {
    let check = broken(ids::SERVER_IDS, &source(1), ("failed", Code::ServerIdClash), |_, facts| {
        sample::replica(facts, 1).server_id = 2;
    });
    assert!(shown(&check).contains("source pxc-1 and replica pxc-1"), "{}", shown(&check));
    assert_eq!(
        commands(&check),
        ["SET PERSIST server_id = 1001;  -- on replica pxc-1", "pxc-link setup --source production"]
    );
    broken(ids::SERVER_IDS, &replica(0), ("failed", Code::ServerIdClash), |_, facts| {
        sample::replica(facts, 0).server_id = 0;
    });
    broken(ids::SERVER_IDS, &replica(0), ("failed", Code::ServerIdClash), |_, facts| {
        sample::replica(facts, 0).server_uuid = SOURCE[1].to_uppercase();
    });
    broken(ids::SERVER_IDS, &source(0), ("unknown", Code::ServerUnreachable), |_, facts| {
        replicas(facts)[1].server = Some(unread(Code::ServerUnreachable));
    });
}

#[test]
fn members_of_one_side_may_share_an_id() {
    let mut facts = facts();
    sample::source(&mut facts, 1).server_id = 1;
    sample::replica(&mut facts, 1).server_id = 11;
    for subject in [source(0), source(1), replica(0), replica(1)] {
        assert_eq!(verdict(&check_of(&spec(), &facts, ids::SERVER_IDS, &subject)), ("passed", None), "{subject}");
    }
}

#[test]
fn a_source_of_a_later_series_is_refused() {
    for (source_version, replica_version) in [("9.7.0", "8.4.3"), ("8.4.3", "8.0.36")] {
        broken(ids::VERSION_ORDER, &source(0), ("failed", Code::LaterSeries), |_, facts| {
            sample::source(facts, 0).version = source_version.to_owned();
            sample::replica(facts, 1).version = replica_version.to_owned();
        });
    }
    for (source_version, replica_version) in [("8.0.36", "8.0.30"), ("9.7.0", "9.1.0"), ("8.0.36", "9.7.0")] {
        let mut facts = facts();
        sample::source(&mut facts, 0).version = source_version.to_owned();
        for number in 0..2 {
            sample::replica(&mut facts, number).version = replica_version.to_owned();
        }
        let check = check_of(&spec(), &facts, ids::VERSION_ORDER, &source(0));
        assert_eq!(verdict(&check), ("passed", None), "{source_version} → {replica_version}");
    }
}

#[test]
fn what_the_source_has_purged_must_be_on_the_replica() {
    let check = broken(ids::GTID_PURGED, &source(1), ("failed", Code::Purged), |_, facts| {
        sample::source(facts, 1).gtid_purged = gtids(&format!("{}:1-50,{}:1-3", SOURCE[0], SOURCE[1]));
    });
    let text = shown(&check);
    assert!(
        text.contains("has purged 3 transaction(s)") && text.contains(&format!("missing: {}:1-3", SOURCE[1])),
        "{text}"
    );
    let hint = check.problem().unwrap().hint.as_ref().unwrap();
    let clone = "CLONE INSTANCE FROM pxc_clone@'pxc-source.production.global':3306";
    assert!(commands(&check).iter().any(|command| command.starts_with(clone)), "{:?}", commands(&check));
    for never in ["SET GLOBAL gtid_purged", "RESET", "gtid_next", "skip"] {
        let all = format!("{} {:?}", hint.text, commands(&check)).to_lowercase();
        assert!(!all.contains(&never.to_lowercase()), "{never}");
    }
}

#[test]
fn an_empty_replica_of_a_source_that_kept_everything_is_fine() {
    let mut facts = sample::unlinked();
    for number in 0..2 {
        sample::source(&mut facts, number).gtid_purged = gtids("");
        let server = sample::replica(&mut facts, number);
        (server.gtid_executed, server.gtid_purged) = (gtids(""), gtids(""));
    }
    for (id, subject) in [(ids::GTID_PURGED, source(0)), (ids::GTID_ERRANT, replica(0))] {
        assert_eq!(verdict(&check_of(&spec(), &facts, id, &subject)), ("passed", None), "{id}");
    }
}

#[test]
fn transactions_of_the_replicas_own_are_a_warning_and_those_of_the_source_a_failure() {
    let own = format!("{}:1-100,{}:1-2", SOURCE[0], REPLICA[0]);
    let check = broken(ids::GTID_ERRANT, &replica(0), ("warned", Code::Errant), |_, facts| {
        sample::replica(facts, 0).gtid_executed = gtids(&own);
    });
    assert!(shown(&check).contains(&format!("on replica pxc-0 only: {}:1-2", REPLICA[0])), "{}", shown(&check));
    for ahead in [format!("{}:1-120", SOURCE[0]), format!("{}:1-100,{}:1", SOURCE[0], SOURCE[1])] {
        broken(ids::GTID_ERRANT, &replica(0), ("failed", Code::Errant), |_, facts| {
            sample::replica(facts, 0).gtid_executed = gtids(&ahead);
        });
    }
}

#[test]
fn the_union_of_all_members_counts() {
    let mut facts = facts();
    sample::source(&mut facts, 1).gtid_executed = gtids(&format!("{}:1-100,{}:1-2", SOURCE[0], SOURCE[1]));
    sample::replica(&mut facts, 0).gtid_executed = gtids(&format!("{}:1-100,{}:1-2", SOURCE[0], SOURCE[1]));
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::GTID_ERRANT, &replica(0))), ("passed", None));
}

#[test]
fn a_source_that_was_read_first_may_only_be_behind_the_times() {
    for (clock, word) in [("2026-11-21T08:00:09Z", "unknown"), ("2026-11-21T08:00:11Z", "failed")] {
        broken(ids::GTID_ERRANT, &replica(0), (word, Code::Errant), |_, facts| {
            for number in 0..2 {
                sample::source(facts, number).clock = clock.parse().unwrap();
            }
            let server = sample::replica(facts, 0);
            server.gtid_executed = gtids(&format!("{}:1-105", SOURCE[0]));
            server.channels[0].received = gtids(&format!("{}:60-105", SOURCE[0]));
        });
    }
}

#[test]
fn a_member_that_was_not_read_may_have_what_looks_errant() {
    broken(ids::GTID_ERRANT, &replica(0), ("unknown", Code::ServerUnreachable), |_, facts| {
        sample::replica(facts, 0).gtid_executed = gtids(&format!("{}:1-120", SOURCE[0]));
        sources(facts)[1].server = Some(unread(Code::ServerUnreachable));
    });
}

#[test]
fn with_addresses_only_what_needs_the_source_is_unknown() {
    let mut facts = facts();
    sources(&mut facts).clear();
    facts.source.cluster = None;
    let at = |id, subject| verdict(&check_of(&endpoints_spec(), &facts, id, &subject));
    let unknown = ("unknown", Some(Code::ServerUnreachable));
    assert_eq!(at(ids::GTID_PURGED, Subject::Cluster(Side::Source)), unknown);
    assert_eq!(at(ids::SERVER_IDS, Subject::Cluster(Side::Source)), unknown);
    assert_eq!(at(ids::GTID_ERRANT, replica(0)), unknown);
    assert_eq!(at(ids::GTID_MODE, replica(0)), ("passed", None));
    assert_eq!(at(ids::PATH_SERVER, replica(0)), ("unknown", Some(Code::WrongServer)));
}

#[test]
fn an_open_replica_and_channels_that_start_by_themselves_are_warnings() {
    broken(ids::REPLICA_READ_ONLY, &replica(0), ("warned", Code::ReplicaWritable), |_, facts| {
        sample::replica(facts, 0).super_read_only = false;
    });
    broken(ids::REPLICA_SKIP_START, &replica(0), ("warned", Code::StartsByItself), |_, facts| {
        sample::replica(facts, 0).skip_replica_start = false;
    });
    let mut facts = facts();
    replicas(&mut facts).truncate(1);
    sample::replica(&mut facts, 0).skip_replica_start = false;
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::REPLICA_SKIP_START, &replica(0))), ("passed", None));
}

#[test]
fn a_source_on_which_nobody_can_write_is_warned_of() {
    let told = |facts: &Facts| {
        let spec = spec();
        let checks = prerequisites(spec.replication().unwrap(), facts);
        let closed = checks.into_iter().find(|check| check.id == ids::SOURCE_WRITABLE);
        closed.map(|check| (verdict(&check), check.problem().unwrap().hint.clone().unwrap().commands.len()))
    };
    let mut facts = facts();
    assert_eq!(told(&facts), None);
    sample::source(&mut facts, 0).super_read_only = true;
    assert_eq!(told(&facts), None, "another member takes them");
    sample::source(&mut facts, 1).super_read_only = true;
    assert_eq!(told(&facts), Some((("warned", Some(Code::SourceClosed)), 4)));
    let group = |role: &str| {
        Some(Fetched::Got(Membership::Group(GroupMember {
            state: "ONLINE".into(),
            role: role.into(),
            single_primary: true,
            members: 2,
            unreachable: 0,
        })))
    };
    sample::source(&mut facts, 0).membership = group("PRIMARY");
    sample::source(&mut facts, 1).membership = group("SECONDARY");
    assert_eq!(told(&facts), Some((("warned", Some(Code::SourceClosed)), 2)), "a secondary stays closed");
    sample::sources(&mut facts)[0].server = Some(unread(Code::ServerUnreachable));
    assert_eq!(told(&facts), None, "the primary may be the one that was not read");
}

#[test]
fn a_channel_without_tls_is_warned_of_and_one_with_it_is_not() {
    let mut spec = spec();
    let warned = |spec: &crate::domain::spec::LinkSpec| {
        prerequisites(spec.replication().unwrap(), &facts())
            .iter()
            .filter(|check| check.id == ids::CHANNEL_ENCRYPTED)
            .map(verdict)
            .collect::<Vec<_>>()
    };
    assert_eq!(warned(&spec), []);
    crate::domain::sample::replication(&mut spec).tls = crate::domain::spec::Tls::Disabled;
    assert_eq!(warned(&spec), [("warned", Some(Code::PlainChannel))]);
}
