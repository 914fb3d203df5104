//! The cluster's CoreDNS: where its server blocks come from, and putting a text of them in another's place.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, KeyToPath, PodSpec, Volume},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{Cluster, K8sError, access, apply::MANAGER, observe::LINK_LABEL};
use crate::{
    domain::{code::Code, corefile::Corefile, facts::DeniedRule, hint::Hint, problem::Problem},
    wait::Deadline,
};

/// Where every distribution that this program knows of runs CoreDNS.
pub const NAMESPACE: &str = "kube-system";
/// The label of its Deployment: that of kube-dns, which came before it, whatever the Service and the Deployment are called.
const LABEL: &str = "k8s-app=kube-dns";

/// One key of a ConfigMap in [`NAMESPACE`], as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The ConfigMap.
    pub config_map: String,
    /// The key.
    pub key: String,
    /// Its text; `None` where the key is not there.
    pub text: Option<String>,
    /// The ConfigMap's other keys with their texts.
    others: BTreeMap<String, String>,
    /// The ConfigMap's version; `None` where the ConfigMap itself is not there.
    version: Option<String>,
    /// The ConfigMap was made by this tool.
    own: bool,
}

impl Part {
    /// As plans and reports call it.
    pub fn title(&self) -> String {
        title(&self.config_map, &self.key)
    }
}

fn title(config_map: &str, key: &str) -> String {
    format!("{NAMESPACE}/{config_map} key {key}")
}

/// CoreDNS as it is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreDns {
    /// Its Deployment.
    pub deployment: String,
    /// Its Corefile.
    pub corefile: Part,
    /// A file for a further server block that the Corefile imports from a ConfigMap, as k3s and AKS have it; they write their
    /// own Corefile over whatever is put into it.
    pub imported: Option<Part>,
    /// Further server blocks that the Corefile imports from the same ConfigMap: place and text.
    pub siblings: Vec<(String, String)>,
    /// What the Corefile says.
    pub read: Corefile,
}

impl CoreDns {
    /// Where a stub goes.
    pub fn home(&self) -> &Part {
        self.imported.as_ref().unwrap_or(&self.corefile)
    }

    /// The permissions that putting a stub in needs.
    pub fn rules(&self) -> Vec<DeniedRule> {
        let home = self.home();
        let write = if home.version.is_some() {
            access::of_kube_system("patch", "", "configmaps", Some(&home.config_map))
        } else {
            access::of_kube_system("create", "", "configmaps", None)
        };
        let restart = access::of_kube_system("patch", "apps", "deployments", Some(&self.deployment));
        std::iter::once(write).chain((!self.read.reloads).then_some(restart)).collect()
    }
}

/// Finds CoreDNS and reads what a stub of a link has to fit into.
///
/// # Errors
/// [`Code::StubRefused`] where there is no CoreDNS that is configured by a ConfigMap, and whatever a request can fail with.
pub async fn find(cluster: &Cluster, link: &str, deadline: Deadline) -> Result<CoreDns, Problem> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), NAMESPACE);
    let wanted = ListParams::default().labels(LABEL);
    let list = cluster.call("listing the Deployments of kube-system", deadline, api.list(&wanted)).await?;
    let found = list.items.iter().find_map(|deployment| {
        let spec = deployment.spec.as_ref()?.template.spec.as_ref()?;
        Some((deployment.name_any(), Installed::of(spec)?))
    });
    let (deployment, installed) = found.ok_or_else(|| {
        refused(link, format!("no CoreDNS was found in {}", cluster.target().name()))
            .seen(format!("Deployments of {NAMESPACE} with {LABEL} and a container with `-conf`: none"))
    })?;
    let (config_map, key) = installed.source(&installed.path).ok_or_else(|| {
        refused(link, format!("the Corefile of CoreDNS in {} is not in a ConfigMap", cluster.target().name()))
            .seen(format!("Deployment {NAMESPACE}/{deployment}: {}", installed.path))
    })?;
    let corefile = read(cluster, &config_map, &key, deadline).await?;
    let text = corefile.text.as_deref().unwrap_or_default();
    let read_as = Corefile::read(text).map_err(|why| unreadable(link, &corefile, &why))?;
    let (mut imported, mut siblings) = (None, Vec::new());
    if let Some(import) = read_as.imports.iter().find_map(|pattern| installed.import(pattern, link)) {
        let part = read(cluster, &import.config_map, &import.key, deadline).await?;
        // Keys of other endings are imported elsewhere if at all: lines for the inside of a block, for one.
        let same = part.others.iter().filter(|(key, _)| key.ends_with(&import.ending));
        siblings.extend(same.map(|(key, text)| (title(&import.config_map, key), text.clone())));
        imported = Some(part);
    }
    Ok(CoreDns { deployment, corefile, imported, siblings, read: read_as })
}

