//! The path from one replica member, milestone by milestone: name, listener, endpoints, connection, greeting, query, server.
//!
//! A TCP connect proves nothing, as the sidecar accepts before it dials. The verdict comes from three facts together: how
//! the client ended, how Envoy's counters moved meanwhile, and what the source's side says about its sidecars.

mod envoy;
mod fault;
mod name;
mod probe;

use super::{Asked, ask, find, ids, kubectl::Kubectl, members, mesh};
use crate::domain::{
    check::{Check, CheckId, Subject},
    code::Code,
    facts::{EnvoyHost, Facts, MemberFacts, PathFacts},
    problem::Problem,
    spec::LinkSpec,
};

/// Judges the path from one of the client's pods, named, to one port of the mesh name.
///
/// The checks are `name.resolves`, `name.table`, `envoy.listener`, `envoy.endpoints`, `endpoint.accepts`,
/// `greeting.arrives`, `path.query` and `path.server`, all of them, whatever fails.
pub fn path(spec: &LinkSpec, facts: &Facts, member: &str, port: u16) -> Vec<Check> {
    let subject = Subject::Member(spec.client_side(), member.to_owned());
    let one = members(facts, spec.client_side()).iter().find(|one| one.pod.name == member);
    let Some(seen) = facts.paths.iter().find(|seen| seen.member == member && seen.port == port) else {
        let problem = Problem::new(Code::NoProbe, format!("the path from `{member}` was not tried"));
        let first = ask(ids::NAME_RESOLVES, subject.clone()).unknown(problem);
        return rest_skipped(vec![first]);
    };
    // Without a sidecar nothing of the path can be there; its own check says so and the path's point to it.
    if let Some(cause) = one.and_then(|one| mesh::sidecar_verdict(spec, facts, one)) {
        return PATH.iter().map(|id| ask(*id, subject.clone()).skipped(&cause)).collect();
    }
    let road = Road { spec, facts, seen, one, subject };
    let mut checks = vec![road.resolves()];
    checks.push(road.table(&checks[0]));
    checks.push(road.listener());
    checks.push(road.endpoints(&checks));
    match spec.replication() {
        Some(link) => road.probe(link, &mut checks),
        None => road.unproven(&mut checks),
    }
    checks
}

/// The checks of a path, in order.
const PATH: [CheckId; 8] = [
    ids::NAME_RESOLVES,
    ids::NAME_TABLE,
    ids::ENVOY_LISTENER,
    ids::ENVOY_ENDPOINTS,
    ids::ENDPOINT_ACCEPTS,
    ids::GREETING_ARRIVES,
    ids::PATH_QUERY,
    ids::PATH_SERVER,
];

/// Completes a path whose last check did not pass: everything after it is skipped because of it.
fn rest_skipped(mut checks: Vec<Check>) -> Vec<Check> {
    let Some(cause) = checks.last().cloned() else { return checks };
    let missing = PATH.iter().filter(|id| find(&checks, **id, &cause.subject).is_none());
    let skipped: Vec<Check> = missing.map(|id| ask(*id, cause.subject.clone()).skipped(&cause)).collect();
    checks.extend(skipped);
    checks
}

/// What a path is judged from.
struct Road<'a> {
    spec: &'a LinkSpec,
    facts: &'a Facts,
    seen: &'a PathFacts,
    one: Option<&'a MemberFacts>,
    subject: Subject,
}

impl Road<'_> {
    fn ask(&self, id: CheckId) -> Asked {
        ask(id, self.subject.clone())
    }

    fn kubectl(&self) -> Option<Kubectl> {
        Kubectl::of(self.spec, self.facts, self.spec.client_side())
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
