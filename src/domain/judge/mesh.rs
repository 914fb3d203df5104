//! Before anything is written: does Istio serve, is there a way into the source, are the name and its address free, and
//! has every member a sidecar that takes the link's traffic?

use std::collections::BTreeMap;

use super::{
    ask, find, ids,
    kubectl::{Kubectl, Owner, annotate, owner, restart, unlabel, with},
    member, members,
};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    desired,
    facts::{Facts, MemberFacts, MeshFacts, NamedEntry, Sidecar},
    hint::{Hint, Remedy},
    problem::{Fetched, Problem},
    spec::{LinkSpec, SourceLocation},
};

/// Opts a pod in or out of injection, as a label or, in older habits, an annotation.
const INJECT: &str = "sidecar.istio.io/inject";

/// Judges what must hold before the mesh objects are applied.
pub fn mesh_preflight(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let mut checks = istio(spec, facts);
    checks.extend(way_in(spec, facts));
    checks.extend(names(spec, facts));
    for one in members(facts, Side::Replica) {
        let sidecar = sidecar(spec, facts, one);
        let intercepts = ask(ids::SIDECAR_INTERCEPTS, member(Side::Replica, one));
        checks.push(if sidecar.is_good() { intercepted(spec, facts, one) } else { intercepts.skipped(&sidecar) });
        checks.push(sidecar);
    }
    checks.sort_by_key(|check| (check.milestone, check.id == ids::SIDECAR_INTERCEPTS));
    checks
}

fn istio(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let subject = Subject::Cluster(Side::Replica);
    let installed = ask(ids::MESH_INSTALLED, subject.clone());
    let ready = ask(ids::ISTIOD_READY, subject.clone());
    let cluster = match &facts.replica.cluster {
        Fetched::Got(cluster) => cluster,
        Fetched::Failed(problem) => {
            let installed = ask(ids::CLUSTER_REACHABLE, subject.clone()).unfetched(problem);
            let because = |id| ask(id, subject.clone()).skipped(&installed);
            return vec![because(ids::MESH_INSTALLED), because(ids::ISTIOD_READY)];
        }
    };
    let kubectl = Kubectl::of(spec, facts, Side::Replica);
    let lines = |arguments: &[&[&str]]| -> Vec<_> {
        kubectl.iter().flat_map(|kubectl| arguments.iter().map(|line| kubectl.line_in("istio-system", line))).collect()
    };
    if cluster.istio_versions.is_empty() {
        let problem = Problem::new(
            Code::IstioMissing,
            format!("the API of context `{}` does not serve networking.istio.io ServiceEntries", cluster.context),
        )
        .seen(format!("discovery of {} lists no version with that kind", cluster.server))
        .hint(with(
            Hint::text("install Istio in the replica's cluster, or name the cluster that has it"),
            kubectl.iter().map(|kubectl| kubectl.line_bare(&["get", "crd", "serviceentries.networking.istio.io"])),
        ));
        let installed = installed.failed(problem);
        return vec![ready.skipped(&installed), installed];
    }
    let installed = installed.passed([format!("networking.istio.io/{}", cluster.istio_versions.join(", "))]);
    let ready = match cluster.istiod_ready {
        None => ready.passed(["no istiod Deployment in istio-system: the control plane is elsewhere"]),
        Some(0) => ready.failed(
            Problem::new(
                Code::IstiodDown,
                format!("no pod of istiod is ready in the cluster of context `{}`", cluster.context),
            )
            .seen(match cluster.istiod_wanted {
                Some(wanted) => format!("Deployment istio-system/istiod has 0 ready pods of {wanted} wanted"),
                None => "Deployment istio-system/istiod has 0 ready pods".to_owned(),
            })
            .hint(with(
                Hint::text("bring istiod back first: without it objects are rejected by its webhook and sidecars learn nothing"),
                lines(match cluster.istiod_wanted {
                    Some(0) => &[
                        &["scale", "deployment/istiod", "--replicas=1"],
                        &["rollout", "status", "deployment/istiod", "--timeout=5m"],
                    ],
                    _ => &[
                        &["get", "pods", "-l", "app=istiod"],
                        &["describe", "deployment", "istiod"],
                        &["rollout", "restart", "deployment/istiod"],
                        &["rollout", "status", "deployment/istiod", "--timeout=5m"],
                    ],
                }),
            )),
        ),
        Some(count) => ready.passed([format!("{count} ready pod(s)")]),
    };
    vec![installed, ready]
}

