//! What both sides' servers must have before a channel may start: GTIDs, binary logs, identities, and nothing lost between them.

mod binlog;
mod bugs;
mod data;
mod gtids;
mod identities;
mod membership;
mod moves;
mod operator;
mod pairs;
mod settings;
mod tables;

use super::{ask, certificates, ids, member, members, servers, source_is_endpoints};
use crate::domain::{
    check::{Check, CheckId, Side, Subject},
    code::Code,
    facts::{Facts, MemberFacts, ServerFacts},
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// Judges every server by itself, and every member of the source against the replica.
pub fn prerequisites(spec: ReplicationLink<'_>, facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    for side in [Side::Source, Side::Replica] {
        for one in members(facts, side) {
            match &one.server {
                Some(Fetched::Got(server)) => {
                    checks.extend(of_server(spec, facts, side, one, server));
                    checks.extend(membership::in_cluster(spec, facts, side, one, server));
                }
                Some(Fetched::Failed(problem)) => checks.extend(unread_member(side, one, problem)),
                None => {}
            }
        }
    }
    let sources: Vec<_> = members(facts, Side::Source).iter().collect();
    for one in &sources {
        if let Some(server) = one.server() {
            checks.push(identities::version_order(facts, one, server));
            checks.extend(pairs::compared(facts, one, server));
            checks.push(gtids::purged(spec, facts, one, server));
            checks.push(moves::moves(facts, one, server));
            checks.extend(moves::local(facts, one, server));
        }
    }
    if sources.is_empty() {
        let subject = Subject::Cluster(Side::Source);
        for id in [ids::GTID_MODE, ids::BINLOG_ENABLED, ids::SERVER_IDS, ids::GTID_PURGED] {
            let asked = ask(id, subject.clone());
            checks.push(match unread_source(facts) {
                Some(cause) => asked.skipped(&cause),
                None => asked.unknown(out_of_sight(spec)),
            });
        }
    }
    checks.extend(membership::identity(facts));
    checks.extend(settings::plain(spec));
    checks.extend(settings::closed_source(spec, facts));
    checks.extend(certificates::certificates(spec, facts));
    checks.extend(operator::operator(spec, facts));
    checks.extend(tables::of_source(spec, facts));
    checks.extend(data::compared(spec, facts));
    for (one, server) in servers(facts, Side::Replica) {
        checks.push(gtids::errant(spec, facts, one, server));
    }
    checks
}

fn out_of_sight(spec: ReplicationLink<'_>) -> Problem {
    let what = if source_is_endpoints(&spec) {
        "the configuration gives the source's addresses only, so its servers are not read"
    } else {
        "no member of the source was found, so there is no server to read"
    };
    Problem::new(Code::ServerUnreachable, what)
}

/// The check that tells why no server of the source was read: of the cluster, of the list of its members, or of a login.
fn unread_source(facts: &Facts) -> Option<Check> {
    let cluster = Subject::Cluster(Side::Source);
    if let Some(Fetched::Failed(problem)) = &facts.source.cluster {
        return Some(ask(ids::CLUSTER_REACHABLE, cluster).unfetched(problem));
    }
    if let Some(problem) = facts.source.members.failed() {
        return Some(ask(ids::MEMBERS_FOUND, cluster).unfetched(problem));
    }
    let login = |one: &MemberFacts| Some(ask(ids::SERVER_LOGIN, member(Side::Source, one)).unfetched(one.unread()?));
    members(facts, Side::Source).iter().find_map(login)
}

const BY_SERVER: [CheckId; 5] =
    [ids::GTID_MODE, ids::BINLOG_ENABLED, ids::BINLOG_FORMAT, ids::SERVER_IDS, ids::SERVER_BUGS];

const BY_REPLICA: [CheckId; 9] = [
    ids::REPLICA_READ_ONLY,
    ids::REPLICA_SKIP_START,
    ids::APPLIER_ORDER,
    ids::RELAY_LOG,
    ids::CHANNEL_RULES,
    ids::GTID_ERRANT,
    ids::TABLES_THERE,
    ids::TABLES_ROWS,
    ids::TABLES_COLUMNS,
];

/// A server that could not be read: everything about it depends on its login.
fn unread_member(side: Side, one: &MemberFacts, problem: &Problem) -> Vec<Check> {
    let subject = member(side, one);
    let login = ask(ids::SERVER_LOGIN, subject.clone()).unfetched(problem);
    let (own, by_pair): (&[CheckId], &[CheckId]) = match side {
        Side::Source => (&[ids::BINLOG_RETENTION, ids::GTID_PURGED, ids::GTID_MOVES], &pairs::BY_PAIR),
        Side::Replica | Side::Client => (&BY_REPLICA, &[]),
    };
    BY_SERVER.iter().chain(own).chain(by_pair).map(|id| ask(*id, subject.clone()).skipped(&login)).collect()
}

fn of_server(
    spec: ReplicationLink<'_>,
    facts: &Facts,
    side: Side,
    one: &MemberFacts,
    server: &ServerFacts,
) -> Vec<Check> {
    let asked = |id| ask(id, member(side, one));
    let mut checks = vec![
        binlog::gtid_mode(&spec.name, side, one, server, asked(ids::GTID_MODE)),
        binlog::binlog(side, one, server, asked(ids::BINLOG_ENABLED)),
        binlog::format(side, one, server, asked(ids::BINLOG_FORMAT)),
        identities::identities(&spec.name, facts, side, one, server, asked(ids::SERVER_IDS)),
        bugs::bugs(side, one, server, asked(ids::SERVER_BUGS)),
    ];
    match side {
        Side::Source => checks.push(binlog::retention(side, one, server, asked(ids::BINLOG_RETENTION))),
        Side::Replica | Side::Client => {
            checks.push(settings::read_only(side, one, server, asked(ids::REPLICA_READ_ONLY)));
            checks.push(settings::skip_start(facts, one, server, asked(ids::REPLICA_SKIP_START)));
            checks.push(settings::commit_order(spec, one, server, asked(ids::APPLIER_ORDER)));
            checks.push(settings::relay_log(one, server, asked(ids::RELAY_LOG)));
            checks.push(settings::failover(spec, one, server, asked(ids::CHANNEL_RULES)));
        }
    }
    checks
}
