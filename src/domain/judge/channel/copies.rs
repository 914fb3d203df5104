//! Where the channel is: on one member only, and on one that may apply what it brings.

use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    desired,
    facts::{ChannelFacts, Facts, MemberFacts, Membership, ServerFacts, Standing},
    hint::Hint,
    judge::{Asked, ask, ids, members, named, of_channel, unread},
    problem::Problem,
    spec::ReplicationLink,
};

pub(super) fn threads(channel: &ChannelFacts) -> String {
    format!("receiver {}, applier {}", channel.receiver.state, channel.applier.state)
}

/// Whether the channel is on one member, and only there.
pub(super) fn unique(spec: ReplicationLink<'_>, facts: &Facts) -> Check {
    let asked = ask(ids::CHANNEL_UNIQUE, Subject::Link);
    let name = &spec.replication.channel;
    let carriers = desired::carriers(spec, facts);
    let mut shown = Vec::new();
    for one in members(facts, Side::Replica) {
        shown.push(match (of_channel(spec, one), one.unread()) {
            (Some((_, channel)), _) => format!("{}: {}", named(Side::Replica, one), threads(channel)),
            (None, Some(problem)) => format!("{}: not read ({})", named(Side::Replica, one), problem.message),
            (None, None) => format!("{}: no such channel", named(Side::Replica, one)),
        });
    }
    let told = |problem: Problem| shown.iter().fold(problem, |problem, line| problem.seen(line.clone()));
    if carriers.len() > 1 {
        let names: Vec<&str> = carriers.iter().map(|one| one.name()).collect();
        let stays = desired::pick_member(spec, facts).map_or("one of them", MemberFacts::name);
        let mut hint = Hint::text(format!(
            "let it be on {stays} only: a copy that runs is stopped at once, and setup deletes the copies before it starts anything"
        ));
        let runs = |channel: &ChannelFacts| !channel.receiver.is_off() || !channel.applier.is_off();
        for one in desired::surplus(spec, facts) {
            if of_channel(spec, one).is_some_and(|(_, channel)| runs(channel)) {
                hint = hint.sql(named(Side::Replica, one), format!("STOP REPLICA FOR CHANNEL '{name}'"));
            }
        }
        let hint = hint.then(["pxc-link", "setup", "--source", &spec.name]);
        return asked.failed(told(
            Problem::new(
                Code::ChannelTwice,
                format!(
                    "channel `{name}` is on {} members, {}: each row would be applied on both",
                    names.len(),
                    names.join(" and ")
                ),
            )
            .hint(hint),
        ));
    }
    if let Some(why) = unread(facts, Side::Replica) {
        let what = format!("whether another member has channel `{name}` too cannot be told: {}", why.message);
        return asked.unknown(told(Problem { hint: why.hint.clone(), ..Problem::new(why.code, what) }));
    }
    match carriers.first() {
        Some(one) => asked.passed([format!("on {} only", named(Side::Replica, one))]),
        None => asked.failed(told(
            Problem::new(Code::NoChannel, format!("no member of the replica has channel `{name}`"))
                .hint(Hint::run("set the link up", ["pxc-link", "setup", "--source", &spec.name])),
        )),
    }
}

/// Whether a member of a cluster may apply what the channel brings. Of a server without a cluster there is nothing to say.
pub(super) fn placed(
    spec: ReplicationLink<'_>,
    facts: &Facts,
    one: &MemberFacts,
    server: &ServerFacts,
    asked: Asked,
) -> Option<Check> {
    let membership = server.membership.as_ref()?.got()?;
    let state = match membership.standing() {
        Standing::InOrder | Standing::OutOfStep => return Some(asked.passed([membership.seen()])),
        Standing::ReadsOnly => "takes no writes in its cluster",
        Standing::Outside => "is outside of its cluster",
    };
    let (name, channel) = (named(Side::Replica, one), &spec.replication.channel);
    let problem = Problem::new(
        Code::ChannelCannotApply,
        format!("channel `{channel}` is on {name}, which {state}: nothing that arrives there can be applied"),
    )
    .seen(format!("{name}: {}", membership.seen()));
    let able = desired::pick_member(spec, facts).ok().filter(|able| able.name() != one.name());
    Some(asked.failed(match able {
        None => problem.hint(Hint::text(
            "no other member of the replica could carry it: bring the cluster back first, then run setup",
        )),
        Some(able) => {
            let place = able.server().and_then(|server| server.membership.as_ref()?.got()).map(Membership::seen);
            problem.seen(format!("{}: {}", named(Side::Replica, able), place.unwrap_or_default())).hint(Hint::run(
                format!("setup deletes the copy on {}, and has the channel on {} only", one.name(), able.name()),
                ["pxc-link", "setup", "--source", &spec.name],
            ))
        }
    }))
}
