//! What else is in the client's mesh at the link's name and ports: Services of the same name, ports taken on every address, and
//! Services that two meshes take for one.

use super::{
    super::{
        ask, ids,
        kubectl::{Kubectl, with},
    },
    control_plane,
    names::others,
    visibility::covers,
};
use crate::domain::{
    check::{Check, Subject},
    code::Code,
    facts::{Facts, NamedPort},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::{MeshLink, PortSpec, Protocol, SourceLocation},
};

/// A Service of the cluster always comes before a ServiceEntry of its name. A name of three labels or more that has no `svc` in
/// its place cannot be one.
pub(super) fn no_service(spec: MeshLink<'_>, facts: &Facts) -> Check {
    let asked = ask(ids::HOST_NO_SERVICE, Subject::Link);
    let host = spec.host.to_ascii_lowercase();
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    let [name, namespace, rest @ ..] = labels.as_slice() else { return asked.passed(["no name of a Service"]) };
    if !rest.is_empty() && rest[0] != "svc" {
        return asked.passed(["no name of a Service"]);
    }
    let services = match &facts.client.surroundings.services {
        Fetched::Got(services) => services,
        Fetched::Failed(problem) => return asked.unknown(problem.clone()),
    };
    let Some(service) = services.iter().find(|service| service.name == *name && service.namespace == *namespace) else {
        return asked.passed([format!("there is no Service {name} in namespace {namespace}")]);
    };
    let commands = Kubectl::of(&spec, facts, spec.client_side())
        .map(|kubectl| kubectl.line_in(&service.namespace, &["get", "service", &service.name, "-o", "wide"]));
    asked.failed(
        Problem::new(
            Code::HostIsService,
            format!(
                "`{}` is the name of Service `{}/{}` there, which comes before any ServiceEntry",
                spec.host, service.namespace, service.name
            ),
        )
        .seen(format!("Service {}/{}", service.namespace, service.name))
        .hint(with(
            Hint::text("give the link a `host` that no Service can have, such as one that ends in `.global`"),
            commands,
        )),
    )
}

/// Who else has a port of the link on every address: entries without an address of their own, and Services that speak HTTP. The
/// link's own listener is for its virtual address alone, so that it is the others' connections that go astray.
pub(super) fn port_shared(spec: MeshLink<'_>, facts: &Facts) -> Check {
    let asked = ask(ids::PORT_UNSHARED, Subject::Link);
    let (mesh, services) = match (&facts.client.mesh, &facts.client.surroundings.services) {
        (Fetched::Failed(problem), _) | (_, Fetched::Failed(problem)) => return asked.unknown(problem.clone()),
        (Fetched::Got(mesh), Fetched::Got(services)) => (mesh, services),
    };
    let namespace = &spec.client.cluster.namespace;
    let ports = spec.ports();
    let mut seen = Vec::new();
    let mut commands = Vec::new();
    let kubectl = Kubectl::of(&spec, facts, spec.client_side());
    for entry in others(spec, mesh).filter(|entry| entry.addresses.is_empty() && entry.is_visible_in(namespace)) {
        for port in entry.ports.iter().filter(|port| ports.iter().any(|own| own.number == port.number)) {
            // HTTP is told apart by host, so that names share a port without harm.
            if is_http(port) {
                continue;
            }
            seen.push(format!(
                "ServiceEntry {}/{}: hosts {}, no address, port {} {}",
                entry.namespace,
                entry.name,
                entry.hosts.join(", "),
                port.number,
                spoken(port)
            ));
            commands.extend(
                kubectl.iter().map(|kubectl| {
                    kubectl.line_in(&entry.namespace, &["get", "serviceentry", &entry.name, "-o", "yaml"])
                }),
            );
        }
    }
    for service in services {
        let clash = |own: &PortSpec, port: &&NamedPort| {
            own.number == port.number && own.protocol == Protocol::Tcp && is_http(port)
        };
        for port in service.ports.iter().filter(|port| ports.iter().any(|own| clash(own, port))) {
            seen.push(format!(
                "Service {}/{}: port {} named `{}` {}",
                service.namespace,
                service.name,
                port.number,
                port.name,
                spoken(port)
            ));
            commands.extend(
                kubectl.iter().map(|kubectl| {
                    kubectl.line_in(&service.namespace, &["get", "service", &service.name, "-o", "yaml"])
                }),
            );
        }
    }
    let Some(first) = seen.first() else { return asked.passed(["nobody else has the port on every address"]) };
    let problem = Problem::new(
        Code::PortShared,
        format!(
            "{} has a port of the link on every address: other servers at it are out of the members' reach",
            first.split(':').next().unwrap_or(first)
        ),
    );
    let problem = seen.iter().fold(problem, |problem, line| problem.seen(line.clone()));
    asked.warned(problem.hint(with(
        Hint::text("the link has an address of its own and works; give that entry `addresses`, or that Service's port the protocol it speaks, for the sake of the others"),
        commands,
    )))
}

