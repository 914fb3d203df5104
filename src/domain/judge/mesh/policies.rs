//! Istio's policies: does an AuthorizationPolicy turn the link's connections away, on either side, and is a PeerAuthentication
//! that would let them in void because of an older one?

use std::net::IpAddr;

use super::super::{
    ask,
    authorization::{Caller, Decision, action, decide},
    ids,
    kubectl::{Kubectl, with},
    pods,
    policy::{self, MutualTls},
    source_is_endpoints,
};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    desired,
    facts::{Facts, ObjectFacts, PodMember, Sidecar},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::{MeshLink, PortSpec, Protocol, SourceLocation},
};

/// Judges the policies of both meshes.
pub(super) fn policies(spec: MeshLink<'_>, facts: &Facts) -> Vec<Check> {
    let mut checks = vec![outgoing(spec, facts)];
    if !source_is_endpoints(&spec) {
        let subject = Subject::Cluster(Side::Source);
        checks.extend(match &facts.source.policies {
            Some(Fetched::Got(found)) => vec![incoming(spec, facts, found), peers(spec, facts, found)],
            Some(Fetched::Failed(problem)) => [ids::SOURCE_AUTHORIZATION, ids::SOURCE_PEERS]
                .map(|id| ask(id, subject.clone()).unknown(problem.clone()))
                .to_vec(),
            None => Vec::new(),
        });
    }
    checks
}

/// A port of a source's pod that the link's connections come in at.
pub(super) struct Door {
    pub(super) number: u16,
    http: bool,
}

/// The ports of the source's pods behind the link's own: the `targetPort` of the Service, or its number where that is a name.
pub(super) fn doors(spec: MeshLink<'_>, facts: &Facts) -> Vec<Door> {
    let behind = |port: &PortSpec| {
        let found = desired::service_port(spec, port, facts.source.service()?)?;
        Some(found.target.parse().unwrap_or(found.number))
    };
    let door =
        |port: PortSpec| Door { number: behind(&port).unwrap_or(port.number), http: port.protocol == Protocol::Http };
    spec.ports().into_iter().map(door).collect()
}

fn source_namespace(spec: MeshLink<'_>) -> &str {
    match spec.source {
        SourceLocation::Kubernetes { cluster, .. } => &cluster.namespace,
        SourceLocation::Endpoints(_) => "",
    }
}

/// The source's pods whose sidecar takes connections to a port.
fn guarded(facts: &Facts, port: u16) -> impl Iterator<Item = PodMember<'_>> {
    pods(facts, Side::Source).filter(move |one| {
        let excluded = one.pod.annotations.get("traffic.sidecar.istio.io/excludeInboundPorts");
        let excluded = excluded.is_some_and(|ports| ports.split(',').any(|item| item.trim() == port.to_string()));
        matches!(one.pod.sidecar, Sidecar::Present { .. }) && !excluded
    })
}

fn incoming(spec: MeshLink<'_>, facts: &Facts, found: &[ObjectFacts]) -> Check {
    let asked = ask(ids::SOURCE_AUTHORIZATION, Subject::Cluster(Side::Source));
    let nodes = facts.source.nodes.as_ref().and_then(Fetched::got).into_iter().flatten();
    let mut addresses: Vec<IpAddr> =
        nodes.flat_map(|node| node.addresses.iter().map(|(_, address)| *address)).collect();
    addresses.extend(pods(facts, spec.client_side()).filter_map(|one| one.pod.host_ip));
    let (mut seen, mut denied, mut uncertain) = (0, Vec::new(), Vec::new());
    for door in doors(spec, facts) {
        for one in guarded(facts, door.number) {
            seen += 1;
            let selecting = policy::authorizations(found, source_namespace(spec), &one.pod.labels);
            match decide(&selecting, Caller { port: door.number, http: door.http, addresses: &addresses }) {
                Decision::Allowed => {}
                Decision::Denied(policies) => denied.push((one, door.number, policies)),
                Decision::Uncertain(policies) => uncertain.push((one, door.number, policies)),
            }
        }
    }
    if let Some((one, port, policies)) = denied.first() {
        let what = if action(policies[0]) == "DENY" {
            format!("{} denies the link's connections to port {port} of source `{}`", list(policies), one.pod.name)
        } else {
            format!(
                "no rule of {} allows a connection without a mesh identity to port {port} of source `{}`, so it is denied",
                list(policies),
                one.pod.name
            )
        };
        let problem = explained(spec, facts, Problem::new(Code::AuthorizationDenied, what), policies, *port);
        // Where another pod lets them in, some connections get through.
        return if denied.len() == seen { asked.failed(problem) } else { asked.warned(problem) };
    }
    if let Some((one, port, policies)) = uncertain.first() {
        let what = format!(
            "whether {} lets the link's connections to port {port} of source `{}` cannot be told from here: it goes by an address, by the request or by an external authorizer",
            list(policies),
            one.pod.name
        );
        return asked.warned(explained(spec, facts, Problem::new(Code::AuthorizationUncertain, what), policies, *port));
    }
    if seen == 0 {
        return asked.passed(["no sidecar of the source takes the link's connections, so none judges them"]);
    }
    let count = found.iter().filter(|policy| policy.kind == "AuthorizationPolicy").count();
    asked.passed([format!("let in by {count} AuthorizationPolicy object(s) of its namespace and of the mesh")])
}

fn list(policies: &[&ObjectFacts]) -> String {
    let names: Vec<String> = policies.iter().map(|policy| format!("{}/{}", policy.namespace, policy.name)).collect();
    format!("AuthorizationPolicy `{}`", names.join("`, `"))
}

