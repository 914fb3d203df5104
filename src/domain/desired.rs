//! What is to be: the virtual address, the endpoints and the member that carries the channel, from the link and the facts.

use std::{
    cmp::Ordering,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::Ipv4Net;

use super::{
    check::Side,
    code::Code,
    facts::{Facts, MemberFacts, MeshFacts, NamedEntry, NodeFacts, ServiceFacts, UsedRange},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::{Endpoint, LinkSpec, PortSpec, ReplicationLink, SourceLocation},
    vip,
};

/// The most endpoints a link gets: enough to survive losing nodes, few enough to read and to probe.
pub const ENDPOINT_LIMIT: usize = 32;

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
pub fn desired_vip(spec: &LinkSpec, facts: &Facts) -> Result<(Ipv4Addr, VipOrigin), Problem> {
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
        let problem = Problem::new(Code::VipInUse, "nothing of 240.0.0.0/4 is left from which an address could be derived");
        let shown = taken.iter().filter(|range| range.prefix_len() < 32).map(ToString::to_string);
        problem.seen(format!("in use: {}", shown.collect::<Vec<_>>().join(", ")))
    })
}

/// What a derived address keeps clear of: every other ServiceEntry's addresses and what the cluster uses itself. An address of a
/// node, pod or Service outside the known ranges stands for its /16, since its neighbours are given out next.
fn in_others_hands(spec: &LinkSpec, facts: &Facts, mesh: &MeshFacts) -> Vec<Ipv4Net> {
    let others = mesh.entries.iter().filter(|entry| !is_own(spec, entry)).flat_map(|entry| &entry.addresses);
    let cluster = cluster_ranges(facts).iter().map(|used| match used.range.prefix_len() {
        32 => Ipv4Net::new_assert(used.range.addr(), 16).trunc(),
        _ => used.range,
    });
    others.filter_map(|text| vip::range(text)).chain(cluster).collect()
}

/// What the replica's cluster uses itself.
pub(crate) fn cluster_ranges(facts: &Facts) -> &[UsedRange] {
    facts.client.cluster.got().map_or(&[], |cluster| cluster.in_use.ranges.as_slice())
}

/// Whether a ServiceEntry is the one this tool made for the link.
pub(crate) fn is_own(spec: &LinkSpec, entry: &NamedEntry) -> bool {
    entry.link.as_deref() == Some(spec.name.as_str()) && entry.namespace == spec.client.cluster.namespace
}

/// Whether an address, or a range in CIDR form, holds an IPv4 address.
pub(crate) fn contains(range: &str, address: Ipv4Addr) -> bool {
    vip::range(range).is_some_and(|range| range.contains(&address))
}

/// Where the client's mesh is to send connections to one port of the mesh name, sorted, without doubles, at most [`ENDPOINT_LIMIT`].
///
/// As configured, or else the IPv4 `InternalIP` of every ready node with the Service's node port; with
/// `externalTrafficPolicy: Local` only nodes that run a ready member, because the others drop the connection.
///
/// # Errors
/// Why the Service or the nodes could not be read; [`Code::SourceServiceUnusable`] where the Service has no node port;
/// [`Code::NoNodeAddress`] where no node qualifies.
pub fn desired_endpoints(spec: &LinkSpec, facts: &Facts, number: u16) -> Result<Vec<Endpoint>, Problem> {
    let mut endpoints = match &spec.source {
        SourceLocation::Endpoints(endpoints) => endpoints.clone(),
        SourceLocation::Kubernetes { service, .. } => {
            let service_facts = fetched(facts.source.service.as_ref(), &format!("Service `{service}` of the source"))?;
            let nodes = fetched(facts.source.nodes.as_ref(), "the nodes of the source cluster")?;
            let port = node_port(number, service_facts)?;
            let hosts = hosting_nodes(facts, service_facts)?;
            let usable = nodes
                .iter()
                .filter(|node| node.ready && hosts.as_ref().is_none_or(|on| on.contains(&node.name.as_str())));
            let endpoints: Vec<Endpoint> =
                usable.filter_map(|node| Some(Endpoint { address: internal_ip(node)?, port })).collect();
            if endpoints.is_empty() {
                return Err(no_node(nodes, service_facts));
            }
            endpoints
        }
    };
    endpoints.sort_unstable();
    endpoints.dedup();
    endpoints.truncate(ENDPOINT_LIMIT);
    Ok(endpoints)
}

