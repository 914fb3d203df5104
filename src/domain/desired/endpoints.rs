//! Where the client's mesh is to send connections: the entrances of the source, sorted and capped.

use std::net::IpAddr;

use super::{
    super::{
        code::Code,
        facts::{Facts, NamedEntry, ServiceFacts},
        problem::{Fetched, Problem},
        spec::{Endpoint, EntranceSpec, MeshLink, SourceLocation, SourceTarget},
    },
    address::is_own,
    way_in,
};

/// An address of the source, and the port there for each port of the link, in the link's order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entrance {
    /// The address.
    pub address: IpAddr,
    /// As many as the link has ports.
    pub ports: Vec<u16>,
}

impl Entrance {
    fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        self.ports.iter().map(|port| Endpoint { address: self.address, port: *port })
    }
}

impl std::fmt::Display for Entrance {
    /// `198.18.0.11:31306`, with the ports in the link's order where there are several.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut endpoints = self.endpoints();
        endpoints.next().map_or(Ok(()), |first| write!(f, "{first}"))?;
        endpoints.try_for_each(|other| write!(f, ",{}", other.port))
    }
}

/// All that a link uses of the ways into its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrances {
    /// Sorted, without doubles, at most as many as the configuration allows.
    pub used: Vec<Entrance>,
    /// How many more there are, beyond what the configuration allows.
    pub left_out: usize,
}

impl Entrances {
    /// Where one port of the link is reached, by its place in the link.
    pub fn endpoints(&self, port: usize) -> Vec<Endpoint> {
        self.used.iter().filter_map(|entrance| entrance.endpoints().nth(port)).collect()
    }
}

/// The ways into the source that the link uses: as configured, or else by what its Services offer.
///
/// # Errors
/// Why Services, nodes or pods could not be read; [`Code::SourceServiceUnusable`] where nothing is offered to the outside,
/// [`Code::NoEntranceAddress`] and [`Code::NoNodeAddress`] where what is offered has no address that can be used.
pub fn desired_entrances(spec: MeshLink<'_>, facts: &Facts) -> Result<Entrances, Problem> {
    let ports = spec.ports();
    let (mut used, limit) = match spec.source {
        SourceLocation::Endpoints(endpoints) => {
            let entrance =
                |endpoint: &Endpoint| Entrance { address: endpoint.address, ports: vec![endpoint.port; ports.len()] };
            (endpoints.iter().map(entrance).collect(), usize::MAX)
        }
        SourceLocation::Kubernetes { entrance, .. } => (offered(spec, facts, *entrance)?, usize::from(entrance.limit)),
    };
    used.sort_unstable();
    used.dedup();
    let left_out = used.len().saturating_sub(limit);
    used.truncate(limit);
    Ok(Entrances { used, left_out })
}

/// Where the client's mesh is to send connections to one port of the mesh name; sorted, without doubles.
///
/// # Errors
/// As [`desired_entrances`].
pub fn desired_endpoints(spec: MeshLink<'_>, facts: &Facts, number: u16) -> Result<Vec<Endpoint>, Problem> {
    let place = spec.ports().iter().position(|port| port.number == number).unwrap_or_default();
    Ok(desired_entrances(spec, facts)?.endpoints(place))
}

/// What the first group of Services that offers a way in has to offer. A Service of a group whose way has no address at the moment
/// is left out while another of them has one.
fn offered(spec: MeshLink<'_>, facts: &Facts, entrance: EntranceSpec) -> Result<Vec<Entrance>, Problem> {
    let groups = service_groups(spec, facts)?;
    let Some((way, group)) = groups.iter().find_map(|group| Some((way_in::of(spec, group, entrance)?, group))) else {
        return Err(way_in::none(spec, &groups, entrance));
    };
    let mut entrances = Vec::new();
    let mut without = None;
    for service in group {
        match way_in::through(spec, facts, service, way, entrance.address_type) {
            Ok(found) => entrances.extend(found),
            Err(problem) => without = without.or(Some(problem)),
        }
    }
    match without {
        Some(problem) if entrances.is_empty() => Err(problem),
        _ => Ok(entrances),
    }
}