/// A text that cannot be given a stub, or freed of one.
pub fn unreadable(link: &str, part: &Part, why: &str) -> Problem {
    refused(link, format!("{} is not changed: it is not understood", part.title())).seen(why)
}

/// CoreDNS cannot have a stub; the other way remains.
pub fn refused(link: &str, message: impl Into<String>) -> Problem {
    Problem::new(Code::StubRefused, message).hint(Hint::run(
        "have the members' own sidecars answer DNS instead, which restarts what runs in them",
        ["pxc-link", "setup", "--source", link, "--dns", "restart-members"],
    ))
}

async fn read(cluster: &Cluster, config_map: &str, key: &str, deadline: Deadline) -> Result<Part, K8sError> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client(), NAMESPACE);
    let found = cluster.call(&format!("reading ConfigMap {config_map}"), deadline, api.get_opt(config_map)).await?;
    let data = found.as_ref().and_then(|found| found.data.as_ref());
    let others = data.into_iter().flatten().filter(|(other, _)| *other != key);
    Ok(Part {
        others: others.map(|(key, text)| (key.clone(), text.clone())).collect(),
        text: data.and_then(|data| data.get(key).cloned()),
        version: found.as_ref().and_then(ResourceExt::resource_version),
        own: found.as_ref().is_some_and(|found| found.labels().contains_key(LINK_LABEL)),
        config_map: config_map.to_owned(),
        key: key.to_owned(),
    })
}

/// Puts a text in the place of one that was read, or takes the key away. Refused by the API server where the ConfigMap changed
/// meanwhile.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn write(
    cluster: &Cluster,
    link: &str,
    part: &Part,
    text: Option<&str>,
    dry_run: bool,
    deadline: Deadline,
) -> Result<(), K8sError> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client(), NAMESPACE);
    let (name, key) = (part.config_map.as_str(), part.key.as_str());
    let manager = Some(MANAGER.to_owned());
    match (&part.version, text) {
        (None, None) => Ok(()),
        (None, Some(text)) => {
            let labels = [("app.kubernetes.io/managed-by", MANAGER), (LINK_LABEL, link)];
            let made = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(name.to_owned()),
                    labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                    ..ObjectMeta::default()
                },
                data: Some([(key.to_owned(), text.to_owned())].into()),
                ..ConfigMap::default()
            };
            let parameters = PostParams { dry_run, field_manager: manager };
            cluster
                .call(&format!("creating ConfigMap {name}"), deadline, api.create(&parameters, &made))
                .await
                .map(drop)
        }
        (Some(_), None) if part.own && part.others.is_empty() && !dry_run => {
            let parameters = DeleteParams::default();
            cluster.call(&format!("deleting ConfigMap {name}"), deadline, api.delete(name, &parameters)).await.map(drop)
        }
        (Some(version), text) => {
            let patch = json!({"metadata": {"resourceVersion": version}, "data": {key: text}});
            let parameters = PatchParams { dry_run, field_manager: manager, ..PatchParams::default() };
            let merge = Patch::Merge(&patch);
            let request = api.patch(name, &parameters, &merge);
            cluster.call(&format!("writing ConfigMap {name}"), deadline, request).await.map(drop)
        }
    }
}

/// Makes CoreDNS's pods anew, one after the other.
///
/// # Errors
/// Any of [`K8sError`].
pub async fn restart(cluster: &Cluster, deployment: &str, deadline: Deadline) -> Result<(), K8sError> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), NAMESPACE);
    cluster.call(&format!("restarting Deployment {deployment}"), deadline, api.restart(deployment)).await.map(drop)
}

/// What CoreDNS's pod template says of its files.
struct Installed {
    /// The Corefile, in the container.
    path: String,
    mounts: Vec<Mount>,
}

/// The link's own file among those that a Corefile imports.
#[derive(Debug, PartialEq, Eq)]
struct Import {
    config_map: String,
    key: String,
    /// What all keys that are imported end with.
    ending: String,
}

/// A ConfigMap that is mounted.
struct Mount {
    path: String,
    config_map: String,
    items: Vec<KeyToPath>,
}

