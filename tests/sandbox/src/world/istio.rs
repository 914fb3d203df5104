//! The mesh of one cluster: Istio's own manifest, rendered once per settings and kept.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams};
use sha2::{Digest, Sha256};

use super::error::While;
use super::layout::Cluster;
use super::pki::Authority;
use super::wait::Wait;
use super::{WorldError, apply, files};
use crate::prepare::{IstioSettings, Prepared};

/// Namespace of the control plane.
pub const NAMESPACE: &str = "istio-system";

/// The rendered manifest of a cluster, made by `istioctl` unless it was made from the same before.
pub(crate) async fn manifest(prepared: &Prepared, cluster: Cluster, dns_capture: bool) -> Result<String, WorldError> {
    let settings =
        IstioSettings { cluster: cluster.name().to_owned(), network: cluster.network().to_owned(), dns_capture };
    let rendered = prepared.cache().root().join("rendered");
    let name = format!("{cluster}-{}", key(&settings, &prepared.bin("istioctl"))?);
    let kept = rendered.join(format!("{name}.yaml"));
    if kept.exists() {
        return files::read(&kept);
    }
    let work = rendered.join(format!(".{name}-{}", std::process::id()));
    files::make_dir(&work)?;
    let (prepared, directory) = (prepared.clone(), work.clone());
    let render = tokio::task::spawn_blocking(move || prepared.istio_manifest(&settings, &directory));
    let done = tokio::time::timeout(Duration::from_mins(1), render).await;
    let _ = fs::remove_dir_all(&work);
    let failed = |seen: String| WorldError::Program { program: "istioctl manifest generate".to_owned(), seen };
    let text = done
        .map_err(|_| failed("no end after a minute".to_owned()))?
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    files::write(&kept, &text)?;
    prune(&rendered);
    Ok(text)
}

/// Removes what was rendered for earlier builds of this program; the newest are enough for all settings.
fn prune(rendered: &Path) {
    const KEEP: usize = 16;
    let manifests = fs::read_dir(rendered).into_iter().flatten().flatten();
    let mut manifests: Vec<_> = manifests
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "yaml"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    manifests.sort();
    manifests.reverse();
    for (_, path) in manifests.iter().skip(KEEP) {
        // Another process may have removed it first.
        let _ = fs::remove_file(path);
    }
}

/// Changes when the settings, the program or this one do.
fn key(settings: &IstioSettings, istioctl: &Path) -> Result<String, WorldError> {
    let own = fs::metadata("/proc/self/exe").while_doing(|| "look at this program".to_owned())?;
    let its = fs::metadata(istioctl).while_doing(|| format!("look at {}", istioctl.display()))?;
    let mut hash = Sha256::new();
    hash.update(format!("{settings:?}"));
    for metadata in [own, its] {
        let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        hash.update(format!(" {} {}", metadata.len(), time.as_nanos()));
    }
    let hash = hash.finalize();
    Ok(BASE64.encode(&hash[..12]))
}

/// Writes the mesh's authorities, one root for both clusters, unless they are there.
pub(crate) fn make_authorities(dir: &Path) -> Result<(), WorldError> {
    if dir.join("complete").exists() {
        return Ok(());
    }
    files::make_dir(dir)?;
    let root = Authority::root("sandbox-mesh")?;
    files::write(&dir.join("root-cert.pem"), &root.certificate)?;
    for cluster in Cluster::ALL {
        let authority = root.intermediate(&format!("sandbox-mesh-{cluster}"))?;
        files::write(&dir.join(format!("{cluster}-cert.pem")), &authority.certificate)?;
        files::write(&dir.join(format!("{cluster}-key.pem")), &authority.key)?;
    }
    files::write(&dir.join("complete"), "")
}

/// The namespace and the Secret `cacerts`, as YAML; istiod must find them when it starts.
pub(crate) fn before(dir: &Path, cluster: Cluster) -> Result<String, WorldError> {
    let read = |name: String| files::read(&dir.join(name));
    let (certificate, root) = (read(format!("{cluster}-cert.pem"))?, read("root-cert.pem".to_owned())?);
    let objects = [
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"topology.istio.io/network": cluster.network()}},
        }),
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "cacerts", "namespace": NAMESPACE},
            "stringData": {
                "ca-cert.pem": certificate,
                "ca-key.pem": read(format!("{cluster}-key.pem"))?,
                "cert-chain.pem": format!("{certificate}{root}"),
                "root-cert.pem": root,
            },
        }),
    ];
    Ok(apply::documents(&objects))
}

/// Waits until istiod is ready and has put its certificate into the injection webhook.
pub(crate) async fn ready(client: &kube::Client, cluster: Cluster) -> Result<(), WorldError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let wait = Wait {
        what: format!("istiod in cluster {cluster}"),
        deadline: Duration::from_mins(2),
        look: format!("kubectl --context {cluster} -n {NAMESPACE} logs deploy/istiod"),
    };
    wait.until(async || {
        let istiod = deployments.get("istiod").await.map_err(|error| error.to_string())?;
        if istiod.status.and_then(|status| status.ready_replicas).unwrap_or(0) == 0 {
            return Err("no replica of the Deployment istiod is ready".to_owned());
        }
        let list = webhooks
            .list(&ListParams::default().labels("app=sidecar-injector"))
            .await
            .map_err(|error| error.to_string())?;
        let mut hooks = list.items.into_iter().flat_map(|item| item.webhooks.unwrap_or_default()).peekable();
        if hooks.peek().is_none() {
            return Err("there is no injection webhook".to_owned());
        }
        if hooks.any(|hook| hook.client_config.ca_bundle.is_none_or(|bundle| bundle.0.is_empty())) {
            return Err("the injection webhook has no certificate yet".to_owned());
        }
        Ok(())
    })
    .await
}

/// Waits until istiod has closed its validation webhooks: from then on an invalid object is refused, and every object while
/// istiod is gone.
pub(crate) async fn validates(client: &kube::Client, cluster: Cluster) -> Result<(), WorldError> {
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let wait = Wait {
        what: format!("Istio's validation webhooks in cluster {cluster}"),
        deadline: Duration::from_mins(1),
        look: format!("kubectl --context {cluster} get validatingwebhookconfigurations"),
    };
    wait.until(async || {
        let list =
            webhooks.list(&ListParams::default().labels("app=istiod")).await.map_err(|error| error.to_string())?;
        let mut hooks = list.items.into_iter().flat_map(|item| item.webhooks.unwrap_or_default()).peekable();
        if hooks.peek().is_none() {
            return Err("there is none".to_owned());
        }
        if hooks.any(|hook| hook.failure_policy.as_deref() != Some("Fail")) {
            return Err("not all of them have the failure policy Fail yet".to_owned());
        }
        Ok(())
    })
    .await
}
