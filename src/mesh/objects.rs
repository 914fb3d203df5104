//! The link's mesh objects: the manifests of `manifests/mesh/`, filled in field by field.

use std::{collections::BTreeSet, net::Ipv4Addr};

use serde_json::{Value, json};

use crate::{config::manifest, domain::spec::Endpoint, k8s::observe::LINK_LABEL};

/// The port's name in the ServiceEntry; endpoints refer to it.
const PORT_NAME: &str = "tcp-mysql";

/// What the objects of one link are made from.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// The link.
    pub link: &'a str,
    /// The namespace of the replica's members.
    pub namespace: &'a str,
    /// The mesh name.
    pub host: &'a str,
    /// The virtual address.
    pub vip: Ipv4Addr,
    /// The port at the mesh name.
    pub port: u16,
    /// Where the source is reachable; in any order.
    pub endpoints: &'a [Endpoint],
    /// A version of `networking.istio.io` that is served: `v1` or `v1beta1`.
    pub version: &'a str,
}

/// The name of both objects.
pub fn name(link: &str) -> String {
    format!("pxc-source-{link}")
}

/// The version to write, out of those that are served: `v1` before any other.
pub fn version(served: &[String]) -> Option<&str> {
    served.iter().find(|version| *version == "v1").or(served.first()).map(String::as_str)
}

/// The ServiceEntry: name, virtual address and endpoints.
pub fn service_entry(parameters: &Parameters<'_>) -> Value {
    let mut object = filled(include_str!("../../manifests/mesh/serviceentry.yaml"), parameters);
    let spec = &mut object["spec"];
    spec["hosts"] = json!([parameters.host]);
    spec["addresses"] = json!([parameters.vip]);
    spec["ports"] = json!([{"number": parameters.port, "name": PORT_NAME, "protocol": "TCP"}]);
    let sorted: BTreeSet<&Endpoint> = parameters.endpoints.iter().collect();
    spec["endpoints"] = sorted
        .into_iter()
        .map(|endpoint| json!({"address": endpoint.address, "ports": {PORT_NAME: endpoint.port}}))
        .collect();
    object
}

/// The DestinationRule: how sidecars connect to the endpoints.
pub fn destination_rule(parameters: &Parameters<'_>) -> Value {
    let mut object = filled(include_str!("../../manifests/mesh/destinationrule.yaml"), parameters);
    object["spec"]["host"] = json!(parameters.host);
    let single = parameters.endpoints.iter().collect::<BTreeSet<_>>().len() < 2;
    if single && let Some(policy) = object["spec"]["trafficPolicy"].as_object_mut() {
        policy.remove("outlierDetection");
    }
    object
}

fn filled(text: &str, parameters: &Parameters<'_>) -> Value {
    let mut object = manifest::parse(text);
    object["apiVersion"] = json!(format!("networking.istio.io/{}", parameters.version));
    object["metadata"]["name"] = json!(name(parameters.link));
    object["metadata"]["namespace"] = json!(parameters.namespace);
    object["metadata"]["labels"][LINK_LABEL] = json!(parameters.link);
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        let address: std::net::SocketAddr = text.parse().unwrap();
        Endpoint { address: address.ip(), port: address.port() }
    }

    fn parameters(endpoints: &[Endpoint]) -> Parameters<'_> {
        Parameters {
            link: "production",
            namespace: "pxc",
            host: "pxc-source.production.global",
            vip: Ipv4Addr::new(240, 0, 0, 7),
            port: 3306,
            endpoints,
            version: "v1",
        }
    }

    #[test]
    fn one_endpoint_is_never_ejected() {
        let endpoints = [endpoint("198.18.0.11:31306")];
        insta::assert_json_snapshot!("one_endpoint_entry", service_entry(&parameters(&endpoints)));
        insta::assert_json_snapshot!("one_endpoint_rule", destination_rule(&parameters(&endpoints)));
    }

    #[test]
    fn endpoints_are_sorted_and_said_once_whatever_order_they_come_in() {
        let endpoints = ["198.18.0.20:31306", "198.18.0.3:31306", "198.18.0.20:31306"].map(endpoint);
        let entry = service_entry(&parameters(&endpoints));
        insta::assert_json_snapshot!("two_endpoints_entry", entry["spec"]["endpoints"]);
        let rule = destination_rule(&parameters(&endpoints));
        insta::assert_json_snapshot!("two_endpoints_rule", rule["spec"]["trafficPolicy"]["outlierDetection"]);
    }

    #[test]
    fn another_port_and_an_older_mesh_are_written_as_they_are() {
        let endpoints = [endpoint("198.18.0.11:31306")];
        let entry = service_entry(&Parameters { port: 3307, version: "v1beta1", ..parameters(&endpoints) });
        assert_eq!(
            (&entry["spec"]["ports"][0]["number"], &entry["apiVersion"]),
            (&json!(3307), &json!("networking.istio.io/v1beta1"))
        );
        assert_eq!(version(&["v1beta1".into(), "v1".into()]), Some("v1"));
        assert_eq!(version(&["v1beta1".into(), "v1alpha3".into()]), Some("v1beta1"));
        assert_eq!(version(&[]), None);
    }
}
