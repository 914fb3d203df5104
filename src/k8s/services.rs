//! Reading the ways into the source: its Services, and the resource of a Percona operator that they are made from.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use super::{Cluster, K8sError};
use crate::{
    domain::{
        facts::{IngressFacts, PxcFacts, ServiceFacts, ServicePortFacts},
        problem::Fetched,
    },
    wait::Deadline,
};

/// A Service in the members' namespace, its pods left to be filled in; `None` where there is none of that name.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn service(cluster: &Cluster, name: &str, deadline: Deadline) -> Result<Option<ServiceFacts>, K8sError> {
    let api: Api<Service> = Api::namespaced(cluster.client(), cluster.namespace());
    let found = cluster.call(&format!("reading Service {name}"), deadline, api.get_opt(name)).await?;
    Ok(found.map(facts))
}

fn facts(service: Service) -> ServiceFacts {
    let name = service.name_any();
    let spec = service.spec.unwrap_or_default();
    let ingress = service.status.and_then(|status| status.load_balancer).and_then(|balancer| balancer.ingress);
    let ingress = ingress.unwrap_or_default().into_iter();
    ServiceFacts {
        name,
        kind: spec.type_.unwrap_or_else(|| "ClusterIP".into()),
        selector: spec.selector.unwrap_or_default(),
        ports: spec.ports.unwrap_or_default().into_iter().filter_map(port).collect(),
        local_only: spec.external_traffic_policy.as_deref() == Some("Local"),
        external_ips: spec.external_ips.unwrap_or_default().iter().filter_map(|text| text.parse().ok()).collect(),
        ingress: ingress
            .map(|ingress| IngressFacts {
                ip: ingress.ip.and_then(|text| text.parse().ok()),
                hostname: ingress.hostname,
            })
            .collect(),
        backends: Fetched::Got(Vec::new()),
    }
}

fn port(port: ServicePort) -> Option<ServicePortFacts> {
    let number = u16::try_from(port.port).ok()?;
    let target = match port.target_port {
        Some(IntOrString::String(name)) => name,
        Some(IntOrString::Int(target)) => target.to_string(),
        // The API server fills it in with the port's own number.
        None => number.to_string(),
    };
    let node_port = port.node_port.and_then(|node_port| u16::try_from(node_port).ok()).filter(|port| *port != 0);
    Some(ServicePortFacts { number, name: port.name, node_port, target })
}

/// A resource of the Percona operator in the members' namespace; `None` where there is none of that name, or the kind is not there.
///
/// # Errors
/// Any other of [`K8sError`].
pub async fn pxc(cluster: &Cluster, name: &str, deadline: Deadline) -> Result<Option<PxcFacts>, K8sError> {
    let kind = GroupVersionKind::gvk("pxc.percona.com", "v1", "PerconaXtraDBCluster");
    let resource = ApiResource::from_gvk_with_plural(&kind, "perconaxtradbclusters");
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), cluster.namespace(), &resource);
    let what = format!("reading PerconaXtraDBCluster {name}");
    match cluster.call(&what, deadline, api.get_opt(name)).await {
        Ok(found) => Ok(found.map(|object| exposure(name, &object.data["spec"]))),
        Err(K8sError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How a resource is exposed. `serviceType` is where the operator had the types before its version 1.14.
fn exposure(name: &str, spec: &Value) -> PxcFacts {
    let on = |part: &Value| part["enabled"].as_bool() == Some(true);
    let kind = |at: [&Value; 2]| at.iter().find_map(|kind| kind.as_str()).unwrap_or("ClusterIP").to_owned();
    let (haproxy, proxysql, pods) = (&spec["haproxy"], &spec["proxysql"], &spec["pxc"]["expose"]);
    PxcFacts {
        name: name.to_owned(),
        size: spec["pxc"]["size"].as_u64().and_then(|size| u16::try_from(size).ok()).unwrap_or_default(),
        haproxy: on(haproxy).then(|| kind([&haproxy["exposePrimary"]["type"], &haproxy["serviceType"]])),
        proxysql: on(proxysql).then(|| kind([&proxysql["expose"]["type"], &proxysql["serviceType"]])),
        pods: on(pods).then(|| kind([&pods["type"], &Value::Null])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_shows_every_way_in_that_it_has() {
        let service = serde_json::from_value(json!({
            "metadata": {"name": "pxc"},
            "spec": {
                "type": "LoadBalancer", "externalTrafficPolicy": "Local", "externalIPs": ["192.0.2.1"],
                "ports": [
                    {"name": "mysql", "port": 3306, "nodePort": 31306, "targetPort": "db"},
                    {"name": "admin", "port": 33062, "targetPort": 3307},
                ],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "lb.example"}]}},
        }))
        .unwrap();
        let facts = facts(service);
        assert_eq!((facts.kind.as_str(), facts.local_only), ("LoadBalancer", true));
        assert_eq!(facts.external_ips, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
        let shown: Vec<_> = facts.ingress.iter().map(|at| (at.ip.is_some(), at.hostname.as_deref())).collect();
        assert_eq!(shown, [(true, None), (false, Some("lb.example"))]);
        let ports: Vec<_> =
            facts.ports.iter().map(|port| (port.number, port.node_port, port.target.as_str())).collect();
        assert_eq!(ports, [(3306, Some(31306), "db"), (33062, None, "3307")]);
    }

    #[test]
    fn a_resource_shows_what_its_operator_exposes_and_as_what() {
        let new = exposure(
            "cluster1",
            &json!({
                "pxc": {"size": 2, "expose": {"enabled": true, "type": "LoadBalancer"}},
                "haproxy": {"enabled": true, "exposePrimary": {"enabled": true, "type": "NodePort"}},
                "proxysql": {"enabled": false, "expose": {"enabled": true, "type": "NodePort"}},
            }),
        );
        assert_eq!((new.haproxy.as_deref(), new.proxysql.as_deref()), (Some("NodePort"), None));
        assert_eq!(new.services(), [vec!["cluster1-haproxy"], vec!["cluster1-pxc-0", "cluster1-pxc-1"]]);
        let old = exposure(
            "cluster1",
            &json!({"pxc": {"size": 3}, "proxysql": {"enabled": true, "serviceType": "LoadBalancer"}}),
        );
        assert_eq!((old.proxysql.as_deref(), old.pods), (Some("LoadBalancer"), None));
        let bare = exposure("cluster1", &json!({"haproxy": {"enabled": true}}));
        assert_eq!(
            (bare.haproxy.as_deref(), bare.services()),
            (Some("ClusterIP"), vec![vec!["cluster1-haproxy".to_owned()]])
        );
    }
}