/// The Services by which the source may be entered: the one that is named, or those of the operator's resource in the order of
/// preference, without those that do not exist.
///
/// # Errors
/// Why they could not be read.
pub(crate) fn service_groups<'a>(spec: MeshLink<'_>, facts: &'a Facts) -> Result<Vec<Vec<&'a ServiceFacts>>, Problem> {
    let SourceLocation::Kubernetes { target, .. } = spec.source else { return Ok(Vec::new()) };
    let services = fetched(facts.source.services.as_ref(), "the source's Services")?;
    match target {
        SourceTarget::Service(_) => Ok(vec![services.iter().collect()]),
        SourceTarget::Pxc(_) => {
            let pxc = fetched(facts.source.pxc.as_ref(), "the operator's resource of the source")?;
            let find = |name: &String| services.iter().find(|service| service.name == *name);
            let groups = pxc.services().into_iter().map(|names| names.iter().filter_map(find).collect::<Vec<_>>());
            Ok(groups.filter(|group| !group.is_empty()).collect())
        }
    }
}

/// The entrances that the link's own ServiceEntry has, in the link's ports; `None` without such an entry.
pub fn written_entrances(spec: MeshLink<'_>, facts: &Facts) -> Option<Vec<Entrance>> {
    let entry = facts.client.mesh.got()?.entries.iter().find(|entry| is_own(spec, entry))?;
    let mut written: Vec<Entrance> = entrances_of(spec, entry).collect();
    written.sort_unstable();
    Some(written)
}

/// What is no address (a host name in an entry of another resolution) cannot be one of the source's.
fn entrances_of(spec: MeshLink<'_>, entry: &NamedEntry) -> impl Iterator<Item = Entrance> {
    let ports = spec.ports();
    entry.endpoints.iter().filter_map(move |endpoint| {
        let address = endpoint.address.parse().ok()?;
        // An endpoint that does not name a port has it at the number of the mesh name.
        let port = |port: &super::super::spec::PortSpec| endpoint.ports.get(&port.name).copied().unwrap_or(port.number);
        Some(Entrance { address, ports: ports.iter().map(port).collect() })
    })
}

