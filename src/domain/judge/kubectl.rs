//! The command lines of hints: kubectl with the context and namespace of a side, chosen by what made the pod.

use crate::domain::{
    check::Side,
    facts::{Facts, PodMember},
    hint::{Hint, Remedy},
    spec::{ClusterRef, LinkSpec, SourceLocation},
};

use crate::domain::owner::operator_part;
pub(super) use crate::domain::owner::{Owner, owner};

/// The annotation that carries a proxy's own configuration.
const PROXY_CONFIG: &str = "proxy.istio.io/config";

/// kubectl for one side of a link.
pub(super) struct Kubectl {
    kubeconfig: Option<String>,
    context: Option<String>,
    namespace: String,
}

impl Kubectl {
    /// kubectl for a side; `None` where the configuration names no cluster for it.
    pub(super) fn of(spec: &LinkSpec, facts: &Facts, side: Side) -> Option<Self> {
        let mesh = spec.mesh()?;
        let (cluster, seen): (&ClusterRef, _) = match side {
            Side::Source => match mesh.source {
                SourceLocation::Kubernetes { cluster, .. } => (cluster, facts.source.cluster.as_ref()),
                SourceLocation::Endpoints(_) => return None,
            },
            Side::Replica | Side::Client => (&mesh.client.cluster, Some(&facts.client.cluster)),
        };
        let seen = seen.and_then(|cluster| cluster.got()).map(|cluster| cluster.context.clone());
        let context = cluster.context.clone().or(seen).filter(|context| context != "in-cluster");
        let kubeconfig = cluster.kubeconfig.as_ref().map(|path| path.display().to_string());
        Some(Self { kubeconfig, context, namespace: cluster.namespace.clone() })
    }

    /// The namespace of the side's members.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A command line in the side's own namespace.
    pub(super) fn line(&self, arguments: &[&str]) -> Remedy {
        self.line_in(&self.namespace, arguments)
    }

    /// A command line in another namespace of the side's cluster.
    pub(super) fn line_in(&self, namespace: &str, arguments: &[&str]) -> Remedy {
        let arguments = ["-n", namespace].into_iter().chain(arguments.iter().copied());
        Remedy::Argv(self.bare().into_iter().chain(arguments.map(ToOwned::to_owned)).collect())
    }

    /// A command line without a namespace, for what belongs to the whole cluster.
    pub(super) fn line_bare(&self, arguments: &[&str]) -> Remedy {
        Remedy::Argv(self.bare().into_iter().chain(arguments.iter().map(ToString::to_string)).collect())
    }

    /// Applies an object written as YAML in flow style, which needs no double quotes and no line breaks.
    pub(super) fn apply(&self, flow: &str) -> Remedy {
        let kubectl = shell_words::join(self.bare());
        let script = format!("echo \"{flow}\" | {kubectl} apply -f -");
        Remedy::Argv(vec!["sh".to_owned(), "-c".to_owned(), script])
    }

    fn bare(&self) -> Vec<String> {
        let mut argv = vec!["kubectl".to_owned()];
        if let Some(kubeconfig) = &self.kubeconfig {
            argv.extend(["--kubeconfig".to_owned(), kubeconfig.clone()]);
        }
        if let Some(context) = &self.context {
            argv.extend(["--context".to_owned(), context.clone()]);
        }
        argv
    }
}

/// Adds command lines to a hint.
pub(super) fn with(mut hint: Hint, commands: impl IntoIterator<Item = Remedy>) -> Hint {
    hint.commands.extend(commands);
    hint
}

/// Makes a member's pods anew and waits for them; empty where only a person knows how.
pub(super) fn restart(kubectl: &Kubectl, member: PodMember<'_>) -> Vec<Remedy> {
    let Some(workload) = workload(member) else { return Vec::new() };
    [kubectl.line(&["rollout", "restart", &workload])].into_iter().chain(rolled_out(kubectl, member)).collect()
}

/// Waits until a member's pods have been made anew.
fn rolled_out(kubectl: &Kubectl, member: PodMember<'_>) -> Option<Remedy> {
    workload(member).map(|workload| kubectl.line(&["rollout", "status", &workload, "--timeout=10m"]))
}

