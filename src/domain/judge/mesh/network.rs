//! NetworkPolicies on both sides: does one, where the network plugin enforces it, keep the link's connections in or out?
//!
//! Whether a plugin enforces them cannot be seen in the API, and neither can whose address it compares once a node port has put a
//! node in the caller's place. So this only ever warns, and only where nothing at all could let the connections through.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Value, json};

use super::super::{
    ask, ids,
    kubectl::{Kubectl, with},
    member, pods,
    selector::selects,
    source_is_endpoints,
};
use super::policies;
use crate::domain::{
    check::{Check, Outcome, Side},
    code::Code,
    desired,
    facts::{Facts, ObjectFacts, PodMember},
    hint::Hint,
    problem::{Fetched, Problem},
    range,
    spec::{Endpoint, MeshLink},
};

/// Judges the policies of both sides, for every pod.
pub(super) fn network(spec: MeshLink<'_>, facts: &Facts) -> Vec<Check> {
    let outgoing = pods(facts, spec.client_side()).map(|one| outgoing(spec, facts, one));
    let incoming = pods(facts, Side::Source).filter_map(|one| incoming(spec, facts, one));
    outgoing.chain(incoming).collect()
}

/// The NetworkPolicy that a connection which nobody answers must be blamed on first: one of the client's side, else one that shuts
/// every pod of the source.
pub(in super::super) fn closing_policy(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>) -> Option<Problem> {
    let problem = |check: Check| match check.outcome {
        Outcome::Warned(problem) => Some(problem),
        _ => None,
    };
    let shut = || {
        let incoming = pods(facts, Side::Source).filter_map(|one| incoming(spec, facts, one));
        let shut: Vec<Option<Problem>> = incoming.map(problem).collect();
        if shut.iter().all(Option::is_some) { shut.into_iter().flatten().next() } else { None }
    };
    problem(outgoing(spec, facts, one)).or_else(shut)
}

fn outgoing(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>) -> Check {
    let side = spec.client_side();
    let asked = ask(ids::EGRESS_OPEN, member(side, &one));
    let policies = match &facts.client.surroundings.network_policies {
        Fetched::Got(policies) => policies,
        Fetched::Failed(problem) => return asked.unknown(problem.clone()),
    };
    let isolating = isolating(policies, Direction::Egress, &one.pod.labels);
    if isolating.is_empty() {
        return asked.passed(["no NetworkPolicy narrows what it may connect to"]);
    }
    let endpoints = spec.ports().into_iter().map(|port| desired::desired_endpoints(spec, facts, port.number));
    let targets: Vec<Endpoint> = match endpoints.collect::<Result<Vec<_>, _>>() {
        Ok(targets) => targets.concat(),
        Err(problem) => return asked.unknown(Problem { hint: None, ..problem }),
    };
    let closed: Vec<&Endpoint> = targets
        .iter()
        .filter(|target| {
            let open = |rule: &Value| {
                has_port(rule, target.port, false)
                    && peers(rule, Direction::Egress)
                        .is_none_or(|blocks| blocks.iter().any(|block| holds(block, target.address)))
            };
            !isolating.iter().flat_map(|policy| rules(policy, Direction::Egress)).any(open)
        })
        .collect();
    if closed.is_empty() {
        return asked.passed([format!("allowed by {}", named(&isolating))]);
    }
    let shown: Vec<String> = closed.iter().map(ToString::to_string).collect();
    let rule = json!({
        "to": closed.iter().map(|target| json!({"ipBlock": {"cidr": single(target.address)}})).collect::<Vec<_>>(),
        "ports": distinct(closed.iter().map(|target| target.port)),
    });
    let problem = Problem::new(
        Code::EgressPolicy,
        format!(
            "{} lets `{}` connect to nothing at {}; where the network plugin enforces it, packets are dropped",
            named(&isolating),
            one.pod.name,
            shown.join(", ")
        ),
    );
    asked.warned(advise(problem, spec, facts, side, &isolating, Direction::Egress, &rule))
}

/// `None` where no pod of the source can be seen at all.
fn incoming(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>) -> Option<Check> {
    if source_is_endpoints(&spec) {
        return None;
    }
    let asked = ask(ids::INGRESS_OPEN, member(Side::Source, &one));
    let policies = match facts.source.surroundings.as_ref().map(|around| &around.network_policies) {
        Some(Fetched::Got(policies)) => policies,
        Some(Fetched::Failed(problem)) => return Some(asked.unknown(problem.clone())),
        None => return None,
    };
    let isolating = isolating(policies, Direction::Ingress, &one.pod.labels);
    if isolating.is_empty() {
        return Some(asked.passed(["no NetworkPolicy narrows who may connect to it"]));
    }
    let callers = callers(spec, facts);
    let ports = policies::doors(spec, facts).into_iter().map(|door| door.number);
    let closed: Vec<u16> = ports
        .filter(|port| {
            let open = |rule: &Value| {
                has_port(rule, *port, true)
                    && peers(rule, Direction::Ingress).is_none_or(|blocks| {
                        blocks.iter().any(|block| callers.iter().any(|caller| holds(block, *caller)))
                    })
            };
            !isolating.iter().flat_map(|policy| rules(policy, Direction::Ingress)).any(open)
        })
        .collect();
    if closed.is_empty() {
        return Some(asked.passed([format!("allowed by {}", named(&isolating))]));
    }
    let shown: Vec<String> = closed.iter().map(ToString::to_string).collect();
    let rule = json!({
        "from": callers.iter().map(|caller| json!({"ipBlock": {"cidr": single(*caller)}})).collect::<Vec<_>>(),
        "ports": distinct(closed.iter().copied()),
    });
    let problem = Problem::new(
        Code::IngressPolicy,
        format!(
            "{} lets nobody outside the source's cluster connect to port {} of `{}`; where the network plugin enforces it, packets are dropped",
            named(&isolating),
            shown.join(", "),
            one.pod.name
        ),
    );
    Some(asked.warned(advise(problem, spec, facts, Side::Source, &isolating, Direction::Ingress, &rule)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    fn key(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// The key of its peers.
    fn peers(self) -> &'static str {
        match self {
            Self::Ingress => "from",
            Self::Egress => "to",
        }
    }
}

/// The policies that isolate a pod in a direction: only what one of them allows is allowed.
fn isolating<'a>(
    policies: &'a [ObjectFacts],
    direction: Direction,
    labels: &BTreeMap<String, String>,
) -> Vec<&'a ObjectFacts> {
    let speaks = |policy: &&ObjectFacts| match policy.spec.get("policyTypes").and_then(Value::as_array) {
        Some(types) => types.iter().filter_map(Value::as_str).any(|kind| kind.eq_ignore_ascii_case(direction.key())),
        // The API server fills it in; so it would: ingress always, egress where there is a rule of it.
        None => direction == Direction::Ingress || policy.spec.get("egress").is_some(),
    };
    let empty = json!({});
    let selected = |policy: &&ObjectFacts| selects(policy.spec.get("podSelector").unwrap_or(&empty), labels);
    policies.iter().filter(speaks).filter(selected).collect()
}