fn way_in(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
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

fn names(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let free = ask(ids::VIP_FREE, Subject::Link);
    let host = ask(ids::HOST_FREE, Subject::Link);
    let mesh = match &facts.replica.mesh {
        Fetched::Got(mesh) => mesh,
        Fetched::Failed(problem) => {
            return match &facts.replica.cluster {
                Fetched::Failed(unreachable) => {
                    let reachable = ask(ids::CLUSTER_REACHABLE, Subject::Cluster(Side::Replica)).unfetched(unreachable);
                    vec![free.skipped(&reachable), host.skipped(&reachable)]
                }
                Fetched::Got(_) => vec![free.unfetched(problem), host.unfetched(problem)],
            };
        }
    };
    let host = match same_host(spec, mesh) {
        None => host.passed([format!("{} other ServiceEntry object(s) looked at", others(spec, mesh).count())]),
        Some((entry, fatal)) => {
            let problem = host_taken(spec, facts, entry, fatal);
            if fatal { host.failed(problem) } else { host.warned(problem) }
        }
    };
    vec![vip_free(spec, facts, mesh), host]
}

fn others<'a>(spec: &'a LinkSpec, mesh: &'a MeshFacts) -> impl Iterator<Item = &'a NamedEntry> {
    mesh.entries.iter().filter(|entry| !desired::is_own(spec, entry))
}

fn vip_free(spec: &LinkSpec, facts: &Facts, mesh: &MeshFacts) -> Check {
    let asked = ask(ids::VIP_FREE, Subject::Link);
    let (vip, origin) = match desired::desired_vip(spec, facts) {
        Ok(found) => found,
        Err(problem) => return asked.unfetched(&problem),
    };
    let origin = match origin {
        desired::VipOrigin::Configured => "configured",
        desired::VipOrigin::Kept => "kept from the link's ServiceEntry",
        desired::VipOrigin::Derived => "derived from the mesh name",
    };
    let next = || {
        let taken: Vec<_> =
            mesh.entries.iter().flat_map(|entry| &entry.addresses).filter_map(|a| a.parse().ok()).collect();
        crate::domain::vip::choose(&spec.host, &[taken, vec![vip]].concat())
    };
    if let Some(entry) =
        others(spec, mesh).find(|entry| entry.addresses.iter().any(|range| desired::contains(range, vip)))
    {
        let problem = Problem::new(
            Code::VipInUse,
            format!(
                "ServiceEntry `{}/{}` has {vip} already, so connections could end at its hosts",
                entry.namespace, entry.name
            ),
        )
        .seen(format!("{vip} is {origin}"))
        .seen(format!(
            "{}/{}: hosts {}, addresses {}",
            entry.namespace,
            entry.name,
            entry.hosts.join(", "),
            entry.addresses.join(", ")
        ));
        let commands = Kubectl::of(spec, facts, Side::Replica)
            .map(|kubectl| kubectl.line_in(&entry.namespace, &["get", "serviceentry", &entry.name, "-o", "yaml"]));
        let text = format!("Write a free address into the configuration, for example `vip: {}`", next());
        return asked.failed(problem.hint(with(Hint::text(text), commands)));
    }
    if let Some(range) = desired::cluster_ranges(facts).iter().find(|range| desired::contains(range, vip)) {
        return asked.failed(
            Problem::new(Code::VipInUse, format!("{vip} lies in a range that the replica's cluster uses itself"))
                .seen(format!("{vip} is {origin}"))
                .seen(format!("the range is {range}"))
                .hint(Hint::text("write an address outside the cluster's ranges into the configuration as `vip`")),
        );
    }
    asked.passed([format!("{vip}, {origin}")])
}

/// Another definition of the mesh name, and whether it can win: in the members' own namespace it is merged with ours,
/// elsewhere and by wildcard ours comes first for the members.
fn same_host<'a>(spec: &'a LinkSpec, mesh: &'a MeshFacts) -> Option<(&'a NamedEntry, bool)> {
    let host = spec.host.to_ascii_lowercase();
    let exact = |entry: &&NamedEntry| entry.hosts.iter().any(|other| other.to_ascii_lowercase() == host);
    let wild = |entry: &&NamedEntry| {
        entry
            .hosts
            .iter()
            .filter_map(|other| other.strip_prefix('*'))
            .any(|tail| host.ends_with(&tail.to_ascii_lowercase()))
    };
    let here = |entry: &&NamedEntry| entry.namespace == spec.replica.cluster.namespace;
    let found = |wanted: &dyn Fn(&&NamedEntry) -> bool| others(spec, mesh).find(|entry| wanted(entry));
    found(&|entry| exact(entry) && here(entry))
        .map(|entry| (entry, true))
        .or_else(|| found(&|entry| exact(entry) || wild(entry)).map(|entry| (entry, false)))
}