/// Every port at the mesh name with its endpoints, as [`desired_endpoints`] has them.
///
/// # Errors
/// As [`desired_endpoints`], of the first port that has none.
pub fn desired_ports(spec: &LinkSpec, facts: &Facts) -> Result<Vec<(PortSpec, Vec<Endpoint>)>, Problem> {
    let with_endpoints = |port: PortSpec| {
        let endpoints = desired_endpoints(spec, facts, port.number)?;
        Ok((port, endpoints))
    };
    spec.ports().into_iter().map(with_endpoints).collect()
}

fn fetched<'a, T>(fact: Option<&'a Fetched<T>>, what: &str) -> Result<&'a T, Problem> {
    match fact {
        Some(Fetched::Got(fact)) => Ok(fact),
        Some(Fetched::Failed(problem)) => Err(problem.clone()),
        None => Err(Problem::new(Code::Internal, format!("{what} was not asked for"))),
    }
}

/// The port of the Service behind a port of the mesh name: the one of the same number, else MySQL's, else its only one.
pub(crate) fn service_port(number: u16, service: &ServiceFacts) -> Option<(u16, Option<u16>)> {
    let numbered = |wanted: u16| service.ports.iter().find(|(port, _)| *port == wanted);
    let only = || if service.ports.len() == 1 { service.ports.first() } else { None };
    numbered(number).or_else(|| numbered(3306)).or_else(only).copied()
}

fn node_port(number: u16, service: &ServiceFacts) -> Result<u16, Problem> {
    let shown: Vec<String> = service
        .ports
        .iter()
        .map(|(port, node)| {
            node.map_or_else(|| format!("{port} without a node port"), |node| format!("{port} at node port {node}"))
        })
        .collect();
    let problem = |what: String| {
        Problem::new(Code::SourceServiceUnusable, what)
            .seen(format!("Service {} is of type {}, ports: {}", service.name, service.kind, shown.join(", ")))
            .hint(Hint::text("give the Service type NodePort, so that the source can be entered at its nodes"))
    };
    match service_port(number, service) {
        Some((_, Some(port))) => Ok(port),
        Some((port, None)) => {
            Err(problem(format!("Service `{}` offers no node port for its port {port}", service.name)))
        }
        None => Err(problem(format!("Service `{}` has no port {number}", service.name))),
    }
}

/// The nodes that pass connections on under `externalTrafficPolicy: Local`; `None` where every node does.
fn hosting_nodes<'a>(facts: &'a Facts, service: &ServiceFacts) -> Result<Option<Vec<&'a str>>, Problem> {
    if !service.local_only {
        return Ok(None);
    }
    match &facts.source.members {
        Fetched::Got(members) => Ok(Some(
            members.iter().filter(|member| member.pod.ready).filter_map(|member| member.pod.node.as_deref()).collect(),
        )),
        Fetched::Failed(problem) => Err(problem.clone()),
    }
}

fn internal_ip(node: &NodeFacts) -> Option<IpAddr> {
    let addresses = node.addresses.iter().filter(|(kind, address)| kind == "InternalIP" && address.is_ipv4());
    addresses.map(|(_, address)| *address).next()
}

fn no_node(nodes: &[NodeFacts], service: &ServiceFacts) -> Problem {
    let wanted = if service.local_only { " and runs a ready member (externalTrafficPolicy: Local)" } else { "" };
    let mut problem = Problem::new(
        Code::NoNodeAddress,
        format!("none of {} node(s) of the source is ready, has an IPv4 InternalIP{wanted}", nodes.len()),
    );
    for node in nodes {
        let addresses: Vec<String> = node.addresses.iter().map(|(kind, address)| format!("{kind} {address}")).collect();
        let ready = if node.ready { "ready" } else { "not ready" };
        problem = problem.seen(format!("node {}: {ready}, {}", node.name, addresses.join(", ")));
    }
    problem
}

