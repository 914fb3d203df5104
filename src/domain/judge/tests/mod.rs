//! Judging, tested from facts with everything in order that are broken one at a time.

mod access;
mod certificates;
mod channel;
mod data;
mod direct;
mod endpoints;
mod gtids;
mod injection;
mod membership;
mod mesh;
mod name;
mod operator;
mod path;
mod peer;
mod policies;
mod promotion;
mod query;
mod servers;
mod service;
mod settings;
mod surroundings;

use super::{blocking, ids, judge};
use crate::domain::{
    check::{Check, CheckId, Outcome, Side, Subject},
    code::Code,
    facts::Facts,
    hint::Remedy,
    problem::{Fetched, Problem},
    sample::{facts, spec, unlinked},
    spec::LinkSpec,
};

pub(super) fn source(number: usize) -> Subject {
    Subject::Member(Side::Source, format!("pxc-{number}"))
}

pub(super) fn replica(number: usize) -> Subject {
    Subject::Member(Side::Replica, format!("pxc-{number}"))
}

/// The one check of this id and subject; there must be exactly one.
pub(super) fn check_of(spec: &LinkSpec, facts: &Facts, id: CheckId, subject: &Subject) -> Check {
    let checks = judge(spec, facts);
    let mut found = checks.iter().filter(|check| check.id == id && check.subject == *subject);
    let first = found.next().unwrap_or_else(|| panic!("no {id} of {subject} in {checks:#?}")).clone();
    assert_eq!(found.next(), None, "{id} of {subject} is judged twice");
    first
}

/// The verdict in a word, with the code.
pub(super) fn verdict(check: &Check) -> (&'static str, Option<Code>) {
    let word = match check.outcome {
        Outcome::Passed => "passed",
        Outcome::Warned(_) => "warned",
        Outcome::Failed(_) => "failed",
        Outcome::Skipped { .. } => "skipped",
        Outcome::Unknown(_) => "unknown",
    };
    (word, check.problem().map(|problem| problem.code))
}

