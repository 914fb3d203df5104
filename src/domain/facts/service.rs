//! What was seen of the ways into the source: its Services, the pods behind them, and the resource of a Percona operator.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{super::problem::Fetched, PodFacts};

/// A Service of the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceFacts {
    /// Its name.
    pub name: String,
    /// `ClusterIP`, `NodePort`, `LoadBalancer` …
    pub kind: String,
    /// Its pod selector.
    pub selector: BTreeMap<String, String>,
    /// Its ports, in the order listed.
    pub ports: Vec<ServicePortFacts>,
    /// `externalTrafficPolicy: Local`.
    pub local_only: bool,
    /// `spec.externalIPs`.
    #[serde(default)]
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress`.
    #[serde(default)]
    pub ingress: Vec<IngressFacts>,
    /// The pods that it selects.
    pub backends: Fetched<Vec<BackendFacts>>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePortFacts {
    /// `port`.
    pub number: u16,
    /// `name`; a Service of one port may leave it out.
    #[serde(default)]
    pub name: Option<String>,
    /// `nodePort`.
    pub node_port: Option<u16>,
    /// `targetPort`: the number or the name of a port of the pods.
    pub target: String,
}

/// An address of a load balancer: one of the two, as the provider has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngressFacts {
    /// `ip`.
    pub ip: Option<IpAddr>,
    /// `hostname`.
    pub hostname: Option<String>,
}

/// A pod behind a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendFacts {
    /// The pod.
    pub pod: String,
    /// The node it runs on.
    pub node: Option<String>,
    /// Condition Ready is True.
    pub ready: bool,
    /// Ports of its containers that are ports of its node, too.
    pub host_ports: Vec<HostPortFacts>,
}

impl From<&PodFacts> for BackendFacts {
    fn from(pod: &PodFacts) -> Self {
        Self { pod: pod.name.clone(), node: pod.node.clone(), ready: pod.ready, host_ports: pod.host_ports.clone() }
    }
}

/// A port of a container that is a port of its node, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPortFacts {
    /// `containerPort`.
    pub container: u16,
    /// `name`.
    pub name: Option<String>,
    /// `hostPort`; with `hostNetwork` the same as `containerPort`.
    pub host: u16,
    /// `hostIP`: the one address of the node that has it; `None` for all of them.
    pub address: Option<IpAddr>,
}

/// A `PerconaXtraDBCluster`, reduced to how it is exposed: the type of each Service that the operator makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PxcFacts {
    /// Its name.
    pub name: String,
    /// `spec.pxc.size`.
    pub size: u16,
    /// Of the primary's Service of HAProxy; `None` where HAProxy is off.
    pub haproxy: Option<String>,
    /// Of the Service of ProxySQL; `None` where ProxySQL is off.
    pub proxysql: Option<String>,
    /// Of the Services of one pod each; `None` where the pods are not exposed.
    pub pods: Option<String>,
}

impl PxcFacts {
    /// The names of the Services by which clients are meant to come in, in the order of preference: that of a proxy, which leads to
    /// one writer, or else one of each pod (the operator's pkg/pxc/service.go and pkg/controller/pxc/replication.go).
    pub fn services(&self) -> Vec<Vec<String>> {
        let Self { name, size, haproxy, proxysql, pods } = self;
        let of_pods = || (0..*size).map(|ordinal| format!("{name}-pxc-{ordinal}")).collect();
        [
            haproxy.as_ref().map(|_| vec![format!("{name}-haproxy")]),
            proxysql.as_ref().map(|_| vec![format!("{name}-proxysql")]),
            pods.as_ref().map(|_| of_pods()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
