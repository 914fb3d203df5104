//! M5 to M7: how far an authenticated query through the name gets, and which server answers it.

use super::{
    super::{
        blame::{self, Lost},
        ids, named, pods, servers, unread,
    },
    Road, fault,
    reach::QUICK_MS,
};
use crate::domain::{
    check::{Check, Side},
    code::Code,
    facts::{EnvoyFacts, ProbeAnswer, ProbeEnd},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

impl Road<'_> {
    /// The checks that need an answer of the probe.
    pub(super) fn probe(&self, link: ReplicationLink<'_>, checks: &mut Vec<Check>) {
        let blocked = super::blocked(checks).cloned();
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
                    format!("container `{}` of `{}` has no mysql client, or no sh and od to run it by, so the path cannot be proven", self.spec.client.container, self.seen.member),
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

    fn greeting(&self, answer: &ProbeAnswer, accepts: &Check) -> Check {
        let asked = self.ask(ids::GREETING_ARRIVES);
        if !accepts.is_good() {
            return asked.skipped(accepts);
        }
        let (errno, text) = match &answer.end {
            ProbeEnd::Answered { .. } => return asked.passed([answer.by.clone()]),
            ProbeEnd::Error { errno, text } => (*errno, text.as_str()),
            _ => (None, ""),
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
            _ => asked.failed(fault::closed(self, answer)),
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
            let one = pods(self.facts, side).find(|one| one.pod.ip == address || one.pod.host_ip == address)?;
            let what = if one.pod.ip == address { "the address" } else { "the node" };
            Some(format!("endpoint {} is {what} of {}", host.endpoint, named(side, &one)))
        })
    }
}
