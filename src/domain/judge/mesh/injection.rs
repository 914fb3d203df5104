//! Why a member has no sidecar, and what gives it one: labels of namespace and pod, the pod's age, the node's network, ambient mode.

use std::collections::BTreeMap;

use super::super::{
    Asked, ask, ids,
    kubectl::{Kubectl, annotate, own_network, restart, unlabel, with},
};
use crate::domain::{
    check::{Check, Subject},
    code::Code,
    facts::{Facts, PodMember},
    hint::{Hint, Remedy},
    problem::{Fetched, Problem},
    spec::MeshLink,
};

/// Opts a pod in or out of injection, as a label or, in older habits, an annotation.
const INJECT: &str = "sidecar.istio.io/inject";
/// The label of namespaces for the default revision: `enabled` or `disabled`.
const INJECTION: &str = "istio-injection";
/// The label of namespaces and pods for one revision.
const REVISION: &str = "istio.io/rev";
/// What istio-cni writes on pods whose traffic the node's ztunnel takes.
const AMBIENT: &str = "ambient.istio.io/redirection";

/// Judges the labels of the members' namespace by themselves: of two that ask for injection one is passed over.
pub(super) fn labels(spec: MeshLink<'_>, facts: &Facts) -> Check {
    let namespace = &spec.client.cluster.namespace;
    let asked = ask(ids::INJECTION_LABELS, Subject::Object(spec.client_side(), format!("Namespace/{namespace}")));
    let labels = match &facts.client.surroundings.namespace {
        Fetched::Got(labels) => labels,
        Fetched::Failed(problem) => return asked.unknown(problem.clone()),
    };
    match (labels.get(INJECTION), labels.get(REVISION)) {
        (Some(_), Some(_)) => asked.warned(both(labels, namespace).hint(with(
            Hint::text("take one of them off, which pods made from then on heed"),
            Kubectl::of(&spec, facts, spec.client_side()).map(|kubectl| single(&kubectl, labels)),
        ))),
        (Some(value), None) => asked.passed([format!("{INJECTION}={value}")]),
        (None, Some(value)) => asked.passed([format!("{REVISION}={value}")]),
        (None, None) => asked.passed(["neither label: pods are injected by labels of their own"]),
    }
}

fn both(labels: &BTreeMap<String, String>, namespace: &str) -> Problem {
    Problem::new(
        Code::TwoInjectionLabels,
        format!("namespace `{namespace}` has both `{INJECTION}` and `{REVISION}`; the first wins and the revision is passed over"),
    )
    .seen(format!("{INJECTION}={}", labels.get(INJECTION).map_or("", String::as_str)))
    .seen(format!("{REVISION}={}", labels.get(REVISION).map_or("", String::as_str)))
}

/// Takes the label off that wins, so that the revision is heeded.
fn single(kubectl: &Kubectl, labels: &BTreeMap<String, String>) -> Remedy {
    // `enabled` is what the default revision looks for: then the revision label is the one that says nothing new.
    let enabled = labels.get(INJECTION).is_some_and(|value| value == "enabled");
    let spare =
        if enabled && labels.get(REVISION).is_some_and(|value| value == "default") { REVISION } else { INJECTION };
    kubectl.line_bare(&["label", "namespace", kubectl.namespace(), &format!("{spare}-")])
}

