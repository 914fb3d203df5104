//! Reading what surrounds a link: namespace, mesh configuration, Services, Istio's and Kubernetes' policies. Every part stands for
//! itself: what one request is refused says nothing of the others.

use std::collections::BTreeMap;

use futures::future;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Secret, Service},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

use super::{
    Cluster, K8sError,
    access::ISTIO_NAMESPACE,
    observe::{LINK_LABEL, istio, object_facts},
};
use crate::{
    config::manifest,
    domain::{
        code::Code,
        facts::{
            ClientSurroundings, IstiodFacts, MeshConfigFacts, NamedPort, NamedRule, NamedService, ObjectFacts,
            OperatorChannel, OperatorFacts, SourceSurroundings,
        },
        problem::{Fetched, Problem},
    },
    wait::Deadline,
};

/// The label of Secrets by which istiod is given other clusters to read.
const REMOTE: &str = "istio/multiCluster=true";
/// Keys of the mesh configuration that are judged.
const SETTINGS: [&str; 4] =
    ["outboundTrafficPolicy", "discoverySelectors", "serviceEntryVisibility", "serviceSettings"];
/// Keys of `defaultConfig.proxyMetadata` that are judged; others may hold what is nobody's business.
const METADATA: [&str; 1] = ["ISTIO_META_DNS_CAPTURE"];

/// What surrounds the pods that use the mesh name; `istiods` are the control planes of that cluster.
pub async fn client(cluster: &Cluster, istiods: &[IstiodFacts], deadline: Deadline) -> ClientSurroundings {
    let (
        namespace,
        mesh_configs,
        services,
        sidecars,
        rules,
        network_policies,
        authorizations,
        remote_clusters,
        operators,
    ) = tokio::join!(
        labels(cluster, deadline),
        mesh_configs(cluster, istiods, deadline),
        services(cluster, Api::all(cluster.client()), deadline),
        both(cluster, "networking.istio.io", "Sidecar", "sidecars", deadline),
        rules(cluster, deadline),
        network_policies(cluster, deadline),
        both(cluster, "security.istio.io", "AuthorizationPolicy", "authorizationpolicies", deadline),
        remote_clusters(cluster, deadline),
        operators(cluster, deadline),
    );
    ClientSurroundings {
        namespace: namespace.into(),
        mesh_configs,
        services: services.into(),
        sidecars: sidecars.into(),
        rules: rules.into(),
        network_policies: network_policies.into(),
        authorizations: authorizations.into(),
        remote_clusters: remote_clusters.into(),
        operators: operators.into(),
    }
}

/// What surrounds the source's pods.
pub async fn source(cluster: &Cluster, deadline: Deadline) -> SourceSurroundings {
    let own = Api::namespaced(cluster.client(), cluster.namespace());
    let (network_policies, services) =
        tokio::join!(network_policies(cluster, deadline), services(cluster, own, deadline));
    SourceSurroundings { network_policies: network_policies.into(), services: services.into() }
}

async fn labels(cluster: &Cluster, deadline: Deadline) -> Result<BTreeMap<String, String>, K8sError> {
    let api: Api<Namespace> = Api::all(cluster.client());
    let name = cluster.namespace();
    let found = cluster.call(&format!("reading namespace {name}"), deadline, api.get(name)).await?;
    Ok(found.labels().clone())
}

async fn mesh_configs(cluster: &Cluster, istiods: &[IstiodFacts], deadline: Deadline) -> Fetched<Vec<MeshConfigFacts>> {
    let mut revisions: Vec<&str> = istiods.iter().map(|istiod| istiod.revision.as_str()).collect();
    // With an external control plane its configuration may still be here, under the usual name.
    if revisions.is_empty() {
        revisions.push("default");
    }
    let api: Api<ConfigMap> = Api::namespaced(cluster.client(), ISTIO_NAMESPACE);
    let read = |revision: &str| {
        let (api, revision) = (api.clone(), revision.to_owned());
        let name = if revision == "default" { "istio".to_owned() } else { format!("istio-{revision}") };
        async move {
            let what = format!("reading ConfigMap {name}");
            let found = cluster.call(&what, deadline, api.get_opt(&name)).await?;
            let Some(text) = found.and_then(|map| map.data?.remove("mesh")) else { return Ok(None) };
            let settings = manifest::read(&text).map(|config| judged(&config)).ok_or_else(|| {
                Problem::new(
                    Code::ControlPlaneUnseen,
                    format!("the mesh configuration in ConfigMap {ISTIO_NAMESPACE}/{name} is no YAML"),
                )
            })?;
            Ok::<_, Problem>(Some(MeshConfigFacts { revision, settings }))
        }
    };
    match future::try_join_all(revisions.into_iter().map(read)).await {
        Ok(found) => Fetched::Got(found.into_iter().flatten().collect()),
        Err(problem) => Fetched::Failed(problem),
    }
}

