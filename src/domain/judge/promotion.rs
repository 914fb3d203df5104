//! What is to be known after a promotion: whether the old source is closed, what did not arrive, and what a restart would undo.

use super::{ask, ids, or_empty};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    facts::{Facts, MemberFacts},
    gtid::GtidSet,
    hint::Hint,
    lag,
    problem::Problem,
    promotion::{EventName, NewSource, Standing, events},
    spec::ReplicationLink,
};

/// What was done, as far as it matters to what is told.
#[derive(Debug, Clone, Copy)]
pub struct Promoted<'a> {
    /// Both sides as they were before.
    pub standing: &'a Standing,
    /// The members of the source that are closed to writes now.
    pub closed: &'a [String],
    /// Both sides as they are now.
    pub facts: &'a Facts,
    /// The events that are enabled now.
    pub enabled: &'a [EventName],
}

/// What is to be known after a promotion.
pub fn checks(link: ReplicationLink<'_>, promoted: Promoted<'_>) -> Vec<Check> {
    let Promoted { standing, facts, .. } = promoted;
    let mut checks = vec![source_closed(promoted), arrived(facts)];
    checks.extend(standing.replicas.iter().map(open));
    checks.push(events_enabled(link, promoted));
    checks
}

fn source_closed(Promoted { standing, closed, .. }: Promoted<'_>) -> Check {
    let asked = ask(ids::SOURCE_CLOSED, Subject::Link);
    let open: Vec<&str> = standing
        .sources
        .iter()
        .map(|one| one.member.as_str())
        .filter(|member| !closed.iter().any(|c| c == member))
        .collect();
    if open.is_empty() && !closed.is_empty() {
        return asked.passed(closed.iter().map(|member| format!("super_read_only ON, persisted, on source {member}")));
    }
    let who = if open.is_empty() { "the source".to_owned() } else { format!("source {}", open.join(", ")) };
    let message = format!("{who} was not closed: if it takes a write, there are two histories");
    let hint = Hint::text("close it before anybody can reach it again, or see to it that it never comes back");
    let hint =
        open.iter().fold(hint, |hint, member| hint.sql(format!("source {member}"), "SET PERSIST super_read_only = ON"));
    asked.warned(Problem::new(Code::SourceOpen, message).hint(hint))
}

fn arrived(facts: &Facts) -> Check {
    let asked = ask(ids::ALL_ARRIVED, Subject::Link);
    let replicas = facts.client.members.got().into_iter().flatten().filter_map(MemberFacts::server);
    let here = replicas.fold(GtidSet::new(), |all, server| all.union(&server.gtid_executed));
    let Some(there) = lag::source_executed(facts) else {
        let message = "the source was not read, so nobody knows what it has that did not arrive";
        return asked.unknown(
            Problem::new(Code::NotArrived, message)
                .seen(format!("executed here: {}", or_empty(&here)))
                .hint(Hint::text("keep the old source's binary logs until somebody has compared them with this set")),
        );
    };
    let (missing, own) = (there.subtract(&here), here.subtract(&there));
    let of_its_own = (!own.is_empty()).then(|| format!("executed here and not on the old source: {own}"));
    if missing.is_empty() {
        let all = format!("all {} transactions of the source", there.count());
        return asked.passed(std::iter::once(all).chain(of_its_own));
    }
    let message = format!("the source has {} transaction(s) that did not arrive", missing.count());
    let problem = Problem::new(Code::NotArrived, message).seen(format!("on the source only: {missing}"));
    let problem = of_its_own.into_iter().fold(problem, Problem::seen);
    asked.warned(problem.hint(Hint::text(format!(
        "keep the old source's binary logs; `mysqlbinlog --include-gtids='{missing}'` on them shows what these were"
    ))))
}

fn open(one: &NewSource) -> Check {
    let asked = ask(ids::REPLICA_OPEN, Subject::Member(Side::Replica, one.member.clone()));
    if one.closed_again.is_empty() {
        return asked.passed(["takes writes, nothing persisted"]);
    }
    let message = format!("{} takes writes until it restarts", one.member);
    let problem = one.closed_again.iter().fold(Problem::new(Code::ClosedAgain, message), |problem, again| {
        problem.seen(format!("{} is set by {}", again.variable, again.by))
    });
    asked.warned(
        problem.hint(
            Hint::text("take it out there, or overrule it")
                .sql(format!("replica {}", one.member), "SET PERSIST read_only = OFF"),
        ),
    )
}

fn events_enabled(link: ReplicationLink<'_>, Promoted { standing, enabled, .. }: Promoted<'_>) -> Check {
    let asked = ask(ids::EVENTS_ENABLED, Subject::Link);
    let found: Vec<_> = events(standing).filter(|(_, event)| !enabled.contains(event)).collect();
    let unseen = standing.replicas.iter().find(|one| !one.sees_all_events);
    if !found.is_empty() {
        let message = format!("{} event(s) are disabled, as on any replica, and nothing runs them now", found.len());
        let problem = found
            .iter()
            .fold(Problem::new(Code::EventsDisabled, message), |problem, (_, event)| problem.seen(event.quoted()));
        let hint = found.iter().fold(Hint::text("enable those that are to run here"), |hint, (member, event)| {
            hint.sql(format!("replica {member}"), event.enabled())
        });
        return asked.warned(problem.hint(hint));
    }
    if let Some(one) = unseen {
        let user = &link.replication.replica_account.user;
        let message = format!("account `{user}` may not see every event of {}", one.member);
        return asked.unknown(Problem::new(Code::EventsDisabled, message).hint(
            Hint::text("look as an account that may; the status of those that replication disabled ends with SIDE_DISABLED")
                .sql(format!("replica {}", one.member), "SELECT EVENT_SCHEMA, EVENT_NAME, STATUS FROM information_schema.EVENTS"),
        ));
    }
    asked.passed(if enabled.is_empty() {
        vec!["no event was disabled".to_owned()]
    } else {
        enabled.iter().map(|event| format!("{} enabled", event.quoted())).collect()
    })
}
