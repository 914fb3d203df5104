//! A member's sidecar: is it there and ready, and is the link's traffic left to it?

use std::collections::BTreeMap;

use super::super::{
    ask, find, ids,
    kubectl::{Kubectl, annotate, restart, unlabel, with},
    member,
};
use crate::domain::{
    check::Check,
    code::Code,
    desired,
    facts::{Facts, MemberFacts, Sidecar},
    hint::{Hint, Remedy},
    problem::Problem,
    spec::LinkSpec,
};

/// Opts a pod in or out of injection, as a label or, in older habits, an annotation.
const INJECT: &str = "sidecar.istio.io/inject";

/// Judges a member's sidecar.
pub(super) fn sidecar(spec: &LinkSpec, facts: &Facts, one: &MemberFacts) -> Check {
    let asked = ask(ids::SIDECAR_PRESENT, member(spec.client_side(), one));
    let kubectl = Kubectl::of(spec, facts, spec.client_side());
    match one.pod.sidecar {
        Sidecar::Present { ready: true } => {
            let capture = if one.pod.dns_capture == Some(true) { "on" } else { "off" };
            asked.passed([format!("istio-proxy is ready, DNS capture is {capture}")])
        }
        Sidecar::Present { ready: false } => asked.failed(
            Problem::new(Code::MemberNotReady, format!("the sidecar of `{}` is not ready", one.pod.name))
                .seen("container istio-proxy: not ready")
                .hint(with(
                    Hint::text("its log says whether it reaches istiod and gets its certificate"),
                    kubectl.map(|kubectl| kubectl.line(&["logs", &one.pod.name, "-c", "istio-proxy", "--tail=50"])),
                )),
        ),
        Sidecar::Absent => {
            let mut problem = Problem::new(
                Code::NoSidecar,
                format!("pod `{}` has no istio-proxy container, so the mesh name means nothing in it", one.pod.name),
            )
            .seen(format!("containers: {}", one.pod.containers.join(", ")));
            for (key, value) in one.pod.labels.iter().chain(&one.pod.annotations) {
                if key == INJECT || key == "istio.io/rev" {
                    problem = problem.seen(format!("{key}: {value}"));
                }
            }
            let opted_out = |map: &BTreeMap<String, String>| map.get(INJECT).is_some_and(|value| value == "false");
            let (text, commands) = if opted_out(&one.pod.labels) {
                let text = "the pod template keeps its pods out of the mesh: take the label off, which makes the pods anew and so restarts MySQL in them";
                (text, kubectl.map_or_else(Vec::new, |kubectl| unlabel(&kubectl, one, INJECT)))
            } else if opted_out(&one.pod.annotations) {
                let text = "the pod template keeps its pods out of the mesh: take the annotation off, which makes the pods anew and so restarts MySQL in them";
                (text, kubectl.map_or_else(Vec::new, |kubectl| annotate(&kubectl, one, INJECT, None)))
            } else {
                let text = "have the namespace injected (with a revision: label it `istio.io/rev` instead), then make the pods anew, which restarts MySQL in them";
                (text, kubectl.map_or_else(Vec::new, |kubectl| inject(&kubectl, one)))
            };
            asked.failed(problem.hint(with(Hint::text(text), commands)))
        }
    }
}

/// Has the members' namespace injected and its pods made anew.
fn inject(kubectl: &Kubectl, one: &MemberFacts) -> Vec<Remedy> {
    let namespace = kubectl.namespace().to_owned();
    let label = kubectl.line_bare(&["label", "namespace", &namespace, "istio-injection=enabled", "--overwrite"]);
    std::iter::once(label).chain(restart(kubectl, one)).collect()
}

/// Judges whether a member's annotations leave the link's traffic to its sidecar.
pub(super) fn intercepted(spec: &LinkSpec, facts: &Facts, one: &MemberFacts) -> Check {
    const EXCLUDE_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
    const EXCLUDE_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
    const INCLUDE_RANGES: &str = "traffic.sidecar.istio.io/includeOutboundIPRanges";
    let asked = ask(ids::SIDECAR_INTERCEPTS, member(spec.client_side(), one));
    let vip = desired::desired_vip(spec, facts).ok().map(|(vip, _)| vip);
    let items = |key: &str| one.pod.annotations.get(key).map(|list| list.split(',').map(str::trim).collect::<Vec<_>>());
    let holds = |ranges: &[&str]| {
        vip.is_some_and(|vip| ranges.iter().any(|range| *range == "*" || desired::contains(range, vip)))
    };
    let ours: Vec<String> = spec.ports().iter().map(|port| port.number.to_string()).collect();
    let is_ours = |item: &&str| ours.iter().any(|port| port == item);
    let blame = if items(EXCLUDE_PORTS).is_some_and(|ports| ports.iter().any(is_ours)) {
        let kept: Vec<_> = items(EXCLUDE_PORTS).unwrap_or_default().into_iter().filter(|item| !is_ours(item)).collect();
        Some((EXCLUDE_PORTS, kept.join(",")))
    } else if items(EXCLUDE_RANGES).is_some_and(|ranges| holds(&ranges)) {
        let outside = |range: &&str| vip.is_none_or(|vip| *range != "*" && !desired::contains(range, vip));
        let kept: Vec<_> = items(EXCLUDE_RANGES).unwrap_or_default().into_iter().filter(outside).collect();
        Some((EXCLUDE_RANGES, kept.join(",")))
    } else if let Some(ranges) = items(INCLUDE_RANGES).filter(|ranges| vip.is_some() && !holds(ranges)) {
        Some((INCLUDE_RANGES, [ranges, vec!["240.0.0.0/4"]].concat().join(",")))
    } else {
        None
    };
    let Some((key, better)) = blame else { return asked.passed(["no annotation excludes it"]) };
    let value = one.pod.annotations.get(key).cloned().unwrap_or_default();
    let command = Kubectl::of(spec, facts, spec.client_side()).map_or_else(Vec::new, |kubectl| {
        annotate(&kubectl, one, key, Some(better.as_str()).filter(|better| !better.is_empty()))
    });
    asked.failed(
        Problem::new(
            Code::NotIntercepted,
            format!("annotation `{key}` of pod `{}` keeps the link's traffic away from the sidecar", one.pod.name),
        )
        .seen(format!("{key}: {value}"))
        .hint(with(
            Hint::text("change it on the pod template, which makes the pods anew and so restarts MySQL in them"),
            command,
        )),
    )
}

/// The verdict on a member's sidecar, for the stages that stand on it.
pub(in super::super) fn sidecar_verdict(spec: &LinkSpec, facts: &Facts, one: &MemberFacts) -> Option<Check> {
    let checks = [sidecar(spec, facts, one), intercepted(spec, facts, one)];
    let subject = member(spec.client_side(), one);
    [ids::SIDECAR_PRESENT, ids::SIDECAR_INTERCEPTS]
        .into_iter()
        .find_map(|id| find(&checks, id, &subject).filter(|check| !check.is_good()).cloned())
}
