//! Whether the members' sidecars get to see the link's ServiceEntry: the mesh's configuration, Sidecar resources, and what the
//! entry itself is exported to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    super::{
        ask, ids,
        kubectl::{Kubectl, with},
        member, pods,
        selector::{label_for, selects},
    },
    control_plane::config_of,
    objects,
};
use crate::domain::{
    check::{Check, Subject},
    code::Code,
    desired,
    facts::{Facts, NamedEntry, ObjectFacts, PodMember},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::MeshLink,
};

/// Where policies of the whole mesh are, unless the mesh's configuration says otherwise.
const ROOT_NAMESPACE: &str = "istio-system";

/// Judges whether an entry in the members' namespace can reach their sidecars, before there is one.
pub(super) fn visibility(spec: MeshLink<'_>, facts: &Facts) -> Vec<Check> {
    let mut checks = vec![discovered(spec, facts), uncapped(spec, facts)];
    checks.extend(pods(facts, spec.client_side()).map(|one| imported(spec, facts, one)));
    checks
}

fn namespace_subject(spec: MeshLink<'_>) -> Subject {
    Subject::Object(spec.client_side(), format!("Namespace/{}", spec.client.cluster.namespace))
}

/// `discoverySelectors`: istiod passes over namespaces that none of them selects, and over the ServiceEntries in them.
fn discovered(spec: MeshLink<'_>, facts: &Facts) -> Check {
    let asked = ask(ids::NAMESPACE_DISCOVERED, namespace_subject(spec));
    let config = match config_of(facts) {
        Ok(config) => config,
        Err(problem) => return asked.unknown(problem),
    };
    let selectors = config.settings.get("discoverySelectors").and_then(Value::as_array);
    let Some(selectors) = selectors.filter(|selectors| !selectors.is_empty()) else {
        return asked.passed(["no discoverySelectors: istiod looks at every namespace"]);
    };
    let labels = match &facts.client.surroundings.namespace {
        Fetched::Got(labels) => labels,
        Fetched::Failed(problem) => return asked.unknown(problem.clone()),
    };
    if let Some(selector) = selectors.iter().find(|selector| selects(selector, labels)) {
        return asked.passed([format!("discoverySelectors select it: {selector}")]);
    }
    let namespace = &spec.client.cluster.namespace;
    let label = selectors.iter().find_map(label_for).map(|(key, value)| format!("{key}={value}"));
    let commands = Kubectl::of(&spec, facts, spec.client_side())
        .zip(label)
        .map(|(kubectl, label)| kubectl.line_bare(&["label", "namespace", namespace, &label, "--overwrite"]));
    asked.failed(
        Problem::new(
            Code::NamespaceUndiscovered,
            format!("istiod does not look at namespace `{namespace}`, so no ServiceEntry in it reaches any sidecar"),
        )
        .seen(format!("discoverySelectors of revision {}: {}", config.revision, Value::from(selectors.clone())))
        .seen(format!("labels of the namespace: {}", words(labels)))
        .hint(with(Hint::text("give the namespace a label that one of the selectors asks for"), commands)),
    )
}

