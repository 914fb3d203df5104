//! The virtual address that a link is to have: configured, kept or derived, clear of whatever else uses 240.0.0.0/4.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::super::{
    code::Code,
    facts::{Facts, MeshFacts, NamedEntry, UsedRange},
    problem::{Fetched, Problem},
    range,
    spec::MeshLink,
    vip,
};

/// Where the virtual address of a link came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VipOrigin {
    /// The configuration fixes it.
    Configured,
    /// The link's ServiceEntry has it already.
    Kept,
    /// Derived from the mesh name.
    Derived,
}

/// The virtual address that the link is to have, and why that one.
///
/// A configured address wins; else the one the link's own ServiceEntry has is kept, so that a derived address never
/// moves; else it is derived from the host and steps past those in use.
///
/// # Errors
/// Why the ServiceEntries could not be read, where they are needed to know; [`Code::VipInUse`] where nothing is left to derive
/// an address from.
pub fn desired_vip(spec: MeshLink<'_>, facts: &Facts) -> Result<(Ipv4Addr, VipOrigin), Problem> {
    if let Some(vip) = spec.vip {
        return Ok((vip, VipOrigin::Configured));
    }
    let mesh = match &facts.client.mesh {
        Fetched::Got(mesh) => mesh,
        Fetched::Failed(problem) => return Err(problem.clone()),
    };
    let kept = mesh.entries.iter().filter(|entry| is_own(spec, entry)).flat_map(|entry| &entry.addresses);
    if let Some(vip) = kept.filter_map(|address| address.parse().ok()).find(|vip| vip::check(*vip).is_ok()) {
        return Ok((vip, VipOrigin::Kept));
    }
    let taken = in_others_hands(spec, facts, mesh);
    vip::choose(&spec.host, &taken).map(|vip| (vip, VipOrigin::Derived)).ok_or_else(|| {
        let problem =
            Problem::new(Code::VipInUse, "nothing of 240.0.0.0/4 is left from which an address could be derived");
        let shown = taken.iter().filter(|range| range.prefix_len() < 32).map(ToString::to_string);
        problem.seen(format!("in use: {}", shown.collect::<Vec<_>>().join(", ")))
    })
}

/// What a derived address keeps clear of: every other ServiceEntry's addresses and what the cluster uses itself. An address of a
/// node, pod or Service outside the known ranges stands for its /16, since its neighbours are given out next.
fn in_others_hands(spec: MeshLink<'_>, facts: &Facts, mesh: &MeshFacts) -> Vec<Ipv4Net> {
    let others = mesh.entries.iter().filter(|entry| !is_own(spec, entry)).flat_map(|entry| &entry.addresses);
    let cluster = cluster_ranges(facts).iter().map(|used| match used.range.prefix_len() {
        32 => Ipv4Net::new_assert(used.range.addr(), 16).trunc(),
        _ => used.range,
    });
    let others = others.filter_map(|text| match range::range(text) {
        Some(IpNet::V4(range)) => Some(range),
        Some(IpNet::V6(_)) | None => None,
    });
    others.chain(cluster).collect()
}

/// What the replica's cluster uses itself.
pub(crate) fn cluster_ranges(facts: &Facts) -> &[UsedRange] {
    facts.client.cluster.got().map_or(&[], |cluster| cluster.in_use.ranges.as_slice())
}

/// Whether a ServiceEntry is the one this tool made for the link.
pub(crate) fn is_own(spec: MeshLink<'_>, entry: &NamedEntry) -> bool {
    entry.link.as_deref() == Some(spec.name.as_str()) && entry.namespace == spec.client.cluster.namespace
}