/// Of a mesh configuration the keys that are judged.
fn judged(config: &Value) -> Value {
    let mut settings: serde_json::Map<String, Value> =
        SETTINGS.iter().filter_map(|key| Some(((*key).to_owned(), config.get(*key)?.clone()))).collect();
    let metadata = config.pointer("/defaultConfig/proxyMetadata");
    let metadata: serde_json::Map<String, Value> =
        METADATA.iter().filter_map(|key| Some(((*key).to_owned(), metadata?.get(*key)?.clone()))).collect();
    if !metadata.is_empty() {
        settings.insert("defaultConfig".to_owned(), json!({ "proxyMetadata": metadata }));
    }
    Value::Object(settings)
}

async fn services(cluster: &Cluster, api: Api<Service>, deadline: Deadline) -> Result<Vec<NamedService>, K8sError> {
    let list = cluster.call("listing Services", deadline, api.list(&ListParams::default())).await?;
    let mut services: Vec<NamedService> = list.items.iter().map(named_service).collect();
    services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(services)
}

fn named_service(service: &Service) -> NamedService {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    NamedService {
        namespace: service.namespace().unwrap_or_default(),
        name: service.name_any(),
        ports: ports
            .iter()
            .filter_map(|port| {
                Some(NamedPort {
                    number: u16::try_from(port.port).ok()?,
                    name: port.name.clone().unwrap_or_default(),
                    protocol: port.app_protocol.clone().unwrap_or_default(),
                })
            })
            .collect(),
    }
}

/// Objects of a kind of Istio's in the members' namespace and in the root namespace, oldest first; none where Istio is not there.
async fn both(
    cluster: &Cluster,
    group: &str,
    kind: &str,
    plural: &str,
    deadline: Deadline,
) -> Result<Vec<ObjectFacts>, K8sError> {
    let mut namespaces = vec![cluster.namespace(), ISTIO_NAMESPACE];
    namespaces.dedup();
    // v1beta1 is served by every release that this program knows, v1 only since 1.22.
    let resource = istio(group, "v1beta1", kind, plural);
    let list = |namespace: &str| {
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), namespace, &resource);
        async move { listed(cluster, &api, plural, deadline).await }
    };
    let lists = future::try_join_all(namespaces.into_iter().map(list)).await?;
    let mut found: Vec<ObjectFacts> = lists.concat().into_iter().map(|object| object_facts(kind, object)).collect();
    found.sort_by(|a, b| (a.created, &a.namespace, &a.name).cmp(&(b.created, &b.namespace, &b.name)));
    Ok(found)
}