fn words(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

/// `serviceEntryVisibility`: an administrator may keep the entries of a namespace from everybody; sidecars heed it only with
/// `applyToSidecars` (since Istio 1.31).
fn uncapped(spec: MeshLink<'_>, facts: &Facts) -> Check {
    let asked = ask(ids::ENTRIES_ADMITTED, namespace_subject(spec));
    let config = match config_of(facts) {
        Ok(config) => config,
        Err(problem) => return asked.unknown(problem),
    };
    let cap = config.settings.get("serviceEntryVisibility");
    let Some(cap) = cap.filter(|cap| cap.get("applyToSidecars") == Some(&Value::Bool(true))) else {
        return asked.passed(["serviceEntryVisibility does not speak of sidecars"]);
    };
    let labels = match &facts.client.surroundings.namespace {
        Fetched::Got(labels) => labels,
        Fetched::Failed(problem) => return asked.unknown(problem.clone()),
    };
    // The first policy all of whose rules match decides; a rule of a kind that is not known never matches.
    let rule = |rule: &Value| rule.get("namespaceSelector").is_some_and(|selector| selects(selector, labels));
    let policies = cap.get("policies").and_then(Value::as_array).into_iter().flatten();
    let decided = policies
        .into_iter()
        .find(|policy| policy.get("matchingRules").and_then(Value::as_array).into_iter().flatten().all(rule));
    let visibility = match decided {
        Some(policy) => policy.get("visibility"),
        None => cap.get("defaultVisibility"),
    };
    if visibility.and_then(Value::as_str) != Some("NONE") {
        return asked.passed(["serviceEntryVisibility leaves entries of this namespace visible in it"]);
    }
    let namespace = &spec.client.cluster.namespace;
    let commands = Kubectl::of(&spec, facts, spec.client_side())
        .map(|kubectl| kubectl.line_in(ROOT_NAMESPACE, &["edit", "configmap", &config_map(&config.revision)]));
    asked.failed(
        Problem::new(
            Code::EntriesHidden,
            format!("the mesh's configuration hides every ServiceEntry of namespace `{namespace}` from all sidecars"),
        )
        .seen(format!("serviceEntryVisibility of revision {}: {cap}", config.revision))
        .hint(with(
            Hint::text("have the mesh's administrator add a policy that gives this namespace visibility NAMESPACE"),
            commands,
        )),
    )
}

/// The ConfigMap that has a revision's mesh configuration.
pub(super) fn config_map(revision: &str) -> String {
    if revision == "default" { "istio".to_owned() } else { format!("istio-{revision}") }
}

/// Sidecar resources: the one that holds for a member must import the mesh name.
fn imported(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>) -> Check {
    let asked = ask(ids::ENTRY_IMPORTED, member(spec.client_side(), &one));
    let sidecars = match &facts.client.surroundings.sidecars {
        Fetched::Got(sidecars) => sidecars,
        Fetched::Failed(problem) => return asked.unknown(problem.clone()),
    };
    let namespace = &spec.client.cluster.namespace;
    let Some(sidecar) = holding(sidecars, namespace, &one.pod.labels) else {
        return asked.passed(["no Sidecar resource speaks of it: it sees all that is exported to its namespace"]);
    };
    let place = format!("Sidecar {}/{}", sidecar.namespace, sidecar.name);
    let ports: Vec<u16> = spec.ports().iter().map(|port| port.number).collect();
    let missing: Vec<u16> =
        ports.into_iter().filter(|port| !imports(&sidecar.spec, namespace, &spec.host, *port)).collect();
    if missing.is_empty() {
        return asked.passed([format!("{place} imports it")]);
    }
    let own = sidecar.spec.get("outboundTrafficPolicy").and_then(|policy| policy.get("mode"));
    let of_mesh = || config_of(facts).ok()?.settings.get("outboundTrafficPolicy")?.get("mode");
    let closed = own.or_else(of_mesh).and_then(Value::as_str) == Some("REGISTRY_ONLY");
    let (code, end) = if closed {
        (Code::BlackHole, "and what it does not import it drops: outboundTrafficPolicy is REGISTRY_ONLY")
    } else {
        (Code::SidecarHides, "so its connections would leave the node as they are, to an address that nobody has")
    };
    let hosts = sidecar.spec.get("egress").map(ToString::to_string).unwrap_or_default();
    let shown: Vec<String> = missing.iter().map(ToString::to_string).collect();
    asked.failed(
        Problem::new(code, format!("{place} keeps `{}` from the sidecar of `{}`, {end}", spec.host, one.pod.name))
            .seen(format!("spec.egress: {hosts}"))
            .seen(format!("not imported: {}, port {}", spec.host, shown.join(", ")))
            .hint(with(
                Hint::text("import the mesh name there; sidecars learn of it at once, no pod is restarted"),
                Kubectl::of(&spec, facts, spec.client_side()).map(|kubectl| {
                    let patch = import(sidecar, &spec.host).to_string();
                    let arguments =
                        ["patch", "sidecars.networking.istio.io", &sidecar.name, "--type", "json", "-p", &patch];
                    kubectl.line_in(&sidecar.namespace, &arguments)
                }),
            )),
    )
}

/// The one Sidecar resource that holds for a pod, of a list with the oldest first: its namespace's that selects it, else its
/// namespace's without a selector, else the root namespace's.
fn holding<'a>(
    sidecars: &'a [ObjectFacts],
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Option<&'a ObjectFacts> {
    let selector = |sidecar: &ObjectFacts| sidecar.spec.get("workloadSelector").cloned();
    let selected = |sidecar: &&ObjectFacts| {
        selector(sidecar).is_some_and(|selector| {
            let labels_wanted = selector.get("labels").cloned().unwrap_or_default();
            selects(&json!({ "matchLabels": labels_wanted }), labels)
        })
    };
    let of = |wanted: &str| {
        let wanted = wanted.to_owned();
        sidecars.iter().filter(move |sidecar| sidecar.namespace == wanted)
    };
    let whole = |sidecar: &&ObjectFacts| selector(sidecar).is_none();
    of(namespace).find(selected).or_else(|| of(namespace).find(whole)).or_else(|| of(ROOT_NAMESPACE).find(whole))
}