fn explained(spec: MeshLink<'_>, facts: &Facts, mut problem: Problem, policies: &[&ObjectFacts], port: u16) -> Problem {
    for one in policies {
        problem = problem.seen(policy::describe(one)).seen(format!("{}/{}: {}", one.namespace, one.name, one.spec));
    }
    let kubectl = Kubectl::of(&spec, facts, Side::Source);
    let command = kubectl.zip(policies.first()).map(|(kubectl, one)| {
        let line = |arguments: &[&str]| kubectl.line_in(&one.namespace, arguments);
        match action(one) {
            "ALLOW" => {
                let rule = serde_json::json!({"to": [{"operation": {"ports": [port.to_string()]}}]});
                let there =
                    one.spec.get("rules").and_then(serde_json::Value::as_array).is_some_and(|rules| !rules.is_empty());
                let patch = if there {
                    serde_json::json!([{"op": "add", "path": "/spec/rules/-", "value": rule}])
                } else {
                    serde_json::json!([{"op": "add", "path": "/spec/rules", "value": [rule]}])
                };
                line(&[
                    "patch",
                    "authorizationpolicies.security.istio.io",
                    &one.name,
                    "--type",
                    "json",
                    "-p",
                    &patch.to_string(),
                ])
            }
            _ => line(&["get", "authorizationpolicies.security.istio.io", &one.name, "-o", "yaml"]),
        }
    });
    let text = match policies.first().map(|one| action(one)) {
        Some("ALLOW") => format!(
            "a connection in plain text carries no identity: allow port {port} by number, narrowed by `ipBlocks` if need be"
        ),
        _ => format!("take port {port} out of its rules, or the source's pods out of its selector"),
    };
    problem.hint(with(Hint::text(text), command))
}

/// On the way out no sidecar judges: only a waypoint in front of the link's own entry would.
fn outgoing(spec: MeshLink<'_>, facts: &Facts) -> Check {
    let asked = ask(ids::CLIENT_AUTHORIZATION, Subject::Cluster(spec.client_side()));
    let found = match &facts.client.surroundings.authorizations {
        Fetched::Got(found) => found,
        Fetched::Failed(problem) => return asked.unknown(problem.clone()),
    };
    let own =
        facts.client.mesh.got().into_iter().flat_map(|mesh| &mesh.entries).find(|entry| desired::is_own(spec, entry));
    let targets = |policy: &&ObjectFacts| {
        let refs = policy.spec.get("targetRefs").and_then(serde_json::Value::as_array);
        refs.into_iter().flatten().any(|target| {
            let text = |key: &str| target.get(key).and_then(serde_json::Value::as_str);
            text("kind") == Some("ServiceEntry") && own.is_some_and(|own| text("name") == Some(own.name.as_str()))
        })
    };
    let Some(policy) = found.iter().filter(|policy| policy.namespace == spec.client.cluster.namespace).find(targets)
    else {
        return asked.passed([format!(
            "{} AuthorizationPolicy object(s) judge what comes in to pods; none is about the link's own entry",
            found.len()
        )]);
    };
    let problem = Problem::new(
        Code::AuthorizationUncertain,
        format!("{} is about the link's ServiceEntry: a waypoint, where there is one, judges by it", list(&[policy])),
    );
    let kubectl = Kubectl::of(&spec, facts, spec.client_side());
    let command = kubectl.map(|kubectl| {
        kubectl
            .line_in(&policy.namespace, &["get", "authorizationpolicies.security.istio.io", &policy.name, "-o", "yaml"])
    });
    asked.warned(
        problem
            .seen(policy::describe(policy))
            .hint(with(Hint::text("see that it lets the members' pods through"), command)),
    )
}

/// Of several PeerAuthentications that select a pod the oldest alone counts, so that a younger one that takes the port out of
/// mutual TLS does nothing.
fn peers(spec: MeshLink<'_>, facts: &Facts, found: &[ObjectFacts]) -> Check {
    let asked = ask(ids::SOURCE_PEERS, Subject::Cluster(Side::Source));
    let namespace = source_namespace(spec);
    for door in doors(spec, facts) {
        for one in guarded(facts, door.number) {
            let (mode, _) = policy::mutual_tls(found, namespace, &one.pod.labels, door.number);
            let selecting = policy::workload_policies(found, namespace, &one.pod.labels);
            let Some((oldest, younger)) = selecting.split_first() else { continue };
            let void =
                younger.iter().find(|policy| policy::port_mode(policy, door.number) == Some(MutualTls::Disabled));
            let Some(void) = void.filter(|_| mode != MutualTls::Disabled) else { continue };
            let patch = serde_json::json!({"spec": {"portLevelMtls": {door.number.to_string(): {"mode": "DISABLE"}}}});
            let command = Kubectl::of(&spec, facts, Side::Source).map(|kubectl| {
                let patch = patch.to_string();
                let object = "peerauthentications.security.istio.io";
                kubectl.line_in(namespace, &["patch", object, &oldest.name, "--type", "merge", "-p", &patch])
            });
            let problem = Problem::new(
                Code::PeerAuthenticationVoid,
                format!(
                    "PeerAuthentication `{}/{}` does nothing for source `{}`: `{}` is older and selects the pod too, and leaves port {} {}",
                    void.namespace,
                    void.name,
                    one.pod.name,
                    oldest.name,
                    door.number,
                    mode.name()
                ),
            );
            let problem = selecting.iter().fold(problem, |problem, policy| {
                let since = policy.created.map_or_else(|| "unknown".to_owned(), |created| created.to_string());
                problem.seen(format!("{}, made {since}", policy::describe(policy)))
            });
            return asked.warned(problem.hint(with(
                Hint::text(format!(
                    "take port {} out of mutual TLS in the older one, for everybody who connects to it",
                    door.number
                )),
                command,
            )));
        }
    }
    asked.passed(["no PeerAuthentication is void because of an older one"])
}
