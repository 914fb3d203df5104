//! What is to be: the virtual address, the endpoints and the member that carries the channel, from the link and the facts.

use std::{
    cmp::Ordering,
    net::{IpAddr, Ipv4Addr},
};

use super::{
    check::Side,
    code::Code,
    facts::{Facts, MemberFacts, NamedEntry, NodeFacts, ServiceFacts},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::{Endpoint, LinkSpec, SourceLocation},
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
/// Why the ServiceEntries could not be read, where they are needed to know.
pub fn desired_vip(spec: &LinkSpec, facts: &Facts) -> Result<(Ipv4Addr, VipOrigin), Problem> {
    if let Some(vip) = spec.vip {
        return Ok((vip, VipOrigin::Configured));
    }
    let mesh = match &facts.replica.mesh {
        Fetched::Got(mesh) => mesh,
        Fetched::Failed(problem) => return Err(problem.clone()),
    };
    let kept = mesh.entries.iter().filter(|entry| is_own(spec, entry)).flat_map(|entry| &entry.addresses);
    if let Some(vip) = kept.filter_map(|address| address.parse().ok()).find(|vip| vip::check(*vip).is_ok()) {
        return Ok((vip, VipOrigin::Kept));
    }
    let others = mesh.entries.iter().filter(|entry| !is_own(spec, entry)).flat_map(|entry| &entry.addresses);
    let mut taken: Vec<Ipv4Addr> = others.clone().filter_map(|address| address.parse().ok()).collect();
    // Ranges cannot be listed address by address: step on while the chosen one lies in any.
    let ranges: Vec<&String> = others.chain(cluster_ranges(facts)).collect();
    let mut chosen = vip::choose(&spec.host, &taken);
    for _ in 0..=ENDPOINT_LIMIT {
        if !ranges.iter().any(|range| contains(range, chosen)) {
            break;
        }
        taken.push(chosen);
        chosen = vip::choose(&spec.host, &taken);
    }
    Ok((chosen, VipOrigin::Derived))
}

/// Pod and Service ranges of the replica's cluster, as text.
pub(crate) fn cluster_ranges(facts: &Facts) -> &[String] {
    facts.replica.cluster.got().map_or(&[], |cluster| cluster.ranges.as_slice())
}

/// Whether a ServiceEntry is the one this tool made for the link.
pub(crate) fn is_own(spec: &LinkSpec, entry: &NamedEntry) -> bool {
    entry.link.as_deref() == Some(spec.name.as_str()) && entry.namespace == spec.replica.cluster.namespace
}

/// Whether an address, or a range in CIDR form, holds an IPv4 address.
pub(crate) fn contains(range: &str, address: Ipv4Addr) -> bool {
    let (network, length) = range.split_once('/').unwrap_or((range, "32"));
    let (Ok(network), Ok(length @ 0..=32)) = (network.parse::<Ipv4Addr>(), length.parse::<u32>()) else {
        return false;
    };
    // A shift by all 32 bits is not defined, and a prefix of no bits holds every address.
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    network.to_bits() & mask == address.to_bits() & mask
}

/// Where the replica's mesh is to send connections, sorted, without doubles, at most [`ENDPOINT_LIMIT`].
///
/// As configured, or else the IPv4 `InternalIP` of every ready node with the Service's node port; with
/// `externalTrafficPolicy: Local` only nodes that run a ready member, because the others drop the connection.
///
/// # Errors
/// Why the Service or the nodes could not be read; [`Code::SourceServiceUnusable`] where the Service has no node port;
/// [`Code::NoNodeAddress`] where no node qualifies.
pub fn desired_endpoints(spec: &LinkSpec, facts: &Facts) -> Result<Vec<Endpoint>, Problem> {
    let mut endpoints = match &spec.source.location {
        SourceLocation::Endpoints(endpoints) => endpoints.clone(),
        SourceLocation::Kubernetes { service, .. } => {
            let service_facts = fetched(facts.source.service.as_ref(), &format!("Service `{service}` of the source"))?;
            let nodes = fetched(facts.source.nodes.as_ref(), "the nodes of the source cluster")?;
            let port = node_port(spec, service_facts)?;
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

fn fetched<'a, T>(fact: Option<&'a Fetched<T>>, what: &str) -> Result<&'a T, Problem> {
    match fact {
        Some(Fetched::Got(fact)) => Ok(fact),
        Some(Fetched::Failed(problem)) => Err(problem.clone()),
        None => Err(Problem::new(Code::Internal, format!("{what} was not asked for"))),
    }
}

/// The port of the Service that serves MySQL: the link's own number, else 3306, else its only port.
pub(crate) fn service_port(spec: &LinkSpec, service: &ServiceFacts) -> Option<(u16, Option<u16>)> {
    let numbered = |number: u16| service.ports.iter().find(|(port, _)| *port == number);
    let only = || if service.ports.len() == 1 { service.ports.first() } else { None };
    numbered(spec.port).or_else(|| numbered(3306)).or_else(only).copied()
}

fn node_port(spec: &LinkSpec, service: &ServiceFacts) -> Result<u16, Problem> {
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
    match service_port(spec, service) {
        Some((_, Some(port))) => Ok(port),
        Some((port, None)) => {
            Err(problem(format!("Service `{}` offers no node port for its port {port}", service.name)))
        }
        None => Err(problem(format!("Service `{}` has no port {}", service.name, spec.port))),
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
pub fn pick_member<'a>(spec: &LinkSpec, facts: &'a Facts) -> Result<&'a MemberFacts, Problem> {
    let members = match &facts.replica.members {
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
    let able = members.iter().filter(|member| member.pod.ready && member.server.got().is_some());
    able.min_by(|one, other| by_ordinal(&one.pod.name, &other.pod.name)).ok_or_else(|| {
        let mut problem = Problem::new(
            Code::MemberNotReady,
            format!("none of {} {} member(s) is ready and lets the account in", members.len(), Side::Replica),
        );
        for member in members {
            let why = member.server.failed().map_or("not ready", |problem| problem.message.as_str());
            problem = problem.seen(format!("{}: {why}", member.pod.name));
        }
        problem
    })
}

/// The replica members that have the link's channel, running or not.
pub(crate) fn carriers<'a>(spec: &LinkSpec, facts: &'a Facts) -> Vec<&'a MemberFacts> {
    let members = facts.replica.members.got().map_or(&[][..], Vec::as_slice);
    let has = |member: &&MemberFacts| {
        member.server.got().is_some_and(|server| {
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