fn rules(policy: &ObjectFacts, direction: Direction) -> &[Value] {
    policy.spec.get(direction.key()).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The address blocks of a rule; `None` where it is about everybody. Pods and namespaces are no addresses of another cluster.
fn peers(rule: &Value, direction: Direction) -> Option<Vec<&Value>> {
    let listed = rule.get(direction.peers()).and_then(Value::as_array).filter(|peers| !peers.is_empty())?;
    Some(listed.iter().filter_map(|peer| peer.get("ipBlock")).collect())
}

fn holds(block: &Value, address: IpAddr) -> bool {
    let inside = |range: &Value| range.as_str().is_some_and(|range| range::contains(range, address));
    let excepted = block.get("except").and_then(Value::as_array).into_iter().flatten().any(inside);
    block.get("cidr").is_some_and(inside) && !excepted
}

/// Whether a rule is about a TCP port. `named`: what a port's name stands for is not known, so it may be that port.
fn has_port(rule: &Value, port: u16, named: bool) -> bool {
    let Some(ports) = rule.get("ports").and_then(Value::as_array).filter(|ports| !ports.is_empty()) else {
        return true;
    };
    ports.iter().any(|entry| {
        let tcp = entry.get("protocol").and_then(Value::as_str).unwrap_or("TCP") == "TCP";
        let number = |key: &str| entry.get(key).and_then(Value::as_u64);
        let fits = match (entry.get("port"), number("port")) {
            (None, _) => true,
            (Some(_), Some(first)) => (first..=number("endPort").unwrap_or(first)).contains(&u64::from(port)),
            (Some(_), None) => named,
        };
        tcp && fits
    })
}

/// Addresses that the source's pods may see a connection come from: nodes of both clusters, by what a node port makes of it.
fn callers(spec: MeshLink<'_>, facts: &Facts) -> Vec<IpAddr> {
    let nodes = facts.source.nodes.as_ref().and_then(Fetched::got).into_iter().flatten();
    let own = nodes.flat_map(|node| node.addresses.iter().map(|(_, address)| *address));
    let others = pods(facts, spec.client_side()).filter_map(|one| one.pod.host_ip);
    let mut callers: Vec<IpAddr> = own.chain(others).collect();
    callers.sort_unstable();
    callers.dedup();
    callers
}

fn single(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

fn distinct(ports: impl Iterator<Item = u16>) -> Vec<Value> {
    let mut ports: Vec<u16> = ports.collect();
    ports.sort_unstable();
    ports.dedup();
    ports.into_iter().map(|port| json!({"protocol": "TCP", "port": port})).collect()
}

fn named(policies: &[&ObjectFacts]) -> String {
    let names: Vec<String> = policies.iter().map(|policy| format!("{}/{}", policy.namespace, policy.name)).collect();
    format!("NetworkPolicy `{}`", names.join("`, `"))
}

/// Policies add up, so that a rule in any one of them is enough.
fn advise(
    mut problem: Problem,
    spec: MeshLink<'_>,
    facts: &Facts,
    side: Side,
    isolating: &[&ObjectFacts],
    direction: Direction,
    rule: &Value,
) -> Problem {
    for policy in isolating {
        let shown = policy.spec.get(direction.key()).map_or_else(|| "none".to_owned(), ToString::to_string);
        problem = problem.seen(format!("{}/{}: {} rules {shown}", policy.namespace, policy.name, direction.key()));
    }
    let problem = problem.seen("whether the network plugin enforces NetworkPolicies cannot be seen in the API");
    let command = Kubectl::of(&spec, facts, side).zip(isolating.first()).map(|(kubectl, policy)| {
        let key = direction.key();
        // An element can be added to a list that is there, and only a list where none is.
        let patch = if rules(policy, direction).is_empty() {
            json!([{"op": "add", "path": format!("/spec/{key}"), "value": [rule]}])
        } else {
            json!([{"op": "add", "path": format!("/spec/{key}/-"), "value": rule}])
        };
        kubectl.line_in(
            &policy.namespace,
            &["patch", "networkpolicy", &policy.name, "--type", "json", "-p", &patch.to_string()],
        )
    });
    problem.hint(with(Hint::text("allow the link's connections in one of the policies; they add up"), command))
}
