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
    let mut sets = members.iter().filter_map(|member| Some(&member.server.got()?.gtid_executed));
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
    if missing(source, replica).is_empty() && is_live(replica, channel) {
        return Lag::Exactly { seconds: 0.0 };
    }
    bound(replica, channel, marks)
}

/// The receiver is on and heard from the source within two heartbeats. With heartbeats off silence means nothing.
pub fn is_live(replica: &ServerFacts, channel: &ChannelFacts) -> bool {
    let Some(heard) = channel.last_heard else { return false };
    let silent_ms = replica.clock.duration_since(heard).as_millis();
    channel.receiver.is_on() && silent_ms <= 2 * i128::from(channel.settings.heartbeat_ms)
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
