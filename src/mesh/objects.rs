//! The link's mesh objects: the manifests of `manifests/mesh/`, filled in field by field.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde_json::{Value, json};

use crate::{
    config::manifest,
    domain::{
        desired::Entrance,
        judge::peer::{self, Exemption},
        spec::{Endpoint, MeshLink, PortSpec, ServiceSpec},
    },
    k8s::observe::LINK_LABEL,
};

/// What the objects of one link are made from.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// The link.
    pub spec: MeshLink<'a>,
    /// The namespace of the client's pods.
    pub namespace: &'a str,
    /// The virtual address.
    pub vip: Ipv4Addr,
    /// Where the source is reachable, in any order.
    pub entrances: &'a [Entrance],
    /// A version of `networking.istio.io` that is served: `v1` or `v1beta1`.
    pub version: &'a str,
}

/// The name of both objects.
pub fn name(spec: MeshLink<'_>) -> String {
    match spec.service {
        ServiceSpec::Replication(_) => format!("pxc-source-{}", spec.name),
        ServiceSpec::Ports(_) => format!("pxc-link-{}", spec.name),
    }
}

/// The version to write, out of those that are served: `v1` before any other.
pub fn version(served: &[String]) -> Option<&str> {
    served.iter().find(|version| *version == "v1").or(served.first()).map(String::as_str)
}

/// The ServiceEntry: name, virtual address and endpoints.
pub fn service_entry(parameters: &Parameters<'_>) -> Value {
    let mut object = filled(include_str!("../../manifests/mesh/serviceentry.yaml"), parameters);
    let spec = &mut object["spec"];
    spec["hosts"] = json!([parameters.spec.host]);
    spec["addresses"] = json!([parameters.vip]);
    let ports = parameters.spec.ports();
    let port = |port: &PortSpec| json!({"number": port.number, "name": port.name, "protocol": port.protocol});
    spec["ports"] = ports.iter().map(port).collect();
    let endpoint = |entrance: &Entrance| {
        let ports: BTreeMap<&str, u16> =
            ports.iter().map(|port| port.name.as_str()).zip(entrance.ports.iter().copied()).collect();
        json!({"address": entrance.address, "ports": ports})
    };
    let sorted: BTreeSet<&Entrance> = parameters.entrances.iter().collect();
    spec["endpoints"] = sorted.into_iter().map(endpoint).collect();
    object
}

/// Where a mesh name leads.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// Its virtual address.
    pub vip: Ipv4Addr,
    /// Each port of the link with the endpoints behind it, sorted, as far as they are known.
    pub ports: Vec<(PortSpec, Vec<Endpoint>)>,
}

/// Where a ServiceEntry that [`service_entry`] made leads; `None` where somebody made something else of it.
pub fn described(spec: MeshLink<'_>, entry: &Value) -> Option<Destination> {
    let [vip] = entry["spec"]["addresses"].as_array()?.as_slice() else { return None };
    let mut ports = Vec::new();
    for port in spec.ports() {
        let mut endpoints = Vec::new();
        for endpoint in entry["spec"]["endpoints"].as_array()? {
            let address = endpoint["address"].as_str()?.parse().ok()?;
            let port = u16::try_from(endpoint["ports"][&port.name].as_u64()?).ok()?;
            endpoints.push(Endpoint { address, port });
        }
        endpoints.sort_unstable();
        ports.push((port, endpoints));
    }
    Some(Destination { vip: vip.as_str()?.parse().ok()?, ports })
}

/// The DestinationRule: how sidecars connect to the endpoints.
pub fn destination_rule(parameters: &Parameters<'_>) -> Value {
    let mut object = filled(include_str!("../../manifests/mesh/destinationrule.yaml"), parameters);
    object["spec"]["host"] = json!(parameters.spec.host);
    let single = parameters.entrances.iter().collect::<BTreeSet<_>>().len() < 2;
    if single && let Some(policy) = object["spec"]["trafficPolicy"].as_object_mut() {
        policy.remove("outlierDetection");
    }
    object
}

