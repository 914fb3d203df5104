//! How one Service can be entered from another cluster: load balancer, external addresses, node ports or host ports.

use std::net::IpAddr;

use super::{
    super::{
        code::Code,
        facts::{BackendFacts, Facts, HostPortFacts, NodeFacts, ServiceFacts, ServicePortFacts},
        hint::Hint,
        problem::{Fetched, Problem},
        spec::{AddressType, EntranceSpec, MeshLink, PortSpec, ServiceSpec, WayIn},
    },
    endpoints::{Entrance, fetched},
};

/// The way that a group of Services is entered: the configured one, or else the first that one of them offers, in the order in
/// which a user expects them. `None` where none of them has it.
pub(super) fn of(spec: MeshLink<'_>, group: &[&ServiceFacts], entrance: EntranceSpec) -> Option<WayIn> {
    let ways: &[WayIn] = match &entrance.way {
        Some(way) => std::slice::from_ref(way),
        None => &WayIn::ALL,
    };
    ways.iter().copied().find(|way| group.iter().any(|service| offers(spec, service, *way)))
}

fn offers(spec: MeshLink<'_>, service: &ServiceFacts, way: WayIn) -> bool {
    let Ok(ports) = service_ports(spec, service) else { return false };
    match way {
        WayIn::LoadBalancer => service.kind == "LoadBalancer",
        WayIn::ExternalIp => !service.external_ips.is_empty(),
        WayIn::NodePort => ports.iter().all(|port| port.node_port.is_some()),
        WayIn::HostPort => {
            let backends = service.backends.got().map_or(&[][..], Vec::as_slice);
            backends.iter().any(|backend| host_ports(backend, &ports).is_some())
        }
    }
}

/// The port of a Service behind a port of the mesh name: of the same number, else of the same name, else, for replication, MySQL's
/// own; else the only one there is.
pub(crate) fn service_port<'a>(
    spec: MeshLink<'_>,
    port: &PortSpec,
    service: &'a ServiceFacts,
) -> Option<&'a ServicePortFacts> {
    let numbered = |number: u16| service.ports.iter().find(move |port| port.number == number);
    let named = || service.ports.iter().find(|other| other.name.as_ref() == Some(&port.name));
    let mysql = || if matches!(spec.service, ServiceSpec::Replication(_)) { numbered(3306) } else { None };
    let only = || match (service.ports.as_slice(), spec.ports().len()) {
        ([one], 1) => Some(one),
        _ => None,
    };
    numbered(port.number).or_else(named).or_else(mysql).or_else(only)
}

/// The Service's port for each of the link's; `Err` with the first one of the link that the Service has not.
fn service_ports<'a>(spec: MeshLink<'_>, service: &'a ServiceFacts) -> Result<Vec<&'a ServicePortFacts>, PortSpec> {
    spec.ports().into_iter().map(|port| service_port(spec, &port, service).ok_or(port)).collect()
}