pub(super) fn fetched<'a, T>(fact: Option<&'a Fetched<T>>, what: &str) -> Result<&'a T, Problem> {
    match fact {
        Some(Fetched::Got(fact)) => Ok(fact),
        Some(Fetched::Failed(problem)) => Err(problem.clone()),
        None => Err(Problem::new(Code::Internal, format!("{what} was not asked for"))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        facts::{BackendFacts, HostPortFacts, IngressFacts, NodeFacts, PxcFacts, ServicePortFacts},
        sample::{self, endpoints_spec, facts, got, ip, service_port, source_service, spec},
        spec::{AddressType, LinkSpec, WayIn},
    };

    fn desired_entrances(spec: &LinkSpec, facts: &Facts) -> Result<Entrances, Problem> {
        super::desired_entrances(spec.mesh().unwrap(), facts)
    }

    fn entrances(spec: &LinkSpec, facts: &Facts) -> Vec<String> {
        desired_entrances(spec, facts).unwrap().used.iter().map(ToString::to_string).collect()
    }

    fn refused(spec: &LinkSpec, facts: &Facts) -> Code {
        desired_entrances(spec, facts).unwrap_err().code
    }

    fn entrance_of(spec: &mut LinkSpec) -> &mut EntranceSpec {
        match &mut sample::mesh(spec).source {
            SourceLocation::Kubernetes { entrance, .. } => entrance,
            SourceLocation::Endpoints(endpoints) => panic!("{endpoints:?}"),
        }
    }

    fn by(way: WayIn) -> LinkSpec {
        let mut spec = spec();
        entrance_of(&mut spec).way = Some(way);
        spec
    }

    #[test]
    fn a_node_port_is_entered_at_every_ready_node() {
        let both = ["198.18.0.11:31306", "198.18.0.21:31306"];
        assert_eq!(entrances(&spec(), &facts()), both);
        assert_eq!(entrances(&endpoints_spec(), &facts()), both);
        let mut facts = facts();
        let nodes = got(facts.source.nodes.as_mut().unwrap());
        nodes[0].ready = false;
        nodes[1].addresses.insert(0, ("InternalIP".to_owned(), ip("fd00::11")));
        nodes[1].addresses.insert(0, ("ExternalIP".to_owned(), ip("203.0.113.9")));
        assert_eq!(entrances(&spec(), &facts), ["198.18.0.11:31306"]);
        let mut outside = spec();
        entrance_of(&mut outside).address_type = AddressType::ExternalIp;
        assert_eq!(entrances(&outside, &facts), ["203.0.113.9:31306"]);
    }

    #[test]
    fn nodes_of_the_other_family_are_none() {
        let mut facts = facts();
        for node in got(facts.source.nodes.as_mut().unwrap()) {
            node.addresses = vec![("InternalIP".to_owned(), ip("fd00::11"))];
        }
        let problem = desired_entrances(&spec(), &facts).unwrap_err();
        assert_eq!(problem.code, Code::NoNodeAddress);
        assert!(
            problem.message.contains("is an IPv6 address") && problem.evidence[0].contains("fd00::11"),
            "{problem:?}"
        );
        assert!(problem.hint.is_some_and(|hint| hint.text.contains("family")));
    }

    #[test]
    fn with_a_local_policy_only_nodes_with_a_ready_pod_count() {
        let mut facts = facts();
        let service = source_service(&mut facts);
        service.local_only = true;
        got(&mut service.backends)[1].ready = false;
        assert_eq!(entrances(&spec(), &facts), ["198.18.0.11:31306"]);
        got(&mut source_service(&mut facts).backends)[0].ready = false;
        assert_eq!(refused(&spec(), &facts), Code::NoNodeAddress);
        source_service(&mut facts).backends = Fetched::Failed(Problem::new(Code::ApiTimedOut, "x"));
        assert_eq!(refused(&spec(), &facts), Code::ApiTimedOut);
    }

    #[test]
    fn a_load_balancer_comes_before_external_addresses_and_these_before_node_ports() {
        let mut facts = facts();
        source_service(&mut facts).external_ips = vec![ip("192.0.2.9"), ip("fd00::9")];
        assert_eq!(entrances(&spec(), &facts), ["192.0.2.9:3306"]);
        let service = source_service(&mut facts);
        service.kind = "LoadBalancer".to_owned();
        service.ingress = vec![
            IngressFacts { ip: Some(ip("192.0.2.8")), hostname: None },
            IngressFacts { ip: Some(ip("192.0.2.7")), hostname: Some("lb.example".to_owned()) },
        ];
        assert_eq!(entrances(&spec(), &facts), ["192.0.2.7:3306", "192.0.2.8:3306"]);
        assert_eq!(entrances(&by(WayIn::ExternalIp), &facts), ["192.0.2.9:3306"]);
        assert_eq!(entrances(&by(WayIn::NodePort), &facts).len(), 2, "a load balancer has node ports, too");
        assert_eq!(refused(&by(WayIn::HostPort), &facts), Code::SourceServiceUnusable);
    }

    #[test]
    fn a_load_balancer_without_a_usable_address_is_said_and_not_gone_around() {
        let at = |ip: Option<&str>, hostname: Option<&str>| IngressFacts {
            ip: ip.map(sample::ip),
            hostname: hostname.map(ToOwned::to_owned),
        };
        for (ingress, word) in [
            (vec![], "no address yet"),
            (vec![at(None, Some("lb.example"))], "lb.example"),
            (vec![at(Some("fd00::9"), None)], "IPv6"),
        ] {
            let mut facts = facts();
            let service = source_service(&mut facts);
            service.kind = "LoadBalancer".to_owned();
            service.ingress = ingress;
            let problem = desired_entrances(&spec(), &facts).unwrap_err();
            assert_eq!(problem.code, Code::NoEntranceAddress);
            assert!(problem.message.contains(word) && problem.hint.is_some(), "{problem:?}");
        }
    }

    #[test]
    fn without_any_of_these_host_ports_of_ready_pods_are_entered() {
        let mut facts = facts();
        let service = source_service(&mut facts);
        service.kind = "ClusterIP".to_owned();
        service.ports = vec![ServicePortFacts { target: "mysql".to_owned(), ..service_port(3306, None) }];
        let host_port = |host: u16, address: Option<&str>| HostPortFacts {
            container: 3306,
            name: Some("mysql".to_owned()),
            host,
            address: address.map(ip),
        };
        let set = |service: &mut ServiceFacts, number: usize, ports: Vec<HostPortFacts>| {
            got(&mut service.backends)[number].host_ports = ports;
        };
        set(service, 0, vec![host_port(13306, None)]);
        set(service, 1, vec![host_port(23306, Some("192.0.2.1"))]);
        assert_eq!(entrances(&spec(), &facts), ["192.0.2.1:23306", "198.18.0.11:13306"]);
        got(&mut source_service(&mut facts).backends)[1].ready = false;
        assert_eq!(entrances(&spec(), &facts), ["198.18.0.11:13306"]);
        set(source_service(&mut facts), 0, vec![host_port(13306, Some("127.0.0.1"))]);
        set(source_service(&mut facts), 1, Vec::new());
        assert_eq!(refused(&spec(), &facts), Code::SourceServiceUnusable);
    }

    #[test]
    fn a_service_without_a_way_in_gives_no_entrance() {
        let ports =
            |ports: &[(u16, Option<u16>)]| ports.iter().map(|(port, node)| service_port(*port, *node)).collect();
        for ports in [ports(&[(3306, None)]), ports(&[]), ports(&[(33060, Some(31000)), (8404, Some(31001))])] {
            let mut facts = facts();
            source_service(&mut facts).ports = ports;
            assert_eq!(refused(&spec(), &facts), Code::SourceServiceUnusable);
        }
        let mut other = spec();
        sample::replication(&mut other).port = 3307;
        assert_eq!(
            entrances(&other, &facts()).len(),
            2,
            "port 3306 of the Service serves another port of the mesh name"
        );
    }

    #[test]
    fn every_port_of_a_link_is_entered_at_the_same_addresses() {
        let spec = sample::ports_spec();
        let mut facts = facts();
        source_service(&mut facts).ports = vec![
            ServicePortFacts { name: Some("tcp-echo".to_owned()), ..service_port(7, Some(31900)) },
            service_port(8080, Some(31080)),
        ];
        let used = desired_entrances(&spec, &facts).unwrap().used;
        assert_eq!(used[0].ports, [31080, 31900], "in the link's order: by number, else by name");
        assert_eq!(desired_endpoints(spec.mesh().unwrap(), &facts, 9000).unwrap()[0].to_string(), "198.18.0.11:31900");
        source_service(&mut facts).ports.remove(0);
        assert_eq!(refused(&spec, &facts), Code::SourceServiceUnusable);
    }

    fn resource(haproxy: Option<&str>, proxysql: Option<&str>, pods: Option<&str>) -> PxcFacts {
        let text = |kind: Option<&str>| kind.map(ToOwned::to_owned);
        PxcFacts {
            name: "cluster1".to_owned(),
            size: 2,
            haproxy: text(haproxy),
            proxysql: text(proxysql),
            pods: text(pods),
        }
    }

    fn of_operator(resource: PxcFacts, services: Vec<ServiceFacts>) -> (LinkSpec, Facts) {
        let (mut spec, mut facts) = (spec(), facts());
        if let SourceLocation::Kubernetes { target, .. } = &mut sample::mesh(&mut spec).source {
            *target = SourceTarget::Pxc("cluster1".to_owned());
        }
        facts.source.pxc = Some(Fetched::Got(resource));
        facts.source.services = Some(Fetched::Got(services));
        (spec, facts)
    }

    fn named(name: &str, node_port: Option<u16>, node: &str) -> ServiceFacts {
        let backend =
            BackendFacts { pod: name.to_owned(), node: Some(node.to_owned()), ready: true, host_ports: Vec::new() };
        ServiceFacts {
            name: name.to_owned(),
            kind: if node_port.is_some() { "NodePort" } else { "ClusterIP" }.to_owned(),
            ports: vec![service_port(3306, node_port)],
            local_only: true,
            backends: Fetched::Got(vec![backend]),
            ..sample::service()
        }
    }

    #[test]
    fn an_operators_resource_is_entered_by_its_proxy_or_else_by_each_pod() {
        let pods = || {
            vec![
                named("cluster1-pxc-0", Some(31000), "production-0"),
                named("cluster1-pxc-1", Some(31001), "production-1"),
            ]
        };
        let haproxy = named("cluster1-haproxy", Some(31306), "production-1");
        let with = |first: ServiceFacts| [vec![first], pods()].concat();
        let (spec, facts) = of_operator(resource(Some("NodePort"), None, Some("NodePort")), with(haproxy));
        assert_eq!(entrances(&spec, &facts), ["198.18.0.21:31306"], "the node that runs HAProxy");
        let closed = named("cluster1-haproxy", None, "production-1");
        let (spec, facts) = of_operator(resource(Some("ClusterIP"), None, Some("NodePort")), with(closed.clone()));
        assert_eq!(entrances(&spec, &facts), ["198.18.0.11:31000", "198.18.0.21:31001"], "each pod at its own node");
        let (spec, facts) = of_operator(resource(Some("ClusterIP"), None, None), vec![closed]);
        assert_eq!(refused(&spec, &facts), Code::SourceServiceUnusable);
        let (spec, facts) = of_operator(resource(None, None, None), Vec::new());
        assert_eq!(refused(&spec, &facts), Code::SourceServiceUnusable);
        let (spec, mut facts) = of_operator(resource(None, None, Some("NodePort")), pods());
        got(&mut got(facts.source.services.as_mut().unwrap())[1].backends)[0].ready = false;
        assert_eq!(entrances(&spec, &facts), ["198.18.0.11:31000"], "a pod that is not ready keeps no other out");
    }

    #[test]
    fn what_was_written_is_read_in_the_links_ports() {
        let written = written_entrances(spec().mesh().unwrap(), &facts()).unwrap();
        assert_eq!(written, desired_entrances(&spec(), &facts()).unwrap().used);
        let mut facts = facts();
        let endpoint = &mut got(&mut facts.client.mesh).entries[0].endpoints[0];
        endpoint.ports.clear();
        assert_eq!(written_entrances(spec().mesh().unwrap(), &facts).unwrap()[0].ports, [3306]);
        assert_eq!(written_entrances(spec().mesh().unwrap(), &sample::unlinked()), None);
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
            let once = desired_entrances(&spec(), &facts).unwrap();
            numbers.sort_by_key(|number| u64::from(*number).wrapping_mul(seed | 1));
            facts.source.nodes = Some(Fetched::Got(numbers.iter().map(make).collect()));
            prop_assert_eq!(&desired_entrances(&spec(), &facts).unwrap(), &once);
            let limit = 32;
            prop_assert!(once.used.is_sorted() && once.used.len() == numbers.len().min(limit));
            prop_assert_eq!(once.left_out, numbers.len().saturating_sub(limit));
            let first = format!("10.0.0.{}:31306", numbers.iter().min().unwrap());
            prop_assert_eq!(once.used[0].to_string(), first);
        }
    }
}
