//! A link between two servers: what is judged of it, and that nothing of a mesh or of Kubernetes is said.

use super::{problem, verdict};
use crate::domain::{
    check::{Check, Outcome},
    code::Code,
    facts::Facts,
    hint::Remedy,
    judge::{self, ids},
    problem::Fetched,
    sample::{direct_facts, direct_spec, replica, replicas, source, sources},
};

fn judged(facts: &Facts) -> Vec<Check> {
    judge::judge(&direct_spec(), facts)
}

/// Everything that a check shows, in one text.
fn words(check: &Check) -> String {
    let problem = check.problem();
    let hint = problem.and_then(|problem| problem.hint.as_ref());
    let commands = hint.map(|hint| hint.commands.iter().map(Remedy::to_string).collect::<Vec<_>>().join("\n"));
    format!(
        "{} {:?} {:?} {:?} {commands:?}",
        check.subject,
        check.evidence,
        problem.map(|problem| (&problem.message, &problem.evidence)),
        hint.map(|hint| &hint.text)
    )
}

#[test]
fn a_link_in_order_is_judged_by_its_servers_alone() {
    let checks = judged(&direct_facts());
    for check in &checks {
        assert_eq!(check.outcome, Outcome::Passed, "{check:#?}");
    }
    let ids: Vec<_> = checks.iter().map(|check| check.id).collect();
    for wanted in
        [ids::SERVER_LOGIN, ids::RECEIVER_LOGIN, ids::GTID_PURGED, ids::CHANNEL_SETTINGS, ids::APPLIER_RUNNING]
    {
        assert!(ids.contains(&wanted), "{wanted} is not judged");
    }
    let of_a_mesh =
        [ids::CLUSTER_REACHABLE, ids::MEMBERS_FOUND, ids::MEMBER_READY, ids::ENDPOINTS_CURRENT, ids::PATH_QUERY];
    assert!(!ids.iter().any(|id| of_a_mesh.contains(id)), "{ids:?}");
}

#[test]
fn whatever_is_wrong_no_pod_and_no_cluster_is_spoken_of() {
    let changes: [fn(&mut Facts); 7] = [
        |facts| replica(facts, 0).channels.clear(),
        |facts| replica(facts, 0).channels[0].receiver.state = "CONNECTING".to_owned(),
        |facts| sources(facts)[0].server = Some(Fetched::Failed(problem(Code::ServerUnreachable))),
        |facts| replicas(facts)[0].server = Some(Fetched::Failed(problem(Code::AccessDenied))),
        |facts| facts.receiver_login = Some(Fetched::Failed(problem(Code::AccessDenied))),
        |facts| replica(facts, 0).super_read_only = false,
        |facts| source(facts, 0).missing_privileges.push("REPLICATION SLAVE".to_owned()),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut facts = direct_facts();
        change(&mut facts);
        let checks = judged(&facts);
        for check in &checks {
            let words = words(check).to_lowercase();
            for foreign in ["kubectl", "pod", "sidecar", "namespace", "cluster"] {
                assert!(!words.contains(foreign), "change {n}: {foreign} in {words}");
            }
        }
        let all_well = checks.iter().all(Check::is_good);
        // A login from here proves nothing against a receiver that is connected, and an open replica is a warning.
        assert_eq!(all_well, [4, 5].contains(&n), "change {n}");
    }
}

#[test]
fn two_addresses_of_one_server_are_told_from_a_copied_identity() {
    let said = |change: fn(&mut Facts)| {
        let mut facts = direct_facts();
        *replica(&mut facts, 0) = source(&mut facts, 0).clone();
        change(&mut facts);
        let checks = judged(&facts);
        let clash = checks.iter().find(|check| check.id == ids::SERVER_IDS && !check.is_good()).unwrap();
        assert_eq!(verdict(clash), ("failed", Some(Code::ServerIdClash)));
        words(clash)
    };
    assert!(said(|_| ()).contains("one and the same server"));
    assert!(said(|facts| replica(facts, 0).hostname = "other".to_owned()).contains("have the same server_uuid"));
}

#[test]
fn facts_judge_the_same_elsewhere() {
    let facts = direct_facts();
    let read: Facts = serde_json::from_str(&serde_json::to_string(&facts).unwrap()).unwrap();
    assert_eq!(read, facts);
}

#[test]
fn a_source_that_cannot_be_read_stops_a_setup() {
    let mut facts = direct_facts();
    sources(&mut facts)[0].server = Some(Fetched::Failed(problem(Code::ServerUnreachable)));
    let stops = judge::blocking(&judge::access(&direct_spec(), &facts)).map(|check| (check.id, verdict(check)));
    assert_eq!(stops, Some((ids::SERVER_LOGIN, ("unknown", Some(Code::ServerUnreachable)))));
}
