//! What made a pod, as far as it decides where the pod's template is changed.

use super::facts::PodFacts;

/// What made a pod.
#[derive(Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The Percona operator; its resource's name.
    Operator(&'a str),
    /// A workload with a pod template: kind in lower case, and name.
    Workload(String, &'a str),
    /// Made by hand, or by something unknown.
    Nobody,
}

/// What made the pod. A ReplicaSet's Deployment has its name without the hash of the template, which is a label of the pod.
pub fn owner(pod: &PodFacts) -> Owner<'_> {
    let label = |key: &str| pod.labels.get(key).map(String::as_str);
    if label("app.kubernetes.io/managed-by") == Some("percona-xtradb-cluster-operator")
        && let Some(resource) = label("app.kubernetes.io/instance")
    {
        return Owner::Operator(resource);
    }
    match pod.owner.as_deref().and_then(|owner| owner.split_once('/')) {
        Some(("PerconaXtraDBCluster", name)) => Owner::Operator(name),
        Some((kind @ ("StatefulSet" | "Deployment" | "DaemonSet"), name)) => {
            Owner::Workload(kind.to_ascii_lowercase(), name)
        }
        Some(("ReplicaSet", name)) => {
            let hash = label("pod-template-hash").unwrap_or_default();
            match name.strip_suffix(hash).and_then(|name| name.strip_suffix('-')) {
                Some(name) if !hash.is_empty() => Owner::Workload("deployment".to_owned(), name),
                _ => Owner::Nobody,
            }
        }
        _ => Owner::Nobody,
    }
}

/// The part of the operator's resource that describes a pod of it: `pxc`, `haproxy` or `proxysql`.
pub fn operator_part(pod: &PodFacts) -> &str {
    match pod.labels.get("app.kubernetes.io/component").map(String::as_str) {
        Some(part @ ("haproxy" | "proxysql")) => part,
        _ => "pxc",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{facts::Sidecar, sample};

    #[test]
    fn the_holder_of_the_template_is_found_behind_what_owns_the_pod() {
        let mut pod = sample::pod("pxc-0", "dr-0", Sidecar::Absent);
        assert_eq!(owner(&pod), Owner::Workload("statefulset".to_owned(), "pxc"));
        pod.owner = Some("ReplicaSet/curl-6d5f7c9b8".to_owned());
        assert_eq!(owner(&pod), Owner::Nobody);
        pod.labels.insert("pod-template-hash".to_owned(), "6d5f7c9b8".to_owned());
        assert_eq!(owner(&pod), Owner::Workload("deployment".to_owned(), "curl"));
        pod.owner = None;
        assert_eq!(owner(&pod), Owner::Nobody);
        for (key, value) in [("managed-by", "percona-xtradb-cluster-operator"), ("instance", "cluster1")] {
            pod.labels.insert(format!("app.kubernetes.io/{key}"), value.to_owned());
        }
        assert_eq!((owner(&pod), operator_part(&pod)), (Owner::Operator("cluster1"), "pxc"));
        pod.labels.insert("app.kubernetes.io/component".to_owned(), "haproxy".to_owned());
        assert_eq!(operator_part(&pod), "haproxy");
    }
}
