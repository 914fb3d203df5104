//! The members' pods: which there are, how they take part in the mesh, what owns them.

use k8s_openapi::api::core::v1::{Container, ContainerPort, ContainerStatus, Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};

use super::{Cluster, K8sError};
use crate::{
    domain::facts::{AwaitedContainer, HostPortFacts, PROXY, PodFacts, Sidecar},
    wait::Deadline,
};

/// The init container that Istio injects to turn connections to the sidecar.
const INIT: &str = "istio-init";

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
    let proxy_status = statuses.iter().chain(native_statuses).find(is_proxy);
    let proxy_ready = proxy_status.is_some_and(|status| status.ready);
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
        proxy_state: proxy_status.filter(|status| !status.ready).map(state),
        awaited: awaited(pod),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        proxy_users: proxy_users(pod),
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

/// What keeps a pod from being ready, init containers first.
fn awaited(pod: &Pod) -> Vec<AwaitedContainer> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { return Vec::new() };
    let stays = |name: &str| {
        let mut all = spec.init_containers.iter().flatten();
        all.any(|container| container.name == name && container.restart_policy.as_deref() == Some("Always"))
    };
    let ended_well = |status: &ContainerStatus| {
        status.state.as_ref().and_then(|state| state.terminated.as_ref()).is_some_and(|ended| ended.exit_code == 0)
    };
    let awaited = |status: &ContainerStatus, before_sidecar| AwaitedContainer {
        name: status.name.clone(),
        state: state(status),
        has_run: has_run(status),
        waits_for_init: waiting(status) == Some("PodInitializing"),
        before_sidecar,
    };
    let init = status.init_container_statuses.iter().flatten();
    let preparing = init.filter(|status| if stays(&status.name) { !status.ready } else { !ended_well(status) });
    let proxy_is_ordinary = spec.containers.iter().any(|container| container.name == PROXY);
    let first =
        preparing.map(|status| awaited(status, proxy_is_ordinary && !stays(&status.name) && status.name != INIT));
    let ordinary = status.container_statuses.iter().flatten().filter(|status| !status.ready);
    first.chain(ordinary.map(|status| awaited(status, false))).collect()
}

/// Why a container waits; `None` for one that does not.
fn waiting(status: &ContainerStatus) -> Option<&str> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    Some(waiting.reason.as_deref().unwrap_or("no reason given"))
}

fn has_run(status: &ContainerStatus) -> bool {
    let now = status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some());
    now || status.restart_count > 0 || status.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
}

/// What a container that is not ready does, in a phrase: `waiting, CrashLoopBackOff, restarted 3 times`.
fn state(status: &ContainerStatus) -> String {
    let ended = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    let words = if let Some(reason) = waiting(status) {
        format!("waiting, {reason}")
    } else if let Some(ended) = ended {
        format!("ended with exit code {}", ended.exit_code)
    } else {
        "running and not ready".to_owned()
    };
    match status.restart_count {
        0 => words,
        count => format!("{words}, restarted {count} times"),
    }
}

/// The ordinary containers that run as the sidecar's own user or group, as far as the pod says; an image may say so too.
fn proxy_users(pod: &Pod) -> Vec<String> {
    const OWN: Option<i64> = Some(1337);
    let Some(spec) = &pod.spec else { return Vec::new() };
    let of_pod = spec.security_context.as_ref();
    let is_own = |container: &&Container| {
        let own = container.security_context.as_ref();
        let user = own.and_then(|own| own.run_as_user).or(of_pod.and_then(|pod| pod.run_as_user));
        let group = own.and_then(|own| own.run_as_group).or(of_pod.and_then(|pod| pod.run_as_group));
        container.name != PROXY && (user == OWN || group == OWN)
    };
    spec.containers.iter().filter(is_own).map(|container| container.name.clone()).collect()
}

/// The last lines of a sidecar's log that speak of a failure, or its very last ones where none does; at most `count`.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn proxy_log(
    cluster: &Cluster,
    pod: &str,
    count: usize,
    deadline: Deadline,
) -> Result<Vec<String>, K8sError> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), cluster.namespace());
    let parameters = LogParams { container: Some(PROXY.into()), tail_lines: Some(200), ..LogParams::default() };
    let what = format!("reading the log of {PROXY} in pod {pod}");
    let text = cluster.call(&what, deadline, api.logs(pod, &parameters)).await?;
    Ok(failures(&text, count))
}