impl Installed {
    fn of(spec: &PodSpec) -> Option<Self> {
        spec.containers.iter().find_map(|container| {
            let arguments = container.command.iter().chain(&container.args).flatten();
            let path = arguments.clone().zip(arguments.skip(1)).find(|(flag, _)| *flag == "-conf")?.1.clone();
            let volume = |name: &str| spec.volumes.iter().flatten().find(|volume: &&Volume| volume.name == name);
            let mounts = container.volume_mounts.iter().flatten().filter_map(|mount| {
                let source = volume(&mount.name)?.config_map.as_ref()?;
                Some(Mount {
                    path: mount.mount_path.trim_end_matches('/').to_owned(),
                    config_map: source.name.clone(),
                    items: source.items.clone().unwrap_or_default(),
                })
            });
            Some(Self { path, mounts: mounts.collect() })
        })
    }

    /// ConfigMap and key behind a file.
    fn source(&self, path: &str) -> Option<(String, String)> {
        let below = |mount: &Mount| path.strip_prefix(&mount.path)?.strip_prefix('/').map(ToOwned::to_owned);
        let (mount, file) = self
            .mounts
            .iter()
            .filter_map(|mount| Some((mount, below(mount)?)))
            .max_by_key(|(mount, _)| mount.path.len())?;
        let key = match mount.items.as_slice() {
            [] => file,
            items => items.iter().find(|item| item.path == file)?.key.clone(),
        };
        Some((mount.config_map.clone(), key))
    }

    /// A file of the link's own that a pattern such as `custom/*.server` imports; patterns are relative to the Corefile.
    fn import(&self, pattern: &str, link: &str) -> Option<Import> {
        let (folder, file) = pattern.rsplit_once('/')?;
        let ending = file.strip_prefix('*').filter(|ending| !ending.contains(['*', '?', '[']))?;
        let folder = if folder.starts_with('/') {
            folder.to_owned()
        } else {
            format!("{}/{folder}", self.path.rsplit_once('/')?.0)
        };
        let mount = self.mounts.iter().find(|mount| mount.path == folder && mount.items.is_empty())?;
        Some(Import {
            config_map: mount.config_map.clone(),
            key: format!("pxc-link-{link}{ending}"),
            ending: ending.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of k3s's and AKS's Deployment that matter.
    fn installed() -> Installed {
        let spec = json!({
            "containers": [{
                "name": "coredns", "args": ["-conf", "/etc/coredns/Corefile"],
                "volumeMounts": [
                    {"name": "config-volume", "mountPath": "/etc/coredns"},
                    {"name": "custom-config-volume", "mountPath": "/etc/coredns/custom"},
                    {"name": "tmp", "mountPath": "/tmp"},
                ],
            }],
            "volumes": [
                {"name": "config-volume", "configMap": {"name": "coredns", "items": [{"key": "Corefile", "path": "Corefile"}]}},
                {"name": "custom-config-volume", "configMap": {"name": "coredns-custom", "optional": true}},
                {"name": "tmp", "emptyDir": {}},
            ],
        });
        Installed::of(&serde_json::from_value(spec).unwrap()).unwrap()
    }

    fn pair(config_map: &str, key: &str) -> (String, String) {
        (config_map.to_owned(), key.to_owned())
    }

    #[test]
    fn the_corefile_is_found_behind_its_mount() {
        let installed = installed();
        assert_eq!(installed.source(&installed.path), Some(pair("coredns", "Corefile")));
        assert_eq!(installed.source("/etc/coredns/NodeHosts"), None, "no item of that path");
        assert_eq!(installed.source("/etc/coredns/custom/x.server"), Some(pair("coredns-custom", "x.server")));
        assert_eq!(installed.source("/etc/other"), None);
    }

    #[test]
    fn a_file_is_imported_by_relative_and_absolute_patterns_from_config_maps_only() {
        let installed = installed();
        for pattern in ["custom/*.server", "/etc/coredns/custom/*.server"] {
            let import = installed.import(pattern, "production").unwrap();
            assert_eq!((import.config_map, import.key), pair("coredns-custom", "pxc-link-production.server"));
            assert_eq!(import.ending, ".server", "keys of other endings are not imported there");
        }
        for pattern in ["custom/one.server", "/tmp/*.server", "custom/*/x", "*.server", "snippet"] {
            assert_eq!(installed.import(pattern, "production"), None, "{pattern}");
        }
    }
}
