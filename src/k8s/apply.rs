//! Server-side apply of the link's objects: what it would do, doing it, and finding and deleting what was made.

use std::time::Duration;

use futures::future::try_join_all;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::Status,
};
use serde_json::Value;

use super::{
    Cluster, K8sError,
    observe::{LINK_LABEL, istio},
};
use crate::{
    domain::{facts::OwnObject, plan::Preview},
    wait::Deadline,
};

/// How long a webhook may refuse connections before that is what is wrong.
const WEBHOOK: Duration = Duration::from_secs(4);
/// Between two tries.
const EVERY: Duration = Duration::from_millis(500);

/// The field manager, and the value of label `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "pxc-link";

/// The kinds that a link is made of: kind, plural.
const KINDS: [(&str, &str); 2] = [("ServiceEntry", "serviceentries"), ("DestinationRule", "destinationrules")];

/// Who applies, and how.
#[derive(Debug, Clone)]
pub struct Writer {
    /// The field manager.
    pub manager: String,
    /// Take over fields that another manager owns.
    pub force: bool,
    /// The command that applies, for whoever is to run it again with force.
    pub again: Vec<String>,
}

impl Writer {
    fn parameters(&self) -> PatchParams {
        let parameters = PatchParams::apply(&self.manager).validation_strict();
        if self.force { parameters.force() } else { parameters }
    }
}

/// Asks the API server what applying an object would make of it, without writing (`dryRun=All`): definitions and webhooks judge
/// it as they would the write. Fields that the server alone writes are left out of both.
///
/// # Errors
/// `Conflict`, `Rejected`, `WebhookDown`, and whatever a request can fail with.
pub async fn preview(
    cluster: &Cluster,
    object: &Value,
    writer: &Writer,
    deadline: Deadline,
) -> Result<Preview, K8sError> {
    let named = Named::of(object);
    let api = named.api(cluster);
    let what = format!("reading {}", named.title());
    let dry_run = writer.parameters().dry_run();
    let (before, after) = tokio::try_join!(
        cluster.call(&what, deadline, api.get_opt(&named.name)),
        patch(cluster, object, &dry_run, &writer.again, deadline),
    )?;
    Ok(Preview { before: before.map(stripped), after })
}

/// Compares an object as it is with what is to be applied.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn compared(cluster: &Cluster, wanted: &Value, deadline: Deadline) -> Result<OwnObject, K8sError> {
    let named = Named::of(wanted);
    let what = format!("reading {}", named.title());
    let live = cluster.call(&what, deadline, named.api(cluster).get_opt(&named.name)).await?;
    let live = live.map(|live| serde_json::to_value(live).unwrap_or_default());
    Ok(OwnObject::compared(wanted, live.as_ref(), MANAGER))
}

/// Applies an object and returns what became of it.
///
/// # Errors
/// As [`preview`].
pub async fn apply(cluster: &Cluster, object: &Value, writer: &Writer, deadline: Deadline) -> Result<Value, K8sError> {
    patch(cluster, object, &writer.parameters(), &writer.again, deadline).await
}

/// The link's objects in the members' namespace, found by their labels and never by name; `version` is one that is served.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn inventory(
    cluster: &Cluster,
    link: &str,
    version: &str,
    deadline: Deadline,
) -> Result<Vec<Value>, K8sError> {
    let mine = ListParams::default().labels(&format!("app.kubernetes.io/managed-by={MANAGER},{LINK_LABEL}={link}"));
    let list = |(kind, plural): (&str, &str)| {
        let resource = istio("networking.istio.io", version, kind, plural);
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), cluster.namespace(), &resource);
        // A list leaves the type of its items out.
        let types = kube::core::TypeMeta { api_version: resource.api_version.clone(), kind: kind.to_owned() };
        let (mine, what) = (&mine, format!("listing {plural}"));
        async move {
            let list = cluster.call(&what, deadline, api.list(mine)).await?;
            let whole = |mut object: DynamicObject| {
                object.types = Some(types.clone());
                stripped(object)
            };
            Ok::<_, K8sError>(list.items.into_iter().map(whole).collect::<Vec<_>>())
        }
    };
    Ok(try_join_all(KINDS.map(list)).await?.concat())
}

