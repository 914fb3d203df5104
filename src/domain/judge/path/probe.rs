//! M5 to M7: how far an authenticated query through the name gets, and which server answers it.

use super::{
    super::{
        blame::{self, Lost},
        ids, members, named, servers, unread,
    },
    PATH, Road, fault, host_words,
};
use crate::domain::{
    check::{Check, Outcome, Side},
    code::Code,
    facts::{EnvoyFacts, EnvoyHost, ProbeAnswer, ProbeEnd},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// A refusal travels at network speed; what takes longer waited for something. In milliseconds.
const QUICK_MS: u64 = 2000;

/// How far a connection got, as far as it can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
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

impl Road<'_> {
    /// The checks that need an answer of the probe.
    pub(super) fn probe(&self, link: ReplicationLink<'_>, checks: &mut Vec<Check>) {
        let blocked = checks.iter().find(|check| matches!(check.outcome, Outcome::Failed(_))).cloned();
        let answer = match &self.seen.probe {
            Fetched::Got(answer) => answer,
            Fetched::Failed(problem) => {
                let cause = blocked.unwrap_or_else(|| self.ask(ids::PATH_QUERY).unfetched(problem));
                return self.skip_to(checks, &cause);
            }
        };
        match &answer.end {
            // An answer is proof of everything before it, whatever else looks odd.
            ProbeEnd::Answered { .. } => {}
            ProbeEnd::NoClient => {
                let problem = Problem::new(
                    Code::NoProbe,
                    format!("container `{}` of `{}` has no mysql client, so the path cannot be proven", self.spec.client.container, self.seen.member),
                )
                .seen(format!("probe: {}", answer.by))
                .hint(Hint::text("use an image with the `mysql` client, or name the container that has it as `replica.kubernetes.container`"));
                let cause = blocked.unwrap_or_else(|| self.ask(ids::PATH_QUERY).unknown(problem));
                return self.skip_to(checks, &cause);
            }
            _ => {
                if let Some(cause) = blocked {
                    return self.skip_to(checks, &cause);
                }
            }
        }
        let accepts = self.accepts(answer);
        let greeting = self.greeting(answer, &accepts);
        let query = self.query(link, answer, &greeting);
        let server = self.server(answer, &query);
        checks.extend([accepts, greeting, query, server]);
    }

    /// The checks that need an answer of the probe, on a link of which this version cannot judge one.
    pub(super) fn unproven(&self, checks: &mut Vec<Check>) {
        let blocked = checks.iter().find(|check| matches!(check.outcome, Outcome::Failed(_))).cloned();
        let message = format!("an answer of `{}:{}` cannot be judged yet", self.spec.host, self.seen.port);
        let cause =
            blocked.unwrap_or_else(|| self.ask(ids::PATH_QUERY).unknown(Problem::new(Code::NotSupportedYet, message)));
        self.skip_to(checks, &cause);
    }

    /// Skips what the probe would have shown; a cause that is one of them stands in its own place.
    fn skip_to(&self, checks: &mut Vec<Check>, cause: &Check) {
        let judged: Vec<Check> = PATH[4..]
            .iter()
            .map(|id| if *id == cause.id { cause.clone() } else { self.ask(*id).skipped(cause) })
            .collect();
        checks.extend(judged);
    }

    fn reach(&self, answer: &ProbeAnswer) -> Reach {
        let (errno, text) = match &answer.end {
            ProbeEnd::Answered { .. } => return Reach::Accepted,
            ProbeEnd::Error { errno, text } => (*errno, text.as_str()),
            ProbeEnd::TimedOut | ProbeEnd::NoClient => (None, ""),
        };
        if blame::server_spoke(errno, text) {
            return Reach::Accepted;
        }
        match self.deltas() {
            Some((_, failed)) if failed > 0 => {
                let direct = self.direct().filter(|direct| !matches!(direct.end, ProbeEnd::Answered { .. }));
                let quick = direct.unwrap_or(answer);
                let refused =
                    matches!(&quick.end, ProbeEnd::Error { text, .. } if blame::system_error(text) == Some(111));
                if refused || (quick.took_ms < QUICK_MS && answer.took_ms < QUICK_MS) {
                    Reach::Refused
                } else {
                    Reach::Silent
                }
            }
            Some((0, _)) => Reach::NotDialled,
            Some(_) => Reach::Accepted,
            None => Reach::Unseen,
        }
    }

    fn direct(&self) -> Option<&ProbeAnswer> {
        self.seen.direct.as_ref().and_then(Fetched::got)
    }

    /// Connections tried and connections failed while the probe ran, over all endpoints.
    fn deltas(&self) -> Option<(u64, u64)> {
        let before = self.seen.envoy.got()?.hosts.as_ref()?;
        let after = self.seen.after.got()?;
        let zero = |host: &EnvoyHost| EnvoyHost { cx_total: 0, cx_connect_fail: 0, ..host.clone() };
        Some(after.iter().fold((0, 0), |(total, failed), host| {
            let old = before.iter().find(|old| old.endpoint == host.endpoint).cloned().unwrap_or_else(|| zero(host));
            // Counters begin anew when an endpoint is sent again; then all of them are of this probe.
            (
                total + host.cx_total.checked_sub(old.cx_total).unwrap_or(host.cx_total),
                failed + host.cx_connect_fail.checked_sub(old.cx_connect_fail).unwrap_or(host.cx_connect_fail),
            )
        }))
    }

    /// What was seen of the probe, for every problem after M4.
    pub(super) fn evidence(&self, answer: &ProbeAnswer) -> Vec<String> {
        let end = |answer: &ProbeAnswer| match &answer.end {
            ProbeEnd::Answered { server_uuid, .. } => format!("answered by {server_uuid}"),
            ProbeEnd::Error { text, .. } => text.clone(),
            ProbeEnd::TimedOut => "no end within the probe's deadline".to_owned(),
            ProbeEnd::NoClient => "no mysql client".to_owned(),
        };
        let seconds = |answer: &ProbeAnswer| format!("{}.{} s", answer.took_ms / 1000, answer.took_ms % 1000 / 100);
        let mut lines = vec![
            format!("{} after {}: {}", answer.by, seconds(answer), end(answer)),
            match self.deltas() {
                Some((total, failed)) => {
                    format!("Envoy, during the probe: cx_total +{total}, cx_connect_fail +{failed}")
                }
                None => "Envoy's counters: not read".to_owned(),
            },
        ];
        if let Some(Fetched::Got(envoy)) = Some(&self.seen.envoy) {
            lines.push(format!("endpoints: {}", host_words(envoy.hosts.as_deref())));
        }
        if let Some(direct) = self.direct() {
            lines.push(format!("straight to the endpoint, {} after {}: {}", direct.by, seconds(direct), end(direct)));
        }
        lines
    }

    fn accepts(&self, answer: &ProbeAnswer) -> Check {
        let asked = self.ask(ids::ENDPOINT_ACCEPTS);
        match self.reach(answer) {
            Reach::Accepted => asked.passed(self.evidence(answer).into_iter().skip(1).take(2)),
            Reach::Refused => asked.failed(fault::refused(self, answer)),
            Reach::Silent => asked.failed(fault::silent(self, answer)),
            Reach::NotDialled => asked.failed(fault::not_dialled(self, answer)),
            Reach::Unseen => asked.unknown(fault::unseen(self, answer)),
        }
    }

    fn greeting(&self, answer: &ProbeAnswer, accepts: &Check) -> Check {
        let asked = self.ask(ids::GREETING_ARRIVES);
        if !accepts.is_good() {
            return asked.skipped(accepts);
        }
        let (errno, text) = match &answer.end {
            ProbeEnd::Answered { .. } => return asked.passed([answer.by.clone()]),
            ProbeEnd::Error { errno, text } => (*errno, text.as_str()),
            ProbeEnd::TimedOut | ProbeEnd::NoClient => (None, ""),
        };
        if blame::server_spoke(errno, text) {
            return asked.passed([text.to_owned()]);
        }
        let hung = matches!(answer.end, ProbeEnd::TimedOut)
            || blame::system_error(text) == Some(110)
            || answer.took_ms >= QUICK_MS;
        match (blame::lost(errno, text), hung) {
            (Lost::BeforeGreeting | Lost::Elsewhere, true) => asked.failed(fault::no_greeting(self, answer)),
            _ => asked.failed(fault::closed(self, answer)),
        }
    }

    fn query(&self, link: ReplicationLink<'_>, answer: &ProbeAnswer, greeting: &Check) -> Check {
        let asked = self.ask(ids::PATH_QUERY);
        if !greeting.is_good() {
            return asked.skipped(greeting);
        }
        match &answer.end {
            ProbeEnd::Answered { hostname, seen_as, .. } => {
                asked.passed([format!("{} answered, {hostname} sees {seen_as}", answer.by)])
            }
            ProbeEnd::Error { errno, text } => asked.failed(fault::login(self, link, answer, *errno, text)),
            ProbeEnd::TimedOut | ProbeEnd::NoClient => asked.failed(fault::closed(self, answer)),
        }
    }

    fn server(&self, answer: &ProbeAnswer, query: &Check) -> Check {
        let asked = self.ask(ids::PATH_SERVER);
        let ProbeEnd::Answered { server_uuid, hostname, .. } = &answer.end else { return asked.skipped(query) };
        let owner =
            |side| servers(self.facts, side).find(|(_, server)| server.server_uuid.eq_ignore_ascii_case(server_uuid));
        if let Some((one, _)) = owner(Side::Replica) {
            return asked.failed(fault::itself(
                self,
                &format!("server_uuid {server_uuid} is that of {}", named(Side::Replica, one)),
            ));
        }
        if let Some((one, _)) = owner(Side::Source) {
            return asked.passed([format!("{server_uuid} is {}", named(Side::Source, one))]);
        }
        let known: Vec<String> = servers(self.facts, Side::Source)
            .map(|(one, server)| format!("{} is {}", named(Side::Source, one), server.server_uuid))
            .collect();
        let problem = known.iter().fold(
            Problem::new(
                Code::WrongServer,
                format!(
                    "`{}` leads to {hostname} ({server_uuid}), which is no member of the source that could be read",
                    self.spec.host
                ),
            ),
            |problem, line| problem.seen(line.clone()),
        );
        // With members unread, or none listed, the stranger may be one of them: that is not known to be wrong.
        match unread(self.facts, Side::Source) {
            Some(why) => asked.unknown(problem.seen(format!("not every member could be read: {}", why.message)).hint(Hint::text(
                "make the unread members of the source readable, then ask again",
            ))),
            None if known.is_empty() => asked.unknown(problem.hint(Hint::text(
                "the configuration gives addresses only, so only a person can tell whether this is the source",
            ))),
            None => asked.failed(problem.hint(Hint::text(
                "compare the endpoints of the ServiceEntry with the source's Service and nodes; nothing may be replicated from this server",
            ))),
        }
    }

    /// The replica's own pod or node that an endpoint leads to, if one does.
    pub(super) fn own_endpoint(&self) -> Option<String> {
        let side = self.spec.client_side();
        let hosts = self.seen.envoy.got().and_then(|envoy: &EnvoyFacts| envoy.hosts.as_ref())?;
        hosts.iter().find_map(|host| {
            let address = Some(host.endpoint.address);
            let one =
                members(self.facts, side).iter().find(|one| one.pod.ip == address || one.pod.host_ip == address)?;
            let what = if one.pod.ip == address { "the address" } else { "the node" };
            Some(format!("endpoint {} is {what} of {}", host.endpoint, named(side, one)))
        })
    }
}
