//! What was seen of a Kubernetes cluster: itself, its nodes, pods, services and locks.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::HostPortFacts;

/// A cluster that answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// The context it was reached by, or `in-cluster`.
    pub context: String,
    /// The API server's URL.
    pub server: String,
    /// The UID of namespace `kube-system`: the same for every way to reach the same cluster.
    pub uid: String,
    /// The API server's version, such as `v1.36.3`.
    pub version: String,
    /// Who the API server takes this run for; `None` where it does not say (Kubernetes before 1.28).
    #[serde(default)]
    pub user: Option<String>,
    /// Rules that this run needs and the user does not have.
    pub denied: Vec<DeniedRule>,
    /// Versions of `networking.istio.io` that serve ServiceEntry, preferred first; empty where Istio is not there.
    pub istio_versions: Vec<String>,
    /// The Deployments of istiod in Istio's root namespace, by revision; empty where there are none to see (an external control
    /// plane).
    pub istiods: Vec<IstiodFacts>,
    /// Which IPv4 addresses it uses itself; read of the cluster that has the mesh name only.
    #[serde(default)]
    pub in_use: AddressesInUse,
}

/// IPv4 addresses that a cluster uses itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AddressesInUse {
    /// `podCIDR` of nodes and ServiceCIDRs (both are optional fields), and of 240.0.0.0/4 the addresses of nodes, pods and
    /// Services that lie in none of these.
    pub ranges: Vec<UsedRange>,
    /// What the user may not list, or the API server does not serve.
    pub unlisted: Vec<String>,
}

/// A range and who has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UsedRange {
    /// The range; a single address as `/32`.
    pub range: Ipv4Net,
    /// `podCIDR of node n`, `ServiceCIDR kubernetes`, `pod x` …
    pub holder: String,
}

/// A Deployment of istiod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IstiodFacts {
    /// Its name.
    pub name: String,
    /// Its revision by label `istio.io/rev`; `default` where it has none.
    pub revision: String,
    /// Ready pods.
    pub ready: u32,
    /// Pods that it asks for.
    pub wanted: u32,
}

/// A permission that is missing, in the words of RBAC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeniedRule {
    /// `get`, `list`, `create`, `patch`, `delete` …
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, with its subresource after a slash.
    pub resource: String,
    /// The namespace; `None` for cluster-wide rules.
    pub namespace: Option<String>,
    /// The one object that the rule is about; `None` for any.
    #[serde(default)]
    pub name: Option<String>,
}

impl DeniedRule {
    /// The resource as `kubectl` takes it, such as `pods/exec` or `serviceentries.networking.istio.io`.
    pub fn resource_argument(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }

    /// What an administrator of the cluster runs to grant it: the arguments of `kubectl`, two command lines.
    pub fn grant(&self, user: &str) -> [Vec<String>; 2] {
        let name = format!("pxc-link-{}-{}", self.verb, self.resource.replace('/', "-"));
        let (role, binding, scope) = match &self.namespace {
            Some(namespace) => ("role", "rolebinding", vec!["--namespace".to_owned(), namespace.clone()]),
            None => ("clusterrole", "clusterrolebinding", Vec::new()),
        };
        let create = |kind: &str, options: Vec<String>| {
            [vec!["create".into(), kind.to_owned(), name.clone()], scope.clone(), options].concat()
        };
        let mut permission =
            vec!["--verb".to_owned(), self.verb.clone(), "--resource".into(), self.resource_argument()];
        permission.extend(self.name.iter().flat_map(|name| ["--resource-name".to_owned(), name.clone()]));
        let bound = vec![format!("--{role}"), name.clone(), "--user".into(), user.to_owned()];
        [create(role, permission), create(binding, bound)]
    }
}

impl std::fmt::Display for DeniedRule {
    /// `list pods in namespace pxc`, `list nodes cluster-wide`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource_argument())?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => f.write_str(" cluster-wide"),
        }
    }
}

/// A node of the source's cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Condition Ready is True.
    pub ready: bool,
    /// Addresses by type (`InternalIP`, `ExternalIP`), in the order listed.
    pub addresses: Vec<(String, IpAddr)>,
}

