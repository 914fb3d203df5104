//! One sidecar's view of the link: its name table, the listener of the virtual address, and the endpoints with their counters.
//!
//! Envoy's JSON is that of its protocol buffers: fields with their default value are absent, 64-bit numbers are strings.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::{
    domain::{
        facts::{EnvoyFacts, EnvoyHost},
        spec::{Endpoint, Protocol},
    },
    k8s::{Cluster, K8sError, http::PodHttp},
    wait::Deadline,
};

/// Envoy's admin port.
const ADMIN: u16 = 15000;
/// The agent's port; its debug paths answer to the pod's loopback only, which is where a port-forward comes from.
const AGENT: u16 = 15020;

/// What of a sidecar belongs to one port of a mesh name.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The mesh name.
    pub host: &'a str,
    /// Its virtual address.
    pub vip: Ipv4Addr,
    /// The port at the mesh name.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

impl Target<'_> {
    /// The cluster that istiod makes for the port.
    fn cluster(&self) -> String {
        format!("outbound|{}||{}", self.port, self.host)
    }

    /// The listeners that can take its connections, the one that wins first. All HTTP services of a port share the one of
    /// the wildcard address, which finds the service by the Host header (istiod: buildSidecarOutboundListener).
    fn listeners(&self) -> Vec<String> {
        let own = format!("{}_{}", self.vip, self.port);
        match self.protocol {
            Protocol::Tcp => vec![own],
            Protocol::Http => vec![own, format!("0.0.0.0_{}", self.port)],
        }
    }
}

/// The listener of every connection that no other is for.
const CATCH_ALL: &str = "virtualOutbound";
/// Where that listener sends what the mesh lets pass.
const PASSTHROUGH: &str = "PassthroughCluster";

/// Counters of endpoints at one moment.
#[derive(Debug, Clone)]
pub struct Counters {
    /// The endpoints of the port's cluster; `None` where Envoy has no such cluster.
    pub hosts: Option<Vec<EnvoyHost>>,
    /// Addresses that were connected to past the mesh a moment ago; Envoy forgets them when they are idle for seconds.
    pub past: Vec<EnvoyHost>,
}

/// A sidecar that answers: one port-forward for all that is asked of it.
pub struct Sidecar(PodHttp);

impl Sidecar {
    /// Connects to the sidecar of a pod.
    ///
    /// # Errors
    /// As [`PodHttp::open`].
    pub async fn open(cluster: &Cluster, pod: &str, deadline: Deadline) -> Result<Self, K8sError> {
        Ok(Self(PodHttp::open(cluster, pod, &[ADMIN, AGENT], deadline).await?))
    }

    /// What the sidecar's own name table has for a mesh name: its addresses, none if it does not know the name; `None` where it
    /// serves no names at all.
    ///
    /// # Errors
    /// As [`PodHttp::get`].
    pub async fn name_table(&self, host: &str, deadline: Deadline) -> Result<Option<Vec<IpAddr>>, K8sError> {
        let (status, body) = self.0.get(AGENT, "/debug/ndsz", deadline).await?;
        if status == 404 {
            return Ok(None);
        }
        let table = self.json("the agent's name table", status, &body)?;
        Ok(addresses(&table, host))
    }

    /// Listener, cluster and endpoints of a port of the link, and the counters of that moment.
    ///
    /// # Errors
    /// As [`PodHttp::get`].
    pub async fn facts(&self, target: Target<'_>, deadline: Deadline) -> Result<(EnvoyFacts, Counters), K8sError> {
        let names: Vec<String> = target.listeners().into_iter().chain([CATCH_ALL.to_owned()]).collect();
        let listeners = format!("/config_dump?resource=dynamic_listeners&name_regex={}", pattern(&names));
        let (status, listeners) = self.0.get(ADMIN, &listeners, deadline).await?;
        let listeners = self.json("Envoy's listeners", status, &listeners)?;
        let routes = match target.protocol {
            Protocol::Tcp => Value::Null,
            Protocol::Http => {
                let name = pattern(&[target.port.to_string()]);
                let routes = format!("/config_dump?resource=dynamic_route_configs&name_regex={name}");
                let (status, routes) = self.0.get(ADMIN, &routes, deadline).await?;
                self.json("Envoy's routes", status, &routes)?
            }
        };
        // The counters come last, as what they count comes next.
        let counters = self.counters(target, deadline).await?;
        let (listener_cluster, listener_error) = listener(&listeners, &routes, target);
        let (hosts, catch_all) = (counters.hosts.clone(), catch_all(&listeners));
        Ok((EnvoyFacts { listener_cluster, listener_error, hosts, catch_all }, counters))
    }

