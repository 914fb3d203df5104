//! What was seen of the mesh: names in use, one sidecar's configuration, and what a probe through the name got.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    super::{problem::Fetched, spec::Endpoint},
    NamedPort,
};

/// Names and addresses that the replica's mesh already has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeshFacts {
    /// Every ServiceEntry of the cluster.
    pub entries: Vec<NamedEntry>,
}

/// A ServiceEntry, reduced to what can collide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedEntry {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.hosts`.
    pub hosts: Vec<String>,
    /// `spec.addresses` and `status.addresses[].value`, as written.
    pub addresses: Vec<String>,
    /// `spec.ports`.
    #[serde(default)]
    pub ports: Vec<NamedPort>,
    /// `spec.exportTo`; empty where the mesh's default holds, which is everywhere unless changed.
    #[serde(default)]
    pub export_to: Vec<String>,
    /// The value of label `pxc-link.io/link`, if this tool made it.
    pub link: Option<String>,
    /// `spec.endpoints`, if this tool made it.
    #[serde(default)]
    pub endpoints: Vec<EntryEndpoint>,
    /// Annotations by which this tool remembers what it made beside the link's own objects.
    #[serde(default)]
    pub records: BTreeMap<String, String>,
}

/// An endpoint of a ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryEndpoint {
    /// `address`, as written.
    pub address: String,
    /// `ports`: port by the name it has in the ServiceEntry.
    pub ports: BTreeMap<String, u16>,
}

impl NamedEntry {
    /// Whether pods of a namespace see it.
    pub fn is_visible_in(&self, namespace: &str) -> bool {
        self.export_to.is_empty()
            || self.export_to.iter().any(|to| match to.as_str() {
                "*" => true,
                "." => self.namespace == namespace,
                named => named == namespace,
            })
    }
}

/// The path from one of the client's pods to one port of the mesh name, milestone by milestone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathFacts {
    /// The pod.
    pub member: String,
    /// The port at the mesh name.
    pub port: u16,
    /// What `getent ahostsv4` in the application container answers for the mesh name; empty when it does not resolve.
    pub resolved: Fetched<Vec<IpAddr>>,
    /// What the sidecar's own name table has for the mesh name (`debug/ndsz` of the agent); `None` where it serves no names.
    pub name_table: Fetched<Option<Vec<IpAddr>>>,
    /// The sidecar's listener, cluster and endpoints before the probe.
    pub envoy: Fetched<EnvoyFacts>,
    /// The endpoints' counters after the probe.
    pub after: Fetched<Vec<EnvoyHost>>,
    /// What the authenticated query through the name got.
    pub probe: Fetched<ProbeAnswer>,
    /// What the same program got straight from endpoints' addresses, past the mesh: tells a fault of the mesh from one of the
    /// network.
    #[serde(default)]
    pub direct: Vec<DirectFacts>,
}

/// A probe straight to an endpoint's address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirectFacts {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What it got.
    pub answer: Fetched<ProbeAnswer>,
    /// How the sidecar's counters of this address moved meanwhile; `None` where they were not read or the connection did not
    /// pass the sidecar.
    pub moved: Option<Moved>,
}

/// How the counters of an endpoint moved during a probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Connections tried.
    pub tried: u64,
    /// Connections that failed.
    pub failed: u64,
    /// Connections or requests that reached an endpoint which had accepted.
    pub reached: u64,
}

impl Moved {
    /// From one reading to the next. Counters begin anew when an endpoint is sent again; then all of them are new.
    pub fn between(before: Option<&EnvoyHost>, after: &EnvoyHost) -> Self {
        let counted = |counter: fn(&EnvoyHost) -> u64| {
            let now = counter(after);
            now.checked_sub(before.map_or(0, counter)).unwrap_or(now)
        };
        Self {
            tried: counted(|host| host.cx_total),
            failed: counted(|host| host.cx_connect_fail),
            reached: counted(|host| host.rq_total),
        }
    }
}

impl std::ops::Add for Moved {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            tried: self.tried + other.tried,
            failed: self.failed + other.failed,
            reached: self.reached + other.reached,
        }
    }
}

/// What one Envoy has for the link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvoyFacts {
    /// The cluster that the listener `<vip>_<port>` sends to; `None` without such a listener.
    pub listener_cluster: Option<String>,
    /// Why Envoy refused the listener, if it did.
    pub listener_error: Option<String>,
    /// Hosts of cluster `outbound|<port>||<host>`; `None` without such a cluster.
    pub hosts: Option<Vec<EnvoyHost>>,
    /// The cluster of connections that no listener is for: `PassthroughCluster`, or `BlackHoleCluster` where the mesh allows
    /// none (`REGISTRY_ONLY`).
    #[serde(default)]
    pub catch_all: Option<String>,
}

/// One endpoint in Envoy, with its counters since Envoy learned of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvoyHost {
    /// Where it sends to.
    pub endpoint: Endpoint,
    /// Connections tried.
    pub cx_total: u64,
    /// Connections that failed.
    pub cx_connect_fail: u64,
    /// Connections open.
    pub cx_active: u64,
    /// Requests, and of plain connections those that an endpoint accepted: Envoy counts one when it hands a stream to a
    /// connection that stands.
    #[serde(default)]
    pub rq_total: u64,
    /// Ejected by outlier detection.
    pub ejected: bool,
}

/// How a probe through the name ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// What probed, such as `mysql client in container pxc, TLS VERIFY_IDENTITY`; with its version where it failed.
    pub by: String,
    /// Wall time in milliseconds.
    pub took_ms: u64,
    /// The end.
    pub end: ProbeEnd,
}

/// The ends a probe can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeEnd {
    /// An authenticated query was answered.
    Answered {
        /// `@@server_uuid`.
        server_uuid: String,
        /// `@@hostname`.
        hostname: String,
        /// `USER()`: the account and the address the server sees the client at.
        seen_as: String,
    },
    /// The client printed an error.
    Error {
        /// MySQL client or server error number, where the text had one.
        errno: Option<u16>,
        /// The text, without secrets.
        text: String,
    },
    /// No end within the probe's deadline.
    TimedOut,
    /// An HTTP response came.
    Http {
        /// Its status.
        status: u16,
        /// It has `x-envoy-upstream-service-time`, which a sidecar adds to what came from behind it and not to what it says
        /// itself.
        upstream: bool,
        /// The first characters of its body.
        body: String,
    },
    /// The other side spoke first, and not HTTP.
    Spoke {
        /// The first characters that came, escaped.
        first: String,
    },
    /// The connection stood and stayed silent until the program's deadline for listening.
    Open,
    /// The connection stood and was ended by the other side without a byte.
    Closed,
    /// The container has no program to probe with.
    NoClient,
}
