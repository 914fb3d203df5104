//! Manifests: read, filled in, and applied to a cluster by server-side apply.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde::Deserialize;

use super::WorldError;
use super::layout::Cluster;
use super::wait::Wait;

/// Field manager of everything the sandbox applies.
const MANAGER: &str = "pxc-link-sandbox";

/// Requests under way at the same time.
const PARALLEL: usize = 8;

/// Puts values in the place of `${NAME}`.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

/// Objects as one YAML text.
pub(crate) fn documents(objects: &[serde_json::Value]) -> String {
    objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// The objects of a YAML text of several documents.
pub(crate) fn parse(name: &str, text: &str) -> Result<Vec<DynamicObject>, WorldError> {
    let wrong = |cause: String| WorldError::Manifest { name: name.to_owned(), cause };
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = serde_yaml::Value::deserialize(document).map_err(|cause| wrong(cause.to_string()))?;
        if value.is_null() {
            continue;
        }
        let object: DynamicObject = serde_yaml::from_value(value).map_err(|cause| wrong(cause.to_string()))?;
        if object.types.is_none() || object.metadata.name.is_none() {
            return Err(wrong("a document without apiVersion, kind or metadata.name".to_owned()));
        }
        objects.push(object);
    }
    Ok(objects)
}

/// Applies objects: first namespaces and definitions, then, when those are established, the rest.
pub(crate) async fn apply(
    client: &kube::Client,
    cluster: Cluster,
    objects: Vec<DynamicObject>,
) -> Result<(), WorldError> {
    let is = |object: &DynamicObject, kind: &str| object.types.as_ref().is_some_and(|types| types.kind == kind);
    let (first, rest): (Vec<_>, Vec<_>) =
        objects.into_iter().partition(|object| is(object, "Namespace") || is(object, "CustomResourceDefinition"));
    let definitions: Vec<_> = first
        .iter()
        .filter(|object| is(object, "CustomResourceDefinition"))
        .filter_map(|object| object.metadata.name.clone())
        .collect();
    put_all(client, cluster, first).await?;
    established(client, cluster, &definitions).await?;
    put_all(client, cluster, rest).await
}

async fn put_all(client: &kube::Client, cluster: Cluster, objects: Vec<DynamicObject>) -> Result<(), WorldError> {
    stream::iter(objects)
        .map(|object| put(client, cluster, object))
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

async fn put(client: &kube::Client, cluster: Cluster, object: DynamicObject) -> Result<(), WorldError> {
    let types = object.types.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let what = || format!("apply {} {name}", types.kind);
    let kind = GroupVersionKind::try_from(&types)
        .map_err(|cause| WorldError::Manifest { name: what(), cause: cause.to_string() })?;
    let resource = ApiResource::from_gvk(&kind);
    // Every namespaced object of these manifests says its namespace.
    let api: Api<DynamicObject> = match object.metadata.namespace.as_deref() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply(MANAGER).force();
    api.patch(&name, &params, &Patch::Apply(&object)).await.map(drop).map_err(|cause| WorldError::Api {
        what: what(),
        cluster: cluster.name(),
        cause: Box::new(cause),
    })
}

async fn established(client: &kube::Client, cluster: Cluster, names: &[String]) -> Result<(), WorldError> {
    if names.is_empty() {
        return Ok(());
    }
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let wait = Wait {
        what: format!("the custom resource definitions in cluster {cluster}"),
        deadline: Duration::from_secs(30),
        look: "kubectl get crd".to_owned(),
    };
    wait.until(async || {
        let list = api.list(&kube::api::ListParams::default()).await.map_err(|error| error.to_string())?;
        let ready = |name: &String| {
            list.items.iter().filter(|crd| crd.metadata.name.as_ref() == Some(name)).any(|crd| {
                let conditions = crd.status.iter().flat_map(|status| status.conditions.iter().flatten());
                conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
            })
        };
        match names.iter().find(|name| !ready(name)) {
            None => Ok(()),
            Some(name) => Err(format!("{name} is not established")),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_manifests_are_readable() {
        let coredns = fill(include_str!("../manifests/coredns.yaml"), &[("NODE", "n"), ("DNS", "10.96.0.10")]);
        assert_eq!(parse("coredns", &coredns).unwrap().len(), 5);
        let mysql = fill(
            include_str!("../manifests/mysql.yaml"),
            &[
                ("NAMESPACE", "pxc"),
                ("MEMBERS", "1"),
                ("SERVER_ID_BASE", "100"),
                ("SERVICE", "{}"),
                ("GROUP", ""),
                ("PORT_OF_GROUP", ""),
            ],
        );
        assert_eq!(parse("mysql", &mysql).unwrap().len(), 4);
        assert_eq!(parse("hello", include_str!("../manifests/hello.yaml")).unwrap().len(), 3);
    }

    #[test]
    fn an_object_without_a_name_is_refused() {
        assert!(parse("x", "apiVersion: v1\nkind: Secret\nmetadata: {}\n").is_err());
    }
}
