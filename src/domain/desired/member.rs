//! The replica member that carries the channel.

use std::cmp::Ordering;

use super::super::{
    check::Side,
    code::Code,
    facts::{ChannelFacts, Facts, MemberFacts, Membership, Standing},
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// The replica member that is to carry the channel. It stays where it is as long as that member may apply; of several copies the
/// one that works stays. Else it goes to the ablest ready member whose server can be read, by ordinal.
///
/// # Errors
/// Why the members could not be listed; [`Code::MemberNotReady`] where none can take it.
pub fn pick_member<'a>(spec: ReplicationLink<'_>, facts: &'a Facts) -> Result<&'a MemberFacts, Problem> {
    let members = match &facts.client.members {
        Fetched::Got(members) => members,
        Fetched::Failed(problem) => return Err(problem.clone()),
    };
    let carriers = carriers(spec, facts);
    // How well a copy works: both threads, then the receiver, then the applier.
    let works = |one: &MemberFacts| {
        channel_of(spec, one).map(|channel| (channel.receiver.is_on(), channel.applier.is_on(), one.is_ready()))
    };
    let best = |one: &&&MemberFacts, other: &&&MemberFacts| {
        let by_work = (may_apply(one), works(one)).cmp(&(may_apply(other), works(other)));
        by_work.then_with(|| by_ordinal(other.name(), one.name()))
    };
    if let Some(one) = carriers.iter().filter(|one| may_apply(one).is_some()).max_by(best) {
        return Ok(one);
    }
    let able = members.iter().filter(|one| one.is_ready() && may_apply(one).is_some());
    let ablest = able
        .max_by(|one, other| may_apply(one).cmp(&may_apply(other)).then_with(|| by_ordinal(other.name(), one.name())));
    ablest.or(carriers.first().copied()).ok_or_else(|| {
        let mut problem = Problem::new(
            Code::MemberNotReady,
            format!(
                "none of {} {} member(s) is ready, lets the account in and takes writes",
                members.len(),
                Side::Replica
            ),
        );
        for member in members {
            let place = member.server().and_then(|server| server.membership.as_ref()?.got()).map(Membership::seen);
            let why = member.unread().map(|problem| problem.message.clone()).or(place);
            problem = problem.seen(format!("{}: {}", member.name(), why.as_deref().unwrap_or("not ready")));
        }
        problem
    })
}

/// How able a member is to apply what a channel brings, if it is at all. A server without a cluster is; so is one whose place in its
/// cluster cannot be seen, as far as anybody knows.
fn may_apply(one: &MemberFacts) -> Option<Standing> {
    let standing = match &one.server()?.membership {
        Some(Fetched::Got(membership)) => membership.standing(),
        Some(Fetched::Failed(_)) => Standing::OutOfStep,
        None => Standing::InOrder,
    };
    (standing >= Standing::OutOfStep).then_some(standing)
}

/// The copies of the link's channel beside the one that is to stay: those that setup takes away before it starts anything.
pub(crate) fn surplus<'a>(spec: ReplicationLink<'_>, facts: &'a Facts) -> Vec<&'a MemberFacts> {
    let stays = pick_member(spec, facts).ok().map(MemberFacts::name);
    carriers(spec, facts).into_iter().filter(|one| Some(one.name()) != stays).collect()
}

/// The link's channel on a member.
fn channel_of<'a>(spec: ReplicationLink<'_>, one: &'a MemberFacts) -> Option<&'a ChannelFacts> {
    let own = |channel: &&ChannelFacts| channel.name.eq_ignore_ascii_case(&spec.replication.channel);
    one.server()?.channels.iter().find(own)
}

/// The replica members that have the link's channel, running or not.
pub(crate) fn carriers<'a>(spec: ReplicationLink<'_>, facts: &'a Facts) -> Vec<&'a MemberFacts> {
    let members = facts.client.members.got().map_or(&[][..], Vec::as_slice);
    members.iter().filter(|one| channel_of(spec, one).is_some()).collect()
}

/// `pxc-2` comes before `pxc-10`: names without their closing number first, then by that number.
fn by_ordinal(one: &str, other: &str) -> Ordering {
    fn split(name: &str) -> (&str, u64) {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        (stem, name[stem.len()..].parse().unwrap_or(0))
    }
    split(one).cmp(&split(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample::{self, replicas, spec, unlinked};

    #[test]
    fn the_channel_stays_where_it_is_and_else_goes_to_the_first_ready_member() {
        let name = |facts: &Facts| {
            pick_member(spec().replication().unwrap(), facts)
                .map(|member| member.name().to_owned())
                .map_err(|problem| problem.code)
        };
        assert_eq!(name(&unlinked()), Ok("pxc-0".to_owned()));
        let mut facts = unlinked();
        replicas(&mut facts)[0].pod().ready = false;
        assert_eq!(name(&facts), Ok("pxc-1".to_owned()));
        replicas(&mut facts)[1].server = Some(Fetched::Failed(Problem::new(Code::AccessDenied, "x")));
        assert_eq!(name(&facts), Err(Code::MemberNotReady));

        let mut facts = unlinked();
        sample::replica(&mut facts, 1).channels.push(sample::channel());
        replicas(&mut facts)[1].pod().ready = false;
        assert_eq!(name(&facts), Ok("pxc-1".to_owned()), "also when it is not ready at the moment");
        sample::replica(&mut facts, 0).channels.push(sample::channel());
        assert_eq!(name(&facts), Ok("pxc-0".to_owned()), "of two that work the ready one stays");
        sample::replica(&mut facts, 0).channels[0].receiver.state = "OFF".to_owned();
        assert_eq!(name(&facts), Ok("pxc-1".to_owned()), "the one that works");
        let link = spec();
        let surplus = surplus(link.replication().unwrap(), &facts);
        assert_eq!(surplus.iter().map(|one| one.name()).collect::<Vec<_>>(), ["pxc-0"]);
        facts.client.members = Fetched::Failed(Problem::new(Code::ApiTimedOut, "x"));
        assert_eq!(name(&facts), Err(Code::ApiTimedOut));
    }

    #[test]
    fn the_channel_goes_where_the_group_lets_it_apply() {
        let link = spec();
        let picked = |facts: &Facts| pick_member(link.replication().unwrap(), facts).map(|one| one.name().to_owned());
        let mut facts = unlinked();
        sample::in_group(&mut facts, ["SECONDARY", "PRIMARY"]);
        assert_eq!(picked(&facts), Ok("pxc-1".to_owned()), "the primary");
        sample::replica(&mut facts, 0).channels.push(sample::channel());
        assert_eq!(picked(&facts), Ok("pxc-1".to_owned()), "the primary changed, and the channel moves");
        replicas(&mut facts)[1].pod().ready = false;
        assert_eq!(picked(&facts), Ok("pxc-0".to_owned()), "nowhere to go");
        sample::replica(&mut facts, 0).channels.clear();
        let problem = picked(&facts).unwrap_err();
        assert_eq!(problem.code, Code::MemberNotReady);
        assert!(problem.evidence[0].contains("ONLINE SECONDARY in a single-primary group"), "{problem:?}");
    }

    #[test]
    fn ordinals_are_numbers() {
        assert_eq!(by_ordinal("pxc-2", "pxc-10"), Ordering::Less);
        assert_eq!(by_ordinal("pxc-10", "pxc-9"), Ordering::Greater);
        assert_eq!(by_ordinal("a", "b"), Ordering::Less);
    }
}
