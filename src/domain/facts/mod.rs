//! Everything that was seen of a link at one moment. Readable and writable, so that it can be judged again elsewhere.

mod cluster;
mod membership;
mod mesh;
mod objects;
mod schema;
mod server;
mod service;
mod surroundings;
mod tls_files;

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use cluster::{
    AddressesInUse, AwaitedContainer, ClusterFacts, DeniedRule, IstiodFacts, LeaseFacts, NodeFacts, ObjectFacts, PROXY,
    PodFacts, Sidecar, UsedRange,
};
pub use membership::{GaleraMember, GroupMember, Membership, Standing};
pub use mesh::{
    DirectFacts, EntryEndpoint, EnvoyFacts, EnvoyHost, MeshFacts, Moved, NamedEntry, PathFacts, ProbeAnswer, ProbeEnd,
};
pub use objects::{ChangedField, OwnObject};
pub use schema::{RuleFacts, RuleKind, TableFacts, TablesFacts};
pub use server::{ChannelFacts, ChannelSettings, ReceiverLogin, ServerFacts, ServerSettings, ThreadError, ThreadState};
pub use service::{BackendFacts, HostPortFacts, IngressFacts, PxcFacts, ServiceFacts, ServicePortFacts};
pub use surroundings::{
    ClientSurroundings, MeshConfigFacts, NamedPort, NamedRule, NamedService, OperatorChannel, OperatorFacts,
    SourceSurroundings,
};
pub use tls_files::{FileFacts, PathPart, ProcessUser, TlsFilesFacts};

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
    /// The login of the channel's account at the source from this machine, on a link without a mesh.
    #[serde(default)]
    pub receiver_login: Option<Fetched<ReceiverLogin>>,
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
    /// Its members that run in pods.
    pub fn pods(&self) -> Pods<'_> {
        in_pods(&self.members)
    }

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

impl ClientFacts {
    /// Nothing of it could be read, for one reason.
    pub fn unread(problem: &Problem) -> Self {
        Self {
            cluster: Fetched::Failed(problem.clone()),
            members: Fetched::Failed(problem.clone()),
            mesh: Fetched::Failed(problem.clone()),
            surroundings: ClientSurroundings::unread(problem),
            lease: Fetched::Failed(problem.clone()),
        }
    }

    /// Its members that run in pods.
    pub fn pods(&self) -> Pods<'_> {
        in_pods(&self.members)
    }
}

/// Members that run in pods, in the order listed.
pub type Pods<'a> =
    std::iter::FilterMap<std::slice::Iter<'a, MemberFacts>, fn(&'a MemberFacts) -> Option<PodMember<'a>>>;

fn in_pods(members: &Fetched<Vec<MemberFacts>>) -> Pods<'_> {
    members.got().map_or(&[][..], Vec::as_slice).iter().filter_map(MemberFacts::in_pod)
}

/// One member of a side: where it runs, and the MySQL server there where the link carries replication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// Where it runs.
    pub place: MemberPlace,
    /// The server, as its side's account sees it; `None` where the link carries no replication.
    pub server: Option<Fetched<ServerFacts>>,
    /// What the mesh name resolves to in the pod's application container; asked only where its sidecar does not answer DNS.
    #[serde(default)]
    pub resolved: Option<Fetched<Vec<IpAddr>>>,
    /// What the log of a sidecar that is not ready says last; `None` for any other.
    #[serde(default)]
    pub sidecar_log: Option<Fetched<Vec<String>>>,
    /// The files of the channel's TLS, of a replica's member; `None` where the channel has none, or they were not looked at this time.
    #[serde(default)]
    pub tls_files: Option<Fetched<TlsFilesFacts>>,
    /// The certificates that a source's member shows, its own first, as PEM; `None` where the channel compares none, or they were not
    /// looked at this time.
    #[serde(default)]
    pub presented: Option<Fetched<Vec<String>>>,
}

/// Where a member runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberPlace {
    /// In a pod.
    Pod(Box<PodFacts>),
    /// Somewhere without Kubernetes, reached directly.
    Server {
        /// Its host and port.
        address: String,
    },
}

/// A member of which it is known that it runs in a pod; everything of the member is reached through it.
#[derive(Debug, Clone, Copy)]
pub struct PodMember<'a> {
    member: &'a MemberFacts,
    /// The pod.
    pub pod: &'a PodFacts,
}

impl<'a> PodMember<'a> {
    /// The member.
    pub fn member(self) -> &'a MemberFacts {
        self.member
    }
}

impl std::ops::Deref for PodMember<'_> {
    type Target = MemberFacts;

    fn deref(&self) -> &MemberFacts {
        self.member
    }
}

impl MemberFacts {
    /// What it is called: its pod's name, or its host and port.
    pub fn name(&self) -> &str {
        match &self.place {
            MemberPlace::Pod(pod) => &pod.name,
            MemberPlace::Server { address } => address,
        }
    }

    /// The member as one that runs in a pod, if it does.
    pub fn in_pod(&self) -> Option<PodMember<'_>> {
        match &self.place {
            MemberPlace::Pod(pod) => Some(PodMember { member: self, pod }),
            MemberPlace::Server { .. } => None,
        }
    }

    /// Whether its pod is ready. Of one that runs in no pod only its server can tell.
    pub fn is_ready(&self) -> bool {
        match &self.place {
            MemberPlace::Pod(pod) => pod.ready,
            MemberPlace::Server { .. } => true,
        }
    }

    /// The server, if it was read.
    pub fn server(&self) -> Option<&ServerFacts> {
        self.server.as_ref().and_then(Fetched::got)
    }

    /// Why the server was not read, if it should have been.
    pub fn unread(&self) -> Option<&Problem> {
        self.server.as_ref().and_then(Fetched::failed)
    }
}
