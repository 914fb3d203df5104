//! Reading a cluster: itself, its nodes, the source's Service, names in use, policies and the link's lock.

use futures::{StreamExt, future, stream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::SelfSubjectReview,
    core::v1::{Namespace, Node},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use serde_json::Value;

use super::{
    Cluster, K8sError,
    access::{self, ISTIO_NAMESPACE, Named},
    in_use,
};
use crate::{
    domain::{
        check::Side,
        facts::{
            AddressesInUse, ClusterFacts, EntryEndpoint, IstiodFacts, NamedEntry, NamedPort, NodeFacts, ObjectFacts,
        },
    },
    wait::Deadline,
};

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
/// The label by which this tool finds its own objects.
pub const LINK_LABEL: &str = "pxc-link.io/link";

/// Before the name of everything that this tool writes down on an object.
const OWN_PREFIX: &str = "pxc-link.io/";
/// On the link's ServiceEntry: where in CoreDNS's configuration the link has a stub.
pub const STUB_RECORD: &str = "pxc-link.io/coredns-stub";
/// On the link's ServiceEntry: the PeerAuthentications of the source that were `created` or `changed` for it.
pub const PEER_RECORD: &str = "pxc-link.io/peer-authentication";

/// Reads what is to be known of a cluster itself, the requests side by side.
///
/// `objects` are those that the side's configuration names: reading each is a permission of its own.
///
/// # Errors
/// Any of [`K8sError`]; a list that the user may not read is not one of them, it shows in `denied`.
pub async fn cluster_facts(
    cluster: &Cluster,
    side: Side,
    objects: &[Named],
    deadline: Deadline,
) -> Result<ClusterFacts, K8sError> {
    let groups = cluster.call("listing API groups", deadline, cluster.client().list_api_groups()).await?.groups;
    let served = |name: &str| name.is_empty() || groups.iter().any(|group| group.name == name);
    let mut versions: Vec<String> = Vec::new();
    if let Some(group) = groups.iter().find(|group| group.name == NETWORKING) {
        let preferred = group.preferred_version.iter().map(|version| version.version.clone());
        for version in preferred.chain(group.versions.iter().map(|version| version.version.clone())) {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
    }
    let (uid, user, denied, istio_versions, istiods, in_use) = tokio::try_join!(
        uid(cluster, deadline),
        user(cluster, deadline),
        access::denied(cluster, side, objects, served, deadline),
        entry_versions(cluster, versions, deadline),
        async {
            match side {
                Side::Source => Ok(Vec::new()),
                Side::Replica | Side::Client => istiods(cluster, deadline).await,
            }
        },
        async {
            match side {
                Side::Source => Ok(AddressesInUse::default()),
                Side::Replica | Side::Client => in_use::in_use(cluster, deadline).await,
            }
        },
    )?;
    Ok(ClusterFacts {
        context: cluster.target().name().to_owned(),
        server: cluster.target().server.clone(),
        uid,
        version: cluster.version().to_owned(),
        user,
        denied,
        istio_versions,
        istiods,
        in_use,
    })
}

async fn uid(cluster: &Cluster, deadline: Deadline) -> Result<String, K8sError> {
    let api: Api<Namespace> = Api::all(cluster.client());
    let namespace = cluster.call("reading namespace kube-system", deadline, api.get("kube-system")).await?;
    Ok(namespace.uid().unwrap_or_default())
}

async fn user(cluster: &Cluster, deadline: Deadline) -> Result<Option<String>, K8sError> {
    let api: Api<SelfSubjectReview> = Api::all(cluster.client());
    let (parameters, question) = (PostParams::default(), SelfSubjectReview::default());
    match cluster.call("asking who the user is", deadline, api.create(&parameters, &question)).await {
        Ok(review) => Ok(review.status.and_then(|status| status.user_info).and_then(|user| user.username)),
        Err(K8sError::NotFound { .. } | K8sError::Forbidden { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The versions of networking.istio.io that serve ServiceEntry, in the order given.
async fn entry_versions(cluster: &Cluster, versions: Vec<String>, deadline: Deadline) -> Result<Vec<String>, K8sError> {
    let serves = |version: String| async move {
        let path = format!("{NETWORKING}/{version}");
        let client = cluster.client();
        let list = cluster.call("listing Istio's resources", deadline, client.list_api_group_resources(&path)).await?;
        let there = list.resources.iter().any(|resource| resource.name == "serviceentries");
        Ok(there.then_some(version))
    };
    let answers: Vec<Option<String>> = future::try_join_all(versions.into_iter().map(serves)).await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn istiods(cluster: &Cluster, deadline: Deadline) -> Result<Vec<IstiodFacts>, K8sError> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), ISTIO_NAMESPACE);
    let wanted = ListParams::default().labels("app=istiod");
    let Some(list) = readable(cluster.call("listing istiod's Deployments", deadline, api.list(&wanted)).await)? else {
        return Ok(Vec::new());
    };
    let istiod = |deployment: &Deployment| {
        let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        // A Deployment without a number asks for one pod (API: DeploymentSpec.replicas).
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        IstiodFacts {
            name: deployment.name_any(),
            revision: deployment.labels().get("istio.io/rev").map_or("default", String::as_str).to_owned(),
            ready: u32::try_from(ready).unwrap_or_default(),
            wanted: u32::try_from(wanted).unwrap_or_default(),
        }
    };
    Ok(list.items.iter().map(istiod).collect())
}

/// What may not be read, or is not served, is no error of the whole: `None`.
fn readable<T>(answer: Result<T, K8sError>) -> Result<Option<T>, K8sError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(K8sError::Forbidden { .. } | K8sError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every node, by name.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn nodes(cluster: &Cluster, deadline: Deadline) -> Result<Vec<NodeFacts>, K8sError> {
    let api: Api<Node> = Api::all(cluster.client());
    let list = cluster.call("listing nodes", deadline, api.list(&ListParams::default())).await?;
    let mut nodes: Vec<NodeFacts> = list.items.iter().map(node).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(nodes)
}

fn node(node: &Node) -> NodeFacts {
    let status = node.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    NodeFacts {
        name: node.name_any(),
        ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        addresses: addresses
            .iter()
            .filter_map(|address| Some((address.type_.clone(), address.address.parse().ok()?)))
            .collect(),
    }
}

/// An Istio resource that this program knows.
pub(crate) fn istio(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Every ServiceEntry of the cluster. `version` is one that is served.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn entries(cluster: &Cluster, version: &str, deadline: Deadline) -> Result<Vec<NamedEntry>, K8sError> {
    let resource = istio(NETWORKING, version, "ServiceEntry", "serviceentries");
    let api: Api<DynamicObject> = Api::all_with(cluster.client(), &resource);
    let list = cluster.call("listing ServiceEntries", deadline, api.list(&ListParams::default())).await?;
    let mut entries: Vec<NamedEntry> = list.items.iter().map(entry).collect();
    entries.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(entries)
}

fn entry(object: &DynamicObject) -> NamedEntry {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    };
    let mut addresses = texts(&object.data["spec"]["addresses"]);
    let allocated = object.data["status"]["addresses"].as_array().into_iter().flatten();
    addresses.extend(allocated.filter_map(|address| address["value"].as_str()).map(ToOwned::to_owned));
    addresses.dedup();
    let ports = object.data["spec"]["ports"].as_array().into_iter().flatten();
    NamedEntry {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        hosts: texts(&object.data["spec"]["hosts"]),
        addresses,
        ports: ports.filter_map(entry_port).collect(),
        export_to: texts(&object.data["spec"]["exportTo"]),
        link: object.labels().get(LINK_LABEL).cloned(),
        endpoints: match object.labels().get(LINK_LABEL) {
            Some(_) => object.data["spec"]["endpoints"].as_array().into_iter().flatten().map(endpoint).collect(),
            None => Vec::new(),
        },
        records: object
            .annotations()
            .iter()
            .filter(|(key, _)| key.starts_with(OWN_PREFIX))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    }
}

fn endpoint(endpoint: &Value) -> EntryEndpoint {
    let port = |(name, port): (&String, &Value)| Some((name.clone(), u16::try_from(port.as_u64()?).ok()?));
    EntryEndpoint {
        address: endpoint["address"].as_str().unwrap_or_default().to_owned(),
        ports: endpoint["ports"].as_object().into_iter().flatten().filter_map(port).collect(),
    }
}

fn entry_port(port: &Value) -> Option<NamedPort> {
    let text = |key: &str| port[key].as_str().unwrap_or_default().to_owned();
    Some(NamedPort {
        number: u16::try_from(port["number"].as_u64()?).ok()?,
        name: text("name"),
        protocol: text("protocol"),
    })
}

/// PeerAuthentications and AuthorizationPolicies of the members' namespace and of Istio's root namespace, oldest first;
/// none where Istio is not installed.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn policies(cluster: &Cluster, deadline: Deadline) -> Result<Vec<ObjectFacts>, K8sError> {
    let mut namespaces = vec![cluster.namespace(), ISTIO_NAMESPACE];
    namespaces.dedup();
    let kinds = [("PeerAuthentication", "peerauthentications"), ("AuthorizationPolicy", "authorizationpolicies")];
    let lists = namespaces.iter().flat_map(|&namespace| kinds.map(|(kind, plural)| (namespace, kind, plural)));
    let list = |(namespace, kind, plural): (&str, &'static str, &'static str)| {
        // v1beta1 is served by every release that this program knows, v1 only since 1.22.
        let resource = istio(SECURITY, "v1beta1", kind, plural);
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), namespace, &resource);
        async move {
            let what = format!("listing {plural}");
            match cluster.call(&what, deadline, api.list(&ListParams::default())).await {
                Ok(list) => Ok(list.items.into_iter().map(|object| object_facts(kind, object)).collect()),
                Err(K8sError::NotFound { kind_missing: true, .. }) => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        }
    };
    let answers: Vec<Result<Vec<ObjectFacts>, K8sError>> = stream::iter(lists.map(list)).buffered(4).collect().await;
    let mut found: Vec<ObjectFacts> = answers.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    found.sort_by(|a, b| (a.created, &a.namespace, &a.name).cmp(&(b.created, &b.namespace, &b.name)));
    Ok(found)
}

/// Any object of Istio's, as judges take it.
pub(super) fn object_facts(kind: &str, mut object: DynamicObject) -> ObjectFacts {
    ObjectFacts {
        dry_run: object.annotations().get("istio.io/dry-run").is_some_and(|value| value == "true"),
        kind: kind.to_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        created: object.meta().creation_timestamp.as_ref().map(|time| time.0),
        spec: object.data["spec"].take(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_shows_the_addresses_written_and_those_allocated() {
        let object: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": "x", "namespace": "demo", "labels": {LINK_LABEL: "production"}},
            "spec": {
                "hosts": ["a.global"], "addresses": ["240.0.0.7"], "exportTo": ["."],
                "ports": [{"number": 3306, "name": "tcp-mysql", "protocol": "TCP"}, {"number": 80, "name": "x"}],
                "endpoints": [{"address": "198.18.0.11", "ports": {"tcp-mysql": 31306}}, {"address": "198.18.0.12"}],
            },
            "status": {"addresses": [{"value": "240.240.0.1", "host": "a.global"}]},
        }))
        .unwrap();
        let entry = entry(&object);
        assert_eq!(entry.addresses, ["240.0.0.7", "240.240.0.1"]);
        let endpoints: Vec<_> =
            entry.endpoints.iter().map(|at| (at.address.as_str(), at.ports.get("tcp-mysql").copied())).collect();
        assert_eq!(endpoints, [("198.18.0.11", Some(31306)), ("198.18.0.12", None)]);
        let ports: Vec<_> = entry.ports.iter().map(|port| (port.number, port.protocol.as_str())).collect();
        assert_eq!((ports, entry.export_to.as_slice()), (vec![(3306, "TCP"), (80, "")], [".".to_owned()].as_slice()));
        assert_eq!(
            (entry.hosts.as_slice(), entry.link.as_deref()),
            (["a.global".to_owned()].as_slice(), Some("production"))
        );
    }

    #[test]
    fn a_node_without_a_ready_condition_is_not_ready_and_host_names_are_no_addresses() {
        let object: Node = serde_json::from_value(json!({
            "metadata": {"name": "n"},
            "status": {"addresses": [{"type": "InternalIP", "address": "198.18.0.11"}, {"type": "Hostname", "address": "n"}]},
        }))
        .unwrap();
        let facts = node(&object);
        assert!(!facts.ready);
        assert_eq!(facts.addresses, [("InternalIP".to_owned(), "198.18.0.11".parse().unwrap())]);
    }
}