/// The entrances of a Service by a way that its group offers.
pub(super) fn through(
    spec: MeshLink<'_>,
    facts: &Facts,
    service: &ServiceFacts,
    way: WayIn,
    kind: AddressType,
) -> Result<Vec<Entrance>, Problem> {
    let ports = service_ports(spec, service).map_err(|port| no_port(&port, service))?;
    let numbers: Vec<u16> = ports.iter().map(|port| port.number).collect();
    match way {
        WayIn::LoadBalancer => {
            let addresses: Vec<IpAddr> = service.ingress.iter().filter_map(|ingress| ingress.ip).collect();
            at(&addresses, &numbers).ok_or_else(|| no_balancer(service))
        }
        WayIn::ExternalIp => at(&service.external_ips, &numbers).ok_or_else(|| {
            let message = format!("none of the externalIPs of Service `{}` is an IPv4 address", service.name);
            let shown: Vec<String> = service.external_ips.iter().map(ToString::to_string).collect();
            Problem::new(Code::NoEntranceAddress, message)
                .seen(format!("spec.externalIPs: {}", shown.join(", ")))
                .hint(Hint::text(FAMILY))
        }),
        WayIn::NodePort => {
            let nodes = fetched(facts.source.nodes.as_ref(), "the nodes of the source cluster")?;
            let Some(numbers) = ports.iter().map(|port| port.node_port).collect::<Option<Vec<u16>>>() else {
                return Err(closed(service));
            };
            let hosts = hosting_nodes(service)?;
            let usable = |node: &&NodeFacts| {
                node.ready && hosts.as_ref().is_none_or(|hosts| hosts.contains(&node.name.as_str()))
            };
            let addresses: Vec<IpAddr> =
                nodes.iter().filter(usable).filter_map(|node| address_of(node, kind)).collect();
            at(&addresses, &numbers).ok_or_else(|| no_node(nodes, service, kind))
        }
        WayIn::HostPort => {
            let nodes = fetched(facts.source.nodes.as_ref(), "the nodes of the source cluster")?;
            let backends = backends(service)?;
            let entrance = |backend: &BackendFacts| {
                let node = nodes.iter().find(|node| node.ready && backend.node.as_ref() == Some(&node.name))?;
                let found = host_ports(backend, &ports)?;
                let own = found.iter().find_map(|port| port.address).filter(IpAddr::is_ipv4);
                let address = own.or_else(|| address_of(node, kind))?;
                Some(Entrance { address, ports: found.iter().map(|port| port.host).collect() })
            };
            let entrances: Vec<Entrance> =
                backends.iter().filter(|backend| backend.ready).filter_map(entrance).collect();
            if entrances.is_empty() { Err(no_node(nodes, service, kind)) } else { Ok(entrances) }
        }
    }
}

/// An IPv4 address each, with the same ports; `None` where no address is one. The virtual address is of that family.
fn at(addresses: &[IpAddr], ports: &[u16]) -> Option<Vec<Entrance>> {
    let of_family = addresses.iter().copied().filter(IpAddr::is_ipv4);
    let entrances: Vec<Entrance> = of_family.map(|address| Entrance { address, ports: ports.to_vec() }).collect();
    (!entrances.is_empty()).then_some(entrances)
}

/// The host port of each of the Service's ports; `None` where the pod lacks one, or has it on its loopback only.
fn host_ports<'a>(backend: &'a BackendFacts, ports: &[&ServicePortFacts]) -> Option<Vec<&'a HostPortFacts>> {
    let of = |port: &&ServicePortFacts| {
        backend.host_ports.iter().find(|host| {
            let is_target = host.container.to_string() == port.target || host.name.as_ref() == Some(&port.target);
            is_target && host.address.is_none_or(|address| !address.is_loopback())
        })
    };
    ports.iter().map(of).collect()
}

/// The nodes that pass connections on under `externalTrafficPolicy: Local`; `None` where every node does.
fn hosting_nodes(service: &ServiceFacts) -> Result<Option<Vec<&str>>, Problem> {
    if !service.local_only {
        return Ok(None);
    }
    let ready = backends(service)?.iter().filter(|backend| backend.ready);
    Ok(Some(ready.filter_map(|backend| backend.node.as_deref()).collect()))
}

fn backends(service: &ServiceFacts) -> Result<&[BackendFacts], Problem> {
    match &service.backends {
        Fetched::Got(backends) => Ok(backends),
        Fetched::Failed(problem) => Err(problem.clone()),
    }
}

fn address_of(node: &NodeFacts, kind: AddressType) -> Option<IpAddr> {
    let kind = kind.to_string();
    node.addresses.iter().find(|(other, address)| *other == kind && address.is_ipv4()).map(|(_, address)| *address)
}

const FAMILY: &str = "an endpoint must be of the virtual address's family: give the source IPv4 addresses that the client's cluster reaches, or write them as `source.endpoints`";

/// What a Service is and has, for evidence.
pub(crate) fn described(service: &ServiceFacts) -> String {
    let port = |port: &ServicePortFacts| match port.node_port {
        Some(node) => format!("{} at node port {node}", port.number),
        None => port.number.to_string(),
    };
    let ports: Vec<String> = service.ports.iter().map(port).collect();
    format!("Service {} is of type {}, ports: {}", service.name, service.kind, ports.join(", "))
}

