//! The virtual address: is it the link's alone?

use super::{
    super::{
        ask, ids,
        kubectl::{Kubectl, with},
    },
    names::others,
};
use crate::domain::{
    check::{Check, Subject},
    code::Code,
    desired::{self, VipOrigin},
    facts::{Facts, MeshFacts, NamedEntry},
    hint::Hint,
    problem::Problem,
    range,
    spec::{LinkSpec, MeshLink},
};

/// Judges whether anything else in the replica's cluster has the virtual address.
pub(super) fn address(spec: MeshLink<'_>, facts: &Facts, mesh: &MeshFacts) -> Check {
    let asked = ask(ids::VIP_FREE, Subject::Link);
    let (vip, origin) = match desired::desired_vip(spec, facts) {
        Ok(found) => found,
        Err(problem) if problem.code == Code::VipInUse => {
            return asked.failed(problem.hint(other_address(spec, facts)));
        }
        Err(problem) => return asked.unfetched(&problem),
    };
    let origin = match origin {
        VipOrigin::Configured => "configured",
        VipOrigin::Kept => "kept from the link's ServiceEntry",
        VipOrigin::Derived => "derived from the mesh name",
    };
    let holds = |entry: &&NamedEntry| entry.addresses.iter().any(|range| range::contains(range, vip));
    if let Some(entry) = others(spec, mesh).find(holds) {
        let place = format!("{}/{}", entry.namespace, entry.name);
        let commands = Kubectl::of(&spec, facts, spec.client_side())
            .map(|kubectl| kubectl.line_in(&entry.namespace, &["get", "serviceentry", &entry.name, "-o", "yaml"]));
        let problem = Problem::new(
            Code::VipInUse,
            format!("ServiceEntry `{place}` has {vip} already, so connections could end at its hosts"),
        )
        .seen(format!("{vip} is {origin}"))
        .seen(format!("{place}: hosts {}, addresses {}", entry.hosts.join(", "), entry.addresses.join(", ")));
        return asked.failed(problem.hint(with(other_address(spec, facts), commands)));
    }
    let in_use = facts.client.cluster.got().map(|cluster| &cluster.in_use);
    if let Some(used) = desired::cluster_ranges(facts).iter().find(|used| used.range.contains(&vip)) {
        let message = format!("{vip} is an address that the replica's cluster uses itself: {}", used.holder);
        let problem = Problem::new(Code::VipInUse, message)
            .seen(format!("{vip} is {origin}"))
            .seen(format!("{}: {}", used.holder, used.range));
        return asked.failed(problem.hint(other_address(spec, facts)));
    }
    let unlisted = in_use.map_or(&[][..], |in_use| &in_use.unlisted);
    let looked = format!(
        "not among {} other ServiceEntry object(s) and {} range(s) of the cluster",
        others(spec, mesh).count(),
        desired::cluster_ranges(facts).len()
    );
    let missing = (!unlisted.is_empty()).then(|| format!("could not be looked at: {}", unlisted.join(", ")));
    asked.passed([format!("{vip}, {origin}"), looked].into_iter().chain(missing))
}

/// The address that the link would be given if it had none.
fn other_address(spec: MeshLink<'_>, facts: &Facts) -> Hint {
    // Its own entry has the address that is not to be kept.
    let unnamed = LinkSpec { name: String::new(), ..(*spec).clone() };
    match unnamed.mesh().map(|link| desired::desired_vip(link.without_vip(), facts)) {
        Some(Ok((vip, _))) => {
            Hint::text(format!("write a free address into the configuration, for example `vip: {vip}`"))
        }
        _ => Hint::text("write an address that nothing uses into the configuration as `vip`"),
    }
}