/// A PeerAuthentication of the source as it is to be: one of the link's own, or the one thing that somebody else's is to say more.
pub fn peer_authentication(spec: MeshLink<'_>, namespace: &str, exemption: &Exemption) -> Value {
    let mut object = manifest::parse(include_str!("../../manifests/mesh/peerauthentication.yaml"));
    object["metadata"]["namespace"] = json!(namespace);
    let plain = |port: &u16| (port.to_string(), json!({"mode": "DISABLE"}));
    object["spec"]["portLevelMtls"] = exemption.ports.iter().map(plain).collect::<serde_json::Map<_, _>>().into();
    match &exemption.existing {
        None => {
            object["metadata"]["name"] = json!(peer::own_name(spec));
            object["metadata"]["labels"][LINK_LABEL] = json!(spec.name);
            object["spec"]["selector"]["matchLabels"] = json!(exemption.selector);
        }
        Some(name) => {
            object["metadata"] = json!({"name": name, "namespace": namespace});
            object["spec"].as_object_mut().map(|fields| fields.remove("selector"));
        }
    }
    object
}

/// A PeerAuthentication by its name alone, to look for it.
pub fn policy_named(namespace: &str, name: &str) -> Value {
    let mut object = manifest::parse(include_str!("../../manifests/mesh/peerauthentication.yaml"));
    object["metadata"] = json!({"name": name, "namespace": namespace});
    object
}

/// Whether an object was made for this link.
pub fn is_own(object: &Value, link: &str) -> bool {
    object["metadata"]["labels"][LINK_LABEL] == link
}

/// Adds to a ServiceEntry what it is to remember of the link beside itself.
pub fn remember(object: &mut Value, records: &BTreeMap<String, String>) {
    for (key, value) in records {
        object["metadata"]["annotations"][key] = json!(value);
    }
}

fn filled(text: &str, parameters: &Parameters<'_>) -> Value {
    let mut object = manifest::parse(text);
    object["apiVersion"] = json!(format!("networking.istio.io/{}", parameters.version));
    object["metadata"]["name"] = json!(name(parameters.spec));
    object["metadata"]["namespace"] = json!(parameters.namespace);
    object["metadata"]["labels"][LINK_LABEL] = json!(parameters.spec.name);
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample;

    fn entrance(text: &str) -> Entrance {
        let address: std::net::SocketAddr = text.parse().unwrap();
        Entrance { address: address.ip(), ports: vec![address.port()] }
    }

    fn made(entrances: &[Entrance], version: &str, object: fn(&Parameters<'_>) -> Value) -> Value {
        let spec = sample::spec();
        let vip = Ipv4Addr::new(240, 0, 0, 7);
        object(&Parameters { spec: spec.mesh().unwrap(), namespace: "pxc", vip, entrances, version })
    }

    #[test]
    fn one_endpoint_is_never_ejected() {
        let endpoints = [entrance("198.18.0.11:31306")];
        insta::assert_json_snapshot!("one_endpoint_entry", made(&endpoints, "v1", service_entry));
        insta::assert_json_snapshot!("one_endpoint_rule", made(&endpoints, "v1", destination_rule));
    }

    #[test]
    fn endpoints_are_sorted_and_said_once_whatever_order_they_come_in() {
        let endpoints = ["198.18.0.20:31306", "198.18.0.3:31306", "198.18.0.20:31306"].map(entrance);
        let entry = made(&endpoints, "v1", service_entry);
        insta::assert_json_snapshot!("two_endpoints_entry", entry["spec"]["endpoints"]);
        let rule = made(&endpoints, "v1", destination_rule);
        insta::assert_json_snapshot!("two_endpoints_rule", rule["spec"]["trafficPolicy"]["outlierDetection"]);
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let entrances = ["198.18.0.20:31306", "198.18.0.3:31306"].map(entrance);
        let mut entry = made(&entrances, "v1", service_entry);
        let Destination { vip, ports } = described(sample::spec().mesh().unwrap(), &entry).unwrap();
        let endpoints: Vec<String> = ports[0].1.iter().map(ToString::to_string).collect();
        assert_eq!((vip, ports.len()), (Ipv4Addr::new(240, 0, 0, 7), 1));
        assert_eq!(endpoints, ["198.18.0.3:31306", "198.18.0.20:31306"]);
        entry["spec"]["endpoints"][0]["address"] = json!("db.example");
        assert_eq!(described(sample::spec().mesh().unwrap(), &entry), None);
    }

    #[test]
    fn an_older_mesh_gets_the_version_it_serves() {
        let endpoints = [entrance("198.18.0.11:31306")];
        let entry = made(&endpoints, "v1beta1", service_entry);
        assert_eq!(entry["apiVersion"], json!("networking.istio.io/v1beta1"));
        assert_eq!(version(&["v1beta1".into(), "v1".into()]), Some("v1"));
        assert_eq!(version(&["v1beta1".into(), "v1alpha3".into()]), Some("v1beta1"));
        assert_eq!(version(&[]), None);
    }
}
