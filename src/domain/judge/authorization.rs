//! What AuthorizationPolicies make of a connection without a mesh identity, as the sidecar in front of the source judges it.
//!
//! A link's connections come in plain text, so nothing is known of the caller but an address, and that may be one of several:
//! a node port hides the caller behind a node. Hence three answers, of which the middle one is never called a refusal.

use std::net::IpAddr;

use serde_json::Value;

use crate::domain::{facts::ObjectFacts, range};

/// What is known of a connection when it is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    /// The port it comes in at, in the pod.
    pub(super) port: u16,
    /// The sidecar takes HTTP apart there; else it sees bytes only.
    pub(super) http: bool,
    /// Addresses that it may be seen to come from.
    pub(super) addresses: &'a [IpAddr],
}

/// What the policies of one pod come to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision<'a> {
    /// Let in.
    Allowed,
    /// Turned away, and by whom: a DENY rule, or ALLOW policies of which none has a rule for it.
    Denied(Vec<&'a ObjectFacts>),
    /// Decided by what cannot be known here: the caller's address, an external authorizer, the request itself.
    Uncertain(Vec<&'a ObjectFacts>),
}

/// Judges a connection by the policies that select its pod, in Istio's order: CUSTOM, then DENY, then ALLOW. AUDIT decides
/// nothing, and neither does a policy that is only tried out (`istio.io/dry-run`).
pub(super) fn decide<'a>(policies: &[&'a ObjectFacts], caller: Caller<'_>) -> Decision<'a> {
    let of = |wanted: &str| -> Vec<&'a ObjectFacts> {
        policies.iter().copied().filter(|policy| !policy.dry_run && action(policy) == wanted).collect()
    };
    let that = |policies: &[&'a ObjectFacts], wanted: fn(Match) -> bool, lenient: bool| -> Vec<&'a ObjectFacts> {
        policies.iter().copied().filter(|policy| wanted(matches(policy, caller, lenient))).collect()
    };
    let possible = |found: Match| found != Match::No;
    let (denying, allowing) = (of("DENY"), of("ALLOW"));
    let denied = that(&denying, |found| found == Match::Yes, true);
    if !denied.is_empty() {
        return Decision::Denied(denied);
    }
    let mut uncertain = that(&of("CUSTOM"), possible, true);
    uncertain.extend(that(&denying, possible, true));
    let allowed = that(&allowing, |found| found == Match::Yes, false);
    if allowing.is_empty() || !allowed.is_empty() {
        return if uncertain.is_empty() { Decision::Allowed } else { Decision::Uncertain(uncertain) };
    }
    let perhaps = that(&allowing, possible, false);
    if perhaps.is_empty() {
        return Decision::Denied(allowing);
    }
    uncertain.extend(perhaps);
    Decision::Uncertain(uncertain)
}

/// The action of a policy; ALLOW unless said.
pub(super) fn action(policy: &ObjectFacts) -> &str {
    policy.spec.get("action").and_then(Value::as_str).unwrap_or("ALLOW")
}

/// Whether a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    Perhaps,
    Yes,
}

impl Match {
    fn of(certain: bool) -> Self {
        if certain { Self::Yes } else { Self::No }
    }

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
            Self::Yes => Self::No,
        }
    }
}

/// Every one of them: the least.
fn all(found: impl IntoIterator<Item = Match>) -> Match {
    found.into_iter().min().unwrap_or(Match::Yes)
}

