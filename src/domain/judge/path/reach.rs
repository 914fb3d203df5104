//! How far a connection got, by the client's words and Envoy's counters together, and what was seen of it in words.

use super::{
    super::{blame, ids},
    Road, fault, host_words,
};
use crate::domain::{
    check::Check,
    facts::{Moved, ProbeAnswer, ProbeEnd},
    problem::Fetched,
};

/// A refusal travels at network speed; what takes longer waited for something. In milliseconds.
pub(super) const QUICK_MS: u64 = 2000;

/// How far a connection got, as far as it can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The endpoint took it.
    Accepted,
    /// The endpoint, or something in front of it, refused at once.
    Refused,
    /// Nothing came back while it was dialled.
    Silent,
    /// The sidecar did not even dial.
    NotDialled,
    /// The counters could not be read and the client's words fit several.
    Unseen,
}

/// Whether an end alone proves that somebody behind the sidecar spoke.
pub(super) fn spoke(end: &ProbeEnd) -> bool {
    match end {
        ProbeEnd::Answered { .. } | ProbeEnd::Http { upstream: true, .. } => true,
        ProbeEnd::Error { errno, text } => blame::server_spoke(*errno, text),
        _ => false,
    }
}

/// Whether a failure came at network speed. `nc` ends with its own input and not with the connection.
pub(super) fn quick(answer: &ProbeAnswer) -> bool {
    answer.took_ms < QUICK_MS || answer.end == ProbeEnd::Closed && answer.by.starts_with("nc ")
}

/// Whether an end is the refusal itself, as a client sees it that no sidecar stands before.
pub(super) fn says_refused(end: &ProbeEnd) -> bool {
    matches!(end, ProbeEnd::Error { text, .. } if blame::system_error(text) == Some(111) || text.contains("onnection refused"))
}

impl Road<'_> {
    fn reach(&self, answer: &ProbeAnswer) -> Reach {
        if spoke(&answer.end) {
            return Reach::Accepted;
        }
        match self.moved() {
            None => Reach::Unseen,
            Some(moved) if moved.failed > 0 => {
                // What came straight from an endpoint shows a refusal as it is.
                let straight = self.seen.direct.iter().filter_map(|direct| direct.answer.got());
                let refused = straight.clone().any(|answer| says_refused(&answer.end));
                let slow =
                    straight.filter(|answer| !super::direct::is_answer(&answer.end)).any(|answer| !quick(answer));
                if refused || says_refused(&answer.end) || (quick(answer) && !slow) {
                    Reach::Refused
                } else {
                    Reach::Silent
                }
            }
            Some(moved) if moved.tried == 0 && moved.reached == 0 => Reach::NotDialled,
            // A connection that is still being dialled is counted as tried only.
            Some(moved) if moved.reached == 0 || answer.end == ProbeEnd::Open && moved.reached < moved.tried => {
                Reach::Silent
            }
            Some(_) => Reach::Accepted,
        }
    }

    /// How the counters moved while the probe ran, over all endpoints.
    pub(super) fn moved(&self) -> Option<Moved> {
        let before = self.seen.envoy.got()?.hosts.as_ref()?;
        let after = self.seen.after.got()?;
        Some(after.iter().fold(Moved::default(), |sum, host| {
            sum + Moved::between(before.iter().find(|old| old.endpoint == host.endpoint), host)
        }))
    }

    pub(super) fn accepts(&self, answer: &ProbeAnswer) -> Check {
        let asked = self.ask(ids::ENDPOINT_ACCEPTS);
        match self.reach(answer) {
            Reach::Accepted => asked.passed(self.evidence(answer).into_iter().skip(1).take(2)),
            Reach::Refused => asked.failed(fault::refused(self, answer)),
            Reach::Silent => asked.failed(fault::silent(self, answer)),
            Reach::NotDialled => asked.failed(fault::not_dialled(self, answer)),
            Reach::Unseen => asked.unknown(fault::unseen(self, answer)),
        }
    }

    /// What was seen of the probe, for every problem after M4.
    pub(super) fn evidence(&self, answer: &ProbeAnswer) -> Vec<String> {
        let mut lines = vec![
            told(answer),
            match self.moved() {
                Some(Moved { tried, failed, reached }) => format!(
                    "Envoy, during the probe: cx_total +{tried}, cx_connect_fail +{failed}, rq_total +{reached}"
                ),
                None => "Envoy's counters: not read".to_owned(),
            },
        ];
        if let Fetched::Got(envoy) = &self.seen.envoy {
            lines.push(format!("endpoints: {}", host_words(envoy.hosts.as_deref())));
        }
        lines.extend(self.seen.direct.iter().filter_map(|direct| {
            Some(format!("straight to the endpoint {}, {}", direct.endpoint, told(direct.answer.got()?)))
        }));
        lines
    }
}

/// What asked, how long it took and how it ended.
pub(super) fn told(answer: &ProbeAnswer) -> String {
    let end = match &answer.end {
        ProbeEnd::Answered { server_uuid, .. } => format!("answered by {server_uuid}"),
        ProbeEnd::Error { text, .. } => text.clone(),
        ProbeEnd::Http { status, body, .. } if *status < 400 || body.is_empty() => format!("HTTP {status}"),
        ProbeEnd::Http { status, body, .. } => format!("HTTP {status}: {body}"),
        ProbeEnd::Spoke { first } => format!("the other side spoke first: {first}"),
        ProbeEnd::Open => "connected, and nothing came".to_owned(),
        ProbeEnd::Closed => "connected, and ended by the other side without a byte".to_owned(),
        ProbeEnd::TimedOut => "no end within the probe's deadline".to_owned(),
        ProbeEnd::NoClient => "no program to probe with".to_owned(),
    };
    format!("{} after {}.{} s: {end}", answer.by, answer.took_ms / 1000, answer.took_ms % 1000 / 100)
}