/// Facts in order with one thing broken must give this verdict; unbroken they pass.
pub(super) fn broken(
    id: CheckId,
    subject: &Subject,
    wanted: (&'static str, Code),
    break_it: impl Fn(&mut LinkSpec, &mut Facts),
) -> Check {
    let (mut spec, mut facts) = (spec(), facts());
    assert_eq!(verdict(&check_of(&spec, &facts, id, subject)), ("passed", None), "{id} of {subject} when all is well");
    break_it(&mut spec, &mut facts);
    let check = check_of(&spec, &facts, id, subject);
    assert_eq!(verdict(&check), (wanted.0, Some(wanted.1)), "{check:#?}");
    let problem = check.problem().unwrap();
    assert!(!problem.message.ends_with('.') && !problem.message.contains('\n'), "{}", problem.message);
    check
}

/// The commands of a check's hint, as they are printed.
pub(super) fn commands(check: &Check) -> Vec<String> {
    let hint = check.problem().and_then(|problem| problem.hint.as_ref());
    hint.map(|hint| hint.commands.iter().map(Remedy::to_string).collect()).unwrap_or_default()
}

/// What a check shows, in one text.
pub(super) fn shown(check: &Check) -> String {
    let problem = check.problem().unwrap();
    format!("{}\n{}", problem.message, problem.evidence.join("\n"))
}

pub(super) fn problem(code: Code) -> Problem {
    Problem::new(code, "it was tried and it failed")
}

pub(super) fn unread<T>(code: Code) -> Fetched<T> {
    Fetched::Failed(problem(code))
}

#[test]
fn when_all_is_well_every_check_passes_and_every_one_is_there() {
    let checks = judge(&spec(), &facts());
    for check in &checks {
        assert_eq!(check.outcome, Outcome::Passed, "{check:#?}");
    }
    let elsewhere = [
        ids::MESH_OBJECTS,
        ids::REPLICATION_LAG,
        ids::CHANNEL_ENCRYPTED,
        ids::SOURCE_WRITABLE,
        ids::SERVICE_ANSWERS,
        ids::GTID_LOCAL,
        ids::MEMBER_CLUSTER,
        ids::CLUSTER_IDENTITY,
        ids::CHANNEL_MEMBER,
        ids::RECEIVER_LOGIN,
        ids::SOURCE_CLOSED,
        ids::ALL_ARRIVED,
        ids::REPLICA_OPEN,
        ids::EVENTS_ENABLED,
        ids::TLS_SOURCE,
        ids::TLS_CA,
        ids::TLS_ISSUER,
        ids::TLS_CLIENT,
    ];
    for (id, milestone, _) in ids::ALL.iter().filter(|(id, ..)| !elsewhere.contains(id)) {
        assert!(checks.iter().any(|check| check.id == *id && check.milestone == *milestone), "{id} is never judged");
    }
    assert!(checks.is_sorted_by_key(|check| check.milestone));
    assert_eq!(blocking(&checks), None);
}

#[test]
fn before_the_first_setup_only_the_entry_and_the_channel_are_missing() {
    let checks = judge(&spec(), &unlinked());
    let odd: Vec<_> = checks.iter().filter(|check| !check.is_good()).map(|check| (check.id, verdict(check))).collect();
    let skipped = ("skipped", None);
    assert_eq!(
        odd,
        [
            (ids::ENTRY_EXPORTED, ("failed", Some(Code::EntryElsewhere))),
            (ids::ENDPOINTS_CURRENT, skipped),
            (ids::CHANNEL_UNIQUE, ("failed", Some(Code::NoChannel))),
            (ids::CHANNEL_SETTINGS, skipped),
            (ids::RECEIVER_RUNNING, skipped),
            (ids::RECEIVER_SOURCE, skipped),
            (ids::APPLIER_RUNNING, skipped),
        ]
    );
}

#[test]
fn a_source_out_of_reach_is_unknown_and_the_replica_is_judged_in_full() {
    let mut facts = facts();
    facts.source.cluster = Some(unread(Code::ApiUnreachable));
    facts.source.services = Some(unread(Code::ApiUnreachable));
    facts.source.nodes = Some(unread(Code::ApiUnreachable));
    facts.source.members = unread(Code::ApiUnreachable);
    facts.source.policies = Some(unread(Code::ApiUnreachable));
    let spec = spec();
    let checks = judge(&spec, &facts);
    assert!(checks.iter().all(|check| !matches!(check.outcome, Outcome::Failed(_))), "{checks:#?}");
    let at = |id, subject| verdict(&check_of(&spec, &facts, id, &subject));
    let unknown = ("unknown", Some(Code::ApiUnreachable));
    assert_eq!(at(ids::CLUSTER_REACHABLE, Subject::Cluster(Side::Source)), unknown);
    assert_eq!(at(ids::CLUSTER_DISTINCT, Subject::Link), ("skipped", None));
    assert_eq!(at(ids::MEMBERS_FOUND, Subject::Cluster(Side::Source)), ("skipped", None));
    assert_eq!(at(ids::ENDPOINTS_KNOWN, Subject::Cluster(Side::Source)), ("skipped", None));
    assert_eq!(at(ids::GTID_PURGED, Subject::Cluster(Side::Source)), ("skipped", None));
    assert_eq!(at(ids::GTID_ERRANT, replica(0)), ("skipped", None));
    assert_eq!(at(ids::ENVOY_ENDPOINTS, replica(0)), unknown);
    assert_eq!(at(ids::PATH_QUERY, replica(0)), ("passed", None));
    assert_eq!(at(ids::PATH_SERVER, replica(0)), ("unknown", Some(Code::WrongServer)));
    assert_eq!(at(ids::RECEIVER_SOURCE, replica(0)), ("unknown", Some(Code::UnknownSource)));
    assert_eq!(at(ids::APPLIER_RUNNING, replica(0)), ("passed", None));
}

#[test]
fn one_source_member_that_is_down_does_not_block_and_a_replica_member_does() {
    let mut facts = facts();
    crate::domain::sample::sources(&mut facts)[1].server = Some(unread(Code::ServerUnreachable));
    let checks = super::access(&spec(), &facts);
    assert!(checks.iter().any(|check| verdict(check) == ("unknown", Some(Code::ServerUnreachable))));
    assert_eq!(blocking(&checks), None);
    crate::domain::sample::sources(&mut facts)[0].server = Some(unread(Code::ServerUnreachable));
    assert_eq!(blocking(&super::access(&spec(), &facts)).map(|check| check.id), Some(ids::SERVER_LOGIN));

    let mut facts = self::facts();
    crate::domain::sample::replicas(&mut facts)[1].server = Some(unread(Code::ServerUnreachable));
    let checks = super::access(&spec(), &facts);
    assert_eq!(blocking(&checks).map(|check| (check.id, check.subject.clone())), Some((ids::SERVER_LOGIN, replica(1))));
}

#[test]
fn whatever_is_not_fetched_no_check_disappears_and_none_passes_without_its_fact() {
    let spec = spec();
    let all = judge(&spec, &facts());
    let mut facts = facts();
    for one in crate::domain::sample::replicas(&mut facts) {
        one.server = Some(unread(Code::ServerUnreachable));
    }
    facts.client.mesh = unread(Code::ApiTimedOut);
    for path in &mut facts.paths {
        path.resolved = unread(Code::ExecFailed);
        path.name_table = unread(Code::ApiTimedOut);
        path.envoy = unread(Code::ApiTimedOut);
        path.after = unread(Code::ApiTimedOut);
        path.probe = unread(Code::ExecFailed);
        for direct in &mut path.direct {
            direct.answer = unread(Code::ExecFailed);
        }
    }
    let checks = judge(&spec, &facts);
    let of_channel =
        |id| [ids::CHANNEL_SETTINGS, ids::RECEIVER_RUNNING, ids::RECEIVER_SOURCE, ids::APPLIER_RUNNING].contains(&id);
    for check in all.iter().filter(|check| !of_channel(check.id)) {
        let now = checks.iter().find(|now| now.id == check.id && now.subject == check.subject);
        assert!(now.is_some(), "{} of {} is gone", check.id, check.subject);
    }
    for check in &checks {
        let about_replica = matches!(check.subject, Subject::Member(Side::Replica, _));
        let by_pod = [
            ids::MEMBER_READY,
            ids::SIDECAR_PRESENT,
            ids::SIDECAR_INTERCEPTS,
            ids::DNS_CAPTURED,
            ids::ENTRY_IMPORTED,
            ids::EGRESS_OPEN,
        ]
        .contains(&check.id);
        assert!(!about_replica || by_pod || !check.is_good(), "{check:#?}");
    }
}

#[test]
fn facts_written_and_read_again_are_judged_the_same() {
    let facts = facts();
    let text = serde_json::to_string(&facts).unwrap();
    let again: Facts = serde_json::from_str(&text).unwrap();
    assert_eq!(again, facts);
    assert_eq!(judge(&spec(), &again), judge(&spec(), &facts));
}

#[test]
fn every_command_line_names_its_cluster() {
    use crate::domain::sample;
    let breaks: [fn(&mut Facts); 4] = [
        |facts| sample::replicas(facts)[0].pod().sidecar = crate::domain::facts::Sidecar::Absent,
        |facts| sample::source_service(facts).ports = vec![sample::service_port(3306, None)],
        |facts| sample::got(&mut facts.client.cluster).istiods[0].ready = 0,
        |facts| sample::got(&mut facts.paths[0].resolved).clear(),
    ];
    for break_it in breaks {
        let mut facts = facts();
        break_it(&mut facts);
        let lines: Vec<String> = judge(&spec(), &facts).iter().flat_map(commands).collect();
        assert!(!lines.is_empty());
        for line in lines.iter().filter(|line| line.starts_with("kubectl")) {
            assert!(
                line.starts_with("kubectl --context dr") || line.starts_with("kubectl --context production"),
                "{line}"
            );
        }
    }
}