/// The replica member that carries the channel: the one that has it; else the first ready one whose server can be read,
/// by ordinal.
///
/// # Errors
/// Why the members could not be listed; [`Code::ChannelTwice`] where several have the channel;
/// [`Code::MemberNotReady`] where none can take it.
pub fn pick_member<'a>(spec: ReplicationLink<'_>, facts: &'a Facts) -> Result<&'a MemberFacts, Problem> {
    let members = match &facts.client.members {
        Fetched::Got(members) => members,
        Fetched::Failed(problem) => return Err(problem.clone()),
    };
    let carriers = carriers(spec, facts);
    match carriers.as_slice() {
        [one] => return Ok(one),
        [] => {}
        several => {
            let names: Vec<&str> = several.iter().map(|member| member.pod.name.as_str()).collect();
            return Err(Problem::new(
                Code::ChannelTwice,
                format!("channel `{}` is on {} members: {}", spec.replication.channel, names.len(), names.join(", ")),
            ));
        }
    }
    let able = members.iter().filter(|member| member.pod.ready && member.server().is_some());
    able.min_by(|one, other| by_ordinal(&one.pod.name, &other.pod.name)).ok_or_else(|| {
        let mut problem = Problem::new(
            Code::MemberNotReady,
            format!("none of {} {} member(s) is ready and lets the account in", members.len(), Side::Replica),
        );
        for member in members {
            let why = member.unread().map_or("not ready", |problem| problem.message.as_str());
            problem = problem.seen(format!("{}: {why}", member.pod.name));
        }
        problem
    })
}

/// The replica members that have the link's channel, running or not.
pub(crate) fn carriers<'a>(spec: ReplicationLink<'_>, facts: &'a Facts) -> Vec<&'a MemberFacts> {
    let members = facts.client.members.got().map_or(&[][..], Vec::as_slice);
    let has = |member: &&MemberFacts| {
        member.server().is_some_and(|server| {
            server.channels.iter().any(|channel| channel.name.eq_ignore_ascii_case(&spec.replication.channel))
        })
    };
    members.iter().filter(has).collect()
}