/// What holds the pod template, as `kind/name`. The operator owns a StatefulSet for each part, `<resource>-pxc` for one.
fn workload(member: PodMember<'_>) -> Option<String> {
    match owner(member.pod) {
        Owner::Operator(resource) => Some(format!("statefulset/{resource}-{}", operator_part(member.pod))),
        Owner::Workload(kind, name) => Some(format!("{kind}/{name}")),
        Owner::Nobody => None,
    }
}

/// Sets or removes (`None`) one annotation on the template of a member's pods, which makes them anew, and waits for that.
pub(super) fn annotate(kubectl: &Kubectl, member: PodMember<'_>, key: &str, value: Option<&str>) -> Vec<Remedy> {
    patch_metadata(kubectl, member, "annotations", key, value)
}

/// The same for a label.
pub(super) fn unlabel(kubectl: &Kubectl, member: PodMember<'_>, key: &str) -> Vec<Remedy> {
    patch_metadata(kubectl, member, "labels", key, None)
}

fn patch_metadata(kubectl: &Kubectl, member: PodMember<'_>, map: &str, key: &str, value: Option<&str>) -> Vec<Remedy> {
    let metadata = serde_json::json!({ map: { key: value } });
    let patch = match owner(member.pod) {
        Owner::Operator(resource) => {
            let patch = serde_json::json!({"spec": {operator_part(member.pod): metadata}}).to_string();
            kubectl.line(&["patch", "pxc", resource, "--type", "merge", "-p", &patch])
        }
        Owner::Workload(kind, name) => {
            let patch = serde_json::json!({"spec": {"template": {"metadata": metadata}}}).to_string();
            kubectl.line(&["patch", &kind, name, "--type", "merge", "-p", &patch])
        }
        Owner::Nobody => return Vec::new(),
    };
    [patch].into_iter().chain(rolled_out(kubectl, member)).collect()
}

/// Turns DNS capture on for a member's pods; empty where the pod has a proxy configuration that cannot be added to here
/// (Istio takes YAML, of which this reads the JSON part).
pub(super) fn capture_dns(kubectl: &Kubectl, member: PodMember<'_>) -> Vec<Remedy> {
    let own = member.pod.annotations.get(PROXY_CONFIG).map(|text| serde_json::from_str(text));
    let mut config = match own {
        None => serde_json::json!({}),
        Some(Ok(config @ serde_json::Value::Object(_))) => config,
        Some(_) => return Vec::new(),
    };
    config["proxyMetadata"]["ISTIO_META_DNS_CAPTURE"] = "true".into();
    annotate(kubectl, member, PROXY_CONFIG, Some(&config.to_string()))
}

/// A setting in a member's own proxy configuration, at its top or in `proxyMetadata`. Of YAML that is not JSON the lines are read.
pub(super) fn annotation_of_proxy(member: PodMember<'_>, key: &str) -> Option<String> {
    let text = member.pod.annotations.get(PROXY_CONFIG)?;
    if let Ok(config) = serde_json::from_str::<serde_json::Value>(text) {
        let value = config.get(key).or_else(|| config.get("proxyMetadata")?.get(key))?;
        return Some(value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned));
    }
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(name, _)| name.trim() == key);
    found.next().map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned())
}

/// Takes a setting out of a member's own proxy configuration; empty where that is YAML which cannot be written here.
pub(super) fn without_proxy_setting(kubectl: &Kubectl, member: PodMember<'_>, key: &str) -> Vec<Remedy> {
    let own = member.pod.annotations.get(PROXY_CONFIG).map(|text| serde_json::from_str(text));
    let Some(Ok(serde_json::Value::Object(mut config))) = own else { return Vec::new() };
    config.remove(key);
    let rest = (!config.is_empty()).then(|| serde_json::Value::Object(config).to_string());
    annotate(kubectl, member, PROXY_CONFIG, rest.as_deref())
}

/// Takes a member's pods off their nodes' network; empty where the template is not a workload's.
pub(super) fn own_network(kubectl: &Kubectl, member: PodMember<'_>) -> Vec<Remedy> {
    let Owner::Workload(kind, name) = owner(member.pod) else { return Vec::new() };
    let patch = serde_json::json!({"spec": {"template": {"spec": {"hostNetwork": null}}}}).to_string();
    let patch = kubectl.line(&["patch", &kind, name, "--type", "merge", "-p", &patch]);
    [patch].into_iter().chain(rolled_out(kubectl, member)).collect()
}
