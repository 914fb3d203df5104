//! What Istio's policies mean for one port of one pod: mutual TLS by PeerAuthentication, and which AuthorizationPolicies select it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::facts::ObjectFacts;

/// The namespace whose policies hold for the whole mesh (`meshConfig.rootNamespace`, its default).
const ROOT_NAMESPACE: &str = "istio-system";

/// The mode in which a sidecar takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MutualTls {
    /// Both plain text and mutual TLS; it waits for the client's first bytes to tell them apart.
    Permissive,
    /// Mutual TLS only.
    Strict,
    /// Plain text, passed through untouched.
    Disabled,
}

impl MutualTls {
    fn parse(mtls: Option<&Value>) -> Option<Self> {
        match mtls?.get("mode")?.as_str()? {
            "PERMISSIVE" => Some(Self::Permissive),
            "STRICT" => Some(Self::Strict),
            "DISABLE" => Some(Self::Disabled),
            // UNSET, and anything a later version may bring, inherits.
            _ => None,
        }
    }

    /// The name of the mode in a PeerAuthentication.
    pub fn name(self) -> &'static str {
        match self {
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
            Self::Disabled => "DISABLE",
        }
    }
}

/// The mode that holds for a port of a pod, and the PeerAuthentications that decide it.
///
/// As istiod composes it: the mesh's policy, overridden by the namespace's, overridden by the workload's, overridden by
/// the workload's entry for the port; of several at one level the oldest alone counts; selectors in the root namespace
/// are ignored; without any policy the mode is PERMISSIVE.
pub fn mutual_tls<'a>(
    policies: &'a [ObjectFacts],
    namespace: &str,
    labels: &BTreeMap<String, String>,
    port: u16,
) -> (MutualTls, Vec<&'a ObjectFacts>) {
    let peers: Vec<&ObjectFacts> = policies.iter().filter(|policy| policy.kind == "PeerAuthentication").collect();
    let oldest = |wanted: &dyn Fn(&ObjectFacts) -> bool| {
        let found = peers.iter().copied().filter(|policy| wanted(policy));
        // A policy whose age is not known counts as younger than every other.
        found.min_by_key(|policy| (policy.created.is_none(), policy.created, policy.name.as_str()))
    };
    let mesh = oldest(&|policy| policy.namespace == ROOT_NAMESPACE && selector(policy).is_empty());
    let in_namespace = |policy: &ObjectFacts| policy.namespace == namespace && policy.namespace != ROOT_NAMESPACE;
    let whole = oldest(&|policy| in_namespace(policy) && selector(policy).is_empty());
    let own = oldest(&|policy| {
        let selector = selector(policy);
        in_namespace(policy) && !selector.is_empty() && matches(&selector, labels)
    });

    let mut mode = MutualTls::Permissive;
    let mut decided = Vec::new();
    for policy in [mesh, whole, own].into_iter().flatten() {
        if let Some(set) = MutualTls::parse(policy.spec.get("mtls")) {
            mode = set;
            decided.push(policy);
        }
    }
    if let Some(policy) = own {
        let ports = policy.spec.get("portLevelMtls");
        if let Some(set) = MutualTls::parse(ports.and_then(|ports| ports.get(port.to_string()))) {
            mode = set;
        }
        if !decided.iter().any(|known| std::ptr::eq(*known, policy)) {
            decided.push(policy);
        }
    }
    (mode, decided)
}

/// The PeerAuthentication that an own one for these pods would lose against: the oldest that selects them.
pub(super) fn workload_policy<'a>(
    policies: &'a [ObjectFacts],
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Option<&'a ObjectFacts> {
    workload_policies(policies, namespace, labels).first().copied()
}

/// The PeerAuthentications of a namespace that select a pod, oldest first.
pub(super) fn workload_policies<'a>(
    policies: &'a [ObjectFacts],
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Vec<&'a ObjectFacts> {
    let mut found: Vec<&ObjectFacts> = policies
        .iter()
        .filter(|policy| policy.kind == "PeerAuthentication" && policy.namespace == namespace)
        .filter(|policy| !selector(policy).is_empty() && matches(&selector(policy), labels))
        .collect();
    found.sort_by_key(|policy| (policy.created.is_none(), policy.created, policy.name.as_str()));
    found
}

/// The mode that a PeerAuthentication sets for one port.
pub(super) fn port_mode(policy: &ObjectFacts, port: u16) -> Option<MutualTls> {
    MutualTls::parse(policy.spec.get("portLevelMtls").and_then(|ports| ports.get(port.to_string())))
}

