//! M5 to M7 of a service that is not MySQL: how far an HTTP request or a silent connection through the name gets.

use super::{Road, fault, service_fault};
use crate::domain::{
    check::Check,
    code::Code,
    facts::{ProbeAnswer, ProbeEnd},
    hint::Hint,
    judge::ids,
    problem::{Fetched, Problem},
};

/// How Envoy words what it says in the place of a service (its `LocalReply` texts).
const ENVOY_WORDS: [&str; 4] = [
    "upstream connect error or disconnect/reset before headers",
    "no healthy upstream",
    "upstream request timeout",
    "no route found",
];

/// Whether a response is one of Envoy's own, of the client's sidecar or of one on the way.
pub(super) fn is_envoys(status: u16, body: &str) -> bool {
    matches!(status, 502..=504) && ENVOY_WORDS.iter().any(|words| body.starts_with(words))
}

impl Road<'_> {
    /// The checks that need an answer of the probe.
    pub(super) fn service(&self, checks: &mut Vec<Check>) {
        let blocked = super::blocked(checks).cloned();
        let answer = match &self.seen.probe {
            Fetched::Got(answer) => answer,
            Fetched::Failed(problem) => {
                let cause = blocked.unwrap_or_else(|| self.ask(ids::SERVICE_ANSWERS).unfetched(problem));
                return self.skip_to(checks, &cause);
            }
        };
        if answer.end == ProbeEnd::NoClient {
            let cause = blocked.unwrap_or_else(|| self.ask(ids::SERVICE_ANSWERS).unknown(self.no_program()));
            return self.skip_to(checks, &cause);
        }
        let accepts = self.accepts(answer);
        let answers = self.answers(answer, &accepts);
        // An answer is proof of everything before it, whatever else looks odd.
        match blocked {
            Some(cause) if !answers.is_good() => self.skip_to(checks, &cause),
            _ => checks.extend([accepts, answers]),
        }
    }

    fn no_program(&self) -> Problem {
        let what = format!(
            "container `{}` of `{}` has no program to ask {}:{} with",
            self.spec.client.container, self.seen.member, self.spec.host, self.seen.port
        );
        Problem::new(Code::NoProbe, what)
            .seen("looked for: curl, wget, bash, nc; run by sh, and read by od")
            .hint(Hint::text("use an image that has one of them, or name another container of the pod as `client.kubernetes.container`: all of them share the pod's network and its sidecar"))
    }

    fn answers(&self, answer: &ProbeAnswer, accepts: &Check) -> Check {
        let asked = self.ask(ids::SERVICE_ANSWERS);
        if !accepts.is_good() {
            return asked.skipped(accepts);
        }
        let proof = |what: String| [format!("{}: {what}", answer.by)];
        match &answer.end {
            ProbeEnd::Http { status: 403, body, .. } if body.starts_with("RBAC: access denied") => {
                asked.failed(fault::denied(self, answer, &fault::denying(self)))
            }
            ProbeEnd::Http { status, upstream: true, body } if is_envoys(*status, body) => {
                asked.failed(service_fault::another_proxy(self, answer))
            }
            ProbeEnd::Http { status, upstream: false, body } if is_envoys(*status, body) => {
                asked.failed(service_fault::no_answer(self, answer))
            }
            ProbeEnd::Http { status, .. } => asked.passed(proof(format!("HTTP {status}"))),
            ProbeEnd::Spoke { first } if !self.is_http() => asked.passed(proof(format!("the server spoke first: {first}"))),
            ProbeEnd::Open if !self.is_http() => match service_fault::silence(self, answer) {
                Some(problem) if problem.code == Code::StrictHang => asked.failed(problem),
                Some(problem) => asked.warned(problem),
                None => asked.passed(proof(
                    "an endpoint took the connection and holds it open; that it is what answers there the service's own client must prove"
                        .to_owned(),
                )),
            },
            _ => asked.failed(service_fault::no_answer(self, answer)),
        }
    }
}
