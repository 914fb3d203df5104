//! What keeps a service from answering after an endpoint took its connection, and what the control past the mesh shows.

use super::{
    super::{kubectl::with, peer, policy::MutualTls},
    Road,
    fault::{hang, look_at_service, source, target, with_evidence},
};
use crate::domain::{
    code::Code,
    facts::{ProbeAnswer, ProbeEnd},
    hint::Hint,
    problem::Problem,
};

/// The connection was taken, and what came is no answer.
pub(super) fn no_answer(road: &Road<'_>, answer: &ProbeAnswer) -> Problem {
    let port = peer::source_port(road.spec, road.facts, road.seen.port);
    let guards = peer::guards(road.spec, road.facts, road.seen.port);
    if let Some(guard) = guards.iter().find(|guard| guard.mode == MutualTls::Strict) {
        return hang(road, answer, guard);
    }
    let did = match &answer.end {
        ProbeEnd::TimedOut => "sends nothing before the probe's deadline",
        ProbeEnd::Spoke { .. } => "speaks something that is not HTTP",
        _ => "ends it without an answer",
    };
    let problem =
        with_evidence(road, answer, Code::NoAnswer, format!("{} takes the connection and {did}", target(road)));
    let problem = guards.iter().fold(problem, |problem, guard| {
        problem.seen(format!("sidecar of source {}: {} on port {port}", guard.member.pod.name, guard.mode.name()))
    });
    problem.hint(with(
        Hint::text("ask the service in its own cluster; if it answers there, compare the port's number and `protocol` in the configuration with what the Service serves"),
        look_at_service(road),
    ))
}

/// A connection that stays open and silent, where a sidecar of the source gives that a meaning of its own.
pub(super) fn silence(road: &Road<'_>, answer: &ProbeAnswer) -> Option<Problem> {
    let guards = peer::guards(road.spec, road.facts, road.seen.port);
    if guards.iter().any(|guard| guard.mode == MutualTls::Strict) {
        return Some(no_answer(road, answer));
    }
    let guard = guards.iter().find(|guard| guard.mode == MutualTls::Permissive)?;
    let what = format!(
        "the sidecar of source pod `{}` waits for the client to speak first: a service that speaks first hangs here",
        guard.member.pod.name
    );
    let mut problem = hang(road, answer, guard);
    what.clone_into(&mut problem.message);
    Some(Problem { code: Code::PermissiveHang, ..problem })
}

/// Another Envoy replied.
pub(super) fn another_proxy(road: &Road<'_>, answer: &ProbeAnswer) -> Problem {
    let what = format!("{} leads to a proxy whose own connection to the service fails", target(road));
    with_evidence(road, answer, Code::AnotherProxy, what).hint(with(
        Hint::text("see on the source's side whether the application's container is up and listens on the Service's `targetPort`, on the pod's address"),
        look_at_service(road),
    ))
}

/// The name works; connections to some endpoints, or to all of them, do not.
pub(super) fn some_dead(road: &Road<'_>, silent: Vec<String>, asked: usize) -> Problem {
    let (name, dead) = (&road.spec.host, silent.len());
    let what = if dead == asked {
        format!(
            "`{name}:{}` answers, and none of {asked} endpoint(s) does so straight from `{}`",
            road.seen.port, road.seen.member
        )
    } else {
        format!(
            "{dead} of {asked} endpoints of `{name}:{}` do not answer: connections that the sidecar sends there fail",
            road.seen.port
        )
    };
    let problem = silent.into_iter().fold(Problem::new(Code::EndpointDead, what), Problem::seen);
    problem.hint(with(
        Hint::text("see that each node of the source is reachable and passes the port on; setup takes nodes that are not ready out of the ServiceEntry"),
        source(road).map(|kubectl| kubectl.line_bare(&["get", "nodes", "-o", "wide"])),
    ))
}

/// The name fails before any connection, and the endpoints do not answer either.
pub(super) fn nowhere(road: &Road<'_>, code: Code, silent: Vec<String>) -> Problem {
    let what = format!(
        "no endpoint answers `{}` straight either: beside what is wrong with the name, the network or the service is",
        road.seen.member
    );
    let problem = silent.into_iter().fold(Problem::new(code, what), Problem::seen);
    problem.hint(with(
        Hint::text("mend the first failed check, and see that the endpoints are reachable from the client's nodes"),
        look_at_service(road),
    ))
}
