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
    if spec["paused"] == true {
        return Some("its rollout is paused".to_owned());
    }
    let partition = strategy["rollingUpdate"]["partition"].as_u64().filter(|partition| *partition > 0)?;
    Some(format!("its rolling update stops at partition {partition}"))
}

/// What a template's controller has left to do until every pod is made of the template as it is now; `None` when that is so.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn left_to_do(cluster: &Cluster, place: &Place, deadline: Deadline) -> Result<Option<String>, K8sError> {
    let request = place.api(cluster);
    let object = cluster.call(&format!("reading {}", place.title()), deadline, request.get(&place.name)).await?;
    let mut whole = object.data;
    whole["metadata"]["generation"] = object.metadata.generation.into();
    Ok(unfinished(place.kind, place.annotations.get(1).map_or("", String::as_str), &whole))
}

/// By the same figures as `kubectl rollout status`; of the operator's resource, by what it says of the part.
fn unfinished(kind: &str, part: &str, object: &Value) -> Option<String> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let figure = |value: &Value| value.as_u64().unwrap_or(0);
    if figure(&status["observedGeneration"]) < figure(&object["metadata"]["generation"]) {
        return Some("the change is not taken up yet".to_owned());
    }
    let replicas = spec["replicas"].as_u64().unwrap_or(1);
    let (wanted, figures): (u64, &[(&str, &Value)]) = match kind {
        "Deployment" => {
            (replicas, &[("made anew", &status["updatedReplicas"]), ("available", &status["availableReplicas"])])
        }
        "DaemonSet" => (
            figure(&status["desiredNumberScheduled"]),
            &[("made anew", &status["updatedNumberScheduled"]), ("available", &status["numberAvailable"])],
        ),
        "StatefulSet" => (replicas, &[("made anew", &status["updatedReplicas"]), ("ready", &status["readyReplicas"])]),
        _ => (figure(&spec[part]["size"]), &[("ready", &status[part]["ready"])]),
    };
    let behind = figures.iter().find(|(_, value)| figure(value) < wanted);
    let old = figure(&status["replicas"]).saturating_sub(wanted);
    match behind {
        Some((word, value)) => Some(format!("{} of {wanted} {word}", figure(value))),
        None if kind == "Deployment" && old > 0 => Some(format!("{old} to go")),
        None => None,
    }
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
    fn a_rollout_has_an_end_of_its_own_whatever_pods_there_were() {
        let seen = |kind: &str, status: Value| {
            let spec = json!({"replicas": 2, "pxc": {"size": 3}});
            unfinished(kind, "pxc", &json!({"metadata": {"generation": 2}, "spec": spec, "status": status}))
        };
        let left = |kind: &str, status: Value| seen(kind, status).unwrap_or_default();
        assert_eq!(left("StatefulSet", json!({"observedGeneration": 1})), "the change is not taken up yet");
        let status = |updated: u64, ready: u64| {
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": updated, "readyReplicas": ready,
                   "availableReplicas": ready})
        };
        for kind in ["StatefulSet", "Deployment"] {
            assert_eq!(left(kind, status(1, 2)), "1 of 2 made anew");
            assert!(left(kind, status(2, 1)).starts_with("1 of 2 "), "{kind}");
            assert_eq!(seen(kind, status(2, 2)), None, "{kind}");
        }
        let mut surged = status(2, 2);
        surged["replicas"] = json!(3);
        assert_eq!(left("Deployment", surged), "1 to go");
        let set = |updated: u64, available: u64| {
            json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": updated,
                   "numberAvailable": available})
        };
        assert_eq!(left("DaemonSet", set(3, 2)), "2 of 3 available");
        assert_eq!(seen("DaemonSet", set(3, 3)), None);
        let operator = |ready: u64| json!({"observedGeneration": 2, "pxc": {"ready": ready}});
        assert_eq!(left("PerconaXtraDBCluster", operator(2)), "2 of 3 ready");
        assert_eq!(seen("PerconaXtraDBCluster", operator(3)), None);
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
        assert!(stays(&json!({"paused": true, "strategy": {}})).unwrap().contains("paused"));
        assert!(
            stays(&json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}))
                .unwrap()
                .contains('2')
        );
    }
}
