//! What surrounds a link in its clusters and decides, without being the link's own, how its connections fare. Each part stands
//! for itself, as a user may be allowed to read one and not another.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    super::problem::{Fetched, Problem},
    ObjectFacts,
};

/// What surrounds the pods that use the mesh name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientSurroundings {
    /// Labels of the pods' namespace.
    pub namespace: Fetched<BTreeMap<String, String>>,
    /// The configuration of the mesh, one a revision of istiod.
    pub mesh_configs: Fetched<Vec<MeshConfigFacts>>,
    /// Every Service of the cluster.
    pub services: Fetched<Vec<NamedService>>,
    /// Sidecar resources of the pods' namespace and of Istio's root namespace, oldest first.
    pub sidecars: Fetched<Vec<ObjectFacts>>,
    /// Every DestinationRule of the cluster, oldest first.
    pub rules: Fetched<Vec<NamedRule>>,
    /// NetworkPolicies of the pods' namespace.
    pub network_policies: Fetched<Vec<ObjectFacts>>,
    /// AuthorizationPolicies of the pods' namespace and of Istio's root namespace, oldest first.
    pub authorizations: Fetched<Vec<ObjectFacts>>,
    /// The clusters that istiod reads besides its own, by the names that their secrets give them.
    pub remote_clusters: Fetched<Vec<String>>,
    /// The `PerconaXtraDBCluster`s of the pods' namespace; none where no such operator was ever installed.
    pub operators: Fetched<Vec<OperatorFacts>>,
}

/// A `PerconaXtraDBCluster`, reduced to what its operator does about replication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorFacts {
    /// Its name.
    pub name: String,
    /// `spec.pxc.replicationChannels`, in the order listed: the first one decides whether the cluster is a replica.
    pub channels: Vec<OperatorChannel>,
}

/// A channel that an operator's resource names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorChannel {
    /// `name`.
    pub name: String,
    /// `isSource`: others replicate from this cluster by it, and the operator makes no such channel here.
    pub is_source: bool,
}

impl ClientSurroundings {
    /// Nothing of it could be read, for one reason.
    pub fn unread(problem: &Problem) -> Self {
        fn failed<T>(problem: &Problem) -> Fetched<T> {
            Fetched::Failed(problem.clone())
        }
        Self {
            namespace: failed(problem),
            mesh_configs: failed(problem),
            services: failed(problem),
            sidecars: failed(problem),
            rules: failed(problem),
            network_policies: failed(problem),
            authorizations: failed(problem),
            remote_clusters: failed(problem),
            operators: failed(problem),
        }
    }
}

/// What surrounds the source's pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceSurroundings {
    /// NetworkPolicies of the pods' namespace.
    pub network_policies: Fetched<Vec<ObjectFacts>>,
    /// Services of the pods' namespace.
    pub services: Fetched<Vec<NamedService>>,
}

impl SourceSurroundings {
    /// Nothing of it could be read, for one reason.
    pub fn unread(problem: &Problem) -> Self {
        Self { network_policies: Fetched::Failed(problem.clone()), services: Fetched::Failed(problem.clone()) }
    }
}

/// The mesh configuration of one revision: those keys of it that are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeshConfigFacts {
    /// The revision; `default` for the one without a name of its own.
    pub revision: String,
    /// `outboundTrafficPolicy`, `discoverySelectors`, `serviceEntryVisibility`, `serviceSettings` and, of `defaultConfig`, the
    /// DNS keys of `proxyMetadata`; what is not set is absent.
    pub settings: Value,
}

/// A Service, reduced to what can collide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedService {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its ports.
    pub ports: Vec<NamedPort>,
}

/// A port as a Service or a ServiceEntry declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedPort {
    /// Its number.
    pub number: u16,
    /// Its name; empty where it has none.
    pub name: String,
    /// What is spoken there, as written: `appProtocol` of a Service, `protocol` of a ServiceEntry; empty where it is not said.
    pub protocol: String,
}

/// A DestinationRule, reduced to what decides which one holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedRule {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `spec.host`.
    pub host: String,
    /// `spec.exportTo`, sorted.
    pub export_to: Vec<String>,
    /// `spec.workloadSelector.matchLabels`, where it has a selector.
    pub selector: Option<BTreeMap<String, String>>,
    /// `spec.trafficPolicy.tls.mode`.
    pub tls: Option<String>,
    /// Whether it has a `spec.trafficPolicy` at all.
    pub has_policy: bool,
    /// The value of label `pxc-link.io/link`, if this tool made it.
    pub link: Option<String>,
}