/// Deletes an object of [`inventory`]; `false` when it was gone already.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn delete(cluster: &Cluster, object: &Value, deadline: Deadline) -> Result<bool, K8sError> {
    let named = Named::of(object);
    let api = named.api(cluster);
    let what = format!("deleting {}", named.title());
    match cluster.call(&what, deadline, api.delete(&named.name, &DeleteParams::background())).await {
        Ok(_) => Ok(true),
        Err(K8sError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `Kind/name` of an object, as plans and reports call it.
pub fn title(object: &Value) -> String {
    Named::of(object).title()
}

/// `namespace/name` of an object.
pub fn place(object: &Value) -> String {
    let named = Named::of(object);
    format!("{}/{}", named.namespace, named.name)
}

/// An object by the type and the name of another, as it is now; `None` where it is not there.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn now(cluster: &Cluster, object: &Value, deadline: Deadline) -> Result<Option<Value>, K8sError> {
    let named = Named::of(object);
    let api = named.api(cluster);
    let found = cluster.call(&format!("reading {}", named.title()), deadline, api.get_opt(&named.name)).await?;
    Ok(found.map(stripped))
}

async fn patch(
    cluster: &Cluster,
    object: &Value,
    parameters: &PatchParams,
    again: &[String],
    deadline: Deadline,
) -> Result<Value, K8sError> {
    let named = Named::of(object);
    let api = named.api(cluster);
    let what = format!("applying {}", named.title());
    let patch = Patch::Apply(object);
    let settling = deadline.at_most(WEBHOOK);
    let answer = loop {
        let answer = deadline.bound(Box::pin(api.patch(&named.name, parameters, &patch))).await;
        match &answer {
            Ok(Err(kube::Error::Api(status))) if is_on_its_way(status) && !settling.left().is_zero() => {
                tracing::debug!("{what}: {}; trying again", status.message);
                tokio::time::sleep(EVERY).await;
            }
            _ => break answer,
        }
    };
    match answer {
        Ok(Ok(applied)) => Ok(stripped(applied)),
        Ok(Err(kube::Error::Api(status))) if !conflicts(&status).is_empty() => Err(K8sError::Conflict {
            target: cluster.target(),
            object: named.title(),
            again: again.to_vec(),
            fields: conflicts(&status),
        }),
        Ok(Err(error)) => Err(K8sError::of(&cluster.target(), &what, error)),
        Err(elapsed) => Err(K8sError::TimedOut { target: cluster.target(), what, elapsed }),
    }
}

/// Whether the API server could not connect to a webhook: the Service of an istiod that was just started leads to its pod a moment
/// after that is ready (seen on the sandbox). One that takes connections and does not answer is not waited for.
fn is_on_its_way(status: &Status) -> bool {
    status.message.contains("failed calling webhook")
        && ["no route to host", "connection refused"].iter().any(|why| status.message.contains(why))
}

/// The conflicts of a 409, one line a field: `field .spec.addresses: conflict with "kubectl-edit" using …`.
fn conflicts(status: &Status) -> Vec<String> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| format!("field {}: {}", cause.field, cause.message))
        .collect()
}

/// Without what the server alone writes and what says nothing about the object's meaning.
fn stripped(object: DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for field in ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"] {
            metadata.remove(field);
        }
    }
    value
}

/// Type and name of an object given as a value.
struct Named {
    resource: ApiResource,
    kind: String,
    namespace: String,
    name: String,
}

impl Named {
    fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let known = KINDS.iter().find(|(known, _)| *known == kind);
        let plural = known.map_or_else(|| format!("{}s", kind.to_lowercase()), |(_, plural)| (*plural).to_owned());
        Self {
            resource: istio(group, version, &kind, &plural),
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
            kind,
        }
    }

    fn title(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    fn api(&self, cluster: &Cluster) -> Api<DynamicObject> {
        Api::namespaced_with(cluster.client(), &self.namespace, &self.resource)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_found_by_its_own_type_and_name() {
        let object = json!({
            "apiVersion": "networking.istio.io/v1beta1", "kind": "ServiceEntry",
            "metadata": {"name": "pxc-source-production", "namespace": "pxc", "labels": {LINK_LABEL: "production"}},
        });
        let named = Named::of(&object);
        assert_eq!(named.title(), "ServiceEntry/pxc-source-production");
        assert_eq!((named.resource.plural.as_str(), named.resource.version.as_str()), ("serviceentries", "v1beta1"));
        assert_eq!(named.namespace, "pxc");
    }

    #[test]
    fn what_the_server_writes_is_not_part_of_the_comparison() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "X", "spec": {"a": 1}, "status": {"b": 2},
            "metadata": {"name": "x", "uid": "u", "resourceVersion": "7", "generation": 3, "managedFields": [],
                         "creationTimestamp": "2026-11-21T00:00:00Z"},
        }))
        .unwrap();
        assert_eq!(
            stripped(object),
            json!({"apiVersion": "v1", "kind": "X", "spec": {"a": 1}, "metadata": {"name": "x"}})
        );
    }

    #[test]
    fn conflicts_name_manager_and_field() {
        let status: Status = serde_json::from_value(json!({
            "status": "Failure", "code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict",
            "details": {"causes": [{"reason": "FieldManagerConflict", "field": ".spec.addresses",
                                    "message": "conflict with \"kubectl-edit\" using networking.istio.io/v1"}]},
        }))
        .unwrap();
        assert_eq!(
            conflicts(&status),
            [r#"field .spec.addresses: conflict with "kubectl-edit" using networking.istio.io/v1"#]
        );
    }
}