/// Judges a member that has no sidecar.
pub(super) fn absent(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>, asked: Asked) -> Check {
    let pod = &one.pod;
    let name = &pod.name;
    let kubectl = Kubectl::of(&spec, facts, spec.client_side());
    let commands = |of: fn(&Kubectl, PodMember<'_>) -> Vec<Remedy>| {
        kubectl.as_ref().map_or_else(Vec::new, |kubectl| of(kubectl, one))
    };
    let labels = facts.client.surroundings.namespace.got();
    let mut seen = vec![format!("containers: {}", pod.containers.join(", "))];
    for (key, value) in pod.labels.iter().chain(&pod.annotations) {
        if key == INJECT || key == REVISION {
            seen.push(format!("{key}: {value}"));
        }
    }
    if let Some(labels) = labels {
        let relevant: Vec<String> =
            [INJECTION, REVISION].iter().filter_map(|key| Some(format!("{key}={}", labels.get(*key)?))).collect();
        seen.push(format!(
            "namespace {}: {}",
            spec.client.cluster.namespace,
            if relevant.is_empty() { "no label of injection".to_owned() } else { relevant.join(", ") }
        ));
    }
    let problem = |code: Code, what: String| {
        seen.iter().fold(Problem::new(code, what), |problem, line| problem.seen(line.clone()))
    };
    let no_proxy = format!("pod `{name}` has no istio-proxy container, so the mesh name means nothing in it");
    if pod.annotations.get(AMBIENT).is_some_and(|value| value == "enabled") {
        return asked.unknown(
            problem(
                Code::AmbientMember,
                format!("pod `{name}` is in ambient mode: it needs no sidecar, and its ztunnel cannot be looked at by this tool"),
            )
            .seen(format!("{AMBIENT}: enabled"))
            .hint(Hint::text("use sidecars in the members' namespace; links of ambient pods are not supported")),
        );
    }
    if pod.host_network {
        return asked.failed(
            problem(Code::HostNetwork, format!("pod `{name}` uses its node's network, which is never injected")).seen("hostNetwork: true").hint(
                with(Hint::text("take `hostNetwork` off the pod template, which makes the pods anew and so restarts what runs in them"), commands(own_network)),
            ),
        );
    }
    let opted = |map: &BTreeMap<String, String>, wanted: &str| map.get(INJECT).is_some_and(|value| value == wanted);
    if opted(&pod.labels, "false") {
        let text = "the pod template keeps its pods out of the mesh: take the label off, which makes the pods anew and so restarts what runs in them";
        let commands = commands(|kubectl, one| unlabel(kubectl, one, INJECT));
        return asked.failed(problem(Code::NoSidecar, no_proxy).hint(with(Hint::text(text), commands)));
    }
    if opted(&pod.annotations, "false") {
        let text = "the pod template keeps its pods out of the mesh: take the annotation off, which makes the pods anew and so restarts what runs in them";
        let commands = commands(|kubectl, one| annotate(kubectl, one, INJECT, None));
        return asked.failed(problem(Code::NoSidecar, no_proxy).hint(with(Hint::text(text), commands)));
    }
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    match (label(INJECTION), label(REVISION)) {
        (Some(_), Some(_)) => {
            let namespace_labels = labels.cloned().unwrap_or_default();
            let single = kubectl.as_ref().map(|kubectl| single(kubectl, &namespace_labels));
            let what = format!(
                "pod `{name}` has no istio-proxy container: its namespace has both `{INJECTION}` and `{REVISION}`, and the revision is passed over"
            );
            asked.failed(problem(Code::TwoInjectionLabels, what).hint(with(
                Hint::text("take the label off that wins, then make the pods anew, which restarts what runs in them"),
                single.into_iter().chain(commands(restart)),
            )))
        }
        (Some("enabled"), None) | (None, Some(_)) => {
            let what = format!(
                "pod `{name}` has no istio-proxy container although its namespace is injected: it is older than that, or the webhook did not answer when it was made"
            );
            asked.failed(problem(Code::OlderThanInjection, what).hint(with(
                Hint::text("make the pods anew, which restarts what runs in them"),
                commands(restart),
            )))
        }
        (None, None) if opted(&pod.labels, "true") => {
            let what = format!(
                "pod `{name}` asks for a sidecar by its label and has none: the webhook did not answer when it was made"
            );
            asked.failed(problem(Code::OlderThanInjection, what).hint(with(
                Hint::text("make the pods anew, which restarts what runs in them"),
                commands(restart),
            )))
        }
        _ => asked.failed(problem(Code::NoSidecar, no_proxy).hint(with(
            Hint::text("have the namespace injected (with a revision: label it `istio.io/rev` instead), then make the pods anew, which restarts what runs in them"),
            commands(inject),
        ))),
    }
}

/// Has the members' namespace injected and its pods made anew.
fn inject(kubectl: &Kubectl, one: PodMember<'_>) -> Vec<Remedy> {
    let label =
        kubectl.line_bare(&["label", "namespace", kubectl.namespace(), "istio-injection=enabled", "--overwrite"]);
    std::iter::once(label).chain(restart(kubectl, one)).collect()
}
