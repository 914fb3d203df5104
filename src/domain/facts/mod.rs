//! Everything that was seen of a link at one moment. Readable and writable, so that it can be judged again elsewhere.

mod cluster;
mod mesh;
mod server;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use cluster::{ClusterFacts, DeniedRule, LeaseFacts, NodeFacts, ObjectFacts, PodFacts, ServiceFacts, Sidecar};
pub use mesh::{EnvoyFacts, EnvoyHost, MeshFacts, NamedEntry, PathFacts, ProbeAnswer, ProbeEnd};
pub use server::{ChannelFacts, ChannelSettings, ServerFacts, ThreadError, ThreadState};

use super::problem::Fetched;

/// What was seen of both sides and of the path between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// When gathering began, by this machine's clock.
    pub at: Timestamp,
    /// The source's side.
    pub source: SourceFacts,
    /// The replica's side.
    pub replica: ReplicaFacts,
    /// The path from each replica member; empty until the mesh objects are there.
    pub paths: Vec<PathFacts>,
}

/// The source's side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// Its cluster; `None` where the configuration gives endpoints only.
    pub cluster: Option<Fetched<ClusterFacts>>,
    /// The Service that was named.
    pub service: Option<Fetched<ServiceFacts>>,
    /// The cluster's nodes.
    pub nodes: Option<Fetched<Vec<NodeFacts>>>,
    /// Its members; empty where the configuration gives endpoints only.
    pub members: Fetched<Vec<MemberFacts>>,
    /// PeerAuthentications and AuthorizationPolicies that can touch the source's pods.
    pub policies: Option<Fetched<Vec<ObjectFacts>>>,
}

/// The replica's side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaFacts {
    /// Its cluster.
    pub cluster: Fetched<ClusterFacts>,
    /// Its members.
    pub members: Fetched<Vec<MemberFacts>>,
    /// The mesh objects and names in use there.
    pub mesh: Fetched<MeshFacts>,
    /// The link's lock, if the object exists.
    pub lease: Fetched<Option<LeaseFacts>>,
}

/// One member: its pod and the server in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// The pod.
    pub pod: PodFacts,
    /// The server, as its side's account sees it.
    pub server: Fetched<ServerFacts>,
}
