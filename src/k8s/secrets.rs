//! Reading one key of a Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::SecretString;

use super::{Cluster, K8sError};
use crate::wait::Deadline;

/// One key of a Secret in the members' namespace, as text. One newline at its end is not part of it.
///
/// # Errors
/// `Secret` when Secret or key is not there or the value is not UTF-8, and whatever a request can fail with. No error holds the
/// value.
pub async fn read(cluster: &Cluster, name: &str, key: &str, deadline: Deadline) -> Result<SecretString, K8sError> {
    let unusable = |detail: &str| K8sError::Secret {
        target: cluster.target(),
        namespace: cluster.namespace().to_owned(),
        secret: name.to_owned(),
        key: key.to_owned(),
        detail: detail.to_owned(),
    };
    let api: Api<Secret> = Api::namespaced(cluster.client(), cluster.namespace());
    let found = cluster.call(&format!("reading Secret {name}"), deadline, api.get_opt(name)).await?;
    let mut data = found.ok_or_else(|| unusable("there is no such Secret"))?.data.unwrap_or_default();
    let value = data.remove(key).ok_or_else(|| {
        let keys: Vec<&str> = data.keys().map(String::as_str).collect();
        unusable(&format!("the Secret has no such key; its keys are: {}", keys.join(", ")))
    })?;
    let text = String::from_utf8(value.0).map_err(|_| unusable("the value is not UTF-8"))?;
    Ok(SecretString::from(text.strip_suffix('\n').unwrap_or(&text)))
}
