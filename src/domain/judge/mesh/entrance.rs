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
    facts::{Facts, ServiceFacts},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::{LinkSpec, SourceLocation},
};

/// Judges whether the source can be entered from outside, and at which addresses.
pub(super) fn entrance(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let known = ask(ids::ENDPOINTS_KNOWN, Subject::Cluster(Side::Source));
    let SourceLocation::Kubernetes { service: name, .. } = &spec.source else {
        let ports = desired::desired_ports(spec, facts).unwrap_or_default();
        let endpoints = ports.iter().flat_map(|(_, endpoints)| endpoints);
        return vec![known.passed(endpoints.map(|endpoint| format!("{endpoint}, as configured")))];
    };
    let exposed = ask(ids::SERVICE_EXPOSED, Subject::Object(Side::Source, format!("Service/{name}")));
    if let Some(Fetched::Failed(problem)) = &facts.source.cluster {
        let reachable = ask(ids::CLUSTER_REACHABLE, Subject::Cluster(Side::Source)).unfetched(problem);
        return vec![exposed.skipped(&reachable), known.skipped(&reachable)];
    }
    let exposed = match &facts.source.service {
        None => exposed.unknown(Problem::new(Code::SourceServiceUnusable, format!("Service `{name}` was not read"))),
        Some(Fetched::Failed(problem)) => exposed.unfetched(problem),
        Some(Fetched::Got(service)) => {
            let found: Vec<_> =
                spec.ports().iter().map(|port| (port.number, desired::service_port(port.number, service))).collect();
            match found.iter().find(|(_, found)| found.is_none_or(|(_, node_port)| node_port.is_none())) {
                None => exposed.passed(found.iter().filter_map(|(_, found)| {
                    let (port, node_port) = (*found)?;
                    Some(format!("{}, port {port} at node port {}", service.kind, node_port?))
                })),
                Some((number, found)) => {
                    exposed.failed(unusable(spec, facts, service, *number, found.map(|(port, _)| port)))
                }
            }
        }
    };
    let known = if exposed.is_good() {
        match desired::desired_ports(spec, facts) {
            Ok(ports) => known.passed(ports.iter().flat_map(|(_, endpoints)| endpoints).map(ToString::to_string)),
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

fn unusable(spec: &LinkSpec, facts: &Facts, service: &ServiceFacts, number: u16, port: Option<u16>) -> Problem {
    let ServiceFacts { name, kind, .. } = service;
    let shown: Vec<String> = service
        .ports
        .iter()
        .map(|(port, node)| node.map_or_else(|| format!("{port}"), |node| format!("{port} at node port {node}")))
        .collect();
    let what = match port {
        Some(port) => {
            format!("Service `{name}` of the source is of type {kind} and has no node port for its port {port}")
        }
        None => format!("Service `{name}` of the source has no port {number} and more than one other"),
    };
    let problem =
        Problem::new(Code::SourceServiceUnusable, what).seen(format!("type {kind}, ports: {}", shown.join(", ")));
    let Some(kubectl) = Kubectl::of(spec, facts, Side::Source) else { return problem };
    if port.is_none() {
        return problem.hint(with(
            Hint::text("name the Service and the port that are meant"),
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