    /// The endpoints of a port's cluster with their counters.
    ///
    /// # Errors
    /// As [`PodHttp::get`].
    pub async fn counters(&self, target: Target<'_>, deadline: Deadline) -> Result<Counters, K8sError> {
        let (status, body) = self.0.get(ADMIN, "/clusters?format=json", deadline).await?;
        let clusters = self.json("Envoy's clusters", status, &body)?;
        Ok(Counters {
            hosts: hosts_of(&clusters, &target.cluster()),
            past: hosts_of(&clusters, PASSTHROUGH).unwrap_or_default(),
        })
    }

    fn json(&self, what: &str, status: u16, body: &[u8]) -> Result<Value, K8sError> {
        if status != 200 {
            let start: String = String::from_utf8_lossy(body).chars().take(200).collect();
            return Err(self.0.wrong(what, format!("HTTP {status}: {start}")));
        }
        serde_json::from_slice(body).map_err(|error| self.0.wrong(what, format!("not JSON: {error}")))
    }
}

/// `^(240\.0\.0\.7_3306|virtualOutbound)$`, percent-encoded.
fn pattern(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| name.replace('.', "%5C.")).collect();
    format!("%5E({})%24", names.join("%7C"))
}

fn addresses(table: &Value, host: &str) -> Option<Vec<IpAddr>> {
    let table = table["table"].as_object()?;
    let ips = table.get(host).map_or(&Value::Null, |entry| &entry["ips"]);
    Some(ips.as_array().into_iter().flatten().filter_map(|ip| ip.as_str()?.parse().ok()).collect())
}

/// The clusters that the chains of a listener send to, and the route configurations they take them from.
fn targets(listener: &Value) -> impl Iterator<Item = &Value> {
    let chains = listener["filter_chains"].as_array().into_iter().flatten();
    chains.flat_map(|chain| chain["filters"].as_array().into_iter().flatten()).map(|filter| &filter["typed_config"])
}

fn found<'a>(dump: &'a Value, name: &str) -> Option<&'a Value> {
    dump["configs"].as_array()?.iter().find(|config| config["name"] == name)
}

/// The cluster that the port's connections or requests end at, and why Envoy refused the listener.
fn listener(listeners: &Value, routes: &Value, target: Target<'_>) -> (Option<String>, Option<String>) {
    let Some(found) = target.listeners().iter().find_map(|name| found(listeners, name)) else { return (None, None) };
    let leads = targets(&found["active_state"]["listener"]).find_map(|config| {
        let straight = config["cluster"].as_str().map(ToOwned::to_owned);
        straight.or_else(|| routed(routes, config["rds"]["route_config_name"].as_str()?, target))
    });
    let error = found["error_state"]["details"].as_str();
    (leads, error.map(ToOwned::to_owned))
}

/// The cluster that a request with the mesh name in its Host header is routed to: the port's own where a route names it, else
/// the first that is named. Host names without an entry of their own fall to the entry `*`.
fn routed(routes: &Value, name: &str, target: Target<'_>) -> Option<String> {
    let configs = routes["configs"].as_array()?.iter().map(|config| &config["route_config"]);
    let hosts =
        configs.filter(|config| config["name"] == name).find_map(|config| config["virtual_hosts"].as_array())?;
    let serves = |host: &Value, wanted: &str| {
        host["domains"].as_array().into_iter().flatten().any(|domain| domain.as_str() == Some(wanted))
    };
    let host =
        hosts.iter().find(|host| serves(host, target.host)).or_else(|| hosts.iter().find(|host| serves(host, "*")))?;
    let routes = host["routes"].as_array()?.iter().map(|route| &route["route"]);
    let clusters: Vec<&str> = routes
        .flat_map(|route| {
            let weighted = route["weighted_clusters"]["clusters"].as_array().into_iter().flatten();
            std::iter::once(&route["cluster"]).chain(weighted.map(|cluster| &cluster["name"]))
        })
        .filter_map(Value::as_str)
        .collect();
    let own = target.cluster();
    if clusters.contains(&own.as_str()) { Some(own) } else { clusters.first().map(|cluster| (*cluster).to_owned()) }
}

