//! Before anything is written: does Istio serve, is there a way into the source, are the name and its address free, would the
//! members' sidecars see and take the link's traffic, would anybody turn it away?

mod address;
mod control_plane;
mod current;
mod dns;
mod entrance;
mod injection;
mod names;
mod network;
mod objects;
mod policies;
mod rules;
mod services;
mod sidecar;
mod visibility;

pub use current::endpoints_current;
pub(super) use network::closing_policy;
pub(super) use objects::{CHANGED, differences, mending};
pub(super) use sidecar::sidecar_verdict;

use super::{ask, ids, member, peer, pods};
use crate::domain::{
    check::{Check, Outcome, Side, Subject},
    facts::Facts,
    problem::Fetched,
    spec::MeshLink,
};

/// Judges what must hold before the mesh objects are applied.
pub fn mesh_preflight(spec: MeshLink<'_>, facts: &Facts) -> Vec<Check> {
    let mut checks = control_plane::control_plane(spec, facts);
    checks.extend(entrance::entrance(spec, facts));
    checks.extend(names::names(spec, facts));
    checks.extend(surroundings(spec, facts));
    checks.extend(peer::taken_plain(spec, facts));
    for one in pods(facts, spec.client_side()) {
        let sidecar = sidecar::sidecar(spec, facts, one);
        let subject = member(spec.client_side(), &one);
        if sidecar.is_good() {
            checks.extend([sidecar::intercepted(spec, facts, one), dns::capture(spec, facts, one)]);
        } else {
            let because = |id| ask(id, subject.clone()).skipped(&sidecar);
            checks.extend([because(ids::SIDECAR_INTERCEPTS), because(ids::DNS_CAPTURED)]);
        }
        checks.push(sidecar);
    }
    checks.sort_by_key(|check| (check.milestone, check.id == ids::SIDECAR_INTERCEPTS));
    checks
}

/// Judges the link's own objects as they stand. `setup` brings them in line, so that it does not ask.
pub fn mesh_objects(spec: MeshLink<'_>, facts: &Facts) -> Vec<Check> {
    let exported = unless_unreachable(spec, facts, visibility::exported(spec, facts));
    let Some(objects) = objects::objects(spec, facts) else { return vec![exported] };
    let failed = |check: &Check| matches!(check.outcome, Outcome::Failed(_));
    if visibility::has_entry(spec, facts) || !failed(&objects) || !failed(&exported) {
        return vec![objects, exported];
    }
    // An entry that is not there is one thing that is wrong, and not two.
    if visibility::others(spec, facts).next().is_some() {
        vec![ask(objects.id, objects.subject).skipped(&exported), exported]
    } else {
        let skipped = ask(exported.id, exported.subject).skipped(&objects);
        vec![objects, skipped]
    }
}

/// What is not the link's own and may be kept from the user's eyes: such a check is unknown then, and stops nothing.
fn surroundings(spec: MeshLink<'_>, facts: &Facts) -> Vec<Check> {
    let mut checks = vec![
        services::no_service(spec, facts),
        services::port_shared(spec, facts),
        services::separate_services(spec, facts),
        rules::rules(spec, facts),
        injection::labels(spec, facts),
    ];
    checks.extend(visibility::visibility(spec, facts));
    checks.extend(policies::policies(spec, facts));
    checks.extend(network::network(spec, facts));
    checks.into_iter().map(|check| unless_unreachable(spec, facts, check)).collect()
}

/// With its cluster out of reach nothing is called good or bad: the check points there.
fn unless_unreachable(spec: MeshLink<'_>, facts: &Facts, check: Check) -> Check {
    let side = match &check.subject {
        Subject::Link => spec.client_side(),
        Subject::Cluster(side) | Subject::Object(side, _) | Subject::Member(side, _) | Subject::Port(side, ..) => *side,
    };
    let cluster = if side == Side::Source { facts.source.cluster.as_ref() } else { Some(&facts.client.cluster) };
    match cluster {
        Some(Fetched::Failed(problem)) => {
            let reachable = ask(ids::CLUSTER_REACHABLE, Subject::Cluster(side)).unfetched(problem);
            ask(check.id, check.subject).skipped(&reachable)
        }
        _ => check,
    }
}
