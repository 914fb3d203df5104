//! Mutual TLS between a plain connection and the source's pods: which sidecars wait for it, and what takes a port out of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ask, ids,
    kubectl::{Kubectl, with},
    member, pods,
    policy::{self, MutualTls},
};
use crate::domain::{
    check::{Check, Side},
    code::Code,
    desired,
    facts::{Facts, ObjectFacts, PodMember, ProbeEnd, Sidecar},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::{MeshLink, SourceLocation},
};

/// What a source pod's sidecar does with a connection in plain text.
pub(super) struct Guard<'a> {
    pub(super) member: PodMember<'a>,
    pub(super) mode: MutualTls,
    pub(super) decided: Vec<&'a ObjectFacts>,
}

/// The sidecars of the source's pods that take the connection to a port of the mesh name, and their modes.
pub(super) fn guards<'a>(spec: MeshLink<'_>, facts: &'a Facts, number: u16) -> Vec<Guard<'a>> {
    let port = source_port(spec, facts, number);
    let namespace = source_namespace(spec);
    let excluded = |one: &PodMember<'_>| {
        let ports = one.pod.annotations.get("traffic.sidecar.istio.io/excludeInboundPorts");
        ports.is_some_and(|ports| ports.split(',').any(|item| item.trim() == port.to_string()))
    };
    pods(facts, Side::Source)
        .filter(|one| matches!(one.pod.sidecar, Sidecar::Present { .. }) && !excluded(one))
        .map(|member| {
            let (mode, decided) = policy::mutual_tls(policies(facts), namespace, &member.pod.labels, port);
            Guard { member, mode, decided }
        })
        .collect()
}

/// The port that the source's pods listen on for a port of the mesh name. Where the Service gives it by a name of the pods, the
/// Service's own number stands for it.
pub(super) fn source_port(spec: MeshLink<'_>, facts: &Facts, number: u16) -> u16 {
    let ports = spec.ports();
    let port = ports.iter().find(|port| port.number == number);
    port.zip(facts.source.service())
        .and_then(|(port, service)| desired::service_port(spec, port, service))
        .map_or(number, |port| port.target.parse().unwrap_or(port.number))
}

pub(super) fn source_namespace(spec: MeshLink<'_>) -> &str {
    match spec.source {
        SourceLocation::Kubernetes { cluster, .. } => &cluster.namespace,
        SourceLocation::Endpoints(_) => "",
    }
}

fn policies(facts: &Facts) -> &[ObjectFacts] {
    facts.source.policies.as_ref().and_then(Fetched::got).map_or(&[], Vec::as_slice)
}

/// Judges, before anything is written, whether the source's sidecars take what comes from outside their mesh.
///
/// What is seen to get through is not called stopped: a mesh can be told to stop waiting (`protocolDetectionTimeout`).
pub(super) fn taken_plain(spec: MeshLink<'_>, facts: &Facts) -> Vec<Check> {
    let through = gets_through(spec, facts);
    let mut checks = Vec::new();
    for port in spec.ports() {
        let number = source_port(spec, facts, port.number);
        let guards = guards(spec, facts, port.number);
        for one in pods(facts, Side::Source) {
            let asked = ask(ids::PEER_PLAIN, member(Side::Source, &one));
            let Some(guard) = guards.iter().find(|guard| guard.member.pod.uid == one.pod.uid) else {
                checks.push(asked.passed([format!("no sidecar takes port {number}")]));
                continue;
            };
            let mode = format!("{} on port {number}", guard.mode.name());
            checks.push(match &facts.source.policies {
                Some(Fetched::Failed(problem)) => asked.unfetched(problem),
                _ if !stops(spec, guard.mode) => asked.passed([mode]),
                _ if through => asked.passed([mode, "connections get through all the same".to_owned()]),
                _ => asked.failed(waits(spec, facts, port.number, guard)),
            });
        }
    }
    checks
}

/// Whether a mode stops the link's connections: where the server speaks first, PERMISSIVE waits for ever.
fn stops(spec: MeshLink<'_>, mode: MutualTls) -> bool {
    match mode {
        MutualTls::Strict => true,
        MutualTls::Permissive => spec.replication().is_some(),
        MutualTls::Disabled => false,
    }
}