/// What the link's ServiceEntry remembers of what was made beside it.
pub fn records(spec: MeshLink<'_>, facts: &Facts) -> BTreeMap<String, String> {
    let entries = facts.client.mesh.got().into_iter().flat_map(|mesh| &mesh.entries);
    entries.filter(|entry| is_own(spec, entry)).flat_map(|entry| entry.records.clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::sample::{self, facts, got, other_entry, own_entry, spec, unlinked, used};
    use crate::domain::spec::LinkSpec;

    fn desired_vip(spec: &LinkSpec, facts: &Facts) -> Result<(Ipv4Addr, VipOrigin), Problem> {
        super::desired_vip(spec.mesh().unwrap(), facts)
    }

    fn vip_of(spec: &LinkSpec, facts: &Facts) -> (String, VipOrigin) {
        let (vip, origin) = desired_vip(spec, facts).unwrap();
        (vip.to_string(), origin)
    }

    #[test]
    fn the_address_is_configured_or_kept_or_derived() {
        let mut pinned = spec();
        sample::mesh(&mut pinned).vip = Some("240.9.9.9".parse().unwrap());
        assert_eq!(vip_of(&pinned, &facts()), ("240.9.9.9".to_owned(), VipOrigin::Configured));
        assert_eq!(vip_of(&spec(), &facts()), (sample::VIP.to_owned(), VipOrigin::Kept));
        let derived = vip::derive(&spec().host);
        assert_eq!(vip_of(&spec(), &unlinked()), (derived.to_string(), VipOrigin::Derived));
    }

    #[test]
    fn only_the_links_own_entry_is_kept() {
        let derived = vip::derive(&spec().host).to_string();
        let changes: [fn(&mut NamedEntry); 3] =
            [|e| e.link = None, |e| e.link = Some("staging".to_owned()), |e| e.namespace = "shop".to_owned()];
        for change in changes {
            let mut facts = facts();
            change(&mut got(&mut facts.client.mesh).entries[0]);
            assert_eq!(vip_of(&spec(), &facts), (derived.clone(), VipOrigin::Derived));
        }
        // An address that Istio allocated by itself, or none at all, is not this tool's.
        let mut facts = facts();
        got(&mut facts.client.mesh).entries[0].addresses = vec!["240.240.0.5".to_owned()];
        assert_eq!(vip_of(&spec(), &facts), (derived, VipOrigin::Derived));
    }

    #[test]
    fn a_derived_address_steps_past_what_is_in_use() {
        let derived = vip::derive(&spec().host);
        for taken in [derived.to_string(), format!("{derived}/32"), format!("{derived}/30")] {
            let mut facts = unlinked();
            got(&mut facts.client.mesh).entries.push(other_entry("shop", "x.global", &taken));
            let (chosen, _) = desired_vip(&spec(), &facts).unwrap();
            assert!(!range::contains(&taken, chosen), "{chosen} is in {taken}");
            assert_eq!(vip::check(chosen), Ok(()));
        }
    }

    #[test]
    fn a_derived_address_keeps_clear_of_what_the_cluster_uses() {
        let derived = vip::derive(&spec().host);
        let big = format!("{}.0.0.0/5", derived.octets()[0] & 0xf8);
        for (range, free_of) in [
            (format!("{derived}/31"), format!("{derived}/31")),
            (big.clone(), big),
            (format!("{derived}/32"), format!("{derived}/16")),
        ] {
            let mut facts = unlinked();
            got(&mut facts.client.cluster).in_use.ranges.push(used(&range, "pod x"));
            let (chosen, _) = desired_vip(&spec(), &facts).unwrap();
            assert!(!range::contains(&free_of, chosen), "{chosen} is in {free_of}");
            assert_eq!(vip::check(chosen), Ok(()));
        }
        let mut facts = unlinked();
        got(&mut facts.client.cluster).in_use.ranges.push(used("240.0.0.0/4", "podCIDR of node n"));
        let problem = desired_vip(&spec(), &facts).unwrap_err();
        assert_eq!((problem.code, problem.evidence[0].contains("240.0.0.0/4")), (Code::VipInUse, true));
    }

    #[test]
    fn without_the_entries_no_address_is_derived() {
        let mut facts = unlinked();
        facts.client.mesh = Fetched::Failed(Problem::new(Code::ApiTimedOut, "x"));
        assert_eq!(desired_vip(&spec(), &facts).unwrap_err().code, Code::ApiTimedOut);
    }

    proptest! {
        #[test]
        fn a_chosen_address_is_never_one_in_use(hosts in prop::collection::vec("[a-z]{1,8}", 0..20)) {
            let mut facts = unlinked();
            for host in &hosts {
                let address = vip::derive(&format!("pxc-source.{host}.global")).to_string();
                got(&mut facts.client.mesh).entries.push(other_entry("shop", host, &address));
            }
            got(&mut facts.client.mesh).entries.push(NamedEntry { link: None, ..own_entry() });
            let mut link = spec();
            for host in &hosts {
                link.host = format!("pxc-source.{host}.global");
                let (chosen, _) = desired_vip(&link, &facts).unwrap();
                let entries = &got(&mut facts.client.mesh).entries;
                prop_assert!(!entries.iter().any(|entry| entry.addresses.contains(&chosen.to_string())));
            }
        }

        #[test]
        fn what_else_is_there_and_in_which_order_moves_no_address_that_is_kept(
            others in prop::collection::vec((any::<u32>(), 4_u8..=32), 0..20),
            seed in any::<usize>(),
        ) {
            let ranges: Vec<String> =
                others.iter().map(|(bits, length)| format!("{}/{length}", Ipv4Addr::from(*bits))).collect();
            let with = |own: Option<NamedEntry>, ranges: &[String]| {
                let mut facts = unlinked();
                let entries = &mut got(&mut facts.client.mesh).entries;
                entries.extend(ranges.iter().map(|range| other_entry("shop", "x.global", range)));
                entries.extend(own);
                desired_vip(&spec(), &facts).map_err(|problem| problem.code)
            };
            let kept = (sample::VIP.parse().unwrap(), VipOrigin::Kept);
            prop_assert_eq!(with(Some(own_entry()), &ranges), Ok(kept));
            let mut turned = ranges.clone();
            turned.rotate_left(seed % ranges.len().max(1));
            prop_assert_eq!(with(None, &ranges), with(None, &turned));
        }
    }
}
