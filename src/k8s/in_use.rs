//! Which IPv4 addresses a cluster uses itself: its ranges, and what of 240.0.0.0/4 its nodes, pods and Services have.

use std::net::{IpAddr, Ipv4Addr};

use hyper::http::{Request, header::ACCEPT};
use ipnet::Ipv4Net;
use k8s_openapi::api::{
    core::v1::{Node, Service},
    networking::v1::ServiceCIDR,
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;

use super::{Cluster, K8sError};
use crate::{
    domain::facts::{AddressesInUse, UsedRange},
    wait::Deadline,
};

/// What virtual addresses come from; an address outside of it stands in nobody's way.
const CLASS_E: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4);

/// Reads `podCIDR`s, ServiceCIDRs (served since Kubernetes 1.33) and, of 240.0.0.0/4, the addresses that nodes, pods and Services
/// have now: `podCIDR` may be empty, and a network plugin need not keep to it.
///
/// # Errors
/// Any of [`K8sError`]; a list that the user may not read is not one of them, it shows in `unlisted`.
pub(crate) async fn in_use(cluster: &Cluster, deadline: Deadline) -> Result<AddressesInUse, K8sError> {
    let nodes: Api<Node> = Api::all(cluster.client());
    let cidrs: Api<ServiceCIDR> = Api::all(cluster.client());
    let services: Api<Service> = Api::all(cluster.client());
    let all = ListParams::default();
    let (nodes, cidrs, services, pods) = tokio::join!(
        cluster.call("listing nodes", deadline, nodes.list(&all)),
        cluster.call("listing ServiceCIDRs", deadline, cidrs.list(&all)),
        cluster.call("listing Services", deadline, services.list(&all)),
        pods(cluster, deadline),
    );
    let mut found = AddressesInUse::default();
    let mut live: Vec<UsedRange> = Vec::new();
    if let Some(nodes) = listed(nodes, "nodes", &mut found.unlisted)? {
        for node in nodes {
            let holder = format!("node {}", node.name_any());
            let spec = node.spec.unwrap_or_default();
            let ranges = spec.pod_cidrs.unwrap_or_else(|| spec.pod_cidr.into_iter().collect());
            found.ranges.extend(nets(ranges, &format!("podCIDR of {holder}")));
            let addresses = node.status.and_then(|status| status.addresses).unwrap_or_default();
            live.extend(single(addresses.into_iter().map(|address| address.address), &holder));
        }
    }
    if let Some(cidrs) = listed(cidrs, "ServiceCIDRs", &mut found.unlisted)? {
        for cidr in cidrs {
            let holder = format!("ServiceCIDR {}", cidr.name_any());
            found.ranges.extend(nets(cidr.spec.and_then(|spec| spec.cidrs).unwrap_or_default(), &holder));
        }
    }
    if let Some(services) = listed(services, "Services outside the namespace", &mut found.unlisted)? {
        for service in services {
            let holder = format!("Service {}/{}", service.namespace().unwrap_or_default(), service.name_any());
            live.extend(single(addresses_of(service), &holder));
        }
    }
    let (pods, everywhere) = pods?;
    if !everywhere {
        found.unlisted.push("pods outside the namespace".to_owned());
    }
    for (name, address) in pods {
        live.extend(single([address], &format!("pod {name}")));
    }
    let known = |address: &UsedRange| found.ranges.iter().any(|range| range.range.contains(&address.range));
    live.retain(|address| !known(address));
    found.ranges.extend(live);
    found.ranges.sort();
    found.ranges.dedup();
    Ok(found)
}