fn gets_through(spec: MeshLink<'_>, facts: &Facts) -> bool {
    let answered = |end: &ProbeEnd| matches!(end, ProbeEnd::Answered { .. });
    let proven = facts.paths.iter().any(|path| path.probe.got().is_some_and(|probe| answered(&probe.end)));
    let attached = spec.replication().is_some_and(|link| {
        desired::carriers(link, facts).iter().filter_map(|member| member.server()).any(|server| {
            let own = |name: &str| name.eq_ignore_ascii_case(&link.replication.channel);
            server.channels.iter().any(|channel| own(&channel.name) && channel.receiver.is_on())
        })
    });
    proven || attached
}

/// A sidecar that waits for what never comes, and how the port is taken out of mutual TLS.
pub(super) fn waits(spec: MeshLink<'_>, facts: &Facts, number: u16, guard: &Guard<'_>) -> Problem {
    let port = source_port(spec, facts, number);
    let pod = &guard.member.pod.name;
    let (code, what) = match (guard.mode, spec.replication().is_some()) {
        (MutualTls::Strict, true) => (
            Code::StrictHang,
            format!(
                "the sidecar of source pod `{pod}` takes mutual TLS only (STRICT) on port {port} and waits for a TLS hello that MySQL never sends"
            ),
        ),
        (MutualTls::Strict, false) => (
            Code::StrictHang,
            format!(
                "the sidecar of source pod `{pod}` takes mutual TLS only (STRICT) on port {port}, and what comes through the link is plain"
            ),
        ),
        _ => (
            Code::PermissiveHang,
            format!(
                "the sidecar of source pod `{pod}` is PERMISSIVE on port {port} and waits for the client's first bytes, while MySQL's client waits for the server's greeting"
            ),
        ),
    };
    let mut problem = Problem::new(code, what).seen(format!(
        "source {pod} has an istio-proxy container; effective mutual TLS on port {port}: {}",
        guard.mode.name()
    ));
    if let Some(Fetched::Failed(unread)) = &facts.source.policies {
        problem =
            problem.seen(format!("PeerAuthentications were not read ({}), so the default is assumed", unread.message));
    }
    for policy in &guard.decided {
        problem = problem.seen(policy::describe(policy));
    }
    let namespace = source_namespace(spec);
    for policy in policy::authorizations(policies(facts), namespace, &guard.member.pod.labels) {
        problem = problem.seen(format!(
            "{}; without mutual TLS a rule on principals no longer sees who connects",
            policy::describe(policy)
        ));
    }
    let Some(kubectl) = Kubectl::of(&spec, facts, Side::Source) else { return problem };
    let labels = &guard.member.pod.labels;
    let command = match policy::workload_policy(policies(facts), namespace, labels) {
        // The oldest policy of a workload is the only one that counts: a second one would do nothing.
        Some(existing) => {
            let patch =
                serde_json::json!({"spec": {"portLevelMtls": {port.to_string(): {"mode": "DISABLE"}}}}).to_string();
            kubectl.line(&["patch", "peerauthentication", &existing.name, "--type", "merge", "-p", &patch])
        }
        None => kubectl.apply(&flow(spec, &selector(facts, labels), port)),
    };
    problem.hint(with(
        Hint::text(format!(
            "take port {port} of the source's pods out of mutual TLS, for everybody in that mesh; no pod is restarted, and MySQL's own TLS (`tls`) encrypts instead; `pxc-link setup --source {} --disable-source-mtls` does it as a step of its own",
            spec.name
        )),
        [command],
    ))
}

/// A policy that takes the link's port out of mutual TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// The policy that decides for the pods already, which a second one would lose against; `None` where there is none.
    pub existing: Option<String>,
    /// The labels of the pods.
    pub selector: BTreeMap<String, String>,
    /// The link's ports that the pods listen on, those too that the policy takes out already.
    pub ports: BTreeSet<u16>,
    /// Those that it does not take out yet, each with the mode that it has of its own for it.
    pub changed: BTreeMap<u16, Option<MutualTls>>,
}

