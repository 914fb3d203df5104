//! The way into the source: do its Services offer one from outside, and at which addresses?

use super::super::{
    ask, ids,
    kubectl::{Kubectl, Owner, owner, with},
    pods,
};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    desired,
    facts::{Facts, PxcFacts, ServiceFacts},
    hint::{Hint, Remedy},
    problem::{Fetched, Problem},
    spec::{MeshLink, SourceLocation, SourceTarget},
};

/// Judges whether the source can be entered from outside, and at which addresses.
pub(super) fn entrance(spec: MeshLink<'_>, facts: &Facts) -> Vec<Check> {
    let known = ask(ids::ENDPOINTS_KNOWN, Subject::Cluster(Side::Source));
    let entrances = desired::desired_entrances(spec, facts);
    let SourceLocation::Kubernetes { target, .. } = spec.source else {
        let used = entrances.map(|entrances| entrances.used).unwrap_or_default();
        return vec![known.passed(used.iter().map(|entrance| format!("{entrance}, as configured")))];
    };
    let exposed = ask(ids::SERVICE_EXPOSED, Subject::Object(Side::Source, target.to_string()));
    if let Some(Fetched::Failed(problem)) = &facts.source.cluster {
        let reachable = ask(ids::CLUSTER_REACHABLE, Subject::Cluster(Side::Source)).unfetched(problem);
        return vec![exposed.skipped(&reachable), known.skipped(&reachable)];
    }
    let kubectl = Kubectl::of(&spec, facts, Side::Source);
    let seen = || {
        let groups = desired::service_groups(spec, facts).unwrap_or_default();
        let resource = facts.source.pxc.as_ref().and_then(Fetched::got).map(settings);
        resource.into_iter().chain(groups.into_iter().flatten().map(desired::described)).collect::<Vec<_>>()
    };
    match entrances {
        Err(problem) if problem.code == Code::SourceServiceUnusable && problem.hint.is_none() => {
            let exposed = exposed.failed(unusable(spec, facts, problem, kubectl.as_ref()));
            let known = known.skipped(&exposed);
            vec![exposed, known]
        }
        Err(problem) if [Code::NoNodeAddress, Code::NoEntranceAddress].contains(&problem.code) => {
            let hint = problem
                .hint
                .clone()
                .unwrap_or_else(|| Hint::text("bring a node back, or give reachable addresses as `source.endpoints`"));
            let command = kubectl.map(|kubectl| match problem.code {
                Code::NoNodeAddress => kubectl.line_bare(&["get", "nodes", "-o", "wide"]),
                _ => kubectl.line(&["get", "services", "-o", "wide"]),
            });
            vec![exposed.passed(seen()), known.failed(problem.hint(with(hint, command)))]
        }
        Err(problem) => {
            let exposed = exposed.unfetched(&problem);
            let known = known.skipped(&exposed);
            vec![exposed, known]
        }
        Ok(entrances) => {
            let shown: Vec<String> = entrances.used.iter().map(ToString::to_string).collect();
            let known = match entrances.left_out {
                0 => known.passed(shown),
                left_out => known.warned(
                    Problem::new(
                        Code::EndpointsLeftOut,
                        format!("the link uses {} of the source's endpoints and leaves {left_out} out", shown.len()),
                    )
                    .seen(format!("used: {}", shown.join(", ")))
                    .hint(Hint::text(format!(
                        "write `maxEndpoints: {}` under `source.kubernetes` to use them all",
                        shown.len() + left_out
                    ))),
                ),
            };
            vec![exposed.passed(seen()), known]
        }
    }
}

/// What an operator's resource says about how it is exposed.
fn settings(resource: &PxcFacts) -> String {
    let part = |name: &str, kind: &Option<String>| match kind {
        Some(kind) => format!("{name} as {kind}"),
        None => format!("{name} not"),
    };
    let PxcFacts { name, haproxy, proxysql, pods, .. } = resource;
    let parts = [part("HAProxy", haproxy), part("ProxySQL", proxysql), part("each pod", pods)];
    format!("PerconaXtraDBCluster {name} exposes {}", parts.join(", "))
}

/// Nothing can be entered from outside: with what opens it. An operator takes back what it did not set itself.
fn unusable(spec: MeshLink<'_>, facts: &Facts, mut problem: Problem, kubectl: Option<&Kubectl>) -> Problem {
    let SourceLocation::Kubernetes { target, entrance, .. } = spec.source else { return problem };
    if let Some(resource) = facts.source.pxc.as_ref().and_then(Fetched::got) {
        problem = problem.seen(settings(resource));
    }
    if let Some(way) = entrance.way {
        return problem.seen(format!("source.kubernetes.entry: {way}")).hint(with(
            Hint::text("take `entry` out, so that what is offered is found out, or let the source offer that way"),
            kubectl.map(|kubectl| kubectl.line(&["get", "services", "-o", "wide"])),
        ));
    }
    let Some(kubectl) = kubectl else { return problem };
    let services = desired::service_groups(spec, facts).unwrap_or_default();
    if matches!(target, SourceTarget::Service(_)) && !has_ports(spec, &services) {
        return problem.hint(with(
            Hint::text("name the Service and the port that are meant"),
            [kubectl.line(&["get", "services", "-o", "wide"])],
        ));
    }
    let command = match (facts.source.pxc.as_ref().and_then(Fetched::got), target) {
        (Some(resource), _) => expose(kubectl, &resource.name, Some(resource)),
        (None, SourceTarget::Pxc(name)) => expose(kubectl, name, None),
        (None, SourceTarget::Service(name)) => match of_operator(facts) {
            Some(resource) => expose(kubectl, resource, None),
            None => {
                kubectl.line(&["patch", "service", name, "--type", "merge", "-p", r#"{"spec":{"type":"NodePort"}}"#])
            }
        },
    };
    problem.hint(with(
        Hint::text("expose it at the nodes; every node of the source's cluster then takes connections"),
        [command],
    ))
}

fn has_ports(spec: MeshLink<'_>, groups: &[Vec<&ServiceFacts>]) -> bool {
    let has =
        |service: &&ServiceFacts| spec.ports().iter().all(|port| desired::service_port(spec, port, service).is_some());
    groups.iter().flatten().any(has)
}

/// The resource of the operator that made the members' pods, if one did.
fn of_operator(facts: &Facts) -> Option<&str> {
    pods(facts, Side::Source).find_map(|one| match owner(one.pod) {
        Owner::Operator(resource) => Some(resource),
        _ => None,
    })
}

/// Has the operator expose what its resource runs: the proxy that is on, or else each pod.
fn expose(kubectl: &Kubectl, name: &str, resource: Option<&PxcFacts>) -> Remedy {
    let patch = match resource {
        Some(PxcFacts { haproxy: None, proxysql: Some(_), .. }) => {
            r#"{"spec":{"proxysql":{"expose":{"enabled":true,"type":"NodePort"}}}}"#
        }
        Some(PxcFacts { haproxy: None, proxysql: None, .. }) => {
            r#"{"spec":{"pxc":{"expose":{"enabled":true,"type":"NodePort"}}}}"#
        }
        _ => r#"{"spec":{"haproxy":{"exposePrimary":{"enabled":true,"type":"NodePort"}}}}"#,
    };
    kubectl.line(&["patch", "pxc", name, "--type", "merge", "-p", patch])
}
