//! Istio's manifests, rendered by its own `istioctl` from the charts it carries.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use super::{Cancel, Prepared, StepError, error::Doing as _, job::Job};

const RENDER_DEADLINE: Duration = Duration::from_mins(1);

/// What differs between the clusters and worlds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IstioSettings {
    /// The cluster's name in the mesh.
    pub cluster: String,
    /// The network's name.
    pub network: String,
    /// Whether the sidecars answer DNS queries for names of the mesh.
    pub dns_capture: bool,
}

impl Prepared {
    /// Renders all of Istio's objects for one cluster, as YAML documents.
    ///
    /// Takes about a second. `work` is a directory for what istioctl reads and logs.
    pub fn istio_manifest(&self, settings: &IstioSettings, work: &Path) -> Result<String, StepError> {
        let file = work.join("istio-operator.json");
        fs::write(&file, operator(settings).to_string()).doing("write", &file)?;
        let job = Job::new(work.to_owned(), work.join("istioctl.log"), Cancel::default());
        let mut render = Command::new(self.bin("istioctl"));
        render.args(["manifest", "generate", "--force", "--filename"]).arg(&file);
        // It would fit the manifests to the version of the user's cluster; there is none to ask.
        render.env("KUBECONFIG", "/dev/null");
        let manifest = job.output("render Istio's manifests", &mut render, RENDER_DEADLINE)?;
        job.sweep()?;
        Ok(manifest)
    }
}

/// JSON is YAML: what `istioctl install -f` reads.
fn operator(settings: &IstioSettings) -> Value {
    json!({
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "spec": {
            "profile": "minimal",
            "hub": "sandbox.local",
            "tag": "dev",
            "meshConfig": {
                "defaultProviders": {"metrics": []},
                "enablePrometheusMerge": false,
                "accessLogFile": "/dev/stdout",
                "defaultConfig": {"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": settings.dns_capture.to_string()}},
            },
            "values": {
                // As `istioctl install` does: the default revision validates objects without a revision label, too.
                "defaultRevision": "default",
                "global": {
                    "imagePullPolicy": "Never",
                    "multiCluster": {"clusterName": settings.cluster},
                    "network": settings.network,
                    "meshID": "sandbox",
                    "proxy": {"resources": {"requests": {"cpu": "10m", "memory": "40Mi"}}},
                },
                "telemetry": {"enabled": false},
                "pilot": {
                    // Upstream's Envoy lacks Istio's own filters; these keep them out of its configuration.
                    "env": {"PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"},
                    "resources": {"requests": {"cpu": "10m", "memory": "100Mi"}},
                    "autoscaleEnabled": false,
                },
            },
        },
    })
}