/// Nothing of the source can be entered from outside, or not by the way that is configured.
pub(super) fn none(spec: MeshLink<'_>, groups: &[Vec<&ServiceFacts>], entrance: EntranceSpec) -> Problem {
    let services: Vec<&ServiceFacts> = groups.iter().flatten().copied().collect();
    match (services.as_slice(), entrance.way) {
        ([], _) => Problem::new(Code::SourceServiceUnusable, "the operator's resource of the source exposes nothing"),
        ([one], way) => match (service_ports(spec, one), way) {
            (Err(port), _) => no_port(&port, one),
            (Ok(_), None) => closed(one),
            (Ok(_), Some(way)) => {
                let message = format!("Service `{}` of the source cannot be entered by {way}", one.name);
                Problem::new(Code::SourceServiceUnusable, message).seen(described(one))
            }
        },
        (several, way) => {
            let from = way.map_or_else(|| "from outside".to_owned(), |way| format!("by {way}"));
            let message = format!("no Service of the source can be entered {from}");
            let problem = Problem::new(Code::SourceServiceUnusable, message);
            several.iter().fold(problem, |problem, service| problem.seen(described(service)))
        }
    }
}

fn closed(service: &ServiceFacts) -> Problem {
    let message = format!("Service `{}` of the source can be entered inside its cluster only", service.name);
    Problem::new(Code::SourceServiceUnusable, message).seen(described(service))
}

fn no_port(port: &PortSpec, service: &ServiceFacts) -> Problem {
    let message =
        format!("Service `{}` of the source has no port {} and none named {}", service.name, port.number, port.name);
    Problem::new(Code::SourceServiceUnusable, message).seen(described(service))
}

fn no_balancer(service: &ServiceFacts) -> Problem {
    let names: Vec<&str> = service.ingress.iter().filter_map(|ingress| ingress.hostname.as_deref()).collect();
    let addresses: Vec<String> =
        service.ingress.iter().filter_map(|ingress| ingress.ip).map(|address| address.to_string()).collect();
    let (why, mend) = if !addresses.is_empty() {
        (format!("has IPv6 addresses only: {}", addresses.join(", ")), FAMILY)
    } else if !names.is_empty() {
        (
            format!("has a name and no address: {}", names.join(", ")),
            "a name cannot be an endpoint: write the addresses behind it as `source.endpoints` if they stay, or enter by the nodes with `source.kubernetes.entry: nodePort`",
        )
    } else {
        (
            "has no address yet".to_owned(),
            "wait until the provider has given it one, or enter by the nodes with `source.kubernetes.entry: nodePort`",
        )
    };
    let message = format!("the load balancer of Service `{}` of the source {why}", service.name);
    let seen = if service.ingress.is_empty() { "is empty" } else { "has no `ip` of the family" };
    Problem::new(Code::NoEntranceAddress, message)
        .seen(described(service))
        .seen(format!("status.loadBalancer.ingress {seen}"))
        .hint(Hint::text(mend))
}

fn no_node(nodes: &[NodeFacts], service: &ServiceFacts, kind: AddressType) -> Problem {
    let wanted = if service.local_only { " and runs a ready member (externalTrafficPolicy: Local)" } else { "" };
    let name = kind.to_string();
    let of_family = |four: bool| {
        let addresses = nodes.iter().flat_map(|node| &node.addresses).filter(|(kind, _)| *kind == name);
        addresses.filter(|(_, address)| address.is_ipv4() == four).count()
    };
    let mut problem = if of_family(true) == 0 && of_family(false) > 0 {
        let message =
            format!("every {kind} of the source's nodes is an IPv6 address, and the virtual address is an IPv4 one");
        Problem::new(Code::NoNodeAddress, message).hint(Hint::text(FAMILY))
    } else {
        let message = format!("none of {} node(s) of the source is ready, has an IPv4 {kind}{wanted}", nodes.len());
        Problem::new(Code::NoNodeAddress, message)
    };
    for node in nodes {
        let addresses: Vec<String> = node.addresses.iter().map(|(kind, address)| format!("{kind} {address}")).collect();
        let ready = if node.ready { "ready" } else { "not ready" };
        problem = problem.seen(format!("node {}: {ready}, {}", node.name, addresses.join(", ")));
    }
    problem
}
