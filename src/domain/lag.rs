//! Lag: how far the replica is behind, in transactions and in time, and never less than is known.

use jiff::Timestamp;

use super::{
    facts::{ChannelFacts, Facts, ServerFacts},
    gtid::GtidSet,
    status::Lag,
};

/// What all readable members of the source have executed; `None` where none could be read.
pub fn source_executed(facts: &Facts) -> Option<GtidSet> {
    let members = facts.source.members.got()?;
    let mut sets = members.iter().filter_map(|member| Some(&member.server()?.gtid_executed));
    let first = sets.next()?.clone();
    Some(sets.fold(first, |all, set| all.union(set)))
}

/// What the source had executed and the replica's member has not.
pub fn missing(source: &GtidSet, replica: &ServerFacts) -> GtidSet {
    source.subtract(&replica.gtid_executed)
}

/// What the source had executed at an earlier look.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// When, by the replica member's clock.
    pub at: Timestamp,
    /// The source's executed set then.
    pub executed: GtidSet,
}

/// How far a member is behind in time.
///
/// Exactly zero only if the receiver is on, it heard from the source within two heartbeats, and nothing is missing. Else
/// the best lower bound: what an earlier look (`marks`, of the same run) already saw on the source and is still missing
/// here is at least that old; what was received and not executed is at least as old as the last word of the source. Else
/// unknown. All times are of the replica member's clock, so no offset between clocks enters.
pub fn lag(replica: &ServerFacts, channel: &ChannelFacts, source: Option<&GtidSet>, marks: &[Mark]) -> Lag {
    let Some(source) = source else { return bound(replica, channel, marks) };
    let known = source.union(&channel.received);
    if missing(&known, replica).is_empty() && is_live(replica, channel) {
        return Lag::Exactly { seconds: 0.0 };
    }
    bound(replica, channel, marks)
}

/// The receiver is on and heard from the source within two heartbeats. With heartbeats off silence means nothing.
pub fn is_live(replica: &ServerFacts, channel: &ChannelFacts) -> bool {
    let Some(heard) = channel.last_heard else { return false };
    let silent_ms = replica.clock.duration_since(heard).as_millis();
    channel.receiver.is_on() && silent_ms <= 2 * i128::from(channel.settings.options.heartbeat_ms)
}

fn bound(replica: &ServerFacts, channel: &ChannelFacts, marks: &[Mark]) -> Lag {
    let waiting = !channel.received.is_subset_of(&replica.gtid_executed);
    let received = channel.last_heard.filter(|_| waiting);
    let seen =
        marks.iter().filter(|mark| !mark.executed.is_subset_of(&replica.gtid_executed)).map(|mark| mark.at).min();
    let oldest = [received, seen].into_iter().flatten().min();
    let seconds = oldest.map_or(0.0, |at| replica.clock.duration_since(at).as_secs_f64());
    if seconds > 0.0 { Lag::AtLeast { seconds } } else { Lag::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample::{self, SOURCE, facts, gtids};

    fn executed(last: u64) -> GtidSet {
        gtids(&format!("{}:1-{last}", SOURCE[0]))
    }

    /// A member that executed up to 100, of a source that executed up to `source`, at 08:00:10.
    fn lag_of(source: Option<u64>, marks: &[Mark], change: impl Fn(&mut ChannelFacts)) -> Lag {
        let mut facts = facts();
        let server = sample::replica(&mut facts, 0).clone();
        let mut channel = server.channels[0].clone();
        change(&mut channel);
        lag(&server, &channel, source.map(executed).as_ref(), marks)
    }

    fn mark(at: &str, last: u64) -> Mark {
        Mark { at: at.parse().unwrap(), executed: executed(last) }
    }

    #[test]
    fn zero_needs_all_three() {
        let zero = Lag::Exactly { seconds: 0.0 };
        assert_eq!(lag_of(Some(100), &[], |_| ()), zero);
        assert_eq!(lag_of(Some(101), &[], |_| ()), Lag::Unknown, "something is missing");
        assert_eq!(lag_of(None, &[], |_| ()), Lag::Unknown, "the source was not read");
        assert_eq!(lag_of(Some(100), &[], |c| c.receiver.state = "CONNECTING".to_owned()), Lag::Unknown);
        assert_eq!(lag_of(Some(100), &[], |c| c.last_heard = None), Lag::Unknown);
        let heard = |at: &'static str| move |c: &mut ChannelFacts| c.last_heard = Some(at.parse().unwrap());
        assert_eq!(lag_of(Some(100), &[], heard("2026-11-21T08:00:00Z")), zero, "two heartbeats of 5 s");
        assert_eq!(lag_of(Some(100), &[], heard("2026-11-21T07:59:59.999Z")), Lag::Unknown);
        assert_eq!(lag_of(Some(100), &[], |c| c.settings.options.heartbeat_ms = 0), Lag::Unknown, "heartbeats are off");
    }

    #[test]
    fn what_an_earlier_look_saw_and_is_still_missing_bounds_the_lag() {
        let marks =
            [mark("2026-11-21T07:59:40Z", 100), mark("2026-11-21T08:00:00Z", 105), mark("2026-11-21T08:00:05Z", 110)];
        assert_eq!(lag_of(Some(110), &marks, |_| ()), Lag::AtLeast { seconds: 10.0 });
        assert_eq!(lag_of(None, &marks, |_| ()), Lag::AtLeast { seconds: 10.0 }, "also when the source is gone now");
    }

    #[test]
    fn what_was_received_and_not_executed_is_as_old_as_the_last_word_of_the_source() {
        let behind = |c: &mut ChannelFacts| c.received = executed(120);
        assert_eq!(lag_of(None, &[], behind), Lag::AtLeast { seconds: 2.0 });
        assert_eq!(lag_of(Some(120), &[mark("2026-11-21T08:00:09Z", 110)], behind), Lag::AtLeast { seconds: 2.0 });
    }

    #[test]
    fn the_sources_set_is_the_union_of_its_readable_members() {
        let mut facts = facts();
        sample::source(&mut facts, 1).gtid_executed = gtids(&format!("{}:5", SOURCE[1]));
        assert_eq!(source_executed(&facts), Some(gtids(&format!("{}:1-100,{}:5", SOURCE[0], SOURCE[1]))));
        sample::sources(&mut facts).clear();
        assert_eq!(source_executed(&facts), None);
    }
}
