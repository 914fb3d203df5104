//! The way into the source: does its Service offer one from outside, and at which addresses?

use super::super::{
    ask, ids,
    kubectl::{Kubectl, Owner, owner, with},
    members,
};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    desired,
    facts::Facts,
    hint::Hint,
    problem::{Fetched, Problem},
    spec::{LinkSpec, SourceLocation},
};

/// Judges whether the source can be entered from outside, and at which addresses.
pub(super) fn entrance(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let known = ask(ids::ENDPOINTS_KNOWN, Subject::Cluster(Side::Source));
    let SourceLocation::Kubernetes { service: name, .. } = &spec.source.location else {
        let endpoints = desired::desired_endpoints(spec, facts).unwrap_or_default();
        return vec![known.passed(endpoints.iter().map(|endpoint| format!("{endpoint}, as configured")))];
    };
    let exposed = ask(ids::SERVICE_EXPOSED, Subject::Object(Side::Source, format!("Service/{name}")));
    if let Some(Fetched::Failed(problem)) = &facts.source.cluster {
        let reachable = ask(ids::CLUSTER_REACHABLE, Subject::Cluster(Side::Source)).unfetched(problem);
        return vec![exposed.skipped(&reachable), known.skipped(&reachable)];
    }
    let exposed = match &facts.source.service {
        None => exposed.unknown(Problem::new(Code::SourceServiceUnusable, format!("Service `{name}` was not read"))),
        Some(Fetched::Failed(problem)) => exposed.unfetched(problem),
        Some(Fetched::Got(service)) => match desired::service_port(spec, service) {
            Some((port, Some(node_port))) => {
                exposed.passed([format!("{}, port {port} at node port {node_port}", service.kind)])
            }
            found => {
                exposed.failed(unusable(spec, facts, name, &service.kind, found.map(|(port, _)| port), &service.ports))
            }
        },
    };
    let known = if exposed.is_good() {
        match desired::desired_endpoints(spec, facts) {
            Ok(endpoints) => known.passed(endpoints.iter().map(ToString::to_string)),
            Err(problem) if problem.code == Code::NoNodeAddress => {
                let commands = Kubectl::of(spec, facts, Side::Source)
                    .map(|kubectl| kubectl.line_bare(&["get", "nodes", "-o", "wide"]));
                known.failed(problem.hint(with(
                    Hint::text("bring a node back, or give reachable addresses as `source.endpoints`"),
                    commands,
                )))
            }
            Err(problem) => known.unfetched(&problem),
        }
    } else {
        known.skipped(&exposed)
    };
    vec![exposed, known]
}

fn unusable(
    spec: &LinkSpec,
    facts: &Facts,
    name: &str,
    kind: &str,
    port: Option<u16>,
    ports: &[(u16, Option<u16>)],
) -> Problem {
    let shown: Vec<String> = ports
        .iter()
        .map(|(port, node)| node.map_or_else(|| format!("{port}"), |node| format!("{port} at node port {node}")))
        .collect();
    let what = match port {
        Some(port) => {
            format!("Service `{name}` of the source is of type {kind} and has no node port for its port {port}")
        }
        None => format!("Service `{name}` of the source has no port {} and more than one other", spec.port),
    };
    let problem =
        Problem::new(Code::SourceServiceUnusable, what).seen(format!("type {kind}, ports: {}", shown.join(", ")));
    let Some(kubectl) = Kubectl::of(spec, facts, Side::Source) else { return problem };
    if port.is_none() {
        return problem.hint(with(
            Hint::text("name the Service and the port that serve MySQL"),
            [kubectl.line(&["get", "services", "-o", "wide"])],
        ));
    }
    let resource = members(facts, Side::Source).iter().find_map(|one| match owner(&one.pod) {
        Owner::Operator(resource) => Some(resource),
        _ => None,
    });
    let command = match resource {
        Some(resource) => kubectl.line(&[
            "patch",
            "pxc",
            resource,
            "--type",
            "merge",
            "-p",
            r#"{"spec":{"haproxy":{"exposePrimary":{"enabled":true,"type":"NodePort"}}}}"#,
        ]),
        None => kubectl.line(&["patch", "service", name, "--type", "merge", "-p", r#"{"spec":{"type":"NodePort"}}"#]),
    };
    problem.hint(with(
        Hint::text("expose it at the nodes; every node of the source's cluster then takes connections"),
        [command],
    ))
}
