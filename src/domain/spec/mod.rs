//! What a link is to be: the configuration after it has been checked, with every default filled in and no secret in it.

mod channel;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use channel::{ChannelOptions, ClientCertificate, Compression, Tls};

use super::check::Side;

/// A link: a name by which a Service of another cluster is reached, or two servers without any cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSpec {
    /// The name in `links:`; a DNS label.
    pub name: String,
    /// What the channel or another client dials. In a mesh the mesh name, `pxc-source.<name>.global` unless given, for a link that
    /// carries replication; without one the source's own name or address.
    pub host: String,
    /// Where both ends are.
    pub ends: Ends,
    /// What travels.
    pub service: ServiceSpec,
}

/// Where both ends of a link are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ends {
    /// The client's pods are in a mesh, in which the link makes a name.
    Mesh(Box<MeshEnds>),
    /// Two servers that reach each other as they are: no Kubernetes, no mesh.
    Servers(ServerEnds),
}

/// The ends of a link that goes through a mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshEnds {
    /// The virtual address, if the configuration fixes it; in 240.0.0.0/4 and outside 240.240.0.0/16.
    pub vip: Option<Ipv4Addr>,
    /// Where the name leads to.
    pub source: SourceLocation,
    /// Who uses the name.
    pub client: ClientSpec,
}

/// The ends of a link that goes through no mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEnds {
    /// Where replica and this machine reach the source.
    pub source: ServerAddress,
    /// Where this machine reaches the replica.
    pub replica: ServerAddress,
}

/// A server that is reached directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// A host name or an address.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for ServerAddress {
    /// As `host:port`; an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl LinkSpec {
    /// The ports at the mesh name, at least one, in the order written.
    pub fn ports(&self) -> Vec<PortSpec> {
        match &self.service {
            ServiceSpec::Replication(replication) => {
                vec![PortSpec { number: replication.port, name: "tcp-mysql".to_owned(), protocol: Protocol::Tcp }]
            }
            ServiceSpec::Ports(ports) => ports.clone(),
        }
    }

    /// The link as one that carries replication, if it is one.
    pub fn replication(&self) -> Option<ReplicationLink<'_>> {
        match &self.service {
            ServiceSpec::Replication(replication) => Some(ReplicationLink { link: self, replication }),
            ServiceSpec::Ports(_) => None,
        }
    }

    /// Whether a channel of this link compares the source's certificate with anything.
    pub fn compares_certificates(&self) -> bool {
        self.replication().is_some_and(|link| link.replication.tls.ca().is_some())
    }

    /// The link as one that goes through a mesh, if it is one.
    pub fn mesh(&self) -> Option<MeshLink<'_>> {
        match &self.ends {
            Ends::Mesh(ends) => Some(MeshLink::of(self, ends)),
            Ends::Servers(_) => None,
        }
    }

    /// What is dialled, as people are told: the mesh name, or host and port of the source.
    pub fn dialled(&self) -> String {
        match &self.ends {
            Ends::Mesh(_) => self.host.clone(),
            Ends::Servers(ends) => ends.source.to_string(),
        }
    }

    /// What the side that uses the name is called.
    pub fn client_side(&self) -> Side {
        match self.service {
            ServiceSpec::Replication(_) => Side::Replica,
            ServiceSpec::Ports(_) => Side::Client,
        }
    }
}

/// A link of which it is known that it carries replication; everything of the link is reached through it.
#[derive(Debug, Clone, Copy)]
pub struct ReplicationLink<'a> {
    link: &'a LinkSpec,
    /// What the link is as replication.
    pub replication: &'a ReplicationSpec,
}

impl std::ops::Deref for ReplicationLink<'_> {
    type Target = LinkSpec;

    fn deref(&self) -> &LinkSpec {
        self.link
    }
}

/// A link of which it is known that it goes through a mesh; everything of the link is reached through it.
#[derive(Debug, Clone, Copy)]
pub struct MeshLink<'a> {
    link: &'a LinkSpec,
    /// The virtual address, if the configuration fixes it.
    pub vip: Option<Ipv4Addr>,
    /// Where the name leads to.
    pub source: &'a SourceLocation,
    /// Who uses the name.
    pub client: &'a ClientSpec,
}

impl<'a> MeshLink<'a> {
    /// A link with the ends that it has.
    pub(crate) fn of(link: &'a LinkSpec, ends: &'a MeshEnds) -> Self {
        Self { link, vip: ends.vip, source: &ends.source, client: &ends.client }
    }

    /// The same as if its virtual address were left to be derived.
    #[must_use]
    pub(crate) fn without_vip(self) -> Self {
        Self { vip: None, ..self }
    }
}

impl std::ops::Deref for MeshLink<'_> {
    type Target = LinkSpec;

    fn deref(&self) -> &LinkSpec {
        self.link
    }
}

/// Exactly one way to find the source of a link that goes through a mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceLocation {
    /// A Service of a cluster whose API can be reached.
    Kubernetes {
        /// Which cluster.
        cluster: ClusterRef,
        /// What of it the name leads to.
        target: SourceTarget,
        /// How it is entered from outside.
        entrance: EntranceSpec,
    },
    /// Addresses only, where the source's API is out of reach.
    Endpoints(Vec<Endpoint>),
}

/// What of the source's cluster the name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceTarget {
    /// The Service that selects the source's pods.
    Service(String),
    /// The resource of a Percona operator, which says what is exposed.
    Pxc(String),
}

