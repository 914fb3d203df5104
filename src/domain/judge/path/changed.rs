//! Why a path fails whose mesh objects were changed: the change is the reason, and undoing it is what mends the path.

use super::super::{
    kubectl::with,
    mesh::{CHANGED, differences, mending},
};
use crate::domain::{
    check::{Check, Milestone, Outcome},
    code::Code,
    facts::{Facts, OwnObject},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::MeshLink,
};

/// Gives the first check of a path that failed what was changed as evidence and as what is to be mended.
///
/// A login that fails has gone all the way, so no change of the mesh is its reason.
pub(super) fn explain(spec: MeshLink<'_>, facts: &Facts, checks: &mut [Check]) {
    let Some(Fetched::Got(objects)) = &facts.objects else { return };
    let differences = differences(objects);
    if differences.is_empty() {
        return;
    }
    let first = checks.iter_mut().find(|check| matches!(check.outcome, Outcome::Failed(_)));
    let Some(Check { milestone, outcome: Outcome::Failed(problem), .. }) = first else { return };
    if *milestone >= Milestone::Query {
        return;
    }
    if let Some((code, what)) = cause(spec, objects, *milestone, problem) {
        problem.code = code;
        problem.message = what;
    }
    problem.evidence.extend(differences);
    problem.hint = Some(with(Hint::text(CHANGED), mending(spec, facts, objects)));
}

/// The change that is known to end in what was seen.
fn cause(spec: MeshLink<'_>, objects: &[OwnObject], milestone: Milestone, problem: &Problem) -> Option<(Code, String)> {
    let rule = objects.iter().find(|object| object.kind == "DestinationRule")?;
    let set =
        |path: &[&str]| rule.changed.iter().chain(&rule.added).find(|field| field.path == path).map(|field| &field.is);
    if milestone < Milestone::Connection {
        return None;
    }
    if let Some(mode) = set(&["trafficPolicy", "tls", "mode"]).and_then(|mode| mode.as_str()) {
        let what = format!(
            "the sidecars speak TLS ({mode}) to the endpoints of `{}`, which do not: DestinationRule `{}` says so",
            spec.host, rule.name
        );
        return Some((Code::MeshTls, what));
    }
    let limit = set(&["trafficPolicy", "connectionPool", "tcp", "maxConnections"])?;
    // Above the limit the sidecar does not dial at all.
    (problem.code == Code::NotIntercepted).then(|| {
        let what = format!(
            "the sidecar dials no further endpoint of `{}`: DestinationRule `{}` allows {limit} connection(s), and so many are open",
            spec.host, rule.name
        );
        (Code::ConnectionLimit, what)
    })
}
