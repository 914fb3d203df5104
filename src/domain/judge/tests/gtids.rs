//! What was purged, what is errant, and which next failover would work.

use super::{broken, check_of, commands, replica, shown, source, unread, verdict};
use crate::domain::{
    baseline,
    code::Code,
    facts::Facts,
    judge::ids,
    sample::{self, REPLICA, SOURCE, facts, got, gtids, replicas, spec},
};

/// The UUID of a source that is one cluster.
const CLUSTER: &str = "c0000000-0000-0000-0000-000000000000";

#[test]
fn a_move_that_would_not_work_is_a_warning_with_every_pair() {
    let check = broken(ids::GTID_MOVES, &source(0), ("warned", Code::MoveBlocked), |_, facts| {
        sample::replica(facts, 1).gtid_executed = gtids(&format!("{}:1-40", SOURCE[0]));
    });
    let text = shown(&check);
    for line in [
        "could not go on from replica pxc-1, attached to source pxc-0".to_owned(),
        "replica pxc-0 to source pxc-0: would work, nothing is missing".to_owned(),
        format!("replica pxc-1 to source pxc-0: would stop, 10 missing there and purged here: {}:41-50", SOURCE[0]),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(commands(&check).iter().all(|command| command.starts_with("SELECT ")));
    // What stops the next move stops no channel that is elsewhere.
    let mut facts = facts();
    sample::replica(&mut facts, 1).gtid_executed = gtids(&format!("{}:1-40", SOURCE[0]));
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::GTID_PURGED, &source(0))), ("passed", None));
}

#[test]
fn what_a_source_refuses_is_told_apart_from_what_it_will_get_later() {
    let ahead = |facts: &mut Facts| {
        sample::replica(facts, 1).gtid_executed = gtids(&format!("{}:1-100,{}:1-2", SOURCE[0], SOURCE[1]));
    };
    let check = broken(ids::GTID_MOVES, &source(1), ("warned", Code::MoveBlocked), |_, facts| ahead(facts));
    let line = format!(
        "replica pxc-1 to source pxc-1: would be refused, 2 there under the UUID of source pxc-1 and not on it: {}:1-2",
        SOURCE[1]
    );
    assert!(shown(&check).contains(&line), "{}", shown(&check));
    let mut facts = facts();
    ahead(&mut facts);
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::GTID_MOVES, &source(0))), ("passed", None));
}

#[test]
fn moves_that_work_say_what_is_missing_by_uuid() {
    let mut facts = facts();
    sample::source(&mut facts, 0).gtid_executed = gtids(&format!("{}:1-103,{CLUSTER}:blue:1-4", SOURCE[0]));
    let check = check_of(&spec(), &facts, ids::GTID_MOVES, &source(0));
    assert_eq!(verdict(&check), ("passed", None));
    let line = format!("replica pxc-1 to source pxc-0: would work, 7 to fetch ({}: 3, {CLUSTER}: 4)", SOURCE[0]);
    assert!(check.evidence.contains(&line), "{:#?}", check.evidence);
}

#[test]
fn a_member_that_was_not_read_leaves_its_moves_open() {
    let check = broken(ids::GTID_MOVES, &source(0), ("unknown", Code::ServerUnreachable), |_, facts| {
        replicas(facts)[1].server = Some(unread(Code::ServerUnreachable));
    });
    assert!(shown(&check).contains("replica pxc-1 to source pxc-0: not known"), "{}", shown(&check));
}

#[test]
fn what_one_member_of_a_cluster_wrote_for_itself_is_warned_of() {
    let cluster = |facts: &mut Facts, first: &str, second: &str| {
        for (number, own) in [first, second].iter().enumerate() {
            let server = sample::source(facts, number);
            server.cluster_uuid = Some(CLUSTER.to_owned());
            server.gtid_executed = gtids(&format!("{CLUSTER}:1-{}{own}", 100 - number));
            server.gtid_purged = gtids("");
        }
    };
    let mut facts = facts();
    cluster(&mut facts, "", "");
    for number in [0, 1] {
        let check = check_of(&spec(), &facts, ids::GTID_LOCAL, &source(number));
        assert_eq!(verdict(&check), ("passed", None), "one that is behind has nothing of its own");
    }
    cluster(&mut facts, "", &format!(",{}:1-3", SOURCE[1]));
    let check = check_of(&spec(), &facts, ids::GTID_LOCAL, &source(1));
    assert_eq!(verdict(&check), ("warned", Some(Code::LocalTransactions)));
    assert!(shown(&check).contains("source pxc-0 lacks 3 of them"), "{}", shown(&check));
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::GTID_LOCAL, &source(0))), ("passed", None));
}

#[test]
fn what_was_there_at_setup_is_known_and_what_came_later_is_reported() {
    let own = |numbers: &str| format!("{}:1-100,{}:{numbers}", SOURCE[0], REPLICA[0]);
    let remembered = |facts: &mut Facts, set: &str| {
        let entry = &mut got(&mut facts.client.mesh).entries[0];
        entry.records.insert(baseline::RECORD.to_owned(), set.to_owned());
    };
    let mut facts = facts();
    remembered(&mut facts, &format!("{}:1-2", REPLICA[0]));
    sample::replica(&mut facts, 0).gtid_executed = gtids(&own("1-2"));
    let check = check_of(&spec(), &facts, ids::GTID_ERRANT, &replica(0));
    assert_eq!(verdict(&check), ("passed", None));
    assert!(check.evidence[0].contains("2 of its own, all there when the link was set up"), "{:?}", check.evidence);

    sample::replica(&mut facts, 0).gtid_executed = gtids(&own("1-5"));
    let check = check_of(&spec(), &facts, ids::GTID_ERRANT, &replica(0));
    assert_eq!(verdict(&check), ("warned", Some(Code::OwnGrowth)));
    let text = shown(&check);
    assert!(text.contains("3 transaction(s)") && text.contains(&format!("new: {}:3-5", REPLICA[0])), "{text}");

    // Numbers of the source's own are no growth: they fail, recorded or not.
    remembered(&mut facts, &format!("{}:101-120", SOURCE[0]));
    sample::replica(&mut facts, 0).gtid_executed = gtids(&format!("{}:1-120", SOURCE[0]));
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::GTID_ERRANT, &replica(0))), ("failed", Some(Code::Errant)));
}
