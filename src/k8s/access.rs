//! The permissions this tool needs on each side, and asking the API server which of them the user lacks.

use super::{Cluster, K8sError, coredns, review};
use crate::{
    domain::{check::Side, facts::DeniedRule},
    wait::Deadline,
};

/// Where Istio's control plane and its mesh-wide policies are.
pub const ISTIO_NAMESPACE: &str = "istio-system";

/// Where a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Everywhere.
    Cluster,
    /// In the members' namespace.
    Members,
    /// In [`ISTIO_NAMESPACE`].
    Istio,
    /// Of the one namespace kube-system.
    KubeSystem,
}

/// Verb, group, resource, scope. `manifests/deploy/` grants exactly these; a test compares.
type Rule = (&'static str, &'static str, &'static str, Scope);

const SOURCE: &[Rule] = &[
    ("list", "", "nodes", Scope::Cluster),
    ("get", "", "namespaces", Scope::KubeSystem),
    ("get", "", "services", Scope::Members),
    ("list", "", "pods", Scope::Members),
    ("get", "", "pods/portforward", Scope::Members),
    ("create", "", "pods/portforward", Scope::Members),
    ("list", "security.istio.io", "peerauthentications", Scope::Members),
    ("list", "security.istio.io", "authorizationpolicies", Scope::Members),
    ("list", "security.istio.io", "peerauthentications", Scope::Istio),
    ("list", "security.istio.io", "authorizationpolicies", Scope::Istio),
];

const REPLICA: &[Rule] = &[
    ("list", "", "nodes", Scope::Cluster),
    ("get", "", "namespaces", Scope::KubeSystem),
    ("list", "networking.k8s.io", "servicecidrs", Scope::Cluster),
    ("list", "networking.istio.io", "serviceentries", Scope::Cluster),
    ("list", "", "pods", Scope::Members),
    ("get", "", "pods/exec", Scope::Members),
    ("create", "", "pods/exec", Scope::Members),
    ("get", "", "pods/portforward", Scope::Members),
    ("create", "", "pods/portforward", Scope::Members),
    ("get", "networking.istio.io", "serviceentries", Scope::Members),
    ("create", "networking.istio.io", "serviceentries", Scope::Members),
    ("patch", "networking.istio.io", "serviceentries", Scope::Members),
    ("delete", "networking.istio.io", "serviceentries", Scope::Members),
    ("get", "networking.istio.io", "destinationrules", Scope::Members),
    ("list", "networking.istio.io", "destinationrules", Scope::Members),
    ("create", "networking.istio.io", "destinationrules", Scope::Members),
    ("patch", "networking.istio.io", "destinationrules", Scope::Members),
    ("delete", "networking.istio.io", "destinationrules", Scope::Members),
    ("get", "coordination.k8s.io", "leases", Scope::Members),
    ("create", "coordination.k8s.io", "leases", Scope::Members),
    ("update", "coordination.k8s.io", "leases", Scope::Members),
    ("delete", "coordination.k8s.io", "leases", Scope::Members),
    ("list", "apps", "deployments", Scope::Istio),
];

/// An object that the configuration names: reading it is a permission of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A Secret.
    Secret(String),
    /// A resource of the Percona operator; `manifests/deploy/source/pxc/` grants it.
    Pxc(String),
}

/// A rule about kube-system, where the cluster's DNS is.
pub(crate) fn of_kube_system(verb: &str, group: &str, resource: &str, name: Option<&str>) -> DeniedRule {
    DeniedRule {
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        namespace: Some(coredns::NAMESPACE.into()),
        name: name.map(ToOwned::to_owned),
    }
}

/// What finding CoreDNS needs, asked for before it is known how its objects are called: they mostly are called so.
pub(crate) fn to_find_coredns() -> Vec<DeniedRule> {
    vec![of_kube_system("list", "apps", "deployments", None), of_kube_system("get", "", "configmaps", Some("coredns"))]
}

/// What writing into the template of a workload in the members' namespace needs.
pub(crate) fn to_restart(cluster: &Cluster, group: &str, resource: &str, name: &str) -> Vec<DeniedRule> {
    let rule = |verb: &str| DeniedRule {
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        namespace: Some(cluster.namespace().into()),
        name: Some(name.into()),
    };
    ["get", "patch"].map(rule).into()
}

/// What making, changing and taking away a PeerAuthentication of the source needs.
pub(crate) fn to_disable_mtls(namespace: &str) -> Vec<DeniedRule> {
    let rule = |verb: &str| DeniedRule {
        verb: verb.into(),
        group: "security.istio.io".into(),
        resource: "peerauthentications".into(),
        namespace: Some(namespace.into()),
        name: None,
    };
    ["create", "delete", "get", "patch"].map(rule).into()
}