/// A member's pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its address, once it has one.
    pub ip: Option<IpAddr>,
    /// `status.hostIP`: the address of the node it runs on.
    #[serde(default)]
    pub host_ip: Option<IpAddr>,
    /// The node it runs on.
    pub node: Option<String>,
    /// Condition Ready is True.
    pub ready: bool,
    /// Names of its ordinary containers.
    pub containers: Vec<String>,
    /// Ports of its containers that are ports of its node, too.
    #[serde(default)]
    pub host_ports: Vec<HostPortFacts>,
    /// Its sidecar.
    pub sidecar: Sidecar,
    /// What the kubelet says of a sidecar that is not ready, in a phrase; `None` for any other.
    #[serde(default)]
    pub proxy_state: Option<String>,
    /// The containers that the pod waits for: those that are not ready, and of those that only prepare it the one that has not
    /// ended well.
    #[serde(default)]
    pub awaited: Vec<AwaitedContainer>,
    /// `spec.hostNetwork`.
    #[serde(default)]
    pub host_network: bool,
    /// Containers whose security context names user or group 1337, the sidecar's own.
    #[serde(default)]
    pub proxy_users: Vec<String>,
    /// `ISTIO_META_DNS_CAPTURE` as the injected container has it; `None` without a sidecar.
    pub dns_capture: Option<bool>,
    /// The controller above it, as `Kind/name` (`StatefulSet/pxc`).
    pub owner: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations whose key names Istio; others are left out.
    pub annotations: BTreeMap<String, String>,
}

/// The container that Istio injects.
pub const PROXY: &str = "istio-proxy";

/// A container that keeps a pod from being ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitedContainer {
    /// Its name.
    pub name: String,
    /// What the kubelet says of it, in a phrase.
    pub state: String,
    /// It ran at least once, so that there is a log.
    #[serde(default)]
    pub has_run: bool,
    /// It waits for the init containers before it and for nothing of its own (`PodInitializing`).
    #[serde(default)]
    pub waits_for_init: bool,
    /// It is an init container that has to end before the sidecar starts.
    pub before_sidecar: bool,
}

/// How a pod takes part in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sidecar {
    /// No `istio-proxy` container.
    Absent,
    /// An ordinary container, or an init container that stays (native sidecar).
    Present {
        /// The kubelet says it is ready.
        ready: bool,
    },
}

/// A Lease that serves as a link's lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaseFacts {
    /// Who holds it; `None` when released.
    pub holder: Option<String>,
    /// When it was last renewed.
    pub renewed: Option<Timestamp>,
    /// How long a renewal lasts, in seconds.
    pub duration_seconds: Option<i32>,
}

/// Any other object that matters, with the part of it that is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectFacts {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// Its `spec`.
    pub spec: serde_json::Value,
    /// It has annotation `istio.io/dry-run: "true"`: it is tried out and decides nothing.
    #[serde(default)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_rule_names_itself_and_the_commands_that_grant_it() {
        let rule = |namespace: Option<&str>, name: Option<&str>| DeniedRule {
            verb: "get".into(),
            group: String::new(),
            resource: "secrets".into(),
            namespace: namespace.map(Into::into),
            name: name.map(Into::into),
        };
        let secret = rule(Some("pxc"), Some("pxc-secrets"));
        assert_eq!(secret.to_string(), "get secrets `pxc-secrets` in namespace pxc");
        assert_eq!(
            secret.grant("ann").map(|argv| argv.join(" ")),
            [
                "create role pxc-link-get-secrets --namespace pxc --verb get --resource secrets --resource-name pxc-secrets",
                "create rolebinding pxc-link-get-secrets --namespace pxc --role pxc-link-get-secrets --user ann",
            ]
        );
        assert_eq!(
            rule(None, None).grant("ann")[1].join(" "),
            "create clusterrolebinding pxc-link-get-secrets --clusterrole pxc-link-get-secrets --user ann"
        );
    }
}