/// Any of them: the most.
fn any(found: impl IntoIterator<Item = Match>) -> Match {
    found.into_iter().max().unwrap_or(Match::No)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A policy without rules matches nothing. `lenient`: what only HTTP has is passed over in a policy about bytes, which makes a
/// DENY wider; in an ALLOW it takes the whole rule away (istiod: `authz/model`, `checkError`).
fn matches(policy: &ObjectFacts, caller: Caller<'_>, lenient: bool) -> Match {
    any(list(&policy.spec, "rules").iter().map(|rule| {
        if !caller.http && !lenient && is_http_only(rule) {
            return Match::No;
        }
        let alternatives = |key: &str, inner: &str, of: fn(&Value, Caller<'_>) -> Match| match list(rule, key) {
            [] => Match::Yes,
            several => any(several.iter().map(|one| one.get(inner).map_or(Match::Yes, |one| of(one, caller)))),
        };
        let conditions = list(rule, "when").iter().map(|condition| condition_holds(condition, caller));
        all([alternatives("from", "source", source), alternatives("to", "operation", operation)]
            .into_iter()
            .chain(conditions))
    }))
}

/// The keys of a source, an operation or a condition that only HTTP has.
const HTTP_ONLY: [&str; 8] =
    ["requestPrincipals", "notRequestPrincipals", "hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"];

fn is_http_only(rule: &Value) -> bool {
    let within = |key: &str, inner: &str| {
        list(rule, key).iter().filter_map(|one| one.get(inner)?.as_object()).any(|one| {
            one.iter().any(|(key, value)| {
                HTTP_ONLY.contains(&key.as_str()) && value.as_array().is_some_and(|values| !values.is_empty())
            })
        })
    };
    let requests =
        |condition: &Value| condition.get("key").and_then(Value::as_str).is_some_and(|key| key.starts_with("request."));
    within("from", "source") || within("to", "operation") || list(rule, "when").iter().any(requests)
}

/// Values of which one must match, and values of which none may.
fn pair(holder: &Value, key: &str, one: impl Fn(&str) -> Match + Copy) -> Match {
    let mut capital = key.to_owned();
    capital[..1].make_ascii_uppercase();
    let each = |values: &[Value]| any(values.iter().filter_map(Value::as_str).map(one));
    let wanted = match list(holder, key) {
        [] => Match::Yes,
        values => each(values),
    };
    let unwanted = match list(holder, &format!("not{capital}")) {
        [] => Match::Yes,
        values => each(values).not(),
    };
    all([wanted, unwanted])
}

/// Nobody without a certificate has an identity, and so is none of those that are named.
fn identity(_: &str) -> Match {
    Match::No
}

fn address(range: &str, caller: Caller<'_>) -> Match {
    if ["0.0.0.0/0", "::/0"].contains(&range) {
        return Match::Yes;
    }
    let inside = caller.addresses.iter().filter(|address| range::contains(range, **address)).count();
    // Not one of the addresses known here: it may still be one that a node is seen by.
    if inside > 0 && inside == caller.addresses.len() { Match::Yes } else { Match::Perhaps }
}

/// What only HTTP has: unknown where HTTP is spoken, passed over where it is not.
fn http(caller: Caller<'_>) -> impl Fn(&str) -> Match + Copy {
    move |_| if caller.http { Match::Perhaps } else { Match::Yes }
}

fn source(source: &Value, caller: Caller<'_>) -> Match {
    let by_address = |range: &str| address(range, caller);
    let passed_over = |key: &str| if caller.http { pair(source, key, http(caller)) } else { Match::Yes };
    all([
        pair(source, "principals", identity),
        pair(source, "namespaces", identity),
        pair(source, "serviceAccounts", identity),
        pair(source, "ipBlocks", by_address),
        pair(source, "remoteIpBlocks", by_address),
        passed_over("requestPrincipals"),
    ])
}

fn operation(operation: &Value, caller: Caller<'_>) -> Match {
    let port = caller.port.to_string();
    let by_port = |wanted: &str| Match::of(wanted == port);
    let passed_over = |key: &str| if caller.http { pair(operation, key, http(caller)) } else { Match::Yes };
    all([pair(operation, "ports", by_port), passed_over("hosts"), passed_over("methods"), passed_over("paths")])
}

fn condition_holds(condition: &Value, caller: Caller<'_>) -> Match {
    let key = condition.get("key").and_then(Value::as_str).unwrap_or_default();
    let port = caller.port.to_string();
    match key {
        "source.ip" | "remote.ip" => pair(condition, "values", |range| address(range, caller)),
        "source.principal" | "source.namespace" | "source.serviceAccount" => pair(condition, "values", identity),
        "destination.port" => pair(condition, "values", |wanted| Match::of(wanted == port)),
        // A connection in plain text carries no server name.
        "connection.sni" => pair(condition, "values", |_| Match::No),
        key if key.starts_with("request.") && !caller.http => Match::Yes,
        _ => Match::Perhaps,
    }
}
