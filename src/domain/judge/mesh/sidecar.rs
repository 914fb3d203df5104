//! A member's sidecar: is it there and ready, and is the link's traffic left to it?

use super::{
    super::{
        ask, find, ids,
        kubectl::{Kubectl, annotate, annotation_of_proxy, restart, with, without_proxy_setting},
        member,
    },
    injection,
};
use crate::domain::{
    check::{Check, Outcome},
    code::Code,
    desired,
    facts::{Facts, PROXY, PodMember, Sidecar},
    hint::Hint,
    problem::{Fetched, Problem},
    range,
    spec::MeshLink,
};

/// Judges a member's sidecar.
pub(super) fn sidecar(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>) -> Check {
    let asked = ask(ids::SIDECAR_PRESENT, member(spec.client_side(), &one));
    match one.pod.sidecar {
        Sidecar::Present { ready: true } => {
            let capture = if one.pod.dns_capture == Some(true) { "on" } else { "off" };
            asked.passed([format!("istio-proxy is ready, DNS capture is {capture}")])
        }
        // It starts after what the pod waits for; that is said where the pod is judged.
        Sidecar::Present { ready: false } if one.pod.awaited.iter().any(|awaited| awaited.before_sidecar) => {
            asked.end(Outcome::Skipped { because: (ids::MEMBER_READY, member(spec.client_side(), &one)) }, Vec::new())
        }
        Sidecar::Present { ready: false } => asked.failed(not_ready(spec, facts, one)),
        Sidecar::Absent => injection::absent(spec, facts, one, asked),
    }
}

fn not_ready(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>) -> Problem {
    let name = &one.pod.name;
    let mut problem = Problem::new(Code::SidecarNotReady, format!("the sidecar of `{name}` is not ready"))
        .seen(format!("container istio-proxy: {}", one.pod.proxy_state.as_deref().unwrap_or("not ready")));
    match &one.sidecar_log {
        Some(Fetched::Got(lines)) => {
            problem = lines.iter().fold(problem, |problem, line| problem.seen(format!("its log: {line}")));
        }
        Some(Fetched::Failed(why)) => problem = problem.seen(format!("its log was not read: {}", why.message)),
        None => {}
    }
    let kubectl = Kubectl::of(&spec, facts, spec.client_side());
    if let Some(address) = annotation_of_proxy(one, "discoveryAddress") {
        return problem.seen(format!("proxy.istio.io/config of the pod: discoveryAddress {address}")).hint(with(
            Hint::text("the pod looks for istiod at an address of its own: take that off the pod template, which makes the pods anew and so restarts what runs in them"),
            kubectl.map_or_else(Vec::new, |kubectl| without_proxy_setting(&kubectl, one, "discoveryAddress")),
        ));
    }
    problem.hint(with(
        Hint::text("its log says whether it reaches istiod and gets its certificate; when that is mended, make the pods anew, which restarts what runs in them"),
        kubectl.into_iter().flat_map(|kubectl| {
            let log = kubectl.line(&["logs", name, "-c", PROXY, "--tail=50"]);
            std::iter::once(log).chain(restart(&kubectl, one))
        }),
    ))
}

/// Judges whether a member's annotations leave the link's traffic to its sidecar.
pub(super) fn intercepted(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>) -> Check {
    const EXCLUDE_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
    const EXCLUDE_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
    const INCLUDE_RANGES: &str = "traffic.sidecar.istio.io/includeOutboundIPRanges";
    let asked = ask(ids::SIDECAR_INTERCEPTS, member(spec.client_side(), &one));
    let vip = desired::desired_vip(spec, facts).ok().map(|(vip, _)| vip);
    let items = |key: &str| one.pod.annotations.get(key).map(|list| list.split(',').map(str::trim).collect::<Vec<_>>());
    let holds = |ranges: &[&str]| {
        vip.is_some_and(|vip| ranges.iter().any(|range| *range == "*" || range::contains(range, vip)))
    };
    let ours: Vec<String> = spec.ports().iter().map(|port| port.number.to_string()).collect();
    let is_ours = |item: &&str| ours.iter().any(|port| port == item);
    let blame = if items(EXCLUDE_PORTS).is_some_and(|ports| ports.iter().any(is_ours)) {
        let kept: Vec<_> = items(EXCLUDE_PORTS).unwrap_or_default().into_iter().filter(|item| !is_ours(item)).collect();
        Some((EXCLUDE_PORTS, kept.join(",")))
    } else if items(EXCLUDE_RANGES).is_some_and(|ranges| holds(&ranges)) {
        let outside = |range: &&str| vip.is_none_or(|vip| *range != "*" && !range::contains(range, vip));
        let kept: Vec<_> = items(EXCLUDE_RANGES).unwrap_or_default().into_iter().filter(outside).collect();
        Some((EXCLUDE_RANGES, kept.join(",")))
    } else if let Some(ranges) = items(INCLUDE_RANGES).filter(|ranges| vip.is_some() && !holds(ranges)) {
        Some((INCLUDE_RANGES, [ranges, vec!["240.0.0.0/4"]].concat().join(",")))
    } else {
        None
    };
    let Some((key, better)) = blame else {
        return match one.pod.proxy_users.iter().find(|container| **container == spec.client.container) {
            Some(container) => asked.failed(as_proxy(spec, facts, one, container)),
            None => asked.passed(["no annotation excludes it"]),
        };
    };
    let value = one.pod.annotations.get(key).cloned().unwrap_or_default();
    let command = Kubectl::of(&spec, facts, spec.client_side()).map_or_else(Vec::new, |kubectl| {
        annotate(&kubectl, one, key, Some(better.as_str()).filter(|better| !better.is_empty()))
    });
    asked.failed(
        Problem::new(
            Code::NotIntercepted,
            format!("annotation `{key}` of pod `{}` keeps the link's traffic away from the sidecar", one.pod.name),
        )
        .seen(format!("{key}: {value}"))
        .hint(with(
            Hint::text("change it on the pod template, which makes the pods anew and so restarts what runs in them"),
            command,
        )),
    )
}

/// The redirection leaves out what runs as the sidecar's own user or group.
fn as_proxy(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>, container: &str) -> Problem {
    let name = &one.pod.name;
    let commands = Kubectl::of(&spec, facts, spec.client_side()).map(|kubectl| {
        kubectl.line(&[
            "get",
            "pod",
            name,
            "-o",
            "jsonpath={.spec.securityContext}{.spec.containers[*].securityContext}",
        ])
    });
    Problem::new(
        Code::ProxyUser,
        format!(
            "container `{container}` of `{name}` runs as user or group 1337, whose traffic the sidecar never takes"
        ),
    )
    .seen("runAsUser or runAsGroup: 1337")
    .hint(with(
        Hint::text("give the container another number in the pod template; 1337 is the sidecar's own"),
        commands,
    ))
}

/// The verdict on a member's sidecar, for the stages that stand on it.
pub(in super::super) fn sidecar_verdict(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>) -> Option<Check> {
    let checks = [sidecar(spec, facts, one), intercepted(spec, facts, one)];
    let subject = member(spec.client_side(), &one);
    [ids::SIDECAR_PRESENT, ids::SIDECAR_INTERCEPTS]
        .into_iter()
        .find_map(|id| find(&checks, id, &subject).filter(|check| !check.is_good()).cloned())
}