fn host_taken(spec: &LinkSpec, facts: &Facts, entry: &NamedEntry, fatal: bool) -> Problem {
    let place = format!("{}/{}", entry.namespace, entry.name);
    let what = if fatal {
        format!(
            "ServiceEntry `{place}` defines `{}` in the members' own namespace, so the endpoints of both would be mixed",
            spec.host
        )
    } else {
        format!(
            "ServiceEntry `{place}` covers `{}` too; the link's own entry comes first for members in namespace `{}`",
            spec.host, spec.replica.cluster.namespace
        )
    };
    let made =
        entry.link.as_ref().map_or_else(|| "not made by this tool".to_owned(), |link| format!("made for link {link}"));
    let problem = Problem::new(Code::HostInUse, what).seen(format!(
        "{place}: hosts {}, addresses {}, {made}",
        entry.hosts.join(", "),
        entry.addresses.join(", ")
    ));
    let commands = Kubectl::of(spec, facts, Side::Replica).into_iter().flat_map(|kubectl| {
        let show = kubectl.line_in(&entry.namespace, &["get", "serviceentry", &entry.name, "-o", "yaml"]);
        let delete = fatal.then(|| kubectl.line_in(&entry.namespace, &["delete", "serviceentry", &entry.name]));
        std::iter::once(show).chain(delete)
    });
    problem
        .hint(with(Hint::text("look whether it is still needed; delete it, or give the link another `host`"), commands))
}

/// Judges a member's sidecar.
pub(super) fn sidecar(spec: &LinkSpec, facts: &Facts, one: &MemberFacts) -> Check {
    let asked = ask(ids::SIDECAR_PRESENT, member(Side::Replica, one));
    let kubectl = Kubectl::of(spec, facts, Side::Replica);
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
    let asked = ask(ids::SIDECAR_INTERCEPTS, member(Side::Replica, one));
    let vip = desired::desired_vip(spec, facts).ok().map(|(vip, _)| vip);
    let items = |key: &str| one.pod.annotations.get(key).map(|list| list.split(',').map(str::trim).collect::<Vec<_>>());
    let holds = |ranges: &[&str]| {
        vip.is_some_and(|vip| ranges.iter().any(|range| *range == "*" || desired::contains(range, vip)))
    };
    let port = spec.port.to_string();
    let blame = if items(EXCLUDE_PORTS).is_some_and(|ports| ports.contains(&port.as_str())) {
        let kept: Vec<_> = items(EXCLUDE_PORTS).unwrap_or_default().into_iter().filter(|item| *item != port).collect();
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
    let command = Kubectl::of(spec, facts, Side::Replica).map_or_else(Vec::new, |kubectl| {
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
pub(super) fn sidecar_verdict(spec: &LinkSpec, facts: &Facts, one: &MemberFacts) -> Option<Check> {
    let checks = [sidecar(spec, facts, one), intercepted(spec, facts, one)];
    let subject = member(Side::Replica, one);
    [ids::SIDECAR_PRESENT, ids::SIDECAR_INTERCEPTS]
        .into_iter()
        .find_map(|id| find(&checks, id, &subject).filter(|check| !check.is_good()).cloned())
}