/// Whether a Sidecar imports a host of the pod's own namespace at a port. Without egress listeners it imports everything; one
/// with a port serves that port alone.
fn imports(spec: &Value, namespace: &str, host: &str, port: u16) -> bool {
    let listeners = spec.get("egress").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if listeners.is_empty() {
        return true;
    }
    listeners
        .iter()
        .filter(|listener| {
            let own = listener.get("port").and_then(|port| port.get("number")).and_then(Value::as_u64);
            own.is_none_or(|own| own == u64::from(port))
        })
        .any(|listener| {
            let hosts = listener.get("hosts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let matching = |excluded: bool| {
                hosts.iter().filter_map(Value::as_str).filter_map(|text| text.split_once('/')).any(|(scope, name)| {
                    // `~ns/host` takes out of what the others bring in; `~` alone is of every namespace.
                    let (is_excluded, scope) = scope.strip_prefix('~').map_or((false, scope), |scope| (true, scope));
                    let scoped = matches!(scope, "*" | ".") || scope == namespace || is_excluded && scope.is_empty();
                    is_excluded == excluded && scoped && covers(name, host)
                })
            };
            matching(false) && !matching(true)
        })
}

/// Whether a host name, or a wildcard such as `*.global` or `*`, covers a host.
pub(super) fn covers(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_ascii_lowercase(), host.to_ascii_lowercase());
    pattern.strip_prefix('*').map_or(pattern == host, |tail| host.ends_with(tail))
}

/// The JSON patch that imports a host: into the first listener without a port, else the first of all.
fn import(sidecar: &ObjectFacts, host: &str) -> Value {
    let listeners = sidecar.spec.get("egress").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let index = listeners.iter().position(|listener| listener.get("port").is_none()).unwrap_or(0);
    json!([{"op": "add", "path": format!("/spec/egress/{index}/hosts/-"), "value": format!("./{host}")}])
}

/// Judges the link's own ServiceEntry as it stands: is it there, and exported to where the members are? Not for a setup, which
/// brings it in line.
pub(super) fn exported(spec: MeshLink<'_>, facts: &Facts) -> Check {
    let asked = ask(ids::ENTRY_EXPORTED, Subject::Link);
    let mesh = match &facts.client.mesh {
        Fetched::Got(mesh) => mesh,
        Fetched::Failed(problem) => return asked.unfetched(problem),
    };
    let namespace = &spec.client.cluster.namespace;
    let mending = match &facts.objects {
        Some(Fetched::Got(objects)) => objects::mending(spec, facts, objects),
        _ => Vec::new(),
    };
    let hint = if mending.is_empty() {
        let setup = ["pxc-link", "setup", "--source", &spec.name];
        Hint::run("setup brings the link's objects in line with its configuration", setup)
    } else {
        with(Hint::text("bring the link's objects in line with its configuration"), mending)
    };
    let Some(own) = mesh.entries.iter().find(|entry| desired::is_own(spec, entry)) else {
        let what =
            format!("the link has no ServiceEntry in namespace `{namespace}`, where the members' sidecars look for it");
        let mut problem = Problem::new(Code::EntryElsewhere, what);
        for entry in others(spec, facts) {
            problem = problem.seen(format!(
                "{}/{} has hosts {}, exported to {}",
                entry.namespace,
                entry.name,
                entry.hosts.join(", "),
                exports(&entry.export_to)
            ));
        }
        problem = problem.seen(format!("{} ServiceEntry object(s) looked at", mesh.entries.len()));
        return asked.failed(problem.hint(hint));
    };
    if own.is_visible_in(namespace) {
        return asked.passed([format!("{}/{}, exported to {}", own.namespace, own.name, exports(&own.export_to))]);
    }
    asked.failed(
        Problem::new(
            Code::EntryElsewhere,
            format!(
                "the link's ServiceEntry `{}/{}` is not exported to the namespace it is in, so the members do not see it",
                own.namespace, own.name
            ),
        )
        .seen(format!("spec.exportTo: {}", exports(&own.export_to)))
        .hint(hint),
    )
}

/// Whether the link's own ServiceEntry is where it belongs.
pub(super) fn has_entry(spec: MeshLink<'_>, facts: &Facts) -> bool {
    facts.client.mesh.got().is_some_and(|mesh| mesh.entries.iter().any(|entry| desired::is_own(spec, entry)))
}

/// The ServiceEntries of others for the mesh name.
pub(super) fn others<'a>(spec: MeshLink<'a>, facts: &'a Facts) -> impl Iterator<Item = &'a NamedEntry> {
    let entries = facts.client.mesh.got().into_iter().flat_map(|mesh| &mesh.entries);
    entries
        .filter(move |entry| !desired::is_own(spec, entry) && entry.hosts.iter().any(|host| covers(host, &spec.host)))
}

fn exports(export_to: &[String]) -> String {
    if export_to.is_empty() { "the mesh's default".to_owned() } else { export_to.join(", ") }
}
