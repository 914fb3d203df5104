//! Whether each member is in its own cluster and in step with it, and whether both sides are clusters of their own.

use super::super::{ask, ids, member, named, servers};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    desired,
    facts::{Facts, MemberFacts, Membership, ServerFacts, Standing},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// Judges a member of a cluster; of a server of its own there is nothing to say.
///
/// One that is outside fails a link only where the link has nobody else, or is attached to it.
pub(super) fn in_cluster(
    spec: ReplicationLink<'_>,
    facts: &Facts,
    side: Side,
    one: &MemberFacts,
    server: &ServerFacts,
) -> Option<Check> {
    let asked = ask(ids::MEMBER_CLUSTER, member(side, one));
    let membership = match server.membership.as_ref()? {
        Fetched::Got(membership) => membership,
        Fetched::Failed(problem) => return Some(asked.unknown(problem.clone())),
    };
    let (name, seen) = (named(side, one), membership.seen());
    Some(match membership.standing() {
        Standing::InOrder | Standing::ReadsOnly => asked.passed([seen]),
        Standing::OutOfStep => asked.warned(
            Problem::new(Code::MemberOutOfStep, format!("{name} may be behind its cluster, or is about to leave it"))
                .seen(seen)
                .hint(Hint::text("wait until it is Synced, or undo what was set").sql(
                    &name,
                    "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_local_state_comment', 'wsrep_local_recv_queue')",
                )),
        ),
        Standing::Outside => {
            let code = if side == Side::Source { Code::SourceNotReady } else { Code::MemberNotSynced };
            let problem = Problem::new(code, format!("{name} is outside of its cluster, or not yet in it"))
                .seen(seen)
                .hint(bring_back(side, &name, membership));
            let attached = side == Side::Source && is_attached(spec, facts, server);
            let others = servers(facts, side).any(|(_, server)| is_inside(server));
            if attached {
                asked.failed(problem.seen("the receiver is attached to it: it gets heartbeats and nothing new"))
            } else if others {
                asked.warned(problem)
            } else {
                asked.failed(problem)
            }
        }
    })
}

fn is_inside(server: &ServerFacts) -> bool {
    match &server.membership {
        Some(Fetched::Got(membership)) => membership.standing() > Standing::Outside,
        Some(Fetched::Failed(_)) | None => true,
    }
}

fn is_attached(spec: ReplicationLink<'_>, facts: &Facts, source: &ServerFacts) -> bool {
    desired::carriers(spec, facts).into_iter().filter_map(MemberFacts::server).any(|server| {
        server.channels.iter().any(|channel| {
            channel.name.eq_ignore_ascii_case(&spec.replication.channel)
                && !channel.receiver.is_off()
                && channel.source_uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(&source.server_uuid))
        })
    })
}

fn bring_back(side: Side, name: &str, membership: &Membership) -> Hint {
    let text = match side {
        Side::Source => {
            "bring it back into its cluster; until then keep it out of the link's endpoints, as its Service does when the pod is not ready"
        }
        Side::Replica | Side::Client => "bring it back into its cluster",
    };
    match membership {
        Membership::Galera(_) => Hint::text(text).sql(name, "SHOW GLOBAL STATUS LIKE 'wsrep_%'"),
        Membership::Group(member) => {
            let hint = Hint::text(text).sql(name, "SELECT * FROM performance_schema.replication_group_members");
            // Any other has not left the group: it recovers, or waits for the others (manual: "Group Replication Server States").
            match member.state.as_str() {
                "OFFLINE" => hint.sql(name, "START GROUP_REPLICATION"),
                "ERROR" => hint.sql(name, "STOP GROUP_REPLICATION").sql(name, "START GROUP_REPLICATION"),
                _ => hint,
            }
        }
    }
}

/// Whether the clusters of both sides number their transactions under UUIDs of their own.
pub(super) fn identity(facts: &Facts) -> Option<Check> {
    let of = |side| servers(facts, side).filter_map(|(one, server)| Some((one, server.cluster_uuid.as_deref()?)));
    of(Side::Source).next()?;
    of(Side::Replica).next()?;
    let asked = ask(ids::CLUSTER_IDENTITY, Subject::Link);
    let shared = of(Side::Source).find_map(|(source, uuid)| {
        let (replica, _) = of(Side::Replica).find(|(_, other)| other.eq_ignore_ascii_case(uuid))?;
        Some((source, replica, uuid))
    });
    let Some((source, replica, uuid)) = shared else {
        return Some(asked.passed(["each side's cluster has a UUID of its own"]));
    };
    let (source, replica) = (named(Side::Source, source), named(Side::Replica, replica));
    Some(asked.failed(
        Problem::new(
            Code::OneClusterIdentity,
            format!("{source} and {replica} say that their cluster is {uuid}: what both sides write has the same GTIDs"),
        )
        .seen(format!("cluster UUID {uuid} on both"))
        .hint(Hint::text("give the replica's cluster a new identity (bootstrap it anew, or another group_replication_group_name), then run setup again")),
    ))
}
