//! DestinationRules: does the link's own decide how the members' sidecars connect, or another one for the same host?

use super::{
    super::{
        ask, ids,
        kubectl::{Kubectl, with},
        pods, policy,
    },
    visibility::covers,
};
use crate::domain::{
    check::{Check, Subject},
    code::Code,
    facts::{Facts, NamedRule},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::MeshLink,
};

/// What the link's own rule is exported to.
const OWN_EXPORT: [&str; 1] = ["."];

/// Judges whether another DestinationRule is taken in place of the link's own.
///
/// As istiod takes them: rules of the members' own namespace come before all others, and of those the most specific host. A rule
/// that selects the pod wins over one that selects all. Of several for the same host with the same `exportTo` the oldest one's
/// traffic policy holds; with different ones the youngest rule does.
pub(super) fn rules(spec: MeshLink<'_>, facts: &Facts) -> Check {
    let asked = ask(ids::RULE_HOLDS, Subject::Link);
    let rules = match &facts.client.surroundings.rules {
        Fetched::Got(rules) => rules,
        Fetched::Failed(problem) => return asked.unknown(problem.clone()),
    };
    let namespace = spec.client.cluster.namespace.as_str();
    let own = rules.iter().find(|rule| is_own(spec, rule));
    let covering: Vec<&NamedRule> =
        rules.iter().filter(|rule| !is_own(spec, rule) && covers(&rule.host, &spec.host)).collect();
    let same_host = |rule: &&&NamedRule| rule.namespace == namespace && rule.host.eq_ignore_ascii_case(&spec.host);
    let winner = covering.iter().filter(same_host).find(|rule| wins(spec, facts, rule, own));
    let Some(rule) = winner else {
        let beaten = covering.iter().map(|rule| format!("{}, which the link's own comes before", describe(rule)));
        let none = covering.is_empty().then(|| "no other rule covers the mesh name".to_owned());
        return asked.passed(beaten.chain(none));
    };
    let broken = rule.tls.as_deref().is_some_and(|mode| mode != "DISABLE");
    let what = if broken {
        format!(
            "DestinationRule `{}/{}` is taken for `{}` and has the sidecars speak TLS, which the source's port does not expect",
            rule.namespace, rule.name, spec.host
        )
    } else {
        format!(
            "DestinationRule `{}/{}` is taken for `{}` in place of the link's own, whose keepalive and timeouts are then lost",
            rule.namespace, rule.name, spec.host
        )
    };
    let problem = Problem::new(Code::RuleOverridden, what).seen(describe(rule)).hint(with(
        Hint::text("delete it, or take the mesh name out of it"),
        Kubectl::of(&spec, facts, spec.client_side()).map(|kubectl| {
            kubectl.line_in(&rule.namespace, &["delete", "destinationrules.networking.istio.io", &rule.name])
        }),
    ));
    if broken { asked.failed(problem) } else { asked.warned(problem) }
}

fn is_own(spec: MeshLink<'_>, rule: &NamedRule) -> bool {
    rule.link.as_deref() == Some(spec.name.as_str()) && rule.namespace == spec.client.cluster.namespace
}

/// Whether a rule for the mesh name in the members' namespace is taken before the link's own, which `None` says is yet to come.
fn wins(spec: MeshLink<'_>, facts: &Facts, rule: &NamedRule, own: Option<&NamedRule>) -> bool {
    if let Some(selector) = &rule.selector {
        return pods(facts, spec.client_side()).any(|one| policy::matches(selector, &one.pod.labels));
    }
    let older = own.is_none_or(|own| (rule.created, &rule.name) < (own.created, &own.name));
    if rule.export_to == OWN_EXPORT { rule.has_policy && older } else { !older }
}

fn describe(rule: &NamedRule) -> String {
    let part = |name: &str, value: Option<String>| value.map(|value| format!(", {name} {value}")).unwrap_or_default();
    let selector = rule
        .selector
        .as_ref()
        .map(|labels| labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","));
    let exported = (!rule.export_to.is_empty()).then(|| rule.export_to.join(","));
    format!(
        "DestinationRule {}/{}: host {}{}{}{}{}",
        rule.namespace,
        rule.name,
        rule.host,
        part("tls", rule.tls.clone()),
        part("for pods", selector),
        part("exported to", exported),
        part("made", rule.created.map(|created| created.to_string())),
    )
}