/// The policies to make or to change so that plain connections reach the source's pods; none where they do already.
///
/// # Errors
/// [`Code::IdentityNeeded`] where an authorization relies on what plain connections do not have.
pub fn exemptions(spec: MeshLink<'_>, facts: &Facts) -> Result<Vec<Exemption>, Problem> {
    let (own, namespace) = (own_name(spec), source_namespace(spec));
    let mut found: BTreeMap<_, Exemption> = BTreeMap::new();
    for port in spec.ports() {
        for guard in guards(spec, facts, port.number) {
            let (labels, stops) = (&guard.member.pod.labels, stops(spec, guard.mode));
            let port = source_port(spec, facts, port.number);
            for policy in policy::authorizations(policies(facts), namespace, labels).into_iter().filter(|_| stops) {
                if let Some(by) = policy::identity_needed(policy, port) {
                    return Err(identity_needed(spec, facts, policy, port, &by));
                }
            }
            let existing = policy::workload_policy(policies(facts), namespace, labels);
            let mode = existing.and_then(|policy| policy::port_mode(policy, port));
            if !stops && mode != Some(MutualTls::Disabled) {
                continue;
            }
            let existing = existing.map(|policy| policy.name.clone()).filter(|name| *name != own);
            let selector = selector(facts, labels);
            let exemption = found.entry((existing.clone(), selector.clone())).or_insert_with(|| Exemption {
                existing,
                selector,
                ports: BTreeSet::new(),
                changed: BTreeMap::new(),
            });
            exemption.ports.insert(port);
            if stops {
                exemption.changed.insert(port, mode);
            }
        }
    }
    Ok(found.into_values().filter(|exemption| !exemption.changed.is_empty()).collect())
}

/// The name of a PeerAuthentication that is made for a link.
pub fn own_name(spec: MeshLink<'_>) -> String {
    format!("pxc-link-{}", spec.name)
}

fn identity_needed(spec: MeshLink<'_>, facts: &Facts, policy: &ObjectFacts, port: u16, by: &str) -> Problem {
    let place = format!("{}/{}", policy.namespace, policy.name);
    let commands = Kubectl::of(&spec, facts, Side::Source).map(|kubectl| {
        kubectl
            .line_in(&policy.namespace, &["get", "authorizationpolicies.security.istio.io", &policy.name, "-o", "yaml"])
    });
    Problem::new(
        Code::IdentityNeeded,
        format!("AuthorizationPolicy `{place}` judges by who connects to port {port}, which plain connections do not say"),
    )
    .seen(policy::describe(policy))
    .seen(by)
    .hint(with(
        Hint::text("have its owner write the rule for this port by `ipBlocks`, or keep it to other ports; then run the same command again"),
        commands,
    ))
}

/// The labels that select the source's pods: the Service's, or else a pod's own that its siblings share.
fn selector(facts: &Facts, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let service = facts.source.service().map(|service| &service.selector);
    // Labels that differ from pod to pod would leave the others out.
    let per_pod = |key: &str| {
        key.starts_with("statefulset.kubernetes.io/")
            || key.starts_with("apps.kubernetes.io/")
            || key.ends_with("-hash")
    };
    let selector = service.filter(|selector| !selector.is_empty()).unwrap_or(labels);
    selector.iter().filter(|(key, _)| !per_pod(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The PeerAuthentication that lets plain connections through, in YAML's flow style.
fn flow(spec: MeshLink<'_>, selector: &BTreeMap<String, String>, port: u16) -> String {
    let selector: Vec<String> = selector.iter().map(|(key, value)| format!("{key}: {}", yaml_text(value))).collect();
    format!(
        "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: {}, namespace: {}}}, spec: {{selector: {{matchLabels: {{{}}}}}, portLevelMtls: {{{port}: {{mode: DISABLE}}}}}}}}",
        own_name(spec),
        source_namespace(spec),
        selector.join(", "),
    )
}

/// A label value in YAML: bare where it can only be read as text.
fn yaml_text(value: &str) -> String {
    let word = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && !matches!(
            value.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        );
    if word { value.to_owned() } else { format!("'{value}'") }
}