async fn listed(
    cluster: &Cluster,
    api: &Api<DynamicObject>,
    plural: &str,
    deadline: Deadline,
) -> Result<Vec<DynamicObject>, K8sError> {
    match cluster.call(&format!("listing {plural}"), deadline, api.list(&ListParams::default())).await {
        Ok(list) => Ok(list.items),
        Err(K8sError::NotFound { kind_missing: true, .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn rules(cluster: &Cluster, deadline: Deadline) -> Result<Vec<NamedRule>, K8sError> {
    let resource = istio("networking.istio.io", "v1beta1", "DestinationRule", "destinationrules");
    let api: Api<DynamicObject> = Api::all_with(cluster.client(), &resource);
    let mut rules: Vec<NamedRule> =
        listed(cluster, &api, "destinationrules", deadline).await?.iter().map(named_rule).collect();
    rules.sort_by(|a, b| (a.created, &a.namespace, &a.name).cmp(&(b.created, &b.namespace, &b.name)));
    Ok(rules)
}

fn named_rule(object: &DynamicObject) -> NamedRule {
    let spec = &object.data["spec"];
    let mut export_to: Vec<String> =
        spec["exportTo"].as_array().into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    export_to.sort();
    let selector = spec.get("workloadSelector").map(|selector| {
        let labels = selector["matchLabels"].as_object().into_iter().flatten();
        labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    });
    NamedRule {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        host: spec["host"].as_str().unwrap_or_default().to_owned(),
        export_to,
        selector,
        tls: spec["trafficPolicy"]["tls"]["mode"].as_str().map(ToOwned::to_owned),
        has_policy: spec["trafficPolicy"].is_object(),
        link: object.labels().get(LINK_LABEL).cloned(),
    }
}

async fn network_policies(cluster: &Cluster, deadline: Deadline) -> Result<Vec<ObjectFacts>, K8sError> {
    let api: Api<NetworkPolicy> = Api::namespaced(cluster.client(), cluster.namespace());
    let list = cluster.call("listing NetworkPolicies", deadline, api.list(&ListParams::default())).await?;
    Ok(list
        .items
        .into_iter()
        .map(|policy| ObjectFacts {
            kind: "NetworkPolicy".to_owned(),
            namespace: policy.namespace().unwrap_or_default(),
            name: policy.name_any(),
            created: policy.metadata.creation_timestamp.as_ref().map(|time| time.0),
            spec: serde_json::to_value(&policy.spec).unwrap_or_default(),
            dry_run: false,
        })
        .collect())
}

/// Names only: the Secrets hold credentials, so that their metadata alone is asked for.
async fn remote_clusters(cluster: &Cluster, deadline: Deadline) -> Result<Vec<String>, K8sError> {
    let api: Api<Secret> = Api::namespaced(cluster.client(), ISTIO_NAMESPACE);
    let wanted = ListParams::default().labels(REMOTE);
    let list = cluster.call("listing the Secrets of remote clusters", deadline, api.list_metadata(&wanted)).await?;
    let name = |secret: kube::core::PartialObjectMeta<Secret>| {
        let given = secret.annotations().get("networking.istio.io/cluster").cloned();
        given.unwrap_or_else(|| secret.name_any().trim_start_matches("istio-remote-secret-").to_owned())
    };
    Ok(list.items.into_iter().map(name).collect())
}

async fn operators(cluster: &Cluster, deadline: Deadline) -> Result<Vec<OperatorFacts>, K8sError> {
    let resource = istio("pxc.percona.com", "v1", "PerconaXtraDBCluster", "perconaxtradbclusters");
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), cluster.namespace(), &resource);
    Ok(listed(cluster, &api, "perconaxtradbclusters", deadline).await?.iter().map(operator).collect())
}

fn operator(object: &DynamicObject) -> OperatorFacts {
    let channels = object.data["spec"]["pxc"]["replicationChannels"].as_array().into_iter().flatten();
    let channel = |channel: &Value| OperatorChannel {
        name: channel["name"].as_str().unwrap_or_default().to_owned(),
        is_source: channel["isSource"].as_bool().unwrap_or_default(),
    };
    OperatorFacts { name: object.name_any(), channels: channels.map(channel).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_mesh_configuration_only_what_is_judged_enters_the_facts() {
        let text = "accessLogFile: /dev/stdout\ndefaultConfig:\n  discoveryAddress: istiod.istio-system.svc:15012\n  proxyMetadata:\n    ISTIO_META_DNS_CAPTURE: \"true\"\n    TOKEN: t\ndiscoverySelectors:\n- matchLabels:\n    mesh: \"on\"\n";
        assert_eq!(
            judged(&manifest::read(text).unwrap()),
            json!({
                "discoverySelectors": [{"matchLabels": {"mesh": "on"}}],
                "defaultConfig": {"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}},
            })
        );
        assert_eq!(judged(&manifest::read("rootNamespace: istio-system").unwrap()), json!({}));
        assert_eq!(manifest::read("a: [b"), None);
    }

    #[test]
    fn an_operators_resource_shows_the_channels_that_it_is_to_manage() {
        let object: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": "cluster1"},
            "spec": {"pxc": {"size": 3, "replicationChannels": [
                {"name": "to_dr", "isSource": true}, {"name": "production", "sourcesList": [{"host": "192.0.2.1"}]},
            ]}},
        }))
        .unwrap();
        let operator = operator(&object);
        let shown: Vec<_> =
            operator.channels.iter().map(|channel| (channel.name.as_str(), channel.is_source)).collect();
        assert_eq!((operator.name.as_str(), shown), ("cluster1", vec![("to_dr", true), ("production", false)]));
    }

    #[test]
    fn a_rule_shows_what_decides_whether_it_holds() {
        let object: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": "x", "namespace": "shop", "creationTimestamp": "2026-11-21T00:00:00Z"},
            "spec": {
                "host": "*.global", "exportTo": ["pxc", "."], "workloadSelector": {"matchLabels": {"app": "pxc"}},
                "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}},
            },
        }))
        .unwrap();
        let rule = named_rule(&object);
        assert_eq!(
            (rule.host.as_str(), rule.tls.as_deref(), rule.has_policy),
            ("*.global", Some("ISTIO_MUTUAL"), true)
        );
        assert_eq!(rule.export_to, [".", "pxc"]);
        assert_eq!(rule.selector, Some(BTreeMap::from([("app".to_owned(), "pxc".to_owned())])));
        let bare: DynamicObject =
            serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": {"host": "a.global"}})).unwrap();
        let rule = named_rule(&bare);
        assert_eq!((rule.selector, rule.tls, rule.has_policy, rule.created), (None, None, false, None));
    }
}
