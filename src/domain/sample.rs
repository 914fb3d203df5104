//! A link and its facts with everything in order, for tests to break one thing at a time.

mod change;
mod direct;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use super::{
    channel::desired_channel,
    facts::{
        AddressesInUse, BackendFacts, ChannelFacts, ClientFacts, ClientSurroundings, ClusterFacts, DirectFacts,
        EntryEndpoint, EnvoyFacts, EnvoyHost, Facts, GroupMember, IstiodFacts, MemberFacts, MemberPlace, Membership,
        MeshConfigFacts, MeshFacts, NamedEntry, NamedPort, NodeFacts, ObjectFacts, PathFacts, PodFacts, ProbeAnswer,
        ProbeEnd, ServerFacts, ServerSettings, ServiceFacts, ServicePortFacts, Sidecar, SourceFacts,
        SourceSurroundings, TableFacts, TablesFacts, ThreadState, UsedRange,
    },
    gtid::GtidSet,
    problem::Fetched,
    spec::{
        Account, AddressType, ChannelOptions, ClientSpec, ClusterRef, Endpoint, Ends, EntranceSpec, LagThresholds,
        LinkSpec, MeshEnds, PortSpec, Protocol, ReplicationSpec, SecretRef, ServiceSpec, SourceLocation, SourceTarget,
        Tls,
    },
};

pub(crate) use change::{got, replica, replicas, source, sources};
pub(crate) use direct::{direct_facts, direct_spec};

/// `server_uuid` of the source's members.
pub(crate) const SOURCE: [&str; 2] = ["5a000000-0000-0000-0000-000000000001", "5a000000-0000-0000-0000-000000000002"];
/// `server_uuid` of the replica's members.
pub(crate) const REPLICA: [&str; 2] = ["ee000000-0000-0000-0000-000000000001", "ee000000-0000-0000-0000-000000000002"];
/// The virtual address of the link.
pub(crate) const VIP: &str = "240.0.0.7";