impl fmt::Display for SourceTarget {
    /// As `Kind/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "Service/{name}"),
            Self::Pxc(name) => write!(f, "PerconaXtraDBCluster/{name}"),
        }
    }
}

/// How the source is entered from outside of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntranceSpec {
    /// The way; found out by what the Service offers where there is none.
    pub way: Option<WayIn>,
    /// Which address of a node counts.
    pub address_type: AddressType,
    /// The most endpoints that the link gets, at least 1; 32 unless given: enough to survive losing nodes, few enough to read and
    /// to probe.
    pub limit: u16,
}

/// A way into a Service from outside of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WayIn {
    /// `status.loadBalancer.ingress`, at the Service's port.
    LoadBalancer,
    /// `spec.externalIPs`, at the Service's port.
    ExternalIp,
    /// The addresses of nodes, at the node port.
    NodePort,
    /// The addresses of the nodes that run a pod of the Service, at the pod's host port.
    HostPort,
}

impl WayIn {
    /// All of them, in the order in which a user expects them to be taken.
    pub const ALL: [Self; 4] = [Self::LoadBalancer, Self::ExternalIp, Self::NodePort, Self::HostPort];
}

impl fmt::Display for WayIn {
    /// As in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LoadBalancer => "loadBalancer",
            Self::ExternalIp => "externalIP",
            Self::NodePort => "nodePort",
            Self::HostPort => "hostPort",
        })
    }
}

/// Which address of a node the client's cluster reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressType {
    /// Its address in its own network.
    InternalIp,
    /// Its address for everybody else.
    ExternalIp,
}

impl fmt::Display for AddressType {
    /// As Kubernetes writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InternalIp => "InternalIP",
            Self::ExternalIp => "ExternalIP",
        })
    }
}

/// The pods that use the name: the replica's members, or the clients of another service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSpec {
    /// Which cluster.
    pub cluster: ClusterRef,
    /// The label selector of the pods.
    pub selector: String,
    /// The application container; in the replica's members the one in which mysqld runs.
    pub container: String,
}

/// What travels over a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceSpec {
    /// MySQL replication: the client is a replica.
    Replication(Box<ReplicationSpec>),
    /// Any other service, by its ports; at least one.
    Ports(Vec<PortSpec>),
}

/// A port at the mesh name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// 1 to 65535, unique in its link.
    pub number: u16,
    /// A DNS label, unique in its link; the name of the port in the ServiceEntry.
    pub name: String,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// What a port speaks, as far as the sidecar must know: the protocol field of a ServiceEntry decides, not the port's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// Any stream of bytes; the only choice where the server speaks first.
    Tcp,
    /// HTTP/1.1, which the sidecar takes apart.
    Http,
}

impl fmt::Display for Protocol {
    /// As Istio writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Http => "HTTP",
        })
    }
}

/// A cluster as a kubeconfig knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRef {
    /// A kubeconfig file; the usual search (`KUBECONFIG`, `~/.kube/config`, in-cluster) where there is none.
    pub kubeconfig: Option<PathBuf>,
    /// The context; in-cluster or else the current one where there is none.
    pub context: Option<String>,
    /// The namespace of the side's pods.
    pub namespace: String,
}

/// An address and port where the source is reachable from the replica's cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port, 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// A MySQL account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user name, at most 32 characters (manual: "Account User Names").
    pub user: String,
    /// Where its password is.
    pub password: SecretRef,
}

/// Where a secret is; never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable of this process.
    Env(String),
    /// A file; one newline at its end is not part of the secret.
    File(PathBuf),
    /// A key of a Kubernetes Secret, read in the cluster and namespace where the side lives.
    Secret {
        /// The Secret.
        name: String,
        /// The key in its data.
        key: String,
    },
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable `{name}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Secret { name, key } => write!(f, "key `{key}` of Secret `{name}`"),
        }
    }
}

/// How rows travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationSpec {
    /// The port of MySQL at the mesh name; 3306 unless given.
    pub port: u16,
    /// The account that reads the source's state; the channel's account serves where there is none.
    pub source_account: Option<Account>,
    /// The account that reads the replica and runs the channel's statements.
    pub replica_account: Account,
    /// The account the receiver logs in with at the source.
    pub account: Account,
    /// The channel; the link's name unless given. `[A-Za-z0-9_.-]{1,64}`.
    pub channel: String,
    /// How the receiver's connection is encrypted.
    pub tls: Tls,
    /// What the receiver shows the source beside its password; only where the connection is encrypted.
    pub client_certificate: Option<ClientCertificate>,
    /// How patient the channel is, and what else of it can be chosen.
    pub options: ChannelOptions,
    /// When lag is a warning and when it is critical.
    pub lag: LagThresholds,
}

impl ReplicationSpec {
    /// The thresholds of the lag, counted from the end of the wanted delay.
    pub fn lag_bounds(&self) -> LagThresholds {
        let delay = Duration::from_secs(self.options.delay_seconds.into());
        LagThresholds { warning: self.lag.warning + delay, critical: self.lag.critical + delay }
    }

    /// Whether the channel uses files of its member.
    pub fn has_tls_files(&self) -> bool {
        self.tls.ca().is_some() || self.client_certificate.is_some()
    }
}

/// Bounds of the lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LagThresholds {
    /// From here on a warning; 30 s unless given.
    pub warning: Duration,
    /// From here on critical; 5 min unless given.
    pub critical: Duration,
}
