//! What is told after a promotion.

use super::{facts, replica, shown, spec, verdict};
use crate::domain::{
    check::{Check, CheckId, Subject},
    code::Code,
    facts::Facts,
    judge::{
        ids,
        promotion::{Promoted, checks},
    },
    problem::Fetched,
    promotion::{ClosedAgain, EventName, NewSource, OldSource, Standing, WriteState},
    sample::{self, gtids},
};

const ALL: &str = "11111111-1111-1111-1111-111111111111:1-9";

fn standing() -> Standing {
    let state = WriteState { read_only: false, super_read_only: false };
    let source = |member: &str| OldSource { member: member.into(), state: Fetched::Got((state, Vec::new())) };
    let replica = NewSource {
        member: "pxc-0".into(),
        state,
        lacks: Vec::new(),
        closed_again: Vec::new(),
        events: Vec::new(),
        sees_all_events: true,
    };
    Standing { sources: vec![source("pxc-0"), source("pxc-1")], replicas: vec![replica] }
}

fn after(standing: &Standing, closed: &[&str], facts: &Facts, enabled: &[EventName]) -> Vec<Check> {
    let spec = spec();
    let closed: Vec<String> = closed.iter().map(ToString::to_string).collect();
    checks(spec.replication().unwrap(), Promoted { standing, closed: &closed, facts, enabled })
}

fn of(checks: &[Check], id: CheckId) -> &Check {
    checks.iter().find(|check| check.id == id).unwrap()
}

#[test]
fn a_promotion_in_order_passes_everything() {
    let checks = after(&standing(), &["pxc-0", "pxc-1"], &facts(), &[]);
    assert_eq!(checks.len(), 4);
    assert!(checks.iter().all(|check| verdict(check) == ("passed", None)), "{checks:#?}");
}

#[test]
fn a_source_that_was_not_closed_is_told_with_what_closes_it() {
    let checks = after(&standing(), &["pxc-0"], &facts(), &[]);
    let check = of(&checks, ids::SOURCE_CLOSED);
    assert_eq!(verdict(check), ("warned", Some(Code::SourceOpen)));
    let hint = check.problem().unwrap().hint.clone().unwrap();
    assert_eq!(hint.commands[0].to_string(), "SET PERSIST super_read_only = ON;  -- on source pxc-1");
    let nobody = Standing { sources: Vec::new(), ..standing() };
    let checks = after(&nobody, &[], &facts(), &[]);
    assert_eq!(verdict(of(&checks, ids::SOURCE_CLOSED)), ("warned", Some(Code::SourceOpen)));
}

#[test]
fn what_did_not_arrive_is_named_and_what_cannot_be_known_is_not_called_good() {
    let mut facts = facts();
    sample::source(&mut facts, 0).gtid_executed = gtids(ALL);
    sample::source(&mut facts, 1).gtid_executed = gtids(ALL);
    for number in 0..sample::REPLICA.len() {
        sample::replica(&mut facts, number).gtid_executed = gtids("11111111-1111-1111-1111-111111111111:1-7");
    }
    let checks = after(&standing(), &[], &facts, &[]);
    let check = of(&checks, ids::ALL_ARRIVED);
    assert_eq!(verdict(check), ("warned", Some(Code::NotArrived)));
    assert!(shown(check).contains("11111111-1111-1111-1111-111111111111:8-9"), "{check:#?}");
    sample::sources(&mut facts).clear();
    let checks = after(&standing(), &[], &facts, &[]);
    assert_eq!(verdict(of(&checks, ids::ALL_ARRIVED)), ("unknown", Some(Code::NotArrived)));
}

#[test]
fn what_the_replica_has_of_its_own_is_listed() {
    let mut facts = facts();
    let all = sample::source(&mut facts, 0).gtid_executed.clone();
    sample::replica(&mut facts, 0).gtid_executed = all.union(&gtids("99999999-9999-9999-9999-999999999999:1"));
    let checks = after(&standing(), &["pxc-0", "pxc-1"], &facts, &[]);
    let check = of(&checks, ids::ALL_ARRIVED);
    assert_eq!(verdict(check).0, "passed");
    let told = "executed here and not on the old source: 99999999-9999-9999-9999-999999999999:1";
    assert!(check.evidence.iter().any(|line| line == told), "{check:#?}");
}

#[test]
fn a_server_that_a_restart_closes_and_events_that_stay_off_are_told() {
    let mut standing = standing();
    let one = &mut standing.replicas[0];
    one.closed_again = vec![ClosedAgain { variable: "super_read_only".into(), by: "/etc/my.cnf".into() }];
    one.events =
        vec![EventName { schema: "shop".into(), name: "nightly".into(), definer: ("o'app".into(), "10.%".into()) }];
    let checks = after(&standing, &["pxc-0", "pxc-1"], &facts(), &[]);
    let open = of(&checks, ids::REPLICA_OPEN);
    assert_eq!((verdict(open), &open.subject), (("warned", Some(Code::ClosedAgain)), &replica(0)));
    assert!(shown(open).contains("super_read_only is set by /etc/my.cnf"));
    let events = of(&checks, ids::EVENTS_ENABLED);
    assert_eq!((verdict(events), &events.subject), (("warned", Some(Code::EventsDisabled)), &Subject::Link));
    let commands = &events.problem().unwrap().hint.as_ref().unwrap().commands;
    assert_eq!(
        commands[0].to_string(),
        "ALTER DEFINER = 'o''app'@'10.%' EVENT `shop`.`nightly` ENABLE;  -- on replica pxc-0"
    );
    let enabled = after(&standing, &[], &facts(), &standing.replicas[0].events);
    assert_eq!(verdict(of(&enabled, ids::EVENTS_ENABLED)).0, "passed");
    standing.replicas[0].events.clear();
    standing.replicas[0].sees_all_events = false;
    let unseen = after(&standing, &[], &facts(), &[]);
    assert_eq!(verdict(of(&unseen, ids::EVENTS_ENABLED)), ("unknown", Some(Code::EventsDisabled)));
}
