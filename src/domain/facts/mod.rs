//! Everything that was seen of a link at one moment. Readable and writable, so that it can be judged again elsewhere.

mod cluster;
mod mesh;
mod objects;
mod server;
mod service;
mod surroundings;

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use cluster::{
    AddressesInUse, AwaitedContainer, ClusterFacts, DeniedRule, IstiodFacts, LeaseFacts, NodeFacts, ObjectFacts,
    PodFacts, Sidecar, UsedRange,
};
pub use mesh::{
    DirectFacts, EntryEndpoint, EnvoyFacts, EnvoyHost, MeshFacts, Moved, NamedEntry, PathFacts, ProbeAnswer, ProbeEnd,
};
pub use objects::{ChangedField, OwnObject};
pub use server::{ChannelFacts, ChannelSettings, ServerFacts, ServerSettings, ThreadError, ThreadState};
pub use service::{BackendFacts, HostPortFacts, IngressFacts, PxcFacts, ServiceFacts, ServicePortFacts};
pub use surroundings::{ClientSurroundings, MeshConfigFacts, NamedPort, NamedRule, NamedService, SourceSurroundings};

use super::problem::{Fetched, Problem};

/// What was seen of both sides and of the path between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// When gathering began, by this machine's clock.
    pub at: Timestamp,
    /// The source's side.
    pub source: SourceFacts,
    /// The side that uses the mesh name: the replica's, or that of another service's clients.
    pub client: ClientFacts,
    /// The path from each of the client's pods to each port; empty until the mesh objects are there.
    pub paths: Vec<PathFacts>,
    /// The link's own mesh objects; `None` where they were not compared with what is wanted.
    #[serde(default)]
    pub objects: Option<Fetched<Vec<OwnObject>>>,
}

/// The source's side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// Its cluster; `None` where the configuration gives endpoints only.
    pub cluster: Option<Fetched<ClusterFacts>>,
    /// The operator's resource, where one was named.
    #[serde(default)]
    pub pxc: Option<Fetched<PxcFacts>>,
    /// The Service that was named, or those that the operator made of the resource.
    pub services: Option<Fetched<Vec<ServiceFacts>>>,
    /// The cluster's nodes.
    pub nodes: Option<Fetched<Vec<NodeFacts>>>,
    /// Its members; empty where the configuration gives endpoints only.
    pub members: Fetched<Vec<MemberFacts>>,
    /// PeerAuthentications and AuthorizationPolicies that can touch the source's pods.
    pub policies: Option<Fetched<Vec<ObjectFacts>>>,
    /// What surrounds its pods; `None` where the configuration gives endpoints only.
    pub surroundings: Option<SourceSurroundings>,
}

impl SourceFacts {
    /// The first Service that was read.
    pub fn service(&self) -> Option<&ServiceFacts> {
        self.services.as_ref().and_then(Fetched::got)?.first()
    }
}

/// The side that uses the mesh name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientFacts {
    /// Its cluster.
    pub cluster: Fetched<ClusterFacts>,
    /// Its members.
    pub members: Fetched<Vec<MemberFacts>>,
    /// The mesh objects and names in use there.
    pub mesh: Fetched<MeshFacts>,
    /// What surrounds its pods.
    pub surroundings: ClientSurroundings,
    /// The link's lock, if the object exists.
    pub lease: Fetched<Option<LeaseFacts>>,
}

/// One member of a side: its pod, and the MySQL server in it where the link carries replication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// The pod.
    pub pod: PodFacts,
    /// The server, as its side's account sees it; `None` where the link carries no replication.
    pub server: Option<Fetched<ServerFacts>>,
    /// What the mesh name resolves to in the pod's application container; asked only where its sidecar does not answer DNS.
    #[serde(default)]
    pub resolved: Option<Fetched<Vec<IpAddr>>>,
    /// What the log of a sidecar that is not ready says last; `None` for any other.
    #[serde(default)]
    pub sidecar_log: Option<Fetched<Vec<String>>>,
}

impl MemberFacts {
    /// The server, if it was read.
    pub fn server(&self) -> Option<&ServerFacts> {
        self.server.as_ref().and_then(Fetched::got)
    }

    /// Why the server was not read, if it should have been.
    pub fn unread(&self) -> Option<&Problem> {
        self.server.as_ref().and_then(Fetched::failed)
    }
}
