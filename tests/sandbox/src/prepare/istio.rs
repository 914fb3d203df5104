//! Istio's manifests, rendered by its own `istioctl` from the charts it carries.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::{Prepared, StepError, error::Doing as _};

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
    /// Takes about a second. `work` is a directory for the file that istioctl reads; it may be removed afterwards.
    pub fn istio_manifest(&self, settings: &IstioSettings, work: &Path) -> Result<String, StepError> {
        let what = "render Istio's manifests".to_owned();
        let file = work.join("istio-operator.json");
        fs::write(&file, operator(settings).to_string()).doing("write", &file)?;
        let program = self.bin("istioctl");
        let output = Command::new(&program)
            .args(["manifest", "generate", "--force", "--filename"])
            .arg(&file)
            // It looks for a cluster of the user's to fit the manifests to; there is none to ask.
            .env("KUBECONFIG", "/dev/null")
            .output()
            .map_err(|source| StepError::Start { what: what.clone(), program: "istioctl".to_owned(), source })?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(StepError::Program {
                what,
                program: "istioctl".to_owned(),
                status: output.status,
                last_line: said.lines().last().unwrap_or_default().to_owned(),
            })
        }
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
