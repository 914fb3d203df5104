//! The members' pods: which there are, how they take part in the mesh, what owns them.

use k8s_openapi::api::core::v1::{Container, ContainerPort, ContainerStatus, Pod};
use kube::{Api, ResourceExt, api::ListParams};

use super::{Cluster, K8sError};
use crate::{
    domain::facts::{HostPortFacts, PodFacts, Sidecar},
    wait::Deadline,
};

/// The container that Istio injects.
pub const PROXY: &str = "istio-proxy";

/// The pods of the members' namespace that a label selector matches, by name; finished ones are left out.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn pods(cluster: &Cluster, selector: &str, deadline: Deadline) -> Result<Vec<PodFacts>, K8sError> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), cluster.namespace());
    let wanted = ListParams::default().labels(selector);
    let list = cluster.call(&format!("listing pods `{selector}`"), deadline, api.list(&wanted)).await?;
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    let finished = |pod: &&Pod| !matches!(phase(pod).as_str(), "Succeeded" | "Failed");
    let mut pods: Vec<PodFacts> = list.items.iter().filter(finished).map(facts).collect();
    pods.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
    Ok(pods)
}

fn facts(pod: &Pod) -> PodFacts {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let native = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let stays = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let proxy = containers.iter().chain(native.iter().filter(stays)).find(|container| container.name == PROXY);
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let statuses = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let native_statuses = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    let is_proxy = |status: &&ContainerStatus| status.name == PROXY;
    let proxy_ready = statuses.iter().chain(native_statuses).find(is_proxy).is_some_and(|status| status.ready);
    let leaving = pod.metadata.deletion_timestamp.is_some();
    PodFacts {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        ip: status.and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse().ok()),
        node: spec.and_then(|spec| spec.node_name.clone()),
        host_ip: status.and_then(|status| status.host_ip.as_deref()).and_then(|ip| ip.parse().ok()),
        ready: !leaving && conditions.iter().any(|each| each.type_ == "Ready" && each.status == "True"),
        containers: containers.iter().map(|container| container.name.clone()).filter(|name| name != PROXY).collect(),
        host_ports: containers.iter().flat_map(host_ports).collect(),
        sidecar: if proxy.is_some() { Sidecar::Present { ready: proxy_ready } } else { Sidecar::Absent },
        dns_capture: proxy.map(dns_capture),
        owner: pod
            .owner_references()
            .iter()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| format!("{}/{}", owner.kind, owner.name)),
        labels: pod.labels().clone(),
        annotations: pod
            .annotations()
            .iter()
            .filter(|(key, _)| key.contains("istio"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    }
}

/// The API server gives the ports of a pod in its node's network a `hostPort`, too.
fn host_ports(container: &Container) -> Vec<HostPortFacts> {
    let number = |port: i32| u16::try_from(port).ok().filter(|port| *port != 0);
    let host_port = |port: &ContainerPort| {
        let address = port.host_ip.as_deref().and_then(|text| text.parse::<std::net::IpAddr>().ok());
        Some(HostPortFacts {
            container: number(port.container_port)?,
            name: port.name.clone(),
            host: number(port.host_port?)?,
            address: address.filter(|address| !address.is_unspecified()),
        })
    };
    container.ports.iter().flatten().filter_map(host_port).collect()
}

fn dns_capture(proxy: &Container) -> bool {
    let set = |name: &str, value: Option<&str>| name == "ISTIO_META_DNS_CAPTURE" && value == Some("true");
    proxy.env.iter().flatten().any(|variable| set(&variable.name, variable.value.as_deref()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value, status: &Value) -> PodFacts {
        let pod = json!({
            "metadata": {
                "name": "pxc-0", "uid": "u", "labels": {"app": "pxc"},
                "annotations": {"sidecar.istio.io/status": "{}", "secret.example/token": "x"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "pxc", "uid": "v", "controller": true}],
            },
            "spec": spec, "status": status,
        });
        facts(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_native_sidecar_is_a_sidecar_and_an_init_container_that_ends_is_none() {
        let proxy = json!({"name": PROXY, "restartPolicy": "Always", "env": [{"name": "ISTIO_META_DNS_CAPTURE", "value": "true"}]});
        let ready = json!({
            "conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.1.0.5",
            "initContainerStatuses": [{"name": PROXY, "ready": true, "image": "i", "imageID": "i", "restartCount": 0}],
        });
        let native = pod(&json!({"containers": [{"name": "pxc"}], "initContainers": [proxy]}), &ready);
        assert_eq!((native.sidecar, native.dns_capture), (Sidecar::Present { ready: true }, Some(true)));
        assert_eq!((native.ready, native.containers.as_slice()), (true, ["pxc".to_owned()].as_slice()));
        assert_eq!(native.owner.as_deref(), Some("StatefulSet/pxc"));
        assert_eq!(native.annotations.len(), 1, "annotations that are not Istio's stay out of the facts");
        let ended = pod(&json!({"containers": [{"name": "pxc"}], "initContainers": [{"name": PROXY}]}), &ready);
        assert_eq!((ended.sidecar, ended.dns_capture), (Sidecar::Absent, None));
    }

    #[test]
    fn an_ordinary_sidecar_is_seen_and_is_not_listed_as_a_container_of_the_application() {
        let spec = json!({"containers": [{"name": "pxc"}, {"name": PROXY}]});
        let seen = pod(
            &spec,
            &json!({"containerStatuses": [{"name": PROXY, "ready": false, "image": "i", "imageID": "i", "restartCount": 0}]}),
        );
        assert_eq!((seen.sidecar, seen.dns_capture), (Sidecar::Present { ready: false }, Some(false)));
        assert_eq!(seen.containers, ["pxc"]);
    }

    #[test]
    fn ports_of_the_node_are_seen_and_those_of_the_pod_alone_are_left_out() {
        let ports = json!([
            {"name": "mysql", "containerPort": 3306, "hostPort": 13306, "hostIP": "0.0.0.0"},
            {"containerPort": 33060, "hostPort": 33060, "hostIP": "198.18.0.11"},
            {"containerPort": 33062},
        ]);
        let seen = pod(&json!({"containers": [{"name": "pxc", "ports": ports}]}), &json!({}));
        let shown: Vec<_> = seen
            .host_ports
            .iter()
            .map(|port| {
                (port.container, port.name.as_deref(), port.host, port.address.map(|address| address.to_string()))
            })
            .collect();
        assert_eq!(shown, [(3306, Some("mysql"), 13306, None), (33060, None, 33060, Some("198.18.0.11".to_owned()))]);
    }
}