pub(crate) fn gtids(text: &str) -> GtidSet {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn endpoint(text: &str) -> Endpoint {
    let socket: std::net::SocketAddr = text.parse().unwrap();
    Endpoint { address: socket.ip(), port: socket.port() }
}

pub(crate) fn spec() -> LinkSpec {
    let cluster =
        |context: &str| ClusterRef { kubeconfig: None, context: Some(context.to_owned()), namespace: "pxc".to_owned() };
    let account = |user: &str| Account {
        user: user.to_owned(),
        password: SecretRef::Env(format!("{}_PASSWORD", user.to_uppercase())),
    };
    LinkSpec {
        name: "production".to_owned(),
        host: "pxc-source.production.global".to_owned(),
        ends: Ends::Mesh(Box::new(MeshEnds {
            vip: None,
            source: SourceLocation::Kubernetes {
                cluster: cluster("production"),
                target: SourceTarget::Service("pxc".to_owned()),
                entrance: EntranceSpec { way: None, address_type: AddressType::InternalIp, limit: 32 },
            },
            client: ClientSpec { cluster: cluster("dr"), selector: "app=pxc".to_owned(), container: "pxc".to_owned() },
        })),
        service: ServiceSpec::Replication(Box::new(ReplicationSpec {
            port: 3306,
            source_account: Some(account("pxc_link")),
            replica_account: account("pxc_link"),
            account: account("repl"),
            channel: "production".to_owned(),
            tls: Tls::VerifyIdentity { ca: "/etc/mysql/tls/ca.crt".to_owned() },
            client_certificate: None,
            options: ChannelOptions::default(),
            lag: LagThresholds { warning: Duration::from_secs(30), critical: Duration::from_mins(5) },
        })),
    }
}

/// The ends of a link in its mesh, to be changed.
pub(crate) fn mesh(spec: &mut LinkSpec) -> &mut MeshEnds {
    match &mut spec.ends {
        Ends::Mesh(ends) => ends,
        Ends::Servers(ends) => panic!("no mesh: {ends:?}"),
    }
}

impl MemberFacts {
    /// The pod, to be changed.
    pub(crate) fn pod(&mut self) -> &mut PodFacts {
        match &mut self.place {
            MemberPlace::Pod(pod) => pod,
            MemberPlace::Server { address } => panic!("no pod: {address}"),
        }
    }
}

/// Makes the replica's members a single-primary group, each with its role; an empty role is outside of it.
pub(crate) fn in_group(facts: &mut Facts, roles: [&str; 2]) {
    for (index, role) in roles.into_iter().enumerate() {
        let state = if role.is_empty() { "ERROR" } else { "ONLINE" };
        let member = GroupMember {
            state: state.to_owned(),
            role: role.to_owned(),
            single_primary: true,
            members: 2,
            unreachable: 0,
        };
        replica(facts, index).membership = Some(Fetched::Got(Membership::Group(member)));
    }
}

/// The replication of a link, to be changed.
pub(crate) fn replication(spec: &mut LinkSpec) -> &mut ReplicationSpec {
    match &mut spec.service {
        ServiceSpec::Replication(replication) => replication,
        ServiceSpec::Ports(ports) => panic!("ports: {ports:?}"),
    }
}

/// A link that carries HTTP and another port of the source's Service.
pub(crate) fn ports_spec() -> LinkSpec {
    let port = |number, name: &str, protocol| PortSpec { number, name: name.to_owned(), protocol };
    let mut spec = spec();
    spec.service = ServiceSpec::Ports(vec![port(8080, "http", Protocol::Http), port(9000, "tcp-echo", Protocol::Tcp)]);
    spec
}

/// The same link with addresses of the source instead of its cluster.
pub(crate) fn endpoints_spec() -> LinkSpec {
    let mut spec = spec();
    mesh(&mut spec).source =
        SourceLocation::Endpoints(vec![endpoint("198.18.0.21:31306"), endpoint("198.18.0.11:31306")]);
    replication(&mut spec).source_account = None;
    spec
}

fn cluster(context: &str, uid: &str) -> ClusterFacts {
    ClusterFacts {
        context: context.to_owned(),
        server: format!("https://{context}.example:6443"),
        uid: uid.to_owned(),
        version: "v1.36.3".to_owned(),
        user: Some("pxc-link".to_owned()),
        denied: Vec::new(),
        istio_versions: vec!["v1".to_owned(), "v1beta1".to_owned()],
        istiods: vec![istiod("default", 1)],
        in_use: AddressesInUse {
            ranges: vec![used("10.42.0.0/20", "podCIDR of node n"), used("10.42.16.0/20", "ServiceCIDR kubernetes")],
            unlisted: Vec::new(),
        },
    }
}

pub(crate) fn used(range: &str, holder: &str) -> UsedRange {
    UsedRange { range: range.parse().unwrap(), holder: holder.to_owned() }
}

pub(crate) fn istiod(revision: &str, ready: u32) -> IstiodFacts {
    let name = if revision == "default" { "istiod".to_owned() } else { format!("istiod-{revision}") };
    IstiodFacts { name, revision: revision.to_owned(), ready, wanted: 1 }
}

/// A mesh as it is installed by default, with DNS capture on.
pub(crate) fn mesh_config(settings: serde_json::Value) -> MeshConfigFacts {
    MeshConfigFacts { revision: "default".to_owned(), settings }
}

fn surroundings() -> ClientSurroundings {
    let capture = serde_json::json!({"defaultConfig": {"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}}});
    ClientSurroundings {
        namespace: Fetched::Got(BTreeMap::from([("istio-injection".to_owned(), "enabled".to_owned())])),
        mesh_configs: Fetched::Got(vec![mesh_config(capture)]),
        services: Fetched::Got(Vec::new()),
        sidecars: Fetched::Got(Vec::new()),
        rules: Fetched::Got(Vec::new()),
        network_policies: Fetched::Got(Vec::new()),
        authorizations: Fetched::Got(Vec::new()),
        remote_clusters: Fetched::Got(Vec::new()),
        operators: Fetched::Got(Vec::new()),
    }
}

pub(crate) fn pod(name: &str, node: &str, sidecar: Sidecar) -> PodFacts {
    PodFacts {
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        ip: Some(ip("10.42.0.9")),
        host_ip: Some(ip("198.18.0.12")),
        node: Some(node.to_owned()),
        ready: true,
        containers: vec!["pxc".to_owned()],
        host_ports: Vec::new(),
        sidecar,
        proxy_state: None,
        awaited: Vec::new(),
        host_network: false,
        proxy_users: Vec::new(),
        dns_capture: matches!(sidecar, Sidecar::Present { .. }).then_some(true),
        owner: Some("StatefulSet/pxc".to_owned()),
        labels: BTreeMap::from([("app".to_owned(), "pxc".to_owned())]),
        annotations: BTreeMap::new(),
    }
}

/// The same, where applications write.
pub(crate) fn open(server: ServerFacts) -> ServerFacts {
    ServerFacts { super_read_only: false, ..server }
}

pub(crate) fn server(uuid: &str, id: u32) -> ServerFacts {
    ServerFacts {
        server_uuid: uuid.to_owned(),
        server_id: id,
        hostname: format!("host-{id}"),
        version: "9.7.0".to_owned(),
        cluster_uuid: None,
        membership: None,
        gtid_mode: "ON".to_owned(),
        enforce_gtid_consistency: "ON".to_owned(),
        log_bin: true,
        log_replica_updates: true,
        binlog_format: "ROW".to_owned(),
        binlog_row_image: "FULL".to_owned(),
        skip_replica_start: true,
        super_read_only: true,
        binlog_expire_logs_seconds: 2_592_000,
        gtid_executed: gtids(&format!("{}:1-100", SOURCE[0])),
        gtid_purged: gtids(&format!("{}:1-50", SOURCE[0])),
        clock: "2026-11-21T08:00:10Z".parse().unwrap(),
        asked_at: Some("2026-11-21T08:00:10Z".parse().unwrap()),
        asked_for_ms: 4,
        settings: ServerSettings {
            version_comment: "MySQL Community Server - GPL".to_owned(),
            pxc_strict_mode: None,
            lower_case_table_names: 0,
            collation_server: "utf8mb4_0900_ai_ci".to_owned(),
            explicit_defaults_for_timestamp: true,
            max_allowed_packet: 64 << 20,
            replica_max_allowed_packet: 1 << 30,
            time_zone: "SYSTEM".to_owned(),
            system_time_zone: "UTC".to_owned(),
            utc_offset_seconds: Some(0),
            time_zone_names: true,
            replica_parallel_workers: 4,
            replica_preserve_commit_order: true,
            relay_log_recovery: true,
        },
        missing_privileges: Vec::new(),
        channels: Vec::new(),
        rules: Vec::new(),
        tables: Some(Fetched::Got(TablesFacts {
            all_visible: true,
            cut: false,
            tables: vec![table("shop", "items", 40), table("shop", "orders", 200_000)],
        })),
    }
}

/// A table as it should be.
pub(crate) fn table(schema: &str, name: &str, rows: u64) -> TableFacts {
    TableFacts {
        schema: schema.to_owned(),
        name: name.to_owned(),
        engine: Some("InnoDB".to_owned()),
        rows: Some(rows),
        has_key: Some(true),
        columns: Some(7),
    }
}

/// The link's channel, running and caught up.
pub(crate) fn channel() -> ChannelFacts {
    let on = || ThreadState { state: "ON".to_owned(), error: None };
    ChannelFacts {
        name: "production".to_owned(),
        settings: desired_channel(spec().replication().unwrap()),
        receiver: on(),
        applier: on(),
        source_uuid: Some(SOURCE[0].to_owned()),
        received: gtids(&format!("{}:60-100", SOURCE[0])),
        last_heard: Some("2026-11-21T08:00:08Z".parse().unwrap()),
        receiver_doing: Some("Waiting for source to send event".to_owned()),
    }
}

pub(crate) fn host(address: &str, total: u64, failed: u64) -> EnvoyHost {
    EnvoyHost {
        endpoint: endpoint(address),
        cx_total: total,
        cx_connect_fail: failed,
        cx_active: 0,
        rq_total: total.saturating_sub(failed),
        ejected: false,
    }
}

/// What a source member's server answers straight.
fn straight(address: &str, uuid: &str) -> DirectFacts {
    let end = ProbeEnd::Answered {
        server_uuid: uuid.to_owned(),
        hostname: "pxc".to_owned(),
        seen_as: "repl@198.18.0.11".to_owned(),
    };
    let answer = ProbeAnswer { by: "mysql client 9.7.0 in container pxc, TLS VERIFY_CA".to_owned(), took_ms: 130, end };
    DirectFacts { endpoint: endpoint(address), answer: Fetched::Got(answer), moved: None }
}

/// The path from a member, proven.
pub(crate) fn path(member: &str) -> PathFacts {
    PathFacts {
        member: member.to_owned(),
        port: 3306,
        resolved: Fetched::Got(vec![ip(VIP)]),
        name_table: Fetched::Got(Some(vec![ip(VIP)])),
        envoy: Fetched::Got(EnvoyFacts {
            listener_cluster: Some("outbound|3306||pxc-source.production.global".to_owned()),
            listener_error: None,
            hosts: Some(vec![host("198.18.0.11:31306", 4, 0), host("198.18.0.21:31306", 2, 0)]),
            catch_all: Some("PassthroughCluster".to_owned()),
        }),
        after: Fetched::Got(vec![host("198.18.0.11:31306", 5, 0), host("198.18.0.21:31306", 2, 0)]),
        probe: Fetched::Got(ProbeAnswer {
            by: "mysql client 9.7.0 in container pxc, TLS VERIFY_IDENTITY".to_owned(),
            took_ms: 140,
            end: ProbeEnd::Answered {
                server_uuid: SOURCE[0].to_owned(),
                hostname: "pxc-0".to_owned(),
                seen_as: "repl@198.18.0.11".to_owned(),
            },
        }),
        direct: ["198.18.0.11:31306", "198.18.0.21:31306"]
            .iter()
            .zip(SOURCE)
            .map(|(at, uuid)| straight(at, uuid))
            .collect(),
    }
}

/// The link's own ServiceEntry.
pub(crate) fn own_entry() -> NamedEntry {
    NamedEntry {
        namespace: "pxc".to_owned(),
        name: "pxc-source-production".to_owned(),
        hosts: vec!["pxc-source.production.global".to_owned()],
        addresses: vec![VIP.to_owned()],
        ports: vec![named_port(3306, "TCP")],
        export_to: vec![".".to_owned()],
        link: Some("production".to_owned()),
        endpoints: ["198.18.0.11", "198.18.0.21"]
            .map(|address| EntryEndpoint {
                address: address.to_owned(),
                ports: BTreeMap::from([("tcp-mysql".to_owned(), 31306)]),
            })
            .to_vec(),
        records: BTreeMap::new(),
    }
}

/// A port of a ServiceEntry.
pub(crate) fn named_port(number: u16, protocol: &str) -> NamedPort {
    NamedPort { number, name: format!("port-{number}"), protocol: protocol.to_owned() }
}

/// Somebody else's ServiceEntry.
pub(crate) fn other_entry(namespace: &str, host: &str, address: &str) -> NamedEntry {
    NamedEntry {
        namespace: namespace.to_owned(),
        name: "other".to_owned(),
        hosts: vec![host.to_owned()],
        addresses: vec![address.to_owned()],
        ports: vec![named_port(3306, "TCP")],
        export_to: Vec::new(),
        link: None,
        endpoints: Vec::new(),
        records: BTreeMap::new(),
    }
}

pub(crate) fn object(kind: &str, namespace: &str, name: &str, created: &str, spec: serde_json::Value) -> ObjectFacts {
    ObjectFacts {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        created: Some(created.parse().unwrap()),
        spec,
        dry_run: false,
    }
}

fn node(name: &str, address: &str) -> NodeFacts {
    NodeFacts { name: name.to_owned(), ready: true, addresses: vec![("InternalIP".to_owned(), ip(address))] }
}

/// The source's Service, with a node port.
pub(crate) fn service() -> ServiceFacts {
    let backend = |pod: &str, node: &str| BackendFacts {
        pod: pod.to_owned(),
        node: Some(node.to_owned()),
        ready: true,
        host_ports: Vec::new(),
    };
    ServiceFacts {
        name: "pxc".to_owned(),
        kind: "NodePort".to_owned(),
        selector: BTreeMap::from([("app".to_owned(), "pxc".to_owned())]),
        ports: vec![service_port(3306, Some(31306))],
        local_only: false,
        external_ips: Vec::new(),
        ingress: Vec::new(),
        backends: Fetched::Got(vec![backend("pxc-0", "production-0"), backend("pxc-1", "production-1")]),
    }
}

pub(crate) fn service_port(number: u16, node_port: Option<u16>) -> ServicePortFacts {
    ServicePortFacts { number, name: None, node_port, target: number.to_string() }
}

/// The source's Service, to be changed.
pub(crate) fn source_service(facts: &mut Facts) -> &mut ServiceFacts {
    &mut got(facts.source.services.as_mut().unwrap())[0]
}

/// Two members on each side, linked, running and caught up; the path proven from both members.
pub(crate) fn facts() -> Facts {
    let sidecar = Sidecar::Present { ready: true };
    let member = |pod: PodFacts, server: ServerFacts| MemberFacts {
        place: MemberPlace::Pod(Box::new(pod)),
        server: Some(Fetched::Got(server)),
        resolved: None,
        sidecar_log: None,
        tls_files: None,
        presented: None,
    };
    let mut carrier = server(REPLICA[0], 11);
    carrier.channels.push(channel());
    Facts {
        at: "2026-11-21T08:00:09Z".parse().unwrap(),
        source: SourceFacts {
            cluster: Some(Fetched::Got(cluster("production", "uid-of-production"))),
            pxc: None,
            services: Some(Fetched::Got(vec![service()])),
            nodes: Some(Fetched::Got(vec![node("production-1", "198.18.0.21"), node("production-0", "198.18.0.11")])),
            members: Fetched::Got(vec![
                member(pod("pxc-0", "production-0", Sidecar::Absent), open(server(SOURCE[0], 1))),
                member(pod("pxc-1", "production-1", Sidecar::Absent), open(server(SOURCE[1], 2))),
            ]),
            policies: Some(Fetched::Got(Vec::new())),
            surroundings: Some(SourceSurroundings {
                network_policies: Fetched::Got(Vec::new()),
                services: Fetched::Got(Vec::new()),
            }),
        },
        client: ClientFacts {
            cluster: Fetched::Got(cluster("dr", "uid-of-dr")),
            members: Fetched::Got(vec![
                member(pod("pxc-0", "dr-0", sidecar), carrier),
                member(pod("pxc-1", "dr-0", sidecar), server(REPLICA[1], 12)),
            ]),
            mesh: Fetched::Got(MeshFacts { entries: vec![own_entry()] }),
            surroundings: surroundings(),
            lease: Fetched::Got(None),
        },
        paths: vec![path("pxc-0"), path("pxc-1")],
        receiver_login: None,
        objects: None,
    }
}

/// The same before the first setup: no channel, no mesh object, no path.
pub(crate) fn unlinked() -> Facts {
    let mut facts = facts();
    facts.paths.clear();
    facts.client.mesh = Fetched::Got(MeshFacts { entries: Vec::new() });
    for one in replicas(&mut facts) {
        got(one.server.as_mut().unwrap()).channels.clear();
    }
    facts
}
