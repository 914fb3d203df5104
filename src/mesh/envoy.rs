//! One sidecar's view of the link: its name table, the listener of the virtual address, and the endpoints with their counters.
//!
//! Envoy's JSON is that of its protocol buffers: fields with their default value are absent, 64-bit numbers are strings.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::{
    domain::{
        facts::{EnvoyFacts, EnvoyHost},
        spec::Endpoint,
    },
    k8s::{Cluster, K8sError, forward::http_get},
    wait::Deadline,
};

/// Envoy's admin port.
const ADMIN: u16 = 15000;
/// The agent's port; its debug paths answer to the pod's loopback only, which is where a port-forward comes from.
const AGENT: u16 = 15020;

/// What the sidecar's own name table has for a mesh name: its addresses, none if it does not know the name; `None` where it
/// serves no names at all.
///
/// # Errors
/// As [`http_get`].
pub async fn name_table(
    cluster: &Cluster,
    pod: &str,
    host: &str,
    deadline: Deadline,
) -> Result<Option<Vec<IpAddr>>, K8sError> {
    let (status, body) = http_get(cluster, pod, AGENT, "/debug/ndsz", deadline).await?;
    if status == 404 {
        return Ok(None);
    }
    let table = json(cluster, pod, "the agent's name table", status, &body)?;
    Ok(addresses(&table, host))
}

/// Listener, cluster and endpoints of the link.
///
/// # Errors
/// As [`http_get`].
pub async fn facts(
    cluster: &Cluster,
    pod: &str,
    vip: Ipv4Addr,
    port: u16,
    host: &str,
    deadline: Deadline,
) -> Result<EnvoyFacts, K8sError> {
    let name = format!("{vip}_{port}");
    // `^240\.0\.0\.7_3306$`, percent-encoded.
    let pattern = format!("%5E{}%24", name.replace('.', "%5C."));
    let path = format!("/config_dump?resource=dynamic_listeners&name_regex={pattern}");
    let ((status, dump), hosts) =
        tokio::try_join!(http_get(cluster, pod, ADMIN, &path, deadline), hosts(cluster, pod, port, host, deadline),)?;
    let dump = json(cluster, pod, "Envoy's listeners", status, &dump)?;
    let (listener_cluster, listener_error) = listener(&dump, &name);
    Ok(EnvoyFacts { listener_cluster, listener_error, hosts })
}

/// The endpoints of the link's cluster with their counters; `None` where Envoy has no such cluster.
///
/// # Errors
/// As [`http_get`].
pub async fn hosts(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    host: &str,
    deadline: Deadline,
) -> Result<Option<Vec<EnvoyHost>>, K8sError> {
    let (status, body) = http_get(cluster, pod, ADMIN, "/clusters?format=json", deadline).await?;
    let clusters = json(cluster, pod, "Envoy's clusters", status, &body)?;
    Ok(hosts_of(&clusters, &format!("outbound|{port}||{host}")))
}

fn json(cluster: &Cluster, pod: &str, what: &str, status: u16, body: &[u8]) -> Result<Value, K8sError> {
    let broken = |detail: String| K8sError::Pod {
        target: cluster.target(),
        what: format!("reading {what} in pod {pod}"),
        pod: (cluster.namespace().to_owned(), pod.to_owned()),
        detail,
    };
    if status != 200 {
        let start: String = String::from_utf8_lossy(body).chars().take(200).collect();
        return Err(broken(format!("HTTP {status}: {start}")));
    }
    serde_json::from_slice(body).map_err(|error| broken(format!("not JSON: {error}")))
}

fn addresses(table: &Value, host: &str) -> Option<Vec<IpAddr>> {
    let table = table["table"].as_object()?;
    let ips = table.get(host).map_or(&Value::Null, |entry| &entry["ips"]);
    Some(ips.as_array().into_iter().flatten().filter_map(|ip| ip.as_str()?.parse().ok()).collect())
}

