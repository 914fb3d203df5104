//! Before anything is written: does Istio serve, is there a way into the source, are the name and its address free, and
//! has every member a sidecar that takes the link's traffic?

mod address;
mod control_plane;
mod current;
mod entrance;
mod names;
mod sidecar;

pub use current::endpoints_current;
pub(super) use sidecar::sidecar_verdict;

use super::{ask, ids, member, members};
use crate::domain::{check::Check, facts::Facts, spec::LinkSpec};

/// Judges what must hold before the mesh objects are applied.
pub fn mesh_preflight(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let mut checks = control_plane::control_plane(spec, facts);
    checks.extend(entrance::entrance(spec, facts));
    checks.extend(names::names(spec, facts));
    for one in members(facts, spec.client_side()) {
        let sidecar = sidecar::sidecar(spec, facts, one);
        let intercepts = ask(ids::SIDECAR_INTERCEPTS, member(spec.client_side(), one));
        checks.push(if sidecar.is_good() {
            sidecar::intercepted(spec, facts, one)
        } else {
            intercepts.skipped(&sidecar)
        });
        checks.push(sidecar);
    }
    checks.sort_by_key(|check| (check.milestone, check.id == ids::SIDECAR_INTERCEPTS));
    checks
}
