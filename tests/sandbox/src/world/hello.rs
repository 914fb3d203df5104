//! The light service `hello` of the source's cluster, its clients in the replica's, and who may link them.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use serde_json::json;

use super::layout::Cluster;
use super::wait::Wait;
use super::{World, WorldError, apply, rights};

/// The namespace of the service in the one cluster and of its standing client in the other.
pub const DEMO: &str = "demo";

/// The node port of the service's port 8080: HTTP.
pub const HELLO_HTTP: u16 = 31080;
/// The node port of the service's port 9000: what is sent comes back.
pub const HELLO_ECHO: u16 = 31900;
/// The node port of the service's port 9001: it greets, as MySQL does, and closes.
pub const HELLO_GREETING: u16 = 31901;

/// The service, or the client where the cluster is the replica's, and pxc-link's rights in the namespace.
pub(crate) fn objects(cluster: Cluster) -> Result<String, WorldError> {
    let workload = match cluster {
        Cluster::Production => include_str!("../manifests/hello.yaml").to_owned(),
        Cluster::Dr => client(DEMO),
    };
    Ok([namespace(cluster, DEMO), workload, rights::in_namespace(cluster, DEMO)?].join("\n---\n"))
}

fn namespace(cluster: Cluster, name: &str) -> String {
    let labels = if cluster.injects() { json!({"istio-injection": "enabled"}) } else { json!({}) };
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}).to_string()
}

fn client(namespace: &str) -> String {
    apply::fill(include_str!("../manifests/client.yaml"), &[("NAMESPACE", namespace)])
}

/// Waits until the cluster's part of it is ready.
pub(crate) async fn ready(client: &kube::Client, cluster: Cluster) -> Result<(), WorldError> {
    let name = match cluster {
        Cluster::Production => "hello",
        Cluster::Dr => "client",
    };
    rolled_out(client, cluster, DEMO, name).await
}

async fn rolled_out(client: &kube::Client, cluster: Cluster, namespace: &str, name: &str) -> Result<(), WorldError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let wait = Wait {
        what: format!("Deployment {name} of namespace {namespace} in cluster {cluster}"),
        deadline: Duration::from_secs(90),
        look: format!("kubectl --context {cluster} -n {namespace} describe pods"),
    };
    wait.until(async || {
        let status = deployments.get(name).await.map_err(|error| error.to_string())?.status.unwrap_or_default();
        let (wanted, ready) = (status.replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0));
        if wanted > 0 && ready >= wanted { Ok(()) } else { Err(format!("{ready} of {wanted} are ready")) }
    })
    .await
}

impl World {
    /// Makes namespaces of the replica's cluster, each with a light client and pxc-link's rights in it, and waits for the
    /// clients. The client is Deployment `client`, its pods have label `app=client`, its container is `client`.
    pub async fn make_clients(&self, namespaces: &[&str]) -> Result<(), WorldError> {
        let (cluster, api) = (Cluster::Dr, self.client(Cluster::Dr).await?);
        let mut texts = Vec::new();
        for name in namespaces {
            texts.extend([namespace(cluster, name), client(name), rights::in_namespace(cluster, name)?]);
        }
        apply::apply(&api, cluster, apply::parse("clients", &texts.join("\n---\n"))?).await?;
        for name in namespaces {
            rolled_out(&api, cluster, name, "client").await?;
        }
        Ok(())
    }
}