/// The rules of one side, with reading each of the objects that its configuration names.
fn rules(side: Side, namespace: &str, objects: &[Named]) -> Vec<DeniedRule> {
    let table = match side {
        Side::Source => SOURCE,
        Side::Replica | Side::Client => REPLICA,
    };
    let named = |object: &Named| {
        let (group, resource, name) = match object {
            Named::Secret(name) => ("", "secrets", name),
            Named::Pxc(name) => ("pxc.percona.com", "perconaxtradbclusters", name),
        };
        DeniedRule {
            verb: "get".into(),
            group: group.into(),
            resource: resource.into(),
            namespace: Some(namespace.into()),
            name: Some(name.clone()),
        }
    };
    table.iter().map(|rule| in_words(rule, namespace)).chain(objects.iter().map(named)).collect()
}

fn in_words(&(verb, group, resource, scope): &Rule, namespace: &str) -> DeniedRule {
    DeniedRule {
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        namespace: match scope {
            Scope::Cluster | Scope::KubeSystem => None,
            Scope::Members => Some(namespace.into()),
            Scope::Istio => Some(ISTIO_NAMESPACE.into()),
        },
        name: (scope == Scope::KubeSystem).then(|| "kube-system".into()),
    }
}

/// Asks for every rule of the side and returns those that are denied, sorted. `served` says whether an API group is there:
/// rules about groups that are not served are not asked for.
pub(crate) async fn denied(
    cluster: &Cluster,
    side: Side,
    objects: &[Named],
    served: impl Fn(&str) -> bool,
    deadline: Deadline,
) -> Result<Vec<DeniedRule>, K8sError> {
    let wanted = rules(side, cluster.namespace(), objects).into_iter().filter(|rule| served(&rule.group));
    review::missing(cluster, wanted, deadline).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::config::manifest;

    /// Rules that are optional: without one of them the checks that read it are unknown, and nothing else changes. They are not asked
    /// for, as the request itself is answered.
    const OPTIONAL_SOURCE: &[Rule] =
        &[("list", "networking.k8s.io", "networkpolicies", Scope::Members), ("list", "", "services", Scope::Members)];

    const OPTIONAL_REPLICA: &[Rule] = &[
        ("list", "", "services", Scope::Cluster),
        ("list", "networking.istio.io", "destinationrules", Scope::Cluster),
        ("get", "", "namespaces", Scope::Members),
        ("get", "", "pods/log", Scope::Members),
        ("list", "networking.k8s.io", "networkpolicies", Scope::Members),
        ("list", "networking.istio.io", "sidecars", Scope::Members),
        ("list", "networking.istio.io", "sidecars", Scope::Istio),
        ("list", "security.istio.io", "authorizationpolicies", Scope::Members),
        ("list", "security.istio.io", "authorizationpolicies", Scope::Istio),
        ("get", "", "configmaps", Scope::Istio),
        ("list", "", "secrets", Scope::Istio),
        ("list", "pxc.percona.com", "perconaxtradbclusters", Scope::Members),
    ];

    fn strings<'a>(rule: &'a Value, key: &str) -> Vec<&'a str> {
        rule[key].as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    /// The rules of a Role or ClusterRole, in the words of the table.
    fn granted(text: &str) -> Vec<DeniedRule> {
        let role = manifest::parse(text);
        let namespace = role["metadata"]["namespace"].as_str();
        let mut rules = Vec::new();
        for rule in role["rules"].as_array().unwrap() {
            let names = strings(rule, "resourceNames");
            assert!(names.len() <= 1, "one name a rule");
            for group in strings(rule, "apiGroups") {
                for resource in strings(rule, "resources") {
                    for verb in strings(rule, "verbs") {
                        rules.push(DeniedRule {
                            verb: verb.into(),
                            group: group.into(),
                            resource: resource.into(),
                            namespace: namespace.map(Into::into),
                            name: names.first().map(|&name| name.to_owned()),
                        });
                    }
                }
            }
        }
        rules
    }

    macro_rules! deploy {
        ($side:literal) => {
            [
                include_str!(concat!("../../manifests/deploy/", $side, "/clusterrole.yaml")),
                include_str!(concat!("../../manifests/deploy/", $side, "/role.yaml")),
                include_str!(concat!("../../manifests/deploy/", $side, "/role-istio.yaml")),
            ]
        };
    }

    #[test]
    fn the_manifests_grant_what_is_asked_for_and_nothing_else() {
        for (side, texts) in [(Side::Source, deploy!("source")), (Side::Replica, deploy!("replica"))] {
            let listed: Vec<DeniedRule> = texts.iter().flat_map(|text| granted(text)).collect();
            let set: BTreeSet<DeniedRule> = listed.iter().cloned().collect();
            assert_eq!(set.len(), listed.len(), "{side}: a rule twice");
            let wanted: BTreeSet<DeniedRule> =
                rules(side, "pxc", &[Named::Secret("pxc-secrets".into())]).into_iter().collect();
            assert_eq!(set, wanted, "{side}");
        }
    }

    #[test]
    fn the_optional_manifests_grant_reading_and_nothing_else() {
        let optional = [
            include_str!("../../manifests/deploy/source/pxc/role.yaml"),
            include_str!("../../manifests/deploy/replica/addresses/clusterrole.yaml"),
        ];
        let shown: Vec<String> = optional.iter().flat_map(|text| granted(text)).map(|rule| rule.to_string()).collect();
        assert_eq!(
            shown,
            [
                "get perconaxtradbclusters.pxc.percona.com in namespace pxc",
                "list pods cluster-wide",
                "list services cluster-wide",
            ]
        );
    }

    #[test]
    fn the_optional_manifests_grant_what_is_read_where_it_may_be_and_nothing_else() {
        macro_rules! optional {
            ($($path:literal)+) => { [$(include_str!(concat!("../../manifests/deploy/", $path))),+].as_slice() };
        }
        let source = optional!("source/preflight/role.yaml");
        let replica = optional!(
            "replica/preflight/clusterrole.yaml" "replica/preflight/role.yaml" "replica/preflight/role-istio.yaml"
            "replica/remote-clusters/role-istio.yaml"
        );
        for (texts, table) in [(source, OPTIONAL_SOURCE), (replica, OPTIONAL_REPLICA)] {
            let listed: Vec<DeniedRule> = texts.iter().flat_map(|text| granted(text)).collect();
            let set: BTreeSet<DeniedRule> = listed.iter().cloned().collect();
            assert_eq!(set.len(), listed.len(), "a rule twice");
            assert_eq!(set, table.iter().map(|rule| in_words(rule, "pxc")).collect());
        }
    }

    #[test]
    fn the_optional_manifests_grant_what_the_offers_ask_for_and_nothing_else() {
        let here = |verb: &str, group: &str, resource: &str, name: Option<&str>| DeniedRule {
            namespace: Some("pxc".into()),
            ..of_kube_system(verb, group, resource, name)
        };
        let custom = |verb: &str| of_kube_system(verb, "", "configmaps", Some("coredns-custom"));
        let mut stub = to_find_coredns();
        stub.extend(["coredns", "coredns-custom"].map(|name| of_kube_system("patch", "", "configmaps", Some(name))));
        stub.extend([custom("get"), custom("delete"), of_kube_system("create", "", "configmaps", None)]);
        stub.push(of_kube_system("patch", "apps", "deployments", Some("coredns")));
        let restart = ["get", "patch"].map(|verb| here(verb, "apps", "statefulsets", Some("pxc"))).to_vec();
        for (text, wanted) in [
            (include_str!("../../manifests/deploy/replica/coredns/role.yaml"), stub),
            (include_str!("../../manifests/deploy/replica/restart/role.yaml"), restart),
            (include_str!("../../manifests/deploy/source/peerauthentication/role.yaml"), to_disable_mtls("pxc")),
        ] {
            let granted: BTreeSet<DeniedRule> = granted(text).into_iter().collect();
            assert_eq!(granted, wanted.into_iter().collect::<BTreeSet<_>>());
        }
    }

    #[test]
    fn every_binding_binds_its_role_to_the_one_user() {
        macro_rules! binding {
            ($($path:literal)+) => { [$(($path, include_str!(concat!("../../manifests/deploy/", $path)))),+] };
        }
        for (path, text) in binding!(
            "source/clusterrolebinding.yaml" "source/rolebinding.yaml" "source/rolebinding-istio.yaml"
            "replica/clusterrolebinding.yaml" "replica/rolebinding.yaml" "replica/rolebinding-istio.yaml"
            "source/pxc/rolebinding.yaml" "replica/addresses/clusterrolebinding.yaml"
            "source/preflight/rolebinding.yaml" "replica/preflight/clusterrolebinding.yaml"
            "replica/preflight/rolebinding.yaml" "replica/preflight/rolebinding-istio.yaml"
            "replica/remote-clusters/rolebinding-istio.yaml"
            "replica/coredns/rolebinding.yaml" "replica/restart/rolebinding.yaml" "source/peerauthentication/rolebinding.yaml"
        ) {
            let binding = manifest::parse(text);
            let role = path.rsplit_once('/').unwrap().0.replace('/', "-");
            assert_eq!(binding["roleRef"]["name"], format!("pxc-link-{role}"), "{path}");
            assert_eq!(binding["subjects"].as_array().unwrap().len(), 1, "{path}");
            assert_eq!(binding["subjects"][0]["name"], "pxc-link", "{path}");
        }
    }
}