/// The cluster of connections that no listener is for. One of the listener's chains is for its own port, against loops.
fn catch_all(listeners: &Value) -> Option<String> {
    let chains = found(listeners, CATCH_ALL)?["active_state"]["listener"]["filter_chains"].as_array()?;
    let open = chains.iter().find(|chain| chain["filter_chain_match"]["destination_port"].is_null())?;
    let mut filters = open["filters"].as_array()?.iter();
    filters.find_map(|filter| filter["typed_config"]["cluster"].as_str()).map(ToOwned::to_owned)
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
        rq_total: counter("rq_total"),
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

    fn target(protocol: Protocol) -> Target<'static> {
        Target { host: "a.global", vip: Ipv4Addr::new(240, 0, 0, 7), port: 8080, protocol }
    }

    #[test]
    fn a_listener_shows_its_cluster_and_a_refused_one_its_reason() {
        let chain = json!([{"filters": [{"name": "x"}, {"typed_config": {"cluster": "outbound|8080||a.global"}}]}]);
        let dump =
            json!({"configs": [{"name": "240.0.0.7_8080", "active_state": {"listener": {"filter_chains": chain}}}]});
        let leads = (Some("outbound|8080||a.global".to_owned()), None);
        assert_eq!(listener(&dump, &json!({}), target(Protocol::Tcp)), leads);
        assert_eq!(
            listener(&dump, &json!({}), target(Protocol::Http)),
            leads,
            "whoever has the address has its HTTP too"
        );
        let dump = json!({"configs": [{"name": "240.0.0.7_8080", "error_state": {"details": "duplicate address"}}]});
        assert_eq!(listener(&dump, &json!({}), target(Protocol::Tcp)), (None, Some("duplicate address".into())));
        assert_eq!(listener(&json!({}), &json!({}), target(Protocol::Tcp)), (None, None));
    }

    #[test]
    fn http_is_routed_by_the_name_of_the_host() {
        let chain = json!([{"filters": [{"typed_config": {"rds": {"route_config_name": "8080"}}}]}]);
        let dump =
            json!({"configs": [{"name": "0.0.0.0_8080", "active_state": {"listener": {"filter_chains": chain}}}]});
        let routes = |hosts: Value| json!({"configs": [{"route_config": {"name": "8080", "virtual_hosts": hosts}}]});
        let leads = |hosts: Value| listener(&dump, &routes(hosts), target(Protocol::Http)).0;
        let any = json!({"domains": ["*"], "routes": [{"route": {"cluster": "PassthroughCluster"}}]});
        let own = json!({"domains": ["a.global", "240.0.0.7"], "routes": [{"route": {"cluster": "outbound|8080||a.global"}}]});
        assert_eq!(leads(json!([own, any])).as_deref(), Some("outbound|8080||a.global"));
        assert_eq!(leads(json!([any])).as_deref(), Some("PassthroughCluster"));
        let split = json!({"domains": ["a.global"], "routes": [{"route": {"weighted_clusters": {"clusters": [
            {"name": "outbound|80||b.global"}, {"name": "outbound|8080||a.global"}]}}}]});
        assert_eq!(leads(json!([split, any])).as_deref(), Some("outbound|8080||a.global"));
        let other = json!({"domains": ["a.global"], "routes": [{"route": {"cluster": "outbound|80||b.global"}}]});
        assert_eq!(leads(json!([other])).as_deref(), Some("outbound|80||b.global"));
        assert_eq!(listener(&dump, &json!({}), target(Protocol::Http)), (None, None), "no routes yet");
        assert_eq!(
            listener(&dump, &json!({}), target(Protocol::Tcp)),
            (None, None),
            "not the listener of a plain port"
        );
    }

    #[test]
    fn what_becomes_of_other_connections_is_read_from_the_open_chain() {
        let dump = |cluster: &str| {
            json!({"configs": [{"name": "virtualOutbound", "active_state": {"listener": {"filter_chains": [
                {"filter_chain_match": {"destination_port": 15001}, "filters": [{"typed_config": {"cluster": "BlackHoleCluster"}}]},
                {"filters": [{"name": "stats"}, {"typed_config": {"cluster": cluster}}]},
            ]}}}]})
        };
        assert_eq!(catch_all(&dump("PassthroughCluster")).as_deref(), Some("PassthroughCluster"));
        assert_eq!(catch_all(&dump("BlackHoleCluster")).as_deref(), Some("BlackHoleCluster"));
        assert_eq!(catch_all(&json!({})), None);
    }

    #[test]
    fn names_are_matched_whole() {
        assert_eq!(pattern(&["240.0.0.7_3306".into(), "x".into()]), "%5E(240%5C.0%5C.0%5C.7_3306%7Cx)%24");
    }

    #[test]
    fn absent_counters_are_zero_and_numbers_may_be_strings() {
        let clusters = json!({"cluster_statuses": [{"name": "outbound|3306||a.global", "host_statuses": [
            {"address": {"socket_address": {"address": "198.18.0.11", "port_value": 31306}},
             "stats": [{"name": "cx_connect_fail"}, {"name": "cx_total", "value": "7"}, {"name": "rq_total", "value": "6"}],
             "health_status": {"eds_health_status": "HEALTHY", "failed_outlier_check": true}},
        ]}, {"name": "outbound|3307||a.global"}]});
        let hosts = hosts_of(&clusters, "outbound|3306||a.global").unwrap();
        let counted = (hosts[0].cx_total, hosts[0].cx_connect_fail, hosts[0].rq_total, hosts[0].ejected);
        assert_eq!(counted, (7, 0, 6, true));
        assert_eq!(hosts_of(&clusters, "outbound|3307||a.global"), Some(vec![]), "a cluster without endpoints");
        assert_eq!(hosts_of(&clusters, "outbound|3306||b.global"), None);
    }
}