/// `pxc-2` comes before `pxc-10`: names without their closing number first, then by that number.
fn by_ordinal(one: &str, other: &str) -> Ordering {
    fn split(name: &str) -> (&str, u64) {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        (stem, name[stem.len()..].parse().unwrap_or(0))
    }
    split(one).cmp(&split(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        facts::NodeFacts,
        sample::{
            self, endpoint, endpoints_spec, facts, got, ip, other_entry, own_entry, replicas, sources, spec, unlinked, used,
        },
    };

    fn vip_of(spec: &LinkSpec, facts: &Facts) -> (String, VipOrigin) {
        let (vip, origin) = desired_vip(spec, facts).unwrap();
        (vip.to_string(), origin)
    }

    #[test]
    fn the_address_is_configured_or_kept_or_derived() {
        let mut pinned = spec();
        pinned.vip = Some("240.9.9.9".parse().unwrap());
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
            assert!(!contains(&taken, chosen), "{chosen} is in {taken}");
            assert_eq!(vip::check(chosen), Ok(()));
        }
    }

    #[test]
    fn a_derived_address_keeps_clear_of_what_the_cluster_uses() {
        let derived = vip::derive(&spec().host);
        let big = format!("{}.0.0.0/5", derived.octets()[0] & 0xf8);
        for (range, free_of) in
            [(format!("{derived}/31"), format!("{derived}/31")), (big.clone(), big), (format!("{derived}/32"), format!("{derived}/16"))]
        {
            let mut facts = unlinked();
            got(&mut facts.client.cluster).in_use.ranges.push(used(&range, "pod x"));
            let (chosen, _) = desired_vip(&spec(), &facts).unwrap();
            assert!(!contains(&free_of, chosen), "{chosen} is in {free_of}");
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

    fn endpoints(spec: &LinkSpec, facts: &Facts) -> Vec<String> {
        desired_endpoints(spec, facts, spec.ports()[0].number).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn endpoints_are_ready_nodes_with_the_node_port_in_order() {
        let both = ["198.18.0.11:31306", "198.18.0.21:31306"];
        assert_eq!(endpoints(&spec(), &facts()), both);
        assert_eq!(endpoints(&endpoints_spec(), &facts()), both);
        let mut facts = facts();
        let nodes = got(facts.source.nodes.as_mut().unwrap());
        nodes[0].ready = false;
        nodes[1].addresses.insert(0, ("InternalIP".to_owned(), ip("fd00::11")));
        nodes[1].addresses.insert(0, ("ExternalIP".to_owned(), ip("203.0.113.9")));
        assert_eq!(endpoints(&spec(), &facts), ["198.18.0.11:31306"]);
    }

    #[test]
    fn with_a_local_policy_only_nodes_with_a_ready_member_count() {
        let mut facts = facts();
        got(facts.source.service.as_mut().unwrap()).local_only = true;
        sources(&mut facts)[1].pod.ready = false;
        assert_eq!(endpoints(&spec(), &facts), ["198.18.0.11:31306"]);
        sources(&mut facts)[0].pod.ready = false;
        assert_eq!(desired_endpoints(&spec(), &facts, 3306).unwrap_err().code, Code::NoNodeAddress);
        facts.source.members = Fetched::Failed(Problem::new(Code::ApiTimedOut, "x"));
        assert_eq!(desired_endpoints(&spec(), &facts, 3306).unwrap_err().code, Code::ApiTimedOut);
    }

    #[test]
    fn a_service_without_a_node_port_gives_no_endpoint() {
        for ports in [vec![(3306, None)], vec![], vec![(33060, Some(31000)), (8404, Some(31001))]] {
            let mut facts = facts();
            got(facts.source.service.as_mut().unwrap()).ports = ports;
            assert_eq!(desired_endpoints(&spec(), &facts, 3306).unwrap_err().code, Code::SourceServiceUnusable);
        }
        let mut other = spec();
        sample::replication(&mut other).port = 3307;
        assert_eq!(
            endpoints(&other, &facts()).len(),
            2,
            "port 3306 of the Service serves another port of the mesh name"
        );
    }

    #[test]
    fn the_channel_stays_where_it_is_and_else_goes_to_the_first_ready_member() {
        let name = |facts: &Facts| {
            pick_member(spec().replication().unwrap(), facts)
                .map(|member| member.pod.name.clone())
                .map_err(|problem| problem.code)
        };
        assert_eq!(name(&unlinked()), Ok("pxc-0".to_owned()));
        let mut facts = unlinked();
        replicas(&mut facts)[0].pod.ready = false;
        assert_eq!(name(&facts), Ok("pxc-1".to_owned()));
        replicas(&mut facts)[1].server = Some(Fetched::Failed(Problem::new(Code::AccessDenied, "x")));
        assert_eq!(name(&facts), Err(Code::MemberNotReady));

        let mut facts = unlinked();
        sample::replica(&mut facts, 1).channels.push(sample::channel());
        replicas(&mut facts)[1].pod.ready = false;
        assert_eq!(name(&facts), Ok("pxc-1".to_owned()), "also when it is not ready at the moment");
        sample::replica(&mut facts, 0).channels.push(sample::channel());
        assert_eq!(name(&facts), Err(Code::ChannelTwice));
        facts.client.members = Fetched::Failed(Problem::new(Code::ApiTimedOut, "x"));
        assert_eq!(name(&facts), Err(Code::ApiTimedOut));
    }

    #[test]
    fn ordinals_are_numbers() {
        assert_eq!(by_ordinal("pxc-2", "pxc-10"), Ordering::Less);
        assert_eq!(by_ordinal("pxc-10", "pxc-9"), Ordering::Greater);
        assert_eq!(by_ordinal("a", "b"), Ordering::Less);
    }

    proptest! {
        #[test]
        fn the_order_of_what_was_read_changes_nothing(numbers in prop::collection::hash_set(1u8..=250, 1..60), seed in any::<u64>()) {
            let mut facts = facts();
            let mut numbers: Vec<u8> = numbers.into_iter().collect();
            let make = |number: &u8| NodeFacts {
                name: format!("n{number}"),
                ready: true,
                addresses: vec![("InternalIP".to_owned(), IpAddr::V4(Ipv4Addr::new(10, 0, 0, *number)))],
            };
            facts.source.nodes = Some(Fetched::Got(numbers.iter().map(make).collect()));
            let once = desired_endpoints(&spec(), &facts, 3306).unwrap();
            numbers.sort_by_key(|number| u64::from(*number).wrapping_mul(seed | 1));
            facts.source.nodes = Some(Fetched::Got(numbers.iter().map(make).collect()));
            prop_assert_eq!(&desired_endpoints(&spec(), &facts, 3306).unwrap(), &once);
            prop_assert!(once.is_sorted() && once.len() == numbers.len().min(ENDPOINT_LIMIT));
            prop_assert_eq!(once[0], endpoint(&format!("10.0.0.{}:31306", numbers.iter().min().unwrap())));
        }

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
    }
}
