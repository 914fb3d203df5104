//! Which next failover would work: every member of the replica against every member of the source.

use super::super::{ask, ids, member, members, named, servers};
use crate::domain::{
    check::{Check, Side},
    code::Code,
    facts::{Facts, MemberFacts, ServerFacts},
    gtid::GtidSet,
    hint::Hint,
    problem::Problem,
};

/// What would come of it if the channel went on from one member of the replica, attached to one member of the source.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    /// It would work; these are still to be fetched.
    Works(GtidSet),
    /// The source has deleted the logs of these, and the replica's member lacks them: receiver error 13114.
    Purged(GtidSet),
    /// The replica's member has these under the source's own `server_uuid` and the source has not: the one divergence that a
    /// server looks for before it sends (`rpl_binlog_sender.cc`), receiver error 13114.
    Refused(GtidSet),
}

fn outcome(source: &ServerFacts, replica: &ServerFacts) -> Move {
    let purged = source.gtid_purged.subtract(&replica.gtid_executed);
    if !purged.is_empty() {
        return Move::Purged(purged);
    }
    let ahead = replica.gtid_executed.subtract(&source.gtid_executed);
    let refused = source.server_uuid.parse().map(|own| ahead.of_uuid(own)).unwrap_or_default();
    if refused.is_empty() {
        Move::Works(source.gtid_executed.subtract(&replica.gtid_executed))
    } else {
        Move::Refused(refused)
    }
}

/// One line a member of the replica, and a warning where one of them could not go on from this member of the source.
pub(super) fn moves(facts: &Facts, one: &MemberFacts, source: &ServerFacts) -> Check {
    let asked = ask(ids::GTID_MOVES, member(Side::Source, one));
    let to = named(Side::Source, one);
    let (mut lines, mut blocked, mut unread) = (Vec::new(), Vec::new(), None);
    for replica in members(facts, Side::Replica) {
        let from = named(Side::Replica, replica);
        let Some(server) = replica.server() else {
            unread = unread.or(replica.unread());
            lines.push(format!("{from} to {to}: not known, as {from} was not read"));
            continue;
        };
        let what = match outcome(source, server) {
            Move::Works(missing) if missing.is_empty() => "would work, nothing is missing".to_owned(),
            Move::Works(missing) => format!("would work, {} to fetch ({})", missing.count(), missing.counts()),
            Move::Purged(purged) => {
                blocked.push(from.clone());
                format!("would stop, {} missing there and purged here: {purged}", purged.count())
            }
            Move::Refused(refused) => {
                blocked.push(from.clone());
                format!("would be refused, {} there under the UUID of {to} and not on it: {refused}", refused.count())
            }
        };
        lines.push(format!("{from} to {to}: {what}"));
    }
    if !blocked.is_empty() {
        let message = format!("the channel could not go on from {}, attached to {to}", blocked.join(" and "));
        let hint = Hint::text(format!(
            "until that is mended move the channel to another member only, or keep {to} out of the endpoints: what was purged comes with a seed of the member, what is refused has to be compared row by row first"
        ));
        let hint = blocked.iter().fold(hint, |hint, from| hint.sql(from, "SELECT @@GLOBAL.gtid_executed"));
        let problem = lines.into_iter().fold(Problem::new(Code::MoveBlocked, message), Problem::seen);
        return asked.warned(problem.hint(hint.sql(&to, "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged")));
    }
    match unread.or_else(|| super::super::unread(facts, Side::Replica)) {
        Some(why) => {
            let message = format!("whether every member of the replica could go on from {to} is not known");
            let problem = Problem::new(why.code, message).seen(why.message.clone());
            asked.unknown(lines.into_iter().fold(problem, Problem::seen))
        }
        None => asked.passed(lines),
    }
}

/// What one member of a source cluster has written for itself: a statement under RSU, without Galera, or into a table that it does
/// not replicate. The other members never get it, and a replica only as long as it is attached to this one.
///
/// Judged of members of a cluster only, whose common transactions are under the cluster's UUID: of servers that copy from one another
/// one hands on what it writes under its own.
pub(super) fn local(facts: &Facts, one: &MemberFacts, source: &ServerFacts) -> Option<Check> {
    source.cluster_uuid.as_ref()?;
    let own = source.server_uuid.parse().ok()?;
    let others: Vec<_> = servers(facts, Side::Source).filter(|(other, _)| !std::ptr::eq(*other, one)).collect();
    if others.is_empty() {
        return None;
    }
    let asked = ask(ids::GTID_LOCAL, member(Side::Source, one));
    let everywhere = others.iter().map(|(_, server)| server.gtid_executed.clone());
    let everywhere = everywhere.reduce(|all, one| all.intersect(&one)).unwrap_or_default();
    let local = source.gtid_executed.of_uuid(own).subtract(&everywhere);
    if local.is_empty() {
        return Some(asked.passed(["nothing under its own UUID that another member lacks"]));
    }
    let name = named(Side::Source, one);
    let mut problem = Problem::new(
        Code::LocalTransactions,
        format!("{name} has {} transaction(s) of its own that not every member of the source has", local.count()),
    )
    .seen(format!("local to {name}: {local}"));
    for (other, server) in others {
        let lacks = local.subtract(&server.gtid_executed);
        problem = problem.seen(format!("{} lacks {} of them", named(Side::Source, other), lacks.count()));
    }
    Some(asked.warned(problem.hint(
        Hint::text("find out what they did, bring the same to the other members, and keep such work off the source's members: a replica that changes over finds them missing or, once their logs are purged, cannot")
            .sql(name, "SHOW BINARY LOGS"),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample::{REPLICA, SOURCE, gtids, server};

    #[test]
    fn a_move_is_judged_by_what_the_servers_would_do() {
        let pair = |executed: &str, purged: &str, has: &str| {
            let (mut source, mut replica) = (server(SOURCE[0], 1), server(REPLICA[0], 11));
            let text = |text: &str| text.replace('S', SOURCE[0]).replace('T', SOURCE[1]).replace('R', REPLICA[0]);
            source.gtid_executed = gtids(&text(executed));
            source.gtid_purged = gtids(&text(purged));
            replica.gtid_executed = gtids(&text(has));
            outcome(&source, &replica)
        };
        let set = |text: &str| gtids(&text.replace('S', SOURCE[0]).replace('T', SOURCE[1]));
        assert_eq!(pair("S:1-9", "S:1-3", "S:1-5"), Move::Works(set("S:6-9")));
        assert_eq!(pair("S:1-9", "S:1-3", "S:1-9,R:1-4"), Move::Works(set("")), "its own are no obstacle");
        assert_eq!(pair("S:1-9", "S:1-6", "S:1-5"), Move::Purged(set("S:6")));
        assert_eq!(pair("S:1-9,T:x:1-4", "T:x:1-2", "S:1-9"), Move::Purged(set("T:x:1-2")));
        assert_eq!(pair("S:1-9", "", "S:1-11"), Move::Refused(set("S:10-11")));
        assert_eq!(pair("S:1-9,T:1-4", "", "T:1-6"), Move::Works(set("S:1-9")), "a member that is behind sends");
    }
}