/// The items of a list, or `None` where it may not be read or is not served.
fn listed<T: Clone>(
    list: Result<kube::core::ObjectList<T>, K8sError>,
    what: &str,
    unlisted: &mut Vec<String>,
) -> Result<Option<Vec<T>>, K8sError> {
    match list {
        Ok(list) => Ok(Some(list.items)),
        Err(K8sError::Forbidden { .. } | K8sError::NotFound { .. }) => {
            unlisted.push(what.to_owned());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Names and addresses of the pods of the whole cluster (`true`) or, where they may not be listed, of the side's namespace.
///
/// Asked for as the table that `kubectl get pods -o wide` prints: a hundredth of the objects' size.
async fn pods(cluster: &Cluster, deadline: Deadline) -> Result<(Vec<(String, String)>, bool), K8sError> {
    let ask = async |path: String| {
        let request = Request::get(format!("{path}?includeObject=None"))
            .header(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
            .body(Vec::new())
            .map_err(kube::Error::HttpError);
        let answer = async { cluster.client().request::<Value>(request?).await };
        cluster.call("listing pods", deadline, answer).await.map(|table| cells(&table))
    };
    match ask("/api/v1/pods".to_owned()).await {
        Ok(pods) => Ok((pods, true)),
        Err(K8sError::Forbidden { .. }) => {
            Ok((ask(format!("/api/v1/namespaces/{}/pods", cluster.namespace())).await?, false))
        }
        Err(error) => Err(error),
    }
}

/// Columns `Name` and `IP` of a table of pods.
fn cells(table: &Value) -> Vec<(String, String)> {
    let column = |name: &str| table["columnDefinitions"].as_array()?.iter().position(|column| column["name"] == name);
    let (Some(name), Some(address)) = (column("Name"), column("IP")) else { return Vec::new() };
    let text = |row: &Value, at: usize| row["cells"][at].as_str().unwrap_or_default().to_owned();
    table["rows"].as_array().into_iter().flatten().map(|row| (text(row, name), text(row, address))).collect()
}

/// Every address at which a Service answers.
fn addresses_of(service: Service) -> Vec<String> {
    let spec = service.spec.unwrap_or_default();
    let ingress = service.status.and_then(|status| status.load_balancer).and_then(|balancer| balancer.ingress);
    [
        spec.cluster_ips.unwrap_or_else(|| spec.cluster_ip.into_iter().collect()),
        spec.external_ips.unwrap_or_default(),
        ingress.unwrap_or_default().into_iter().filter_map(|ingress| ingress.ip).collect(),
    ]
    .concat()
}

fn nets(texts: Vec<String>, holder: &str) -> impl Iterator<Item = UsedRange> {
    let nets = texts.into_iter().filter_map(|text| text.parse().ok());
    nets.map(|range| UsedRange { range, holder: holder.to_owned() })
}

/// Those of the addresses that are in 240.0.0.0/4.
fn single(texts: impl IntoIterator<Item = String>, holder: &str) -> impl Iterator<Item = UsedRange> {
    let addresses = texts.into_iter().filter_map(|text| match text.parse() {
        Ok(IpAddr::V4(address)) if CLASS_E.contains(&address) => Some(Ipv4Net::from(address)),
        _ => None,
    });
    addresses.map(|range| UsedRange { range, holder: holder.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_of_pods_is_read_by_its_columns_names() {
        let table = json!({
            "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "IP"}],
            "rows": [{"cells": ["a", "1/1", "240.7.0.9"]}, {"cells": ["b", "0/1", "<none>"]}],
        });
        assert_eq!(cells(&table), [("a".to_owned(), "240.7.0.9".to_owned()), ("b".to_owned(), "<none>".to_owned())]);
        assert_eq!(cells(&json!({"columnDefinitions": [{"name": "Name"}]})), []);
    }

    #[test]
    fn of_single_addresses_only_those_a_virtual_address_could_be_are_kept() {
        let texts = ["10.0.0.1", "240.7.0.9", "fd00::1", "<none>", "None", ""].map(ToOwned::to_owned);
        let kept: Vec<String> = single(texts, "x").map(|used| used.range.to_string()).collect();
        assert_eq!(kept, ["240.7.0.9/32"]);
    }

    #[test]
    fn a_service_answers_at_all_of_its_addresses() {
        let service = serde_json::from_value(json!({
            "metadata": {"name": "x"},
            "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "externalIPs": ["192.0.2.1"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "lb.example"}]}},
        }))
        .unwrap();
        assert_eq!(addresses_of(service), ["10.0.0.1", "fd00::1", "192.0.2.1", "192.0.2.2"]);
    }
}
