//! The templates from which pods are made: one annotation of one, read and written; writing it makes the pods anew.

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Cluster, K8sError, access, apply::MANAGER, observe::istio as known};
use crate::{
    domain::{
        facts::{DeniedRule, PodFacts},
        owner::{Owner, operator_part, owner},
    },
    wait::Deadline,
};

/// Where the template of a pod is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    name: String,
    /// Where the annotations of the pods are in the object.
    annotations: Vec<String>,
}

impl Place {
    /// Where a pod's template is; `None` for a pod that nothing known made.
    pub fn of(pod: &PodFacts) -> Option<Self> {
        let (group, version, kind, plural) = match owner(pod) {
            Owner::Operator(_) => ("pxc.percona.com", "v1", "PerconaXtraDBCluster", "perconaxtradbclusters"),
            Owner::Workload(kind, _) => match kind.as_str() {
                "statefulset" => ("apps", "v1", "StatefulSet", "statefulsets"),
                "deployment" => ("apps", "v1", "Deployment", "deployments"),
                "daemonset" => ("apps", "v1", "DaemonSet", "daemonsets"),
                _ => return None,
            },
            Owner::Nobody => return None,
        };
        let (name, path) = match owner(pod) {
            Owner::Operator(name) => (name, ["spec", operator_part(pod), "annotations"].to_vec()),
            Owner::Workload(_, name) => (name, ["spec", "template", "metadata", "annotations"].to_vec()),
            Owner::Nobody => return None,
        };
        let annotations = path.into_iter().map(ToOwned::to_owned).collect();
        Some(Self { group, version, kind, plural, name: name.to_owned(), annotations })
    }

    /// `Kind/name`, as plans and reports call it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// The permissions that reading and writing it need.
    pub fn rules(&self, cluster: &Cluster) -> Vec<DeniedRule> {
        access::to_restart(cluster, self.group, self.plural, &self.name)
    }

    fn api(&self, cluster: &Cluster) -> Api<DynamicObject> {
        let resource = known(self.group, self.version, self.kind, self.plural);
        Api::namespaced_with(cluster.client(), cluster.namespace(), &resource)
    }
}

/// One annotation of a template, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The template.
    pub place: Place,
    /// The annotation's key.
    pub key: String,
    /// Its value; `None` where it is not there.
    pub value: Option<String>,
    /// Why a change of the template replaces no pod, or not every pod, if it does not.
    pub stays: Option<String>,
    version: Option<String>,
}

impl Annotation {
    /// Another annotation of the same template, of which no value is known.
    #[must_use]
    pub fn other(self, key: &str) -> Self {
        Self { key: key.to_owned(), value: None, ..self }
    }
}

/// Reads an annotation of a template.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn read(cluster: &Cluster, place: Place, key: &str, deadline: Deadline) -> Result<Annotation, K8sError> {
    let api = place.api(cluster);
    let object = cluster.call(&format!("reading {}", place.title()), deadline, api.get(&place.name)).await?;
    let annotations = place.annotations.iter().fold(&object.data, |value, step| &value[step]);
    Ok(Annotation {
        value: annotations[key].as_str().map(ToOwned::to_owned),
        stays: stays(&object.data["spec"]),
        version: object.metadata.resource_version.clone(),
        key: key.to_owned(),
        place,
    })
}

/// Why changed templates do not reach every pod. The operator replaces the pods of its StatefulSets itself, unless it is told not to.
fn stays(spec: &Value) -> Option<String> {
    let strategy = &spec["updateStrategy"];
    if strategy["type"] == "OnDelete" || *strategy == "OnDelete" {
        return Some("its update strategy is OnDelete".to_owned());
    }
    let partition = strategy["rollingUpdate"]["partition"].as_u64().filter(|partition| *partition > 0)?;
    Some(format!("its rolling update stops at partition {partition}"))
}

/// Writes the annotation. Refused by the API server where the object changed since it was read.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn write(
    cluster: &Cluster,
    annotation: &Annotation,
    value: &str,
    dry_run: bool,
    deadline: Deadline,
) -> Result<(), K8sError> {
    let place = &annotation.place;
    let innermost = json!({annotation.key.as_str(): value});
    let mut patch = place.annotations.iter().rev().fold(innermost, |inner, step| json!({step.as_str(): inner}));
    patch["metadata"] = json!({"resourceVersion": annotation.version});
    let parameters = PatchParams { dry_run, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let (api, merge) = (place.api(cluster), Patch::Merge(&patch));
    let request = api.patch(&place.name, &parameters, &merge);
    cluster.call(&format!("writing {}", place.title()), deadline, request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{facts::Sidecar, sample};

    #[test]
    fn a_template_is_where_its_owner_keeps_it() {
        let mut pod = sample::pod("pxc-0", "dr-0", Sidecar::Absent);
        let place = Place::of(&pod).unwrap();
        assert_eq!(
            (place.title().as_str(), place.annotations.join(".").as_str()),
            ("StatefulSet/pxc", "spec.template.metadata.annotations")
        );
        for (key, value) in
            [("managed-by", "percona-xtradb-cluster-operator"), ("instance", "cluster1"), ("component", "haproxy")]
        {
            pod.labels.insert(format!("app.kubernetes.io/{key}"), value.to_owned());
        }
        let place = Place::of(&pod).unwrap();
        assert_eq!(
            (place.title().as_str(), place.annotations.join(".").as_str()),
            ("PerconaXtraDBCluster/cluster1", "spec.haproxy.annotations")
        );
        let mut alone = sample::pod("x", "dr-0", Sidecar::Absent);
        alone.owner = None;
        assert_eq!(Place::of(&alone), None);
    }

    #[test]
    fn strategies_that_replace_no_pod_are_seen() {
        assert_eq!(
            stays(&json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}})),
            None
        );
        assert_eq!(stays(&json!({"updateStrategy": "SmartUpdate"})), None);
        assert!(stays(&json!({"updateStrategy": {"type": "OnDelete"}})).unwrap().contains("OnDelete"));
        assert!(stays(&json!({"updateStrategy": "OnDelete"})).unwrap().contains("OnDelete"));
        assert!(
            stays(&json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}))
                .unwrap()
                .contains('2')
        );
    }
}