/// The AuthorizationPolicies that speak of a pod: those of the mesh and of its namespace, without a selector or with one
/// that selects it. Those with `targetRefs` are for gateways and waypoints, not for sidecars.
pub(super) fn authorizations<'a>(
    policies: &'a [ObjectFacts],
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Vec<&'a ObjectFacts> {
    policies
        .iter()
        .filter(|policy| policy.kind == "AuthorizationPolicy")
        .filter(|policy| policy.namespace == namespace || policy.namespace == ROOT_NAMESPACE)
        .filter(|policy| policy.spec.get("targetRefs").is_none() && policy.spec.get("targetRef").is_none())
        .filter(|policy| matches(&selector(policy), labels))
        .collect()
}

/// The rule of an AuthorizationPolicy that judges connections to a port by the peer's identity, if it has one. Identities come
/// with mutual TLS: without it such an ALLOW lets nobody in, and such a DENY or CUSTOM no longer sees whom it is about.
pub(super) fn identity_needed(policy: &ObjectFacts, port: u16) -> Option<String> {
    const SOURCES: [&str; 6] =
        ["principals", "notPrincipals", "namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts"];
    const KEYS: [&str; 3] = ["source.principal", "source.namespace", "source.serviceAccount"];
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let action = policy.spec.get("action").and_then(Value::as_str).unwrap_or("ALLOW");
    let port = Value::from(port.to_string());
    let covers = |rule: &Value| {
        let to = list(rule, "to");
        to.is_empty()
            || to.iter().any(|to| {
                let operation = to.get("operation").unwrap_or(&Value::Null);
                let (ports, not) = (list(operation, "ports"), list(operation, "notPorts"));
                (ports.is_empty() || ports.contains(&port)) && !not.contains(&port)
            })
    };
    let rules = list(&policy.spec, "rules");
    // A rule that asks nothing but the port lets everybody in, whatever others of an ALLOW ask.
    let ports_only = |to: &Value| {
        to.get("operation").and_then(Value::as_object).is_some_and(|operation| operation.keys().eq(["ports"]))
    };
    let open = |rule: &&Value| {
        list(rule, "from").is_empty() && list(rule, "when").is_empty() && list(rule, "to").iter().all(ports_only)
    };
    if action == "AUDIT" || action == "ALLOW" && rules.iter().filter(open).any(covers) {
        return None;
    }
    rules.iter().enumerate().filter(|(_, rule)| covers(rule)).find_map(|(number, rule)| {
        let sources = list(rule, "from");
        let by_source = sources.iter().find_map(|from| {
            let source = from.get("source")?;
            SOURCES.iter().find_map(|key| source.get(*key).map(|value| format!("from.source.{key} {value}")))
        });
        let conditions = list(rule, "when");
        let by_condition = conditions.iter().find_map(|when| {
            let key = when.get("key").and_then(Value::as_str)?;
            KEYS.contains(&key).then(|| format!("when.key {key}"))
        });
        by_source.or(by_condition).map(|by| format!("rule {}: {by}", number + 1))
    })
}

/// One line about a policy: where it is, whom it selects and what it says.
pub(super) fn describe(policy: &ObjectFacts) -> String {
    let selector = selector(policy);
    let whom = if selector.is_empty() {
        if policy.namespace == ROOT_NAMESPACE { "the whole mesh".to_owned() } else { "the whole namespace".to_owned() }
    } else {
        selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    };
    let says = if policy.kind == "AuthorizationPolicy" {
        let action = policy.spec.get("action").and_then(Value::as_str).unwrap_or("ALLOW");
        let rules = policy.spec.get("rules").and_then(Value::as_array).map_or(0, Vec::len);
        format!("action {action} with {rules} rule(s)")
    } else {
        let part = |key: &str| policy.spec.get(key).map(|value| format!("{key} {value}"));
        [part("mtls"), part("portLevelMtls")].into_iter().flatten().collect::<Vec<_>>().join(", ")
    };
    format!("{} {}/{} for {whom}: {says}", policy.kind, policy.namespace, policy.name)
}

fn selector(policy: &ObjectFacts) -> BTreeMap<String, String> {
    let labels =
        policy.spec.get("selector").and_then(|selector| selector.get("matchLabels")).and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// Whether labels have all that a selector asks for.
pub(super) fn matches(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