fn failures(log: &str, count: usize) -> Vec<String> {
    let words = ["error", "warn", "fail", "refused", "denied", "unavailable", "x509", "no such host"];
    let speaks = |line: &&str| {
        let line = line.to_ascii_lowercase();
        words.iter().any(|word| line.contains(word))
    };
    let last = |lines: Vec<&str>| -> Vec<String> {
        lines[lines.len().saturating_sub(count)..].iter().map(|line| line.chars().take(300).collect()).collect()
    };
    match last(log.lines().filter(speaks).collect()) {
        none if none.is_empty() => last(log.lines().collect()),
        found => found,
    }
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
    fn a_sidecar_that_is_not_ready_says_what_it_does() {
        let spec = json!({"containers": [{"name": "pxc"}, {"name": PROXY}]});
        let status = |state: &Value, restarts: u8| {
            let container = json!({"name": PROXY, "ready": false, "image": "i", "imageID": "i", "restartCount": restarts, "state": state});
            pod(&spec, &json!({"containerStatuses": [container]})).proxy_state
        };
        let started = json!({"running": {"startedAt": "2026-11-21T00:00:00Z"}});
        assert_eq!(status(&started, 0).as_deref(), Some("running and not ready"));
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert_eq!(status(&waiting, 3).as_deref(), Some("waiting, CrashLoopBackOff, restarted 3 times"));
        let log = "info\tstarting\nwarn\tca refused\ninfo\tnext\nerror\tx509: unknown authority";
        assert_eq!(failures(log, 5), ["warn\tca refused", "error\tx509: unknown authority"]);
        assert_eq!(failures("info\ta\ninfo\tb\n", 1), ["info\tb"]);
        assert_eq!(failures("", 3), Vec::<String>::new());
    }

    #[test]
    fn what_a_pod_waits_for_is_told_by_what_each_container_does() {
        let container = |name: &str, state: Value, restarts: u8| json!({"name": name, "ready": false, "image": "i", "imageID": "i", "restartCount": restarts, "state": state});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let running = || json!({"running": {"startedAt": "2026-11-21T00:00:00Z"}});
        let seen = pod(
            &json!({"initContainers": [{"name": "early"}, {"name": INIT}], "containers": [{"name": "pxc"}, {"name": "late"}, {"name": PROXY}]}),
            &json!({
                "initContainerStatuses": [container("early", running(), 0), container(INIT, waiting("PodInitializing"), 0)],
                "containerStatuses": [
                    container("pxc", waiting("PodInitializing"), 0),
                    container("late", waiting("CrashLoopBackOff"), 2),
                    container(PROXY, waiting("ErrImagePull"), 0),
                ],
            }),
        );
        let told: Vec<_> = seen
            .awaited
            .iter()
            .map(|one| (one.name.as_str(), one.has_run, one.waits_for_init, one.before_sidecar))
            .collect();
        assert_eq!(
            told,
            [
                ("early", true, false, true),
                (INIT, false, true, false),
                ("pxc", false, true, false),
                ("late", true, false, false),
                (PROXY, false, false, false),
            ]
        );
    }

    #[test]
    fn the_sidecars_own_user_is_seen_on_pod_and_container() {
        let users = |spec: Value| pod(&spec, &json!({})).proxy_users;
        let container = |context: Value| json!({"name": "pxc", "securityContext": context});
        assert_eq!(users(json!({"containers": [container(json!({"runAsUser": 1337}))]})), ["pxc"]);
        assert_eq!(users(json!({"containers": [container(json!({"runAsGroup": 1337}))]})), ["pxc"]);
        assert_eq!(users(json!({"containers": [{"name": "pxc"}], "securityContext": {"runAsUser": 1337}})), ["pxc"]);
        let overridden =
            json!({"containers": [container(json!({"runAsUser": 27}))], "securityContext": {"runAsUser": 1337}});
        assert_eq!(users(overridden), Vec::<String>::new());
        let sidecar =
            json!({"containers": [{"name": PROXY, "securityContext": {"runAsUser": 1337}}], "hostNetwork": true});
        assert_eq!(users(sidecar.clone()), Vec::<String>::new());
        assert!(pod(&sidecar, &json!({})).host_network);
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
