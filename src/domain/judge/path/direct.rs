//! The control: what answers straight at the endpoints' addresses, past the mesh. With it, a fault of the mesh is told from one of
//! the network, and one dead endpoint among several from all of them.
//!
//! | name  | straight | verdict |
//! |-------|----------|---------|
//! | works | answers  | passed |
//! | works | blocked by the mesh (`REGISTRY_ONLY`) | passed: the name is the only way, and works |
//! | works | does not answer, some or all | warned: connections that go there will fail |
//! | fails | answers  | passed: the mesh keeps the name from working, not the network |
//! | fails | blocked by the mesh | skipped: it tells nothing |
//! | fails at the connection or after it | does not answer | skipped: the failed check says why, and has this as evidence |
//! | fails before it | does not answer | failed: the network or the service is at fault, too |

use super::{
    Road,
    reach::{self, quick, says_refused},
    service::is_envoys,
    service_fault,
};
use crate::domain::{
    check::{Check, Milestone, Outcome},
    code::Code,
    facts::{DirectFacts, Moved, ProbeEnd},
    judge::ids,
    problem::{Fetched, Problem},
    spec::Endpoint,
};

/// What became of a connection past the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Straight {
    Answers,
    /// The mesh lets none pass.
    Blocked,
    Refused,
    Silent,
    /// Taken, and then nothing that counts as an answer.
    Mute,
    NoProgram,
}

/// Whether the service itself spoke. Its own errors are its words, too.
pub(super) fn is_answer(end: &ProbeEnd) -> bool {
    match end {
        ProbeEnd::Http { status, upstream, body } => *upstream || !is_envoys(*status, body),
        ProbeEnd::Spoke { .. } => true,
        other => reach::spoke(other),
    }
}

impl Road<'_> {
    /// Whether every endpoint that the sidecar has was asked past the mesh, and answered.
    pub(super) fn answers_straight(&self) -> bool {
        let hosts = self.seen.envoy.got().and_then(|envoy| envoy.hosts.as_deref()).unwrap_or_default();
        let answers = |direct: &DirectFacts| direct.answer.got().is_some_and(|answer| is_answer(&answer.end));
        let answered: Vec<Endpoint> =
            self.seen.direct.iter().filter(|direct| answers(direct)).map(|direct| direct.endpoint).collect();
        !hosts.is_empty() && hosts.iter().all(|host| answered.contains(&host.endpoint))
    }

    /// The check, after all others of the path.
    pub(super) fn direct(&self, checks: &[Check]) -> Check {
        let asked = self.ask(ids::ENDPOINT_DIRECT);
        let bad = checks.iter().find(|check| !check.is_good() && !matches!(check.outcome, Outcome::Skipped { .. }));
        let mut seen = Vec::new();
        for direct in &self.seen.direct {
            match &direct.answer {
                Fetched::Got(answer) => seen.push((direct, self.straight(direct, &answer.end), reach::told(answer))),
                Fetched::Failed(problem) => {
                    return match bad {
                        Some(bad) => asked.skipped(bad),
                        None => asked.warned(problem.clone()),
                    };
                }
            }
        }
        let words = |wanted: fn(Straight) -> bool| -> Vec<String> {
            let chosen = seen.iter().filter(|(_, straight, _)| wanted(*straight));
            chosen.map(|(direct, _, told)| format!("{}: {told}", direct.endpoint)).collect()
        };
        let all = words(|_| true);
        let silent = words(|straight| straight != Straight::Answers);
        match (seen.iter().map(|(_, straight, _)| *straight).find(|straight| *straight != Straight::Answers), bad) {
            _ if seen.is_empty() => match bad {
                Some(bad) => asked.skipped(bad),
                None => {
                    asked.warned(Problem::new(Code::NoEndpoints, "no endpoint is known that could be asked straight"))
                }
            },
            (None, None) => asked.passed(all),
            (None, Some(_)) => asked
                .passed(["the mesh keeps the name from working, not the network".to_owned()].into_iter().chain(all)),
            (Some(Straight::Blocked), None) => {
                asked
                    .passed(["the mesh lets nothing pass but names it knows (REGISTRY_ONLY); this name is the way"
                        .to_owned()])
            }
            (Some(_), None) => asked.warned(service_fault::some_dead(self, silent, all.len())),
            (Some(Straight::Blocked | Straight::NoProgram), Some(bad)) => asked.skipped(bad),
            (Some(_), Some(bad)) if bad.milestone >= Milestone::Connection => asked.skipped(bad),
            (Some(straight), Some(_)) => {
                let code = if straight == Straight::Refused { Code::EndpointRefused } else { Code::EndpointSilent };
                asked.failed(service_fault::nowhere(self, code, silent))
            }
        }
    }

    fn straight(&self, direct: &DirectFacts, end: &ProbeEnd) -> Straight {
        let answer = direct.answer.got();
        if *end == ProbeEnd::NoClient {
            return Straight::NoProgram;
        }
        if is_answer(end) {
            return Straight::Answers;
        }
        let allowed = self.seen.envoy.got().and_then(|envoy| envoy.catch_all.as_deref());
        if allowed == Some("BlackHoleCluster") {
            return Straight::Blocked;
        }
        let refused = says_refused(end) || answer.is_some_and(quick);
        match (end, direct.moved) {
            (_, Some(Moved { failed: 1.., .. })) if refused => Straight::Refused,
            (_, Some(Moved { failed: 1.., .. } | Moved { reached: 0, .. })) => Straight::Silent,
            // Past the sidecar a connection that stands does so at the endpoint.
            (ProbeEnd::Open, _) => Straight::Answers,
            (_, Some(_)) | (ProbeEnd::Closed, None) => Straight::Mute,
            (_, None) if refused => Straight::Refused,
            (_, None) => Straight::Silent,
        }
    }
}
