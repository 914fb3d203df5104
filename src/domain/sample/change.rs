//! The parts of a sample that tests change.

use crate::domain::{
    facts::{Facts, MemberFacts, ServerFacts},
    problem::Fetched,
};

/// The fact, to be changed.
pub(crate) fn got<T>(fact: &mut Fetched<T>) -> &mut T {
    match fact {
        Fetched::Got(fact) => fact,
        Fetched::Failed(problem) => panic!("not fetched: {problem:?}"),
    }
}

pub(crate) fn sources(facts: &mut Facts) -> &mut Vec<MemberFacts> {
    got(&mut facts.source.members)
}

pub(crate) fn replicas(facts: &mut Facts) -> &mut Vec<MemberFacts> {
    got(&mut facts.client.members)
}

/// The server of a member of the source, by number.
pub(crate) fn source(facts: &mut Facts, number: usize) -> &mut ServerFacts {
    got(sources(facts)[number].server.as_mut().unwrap())
}

/// The server of a member of the replica, by number.
pub(crate) fn replica(facts: &mut Facts, number: usize) -> &mut ServerFacts {
    got(replicas(facts)[number].server.as_mut().unwrap())
}
