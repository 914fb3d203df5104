//! The replica member that carries the channel.

use std::cmp::Ordering;

use super::super::{
    check::Side,
    code::Code,
    facts::{Facts, MemberFacts},
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// The replica member that carries the channel: the one that has it; else the first ready one whose server can be read,
/// by ordinal.
///
/// # Errors
/// Why the members could not be listed; [`Code::ChannelTwice`] where several have the channel;
/// [`Code::MemberNotReady`] where none can take it.
pub fn pick_member<'a>(spec: ReplicationLink<'_>, facts: &'a Facts) -> Result<&'a MemberFacts, Problem> {
    let members = match &facts.client.members {
        Fetched::Got(members) => members,
        Fetched::Failed(problem) => return Err(problem.clone()),
    };
    let carriers = carriers(spec, facts);
    match carriers.as_slice() {
        [one] => return Ok(one),
        [] => {}
        several => {
            let names: Vec<&str> = several.iter().map(|member| member.name()).collect();
            return Err(Problem::new(
                Code::ChannelTwice,
                format!("channel `{}` is on {} members: {}", spec.replication.channel, names.len(), names.join(", ")),
            ));
        }
    }
    let able = members.iter().filter(|member| member.is_ready() && member.server().is_some());
    able.min_by(|one, other| by_ordinal(one.name(), other.name())).ok_or_else(|| {
        let mut problem = Problem::new(
            Code::MemberNotReady,
            format!("none of {} {} member(s) is ready and lets the account in", members.len(), Side::Replica),
        );
        for member in members {
            let why = member.unread().map_or("not ready", |problem| problem.message.as_str());
            problem = problem.seen(format!("{}: {why}", member.name()));
        }
        problem
    })
}

/// The replica members that have the link's channel, running or not.
pub(crate) fn carriers<'a>(spec: ReplicationLink<'_>, facts: &'a Facts) -> Vec<&'a MemberFacts> {
    let members = facts.client.members.got().map_or(&[][..], Vec::as_slice);
    let has = |member: &&MemberFacts| {
        member.server().is_some_and(|server| {
            server.channels.iter().any(|channel| channel.name.eq_ignore_ascii_case(&spec.replication.channel))
        })
    };
    members.iter().filter(has).collect()
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
        assert_eq!(name(&facts), Err(Code::ChannelTwice));
        facts.client.members = Fetched::Failed(Problem::new(Code::ApiTimedOut, "x"));
        assert_eq!(name(&facts), Err(Code::ApiTimedOut));
    }

    #[test]
    fn ordinals_are_numbers() {
        assert_eq!(by_ordinal("pxc-2", "pxc-10"), Ordering::Less);
        assert_eq!(by_ordinal("pxc-10", "pxc-9"), Ordering::Greater);
        assert_eq!(by_ordinal("a", "b"), Ordering::Less);
    }
}
