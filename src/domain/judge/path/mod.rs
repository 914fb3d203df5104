//! The path from one of the client's pods to one port, milestone by milestone: name, listener, endpoints, connection, and what
//! answers: greeting, query and server of MySQL, or any other service. Beside it, as the control, the way past the mesh.
//!
//! A TCP connect proves nothing, as the sidecar accepts before it dials. The verdict comes from three facts together: how
//! the client ended, how Envoy's counters moved meanwhile, and what the source's side says about its sidecars.

mod changed;
mod direct;
mod envoy;
mod fault;
mod name;
mod probe;
mod reach;
mod service;
mod service_fault;

use super::{Asked, ask, find, ids, kubectl::Kubectl, mesh, pods};
use crate::domain::{
    check::{Check, CheckId, Outcome, Subject},
    code::Code,
    facts::{EnvoyHost, Facts, PathFacts, PodMember},
    problem::Problem,
    spec::{MeshLink, Protocol},
};

/// Judges the paths from the client's pods, named, to every port of the mesh name. What does not depend on a port is judged once.
pub fn paths<'a>(spec: MeshLink<'_>, facts: &Facts, members: impl IntoIterator<Item = &'a str>) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for member in members {
        for port in spec.ports() {
            for check in path(spec, facts, member, port.number) {
                if find(&checks, check.id, &check.subject).is_none() {
                    checks.push(check);
                }
            }
        }
    }
    checks
}

/// Judges the path from one of the client's pods, named, to one port of the mesh name.
///
/// The checks are those of [`MYSQL`] or [`SERVICE`], all of them, whatever fails.
pub fn path(spec: MeshLink<'_>, facts: &Facts, member: &str, port: u16) -> Vec<Check> {
    let side = spec.client_side();
    let pod = Subject::Member(side, member.to_owned());
    let subject = if spec.replication().is_some() { pod.clone() } else { Subject::Port(side, member.to_owned(), port) };
    let one = pods(facts, side).find(|one| one.pod.name == member);
    let all = if spec.replication().is_some() { MYSQL } else { SERVICE };
    let asked = |id: CheckId| ask(id, if is_of_pod(id) { pod.clone() } else { subject.clone() });
    let Some(seen) = facts.paths.iter().find(|seen| seen.member == member && seen.port == port) else {
        let problem = Problem::new(Code::NoProbe, format!("the path from `{member}` was not tried"));
        let first = asked(all[0]).unknown(problem);
        let rest: Vec<Check> = all[1..].iter().map(|id| asked(*id).skipped(&first)).collect();
        return std::iter::once(first).chain(rest).collect();
    };
    // Without a sidecar nothing of the path can be there; its own check says so and the path's point to it.
    if let Some(cause) = one.and_then(|one| mesh::sidecar_verdict(spec, facts, one)) {
        return all.iter().map(|id| asked(*id).skipped(&cause)).collect();
    }
    let road = Road { spec, facts, seen, one, pod, subject };
    let mut checks = vec![road.resolves()];
    checks.push(road.table(&checks[0]));
    checks.push(road.listener());
    checks.push(road.endpoints(&checks));
    match spec.replication() {
        Some(link) => road.probe(link, &mut checks),
        None => road.service(&mut checks),
    }
    checks.push(road.direct(&checks));
    changed::explain(spec, facts, &mut checks);
    checks
}

/// The checks of a path to MySQL, in order.
const MYSQL: &[CheckId] = &[
    ids::NAME_RESOLVES,
    ids::NAME_TABLE,
    ids::ENVOY_LISTENER,
    ids::ENVOY_ENDPOINTS,
    ids::ENDPOINT_ACCEPTS,
    ids::GREETING_ARRIVES,
    ids::PATH_QUERY,
    ids::PATH_SERVER,
    ids::ENDPOINT_DIRECT,
];

/// The checks of a path to another service, in order.
const SERVICE: &[CheckId] = &[
    ids::NAME_RESOLVES,
    ids::NAME_TABLE,
    ids::ENVOY_LISTENER,
    ids::ENVOY_ENDPOINTS,
    ids::ENDPOINT_ACCEPTS,
    ids::SERVICE_ANSWERS,
    ids::ENDPOINT_DIRECT,
];

/// Whether a check is the same for every port of a pod.
fn is_of_pod(id: CheckId) -> bool {
    [ids::NAME_RESOLVES, ids::NAME_TABLE].contains(&id)
}

/// The first check that failed, which nothing after it can be judged without.
fn blocked(checks: &[Check]) -> Option<&Check> {
    checks.iter().find(|check| matches!(check.outcome, Outcome::Failed(_)))
}

/// What a path is judged from.
struct Road<'a> {
    spec: MeshLink<'a>,
    facts: &'a Facts,
    seen: &'a PathFacts,
    one: Option<PodMember<'a>>,
    pod: Subject,
    subject: Subject,
}

impl Road<'_> {
    fn ask(&self, id: CheckId) -> Asked {
        ask(id, if is_of_pod(id) { self.pod.clone() } else { self.subject.clone() })
    }

    /// Skips what the probe would have shown; a cause that is one of them stands in its own place.
    fn skip_to(&self, checks: &mut Vec<Check>, cause: &Check) {
        let all = if self.spec.replication().is_some() { MYSQL } else { SERVICE };
        let shown = all.iter().filter(|id| **id != ids::ENDPOINT_DIRECT).skip(checks.len());
        let judged = shown.map(|id| if *id == cause.id { cause.clone() } else { self.ask(*id).skipped(cause) });
        checks.extend(judged.collect::<Vec<_>>());
    }

    fn is_http(&self) -> bool {
        self.spec.ports().iter().any(|port| port.number == self.seen.port && port.protocol == Protocol::Http)
    }

    fn kubectl(&self) -> Option<Kubectl> {
        Kubectl::of(&self.spec, self.facts, self.spec.client_side())
    }
}

/// The hosts in one phrase.
fn host_words(hosts: Option<&[EnvoyHost]>) -> String {
    match hosts {
        None => "no such cluster".to_owned(),
        Some([]) => "none".to_owned(),
        Some(hosts) => hosts.iter().map(|host| host.endpoint.to_string()).collect::<Vec<_>>().join(", "),
    }
}