/// What a port's declaration makes of it: the protocol where it is said, else the first word of the name, as istiod reads it.
fn is_http(port: &NamedPort) -> bool {
    let word = if port.protocol.is_empty() { port.name.split('-').next().unwrap_or_default() } else { &port.protocol };
    matches!(
        word.to_ascii_lowercase().as_str(),
        "http" | "http2" | "grpc" | "grpc-web" | "kubernetes.io/h2c" | "kubernetes.io/ws" | "http_proxy"
    )
}

fn spoken(port: &NamedPort) -> String {
    if port.protocol.is_empty() { "without a protocol".to_owned() } else { format!("protocol {}", port.protocol) }
}

/// Where remote secrets join the meshes, a Service of both clusters is one for the clients.
pub(super) fn separate_services(spec: MeshLink<'_>, facts: &Facts) -> Check {
    let asked = ask(ids::SERVICES_SEPARATE, Subject::Cluster(spec.client_side()));
    let around = &facts.client.surroundings;
    let remote = match &around.remote_clusters {
        Fetched::Got(remote) if remote.is_empty() => {
            return asked.passed(["istiod reads no other cluster"]);
        }
        Fetched::Got(remote) => remote,
        Fetched::Failed(problem) => return asked.unknown(problem.clone()),
    };
    let SourceLocation::Kubernetes { cluster: source, .. } = spec.source else {
        return asked.passed([format!("istiod reads {}; the source's Services are not known", remote.join(", "))]);
    };
    let theirs = match facts.source.surroundings.as_ref().map(|around| &around.services) {
        Some(Fetched::Got(services)) => services.as_slice(),
        Some(Fetched::Failed(problem)) => return asked.unknown(problem.clone()),
        None => &[],
    };
    let ours = match &around.services {
        Fetched::Got(services) => services,
        Fetched::Failed(problem) => return asked.unknown(problem.clone()),
    };
    let namespace = &spec.client.cluster.namespace;
    let local = control_plane::config_of(facts).map(|config| cluster_local(&config.settings)).unwrap_or_default();
    let merged: Vec<String> = ours
        .iter()
        .filter(|own| own.namespace == *namespace && source.namespace == *namespace)
        .filter(|own| theirs.iter().any(|other| other.name == own.name))
        .map(|own| format!("{}.{}.svc.cluster.local", own.name, own.namespace))
        .filter(|host| !local.iter().any(|pattern| covers(pattern, host)))
        .collect();
    if merged.is_empty() {
        return asked.passed([format!(
            "istiod reads {}, and no Service of the members' namespace is in both clusters",
            remote.join(", ")
        )]);
    }
    let commands = Kubectl::of(&spec, facts, spec.client_side())
        .map(|kubectl| kubectl.line_in("istio-system", &["get", "configmap", "istio", "-o", "jsonpath={.data.mesh}"]));
    asked.warned(
        Problem::new(
            Code::ServicesMerged,
            format!(
                "{} is in both clusters, and istiod reads {} too: in-mesh clients of either may reach, and write to, the other",
                merged.join(", "),
                remote.join(", ")
            ),
        )
        .seen(format!("Secrets labelled istio/multiCluster=true in istio-system: {}", remote.join(", ")))
        .seen(format!("in both clusters: {}", merged.join(", ")))
        .hint(with(
            Hint::text(format!(
                "have the administrators of both meshes add to the mesh configuration: `serviceSettings: [{{settings: {{clusterLocal: true}}, hosts: [{}]}}]`",
                merged.join(", ")
            )),
            commands,
        )),
    )
}

/// Hosts that the mesh configuration keeps to their own cluster.
fn cluster_local(settings: &serde_json::Value) -> Vec<String> {
    let list = settings.get("serviceSettings").and_then(serde_json::Value::as_array);
    let local = |setting: &&serde_json::Value| {
        setting.pointer("/settings/clusterLocal") == Some(&serde_json::Value::Bool(true))
    };
    let hosts = list.into_iter().flatten().filter(local).filter_map(|setting| setting.get("hosts")?.as_array());
    hosts.flatten().filter_map(|host| host.as_str().map(ToOwned::to_owned)).collect()
}
