//! Settings that replication works without, and that decide how it ends when a server restarts or somebody else writes.

use super::super::{Asked, ask, ids, members, named, servers, unread};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    facts::{ChannelFacts, Facts, MemberFacts, RuleFacts, RuleKind, ServerFacts, Standing},
    hint::Hint,
    problem::{Fetched, Problem},
    quote,
    spec::{ReplicationLink, Tls},
};

pub(super) fn read_only(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    if server.super_read_only {
        return asked.passed(["super_read_only ON"]);
    }
    let name = named(side, one);
    let operator = "; the Percona operator opens ready pods again at each reconcile where its resource names no replication channel";
    let operator = one.in_pod().map_or("", |_| operator);
    asked.warned(
        Problem::new(
            Code::ReplicaWritable,
            format!("{name} takes writes from others than the channel (super_read_only OFF)"),
        )
        .seen("@@super_read_only = OFF")
        .hint(
            Hint::text(format!("close it unless something must write there{operator}"))
                .sql(name, "SET PERSIST super_read_only = ON"),
        ),
    )
}

/// Told only where nobody can write on any member of the source: a promotion that was cut leaves it so.
pub(super) fn closed_source(spec: ReplicationLink<'_>, facts: &Facts) -> Option<Check> {
    let sources: Vec<_> = servers(facts, Side::Source).collect();
    let all_closed = sources.iter().all(|(_, server)| server.super_read_only);
    // One that was not read may be the primary of a group, whose others are closed rightly.
    if sources.is_empty() || !all_closed || unread(facts, Side::Source).is_some() {
        return None;
    }
    let may_be_opened = |server: &ServerFacts| match &server.membership {
        None => true,
        Some(Fetched::Got(membership)) => membership.standing() >= Standing::OutOfStep,
        Some(Fetched::Failed(_)) => false,
    };
    let text = format!(
        "if a promotion was cut here, run `pxc-link teardown --source {} --promote` again, which goes on; if this is to stay the source, open it",
        spec.name
    );
    let (mut problem, mut hint) =
        (Problem::new(Code::SourceClosed, "no member of the source takes writes"), Hint::text(text));
    for (one, server) in sources {
        let name = named(Side::Source, one);
        problem = problem.seen(format!("{name}: super_read_only ON"));
        if !may_be_opened(server) {
            continue;
        }
        hint = hint.sql(&name, "RESET PERSIST IF EXISTS super_read_only").sql(&name, "SET GLOBAL read_only = OFF");
    }
    Some(ask(ids::SOURCE_WRITABLE, Subject::Link).warned(problem.hint(hint)))
}

pub(super) fn skip_start(facts: &Facts, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let alone = members(facts, Side::Replica).len() == 1;
    match (server.skip_replica_start, alone) {
        (true, _) => asked.passed(["skip_replica_start ON: after a restart of this member run setup again"]),
        (false, true) => asked.passed(["skip_replica_start OFF: the channel starts with the member"]),
        (false, false) => asked.warned(
            Problem::new(
                Code::StartsByItself,
                format!("{} starts every channel it knows when it restarts; a copy of the channel on two members stops the applier", named(Side::Replica, one)),
            )
            .seen("@@skip_replica_start = OFF")
            .hint(Hint::text("it cannot be set at run time: write `skip_replica_start=ON` into the configuration of every member")),
        ),
    }
}

/// Workers that commit in any order leave gaps when they end unasked.
pub(super) fn commit_order(spec: ReplicationLink<'_>, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let settings = &server.settings;
    let workers = settings.replica_parallel_workers;
    if workers < 2 || settings.replica_preserve_commit_order {
        return asked.passed([format!("{workers} worker(s), in the source's order")]);
    }
    let name = named(Side::Replica, one);
    let own = |channel: &&ChannelFacts| channel.name.eq_ignore_ascii_case(&spec.replication.channel);
    let channel = quote::literal(&spec.replication.channel).map(|quoted| quoted.to_string()).unwrap_or_default();
    let mut hint = Hint::text("it can be turned on while the appliers are stopped");
    let has = server.channels.iter().any(|channel| own(&channel));
    if has {
        hint = hint.sql(&name, format!("STOP REPLICA SQL_THREAD FOR CHANNEL {channel}"));
    }
    hint = hint.sql(&name, "SET PERSIST replica_preserve_commit_order = ON");
    if has {
        hint = hint.sql(&name, format!("START REPLICA SQL_THREAD FOR CHANNEL {channel}"));
    }
    asked.warned(
        Problem::new(
            Code::CommitOrderLost,
            format!("{workers} workers on {name} commit in another order than the source (replica_preserve_commit_order OFF)"),
        )
        .seen(format!("@@replica_parallel_workers = {workers}"))
        .seen("@@replica_preserve_commit_order = OFF")
        .hint(hint),
    )
}

/// Whether a crash leaves a torn relay log in use.
pub(super) fn relay_log(one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    if server.settings.relay_log_recovery {
        return asked.passed(["relay_log_recovery ON: what was not applied is fetched anew after a crash"]);
    }
    let name = named(Side::Replica, one);
    asked.warned(
        Problem::new(Code::RelayLogKept, format!("{name} reads on in its relay log after a crash, torn or not"))
            .seen("@@relay_log_recovery = OFF")
            .hint(Hint::text(
                "it cannot be set at run time: write `relay_log_recovery=ON` into the configuration of every member",
            )),
    )
}

/// Hosts to which the server would move the channel by itself.
pub(super) fn failover(spec: ReplicationLink<'_>, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let channel = &spec.replication.channel;
    let own = |rule: &&RuleFacts| rule.kind == RuleKind::Failover && rule.channel.eq_ignore_ascii_case(channel);
    let listed: Vec<&RuleFacts> = server.rules.iter().filter(own).collect();
    if listed.is_empty() {
        return asked.passed(["no failover list for the link's channel"]);
    }
    let name = named(Side::Replica, one);
    let message = format!("{name} has {} host(s) in its own failover list for channel `{channel}`", listed.len());
    let problem =
        listed.iter().fold(Problem::new(Code::FailoverListed, message), |problem, rule| problem.seen(&rule.rule));
    let show = "SELECT * FROM performance_schema.replication_asynchronous_connection_failover";
    asked.warned(problem.hint(
        Hint::text("none of them is the mesh name: take them out with asynchronous_connection_failover_delete_source(), or leave this channel to whoever keeps the list and give the link another `replication.channel`")
            .sql(name, show),
    ))
}

/// A channel without TLS works, and must have been asked for in so many words. Nothing was looked at, so nothing is said of
/// one with TLS here: the probe proves that on the path.
pub(super) fn plain(spec: ReplicationLink<'_>) -> Option<Check> {
    (spec.replication.tls == Tls::Disabled).then(|| {
        let problem = Problem::new(Code::PlainChannel, "rows and the login travel between the clusters in plain text")
            .seen("replication.tls.mode: disabled")
            .hint(Hint::text("write `tls: {mode: verify-identity, ca: PATH}` with the source's CA on the members"));
        ask(ids::CHANNEL_ENCRYPTED, Subject::Link).warned(problem)
    })
}