/// Where the listener sends to, and why Envoy refused it.
fn listener(dump: &Value, name: &str) -> (Option<String>, Option<String>) {
    let configs = dump["configs"].as_array().into_iter().flatten();
    let Some(found) = configs.into_iter().find(|config| config["name"] == name) else { return (None, None) };
    let chains = found["active_state"]["listener"]["filter_chains"].as_array().into_iter().flatten();
    let mut filters = chains.flat_map(|chain| chain["filters"].as_array().into_iter().flatten());
    let target = filters.find_map(|filter| filter["typed_config"]["cluster"].as_str());
    let error = found["error_state"]["details"].as_str();
    (target.map(ToOwned::to_owned), error.map(ToOwned::to_owned))
}

fn hosts_of(clusters: &Value, name: &str) -> Option<Vec<EnvoyHost>> {
    let statuses = clusters["cluster_statuses"].as_array()?;
    let found = statuses.iter().find(|cluster| cluster["name"] == name)?;
    let mut hosts: Vec<EnvoyHost> =
        found["host_statuses"].as_array().into_iter().flatten().filter_map(envoy_host).collect();
    hosts.sort_by_key(|host| host.endpoint);
    Some(hosts)
}

fn envoy_host(status: &Value) -> Option<EnvoyHost> {
    let socket = &status["address"]["socket_address"];
    let counter = |name: &str| {
        let listed = status["stats"].as_array().into_iter().flatten();
        let value = listed.into_iter().find(|stat| stat["name"] == name).map(|stat| &stat["value"]);
        value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok())).unwrap_or_default()
    };
    Some(EnvoyHost {
        endpoint: Endpoint {
            address: socket["address"].as_str()?.parse().ok()?,
            port: u16::try_from(socket["port_value"].as_u64()?).ok()?,
        },
        cx_total: counter("cx_total"),
        cx_connect_fail: counter("cx_connect_fail"),
        cx_active: counter("cx_active"),
        ejected: status["health_status"]["failed_outlier_check"] == true,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_that_the_table_lacks_is_not_a_missing_table() {
        let table = json!({"table": {"a.global": {"ips": ["240.0.0.7"], "registry": "External"}}});
        assert_eq!(addresses(&table, "a.global"), Some(vec!["240.0.0.7".parse().unwrap()]));
        assert_eq!(addresses(&table, "b.global"), Some(vec![]));
        assert_eq!(addresses(&json!({}), "a.global"), None);
    }

    #[test]
    fn a_listener_shows_its_cluster_and_a_refused_one_its_reason() {
        let chain = json!([{"filters": [{"name": "x"}, {"typed_config": {"cluster": "outbound|3306||a.global"}}]}]);
        let dump = json!({"configs": [
            {"name": "240.0.0.7_3306", "active_state": {"listener": {"filter_chains": chain}}},
            {"name": "240.0.0.8_3306", "error_state": {"details": "duplicate address"}},
        ]});
        assert_eq!(listener(&dump, "240.0.0.7_3306"), (Some("outbound|3306||a.global".into()), None));
        assert_eq!(listener(&dump, "240.0.0.8_3306"), (None, Some("duplicate address".into())));
        assert_eq!(listener(&json!({}), "240.0.0.7_3306"), (None, None));
    }

    #[test]
    fn absent_counters_are_zero_and_numbers_may_be_strings() {
        let clusters = json!({"cluster_statuses": [{"name": "outbound|3306||a.global", "host_statuses": [
            {"address": {"socket_address": {"address": "198.18.0.11", "port_value": 31306}},
             "stats": [{"name": "cx_connect_fail"}, {"name": "cx_total", "value": "7"}],
             "health_status": {"eds_health_status": "HEALTHY", "failed_outlier_check": true}},
        ]}, {"name": "outbound|3307||a.global"}]});
        let hosts = hosts_of(&clusters, "outbound|3306||a.global").unwrap();
        assert_eq!((hosts[0].cx_total, hosts[0].cx_connect_fail, hosts[0].ejected), (7, 0, true));
        assert_eq!(hosts_of(&clusters, "outbound|3307||a.global"), Some(vec![]), "a cluster without endpoints");
        assert_eq!(hosts_of(&clusters, "outbound|3306||b.global"), None);
    }
}
