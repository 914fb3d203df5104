//! The path from one replica member, milestone by milestone: name, listener, endpoints, connection, greeting, query, server.
//!
//! A TCP connect proves nothing, as the sidecar accepts before it dials. The verdict comes from three facts together: how
//! the client ended, how Envoy's counters moved meanwhile, and what the source's side says about its sidecars.

use super::{
    Asked, ask,
    blame::{self, Lost},
    find, ids,
    kubectl::{Kubectl, capture_dns, restart, with},
    members, mesh, named, path_blame as blame_of, servers, unread,
};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    desired,
    facts::{EnvoyFacts, EnvoyHost, Facts, MemberFacts, PathFacts, ProbeAnswer, ProbeEnd},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::LinkSpec,
};

/// A refusal travels at network speed; what takes longer waited for something. In milliseconds.
pub(super) const QUICK_MS: u64 = 2000;

/// Judges the path from one replica member, named by its pod.
///
/// The checks are `name.resolves`, `name.table`, `envoy.listener`, `envoy.endpoints`, `endpoint.accepts`,
/// `greeting.arrives`, `path.query` and `path.server`, all of them, whatever fails.
pub fn path(spec: &LinkSpec, facts: &Facts, member: &str) -> Vec<Check> {
    let subject = Subject::Member(Side::Replica, member.to_owned());
    let one = members(facts, Side::Replica).iter().find(|one| one.pod.name == member);
    let Some(seen) = facts.paths.iter().find(|seen| seen.member == member) else {
        let problem = Problem::new(Code::NoProbe, format!("the path from `{member}` was not tried"));
        let first = ask(ids::NAME_RESOLVES, subject.clone()).unknown(problem);
        return rest_skipped(vec![first]);
    };
    // Without a sidecar nothing of the path can be there; its own check says so and the path's point to it.
    if let Some(cause) = one.and_then(|one| mesh::sidecar_verdict(spec, facts, one)) {
        return PATH.iter().map(|id| ask(*id, subject.clone()).skipped(&cause)).collect();
    }
    let road = Road { spec, facts, seen, one, subject };
    let mut checks = vec![road.resolves()];
    checks.push(road.table(&checks[0]));
    checks.push(road.listener());
    checks.push(road.endpoints(&checks));
    road.probe(&mut checks);
    checks
}

/// The checks of a path, in order.
const PATH: [crate::domain::check::CheckId; 8] = [
    ids::NAME_RESOLVES,
    ids::NAME_TABLE,
    ids::ENVOY_LISTENER,
    ids::ENVOY_ENDPOINTS,
    ids::ENDPOINT_ACCEPTS,
    ids::GREETING_ARRIVES,
    ids::PATH_QUERY,
    ids::PATH_SERVER,
];

/// Completes a path whose last check did not pass: everything after it is skipped because of it.
fn rest_skipped(mut checks: Vec<Check>) -> Vec<Check> {
    let Some(cause) = checks.last().cloned() else { return checks };
    let missing = PATH.iter().filter(|id| find(&checks, **id, &cause.subject).is_none());
    let skipped: Vec<Check> = missing.map(|id| ask(*id, cause.subject.clone()).skipped(&cause)).collect();
    checks.extend(skipped);
    checks
}

/// What a path is judged from.
pub(super) struct Road<'a> {
    pub(super) spec: &'a LinkSpec,
    pub(super) facts: &'a Facts,
    pub(super) seen: &'a PathFacts,
    one: Option<&'a MemberFacts>,
    subject: Subject,
}

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
    fn ask(&self, id: crate::domain::check::CheckId) -> Asked {
        ask(id, self.subject.clone())
    }

    fn kubectl(&self) -> Option<Kubectl> {
        Kubectl::of(self.spec, self.facts, Side::Replica)
    }

    fn resolves(&self) -> Check {
        let asked = self.ask(ids::NAME_RESOLVES);
        let (host, pod) = (&self.spec.host, &self.seen.member);
        let resolved = match &self.seen.resolved {
            Fetched::Got(resolved) => resolved,
            Fetched::Failed(problem) => return asked.unfetched(problem),
        };
        let vip = match desired::desired_vip(self.spec, self.facts) {
            Ok((vip, _)) => std::net::IpAddr::V4(vip),
            Err(problem) => return asked.unfetched(&problem),
        };
        if resolved.is_empty() {
            return asked.failed(self.unresolved());
        }
        let text: Vec<String> = resolved.iter().map(ToString::to_string).collect();
        if resolved.iter().all(|address| *address == vip) {
            return asked.passed([format!("{host} → {vip}")]);
        }
        let mut problem = Problem::new(
            Code::NameElsewhere,
            format!("`{host}` resolves to {} in `{pod}` instead of {vip}", text.join(", ")),
        )
        .seen(format!("getent ahostsv4 {host}: {}", text.join(", ")))
        .seen(self.table_words());
        let public =
            resolved.iter().all(|address| !matches!(address, std::net::IpAddr::V4(v4) if v4.octets()[0] >= 240));
        let (sentence, command) = if public {
            (
                "`.global` is a public top-level domain, so somebody else's DNS answered: have the sidecar answer DNS, which makes the pods anew",
                self.capture(),
            )
        } else {
            (
                "Another ServiceEntry has the name: find it and delete it, or give the link another `host`",
                self.kubectl()
                    .map(|kubectl| kubectl.line_bare(&["get", "serviceentry", "--all-namespaces", "-o", "wide"])),
            )
        };
        problem = problem.hint(with(Hint::text(sentence), command));
        asked.failed(problem)
    }

    fn unresolved(&self) -> Problem {
        let (host, pod) = (&self.spec.host, &self.seen.member);
        let getent = format!("getent ahostsv4 {host}: no answer");
        let captures = self.one.and_then(|one| one.pod.dns_capture);
        let rollout = self.kubectl().zip(self.one).and_then(|(kubectl, one)| restart(&kubectl, one));
        match &self.seen.name_table {
            Fetched::Got(Some(listed)) if listed.is_empty() => Problem::new(
                Code::NotInNameTable,
                format!("the sidecar of `{pod}` serves names but does not know `{host}`"),
            )
            .seen(getent)
            .seen(self.table_words())
            .hint(with(
                Hint::text("the ServiceEntry is missing or not visible in the members' namespace: `exportTo`, a Sidecar resource or discoverySelectors keep it out"),
                self.kubectl().into_iter().flat_map(|kubectl| {
                    [kubectl.line(&["get", "serviceentry", "-o", "yaml"]), kubectl.line(&["get", "sidecars.networking.istio.io", "-o", "yaml"])]
                }),
            )),
            Fetched::Got(Some(_)) => Problem::new(
                Code::NameUnresolved,
                format!("the sidecar of `{pod}` knows `{host}`, but the application container does not get its answer"),
            )
            .seen(getent)
            .seen(self.table_words())
            .hint(with(
                Hint::text("DNS is redirected when a pod starts, so a pod older than the setting must be made anew; a process that runs as user 1337 is never redirected"),
                rollout,
            )),
            _ if captures == Some(true) => Problem::new(
                Code::NameUnresolved,
                format!("`{host}` does not resolve in `{pod}` although DNS capture is on"),
            )
            .seen(getent)
            .seen(self.table_words())
            .hint(with(Hint::text("make the pods anew, so that the redirection is set up again"), rollout)),
            _ => Problem::new(
                Code::NameUnresolved,
                format!("`{host}` does not resolve in `{pod}`: its sidecar does not answer DNS (DNS capture is off)"),
            )
            .seen(getent)
            .seen(format!("ISTIO_META_DNS_CAPTURE in istio-proxy: {}", if captures.is_some() { "not true" } else { "not set" }))
            .seen(self.table_words())
            .hint(with(
                Hint::text(
                    "turn DNS capture on for the members, which makes the pods anew and so restarts MySQL in them; a pod with its own `proxy.istio.io/config` needs `ISTIO_META_DNS_CAPTURE: \"true\"` added under `proxyMetadata` there; a CoreDNS stub that answers with the virtual address works too",
                ),
                self.capture(),
            )),
        }
    }

    fn capture(&self) -> Option<crate::domain::hint::Remedy> {
        self.kubectl().zip(self.one).and_then(|(kubectl, one)| capture_dns(&kubectl, one))
    }

    fn table_words(&self) -> String {
        match &self.seen.name_table {
            Fetched::Got(None) => "name table of the sidecar: not served".to_owned(),
            Fetched::Got(Some(listed)) if listed.is_empty() => {
                format!("name table of the sidecar: served, without {}", self.spec.host)
            }
            Fetched::Got(Some(listed)) => {
                let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
                format!("name table of the sidecar: {}", listed.join(", "))
            }
            Fetched::Failed(problem) => format!("name table of the sidecar: not read ({})", problem.message),
        }
    }

    fn table(&self, resolves: &Check) -> Check {
        let asked = self.ask(ids::NAME_TABLE);
        if !resolves.is_good() {
            return asked.skipped(resolves);
        }
        let Ok((vip, _)) = desired::desired_vip(self.spec, self.facts) else { return asked.skipped(resolves) };
        match &self.seen.name_table {
            Fetched::Failed(problem) => asked.unfetched(problem),
            Fetched::Got(None) => asked.passed(["not served: the cluster's DNS answers the name"]),
            Fetched::Got(Some(listed)) if listed.iter().all(|address| *address == vip) && !listed.is_empty() => {
                asked.passed([self.table_words()])
            }
            Fetched::Got(Some(listed)) => {
                let code = if listed.is_empty() { Code::NotInNameTable } else { Code::NameElsewhere };
                asked.warned(
                    Problem::new(
                        code,
                        format!("`{}` resolves to {vip}, but the sidecar's own table says otherwise", self.spec.host),
                    )
                    .seen(self.table_words())
                    .hint(Hint::text("right after a change the table is a few seconds old; if it stays so, the cluster's DNS has a stub for the name that the mesh does not know of")),
                )
            }
        }
    }

    fn envoy_cluster(&self) -> String {
        format!("outbound|{}||{}", self.spec.port, self.spec.host)
    }

    fn listener(&self) -> Check {
        let asked = self.ask(ids::ENVOY_LISTENER);
        let envoy = match &self.seen.envoy {
            Fetched::Got(envoy) => envoy,
            Fetched::Failed(problem) => return asked.unfetched(problem),
        };
        let vip =
            desired::desired_vip(self.spec, self.facts).map_or_else(|_| "VIP".to_owned(), |(vip, _)| vip.to_string());
        let listener = format!("{vip}_{}", self.spec.port);
        let wanted = self.envoy_cluster();
        let pod = &self.seen.member;
        match (&envoy.listener_cluster, &envoy.listener_error) {
            (_, Some(error)) => asked.failed(
                Problem::new(Code::NoListener, format!("Envoy in `{pod}` refuses the listener {listener}"))
                    .seen(format!("error_state: {error}"))
                    .hint(with(
                        Hint::text("the error names what it collides with; remove that object, or the EnvoyFilter that touches the listener"),
                        self.kubectl().map(|kubectl| kubectl.line_bare(&["get", "envoyfilter,serviceentry", "--all-namespaces"])),
                    )),
            ),
            (Some(cluster), None) if *cluster == wanted => asked.passed([format!("{listener} → {cluster}")]),
            (Some(cluster), None) => asked.failed(
                Problem::new(
                    Code::VipInUse,
                    format!("the listener {listener} in `{pod}` leads to `{cluster}`: somebody else had the virtual address first"),
                )
                .seen(format!("wanted: {wanted}"))
                .hint(with(
                    Hint::text("give the link a free `vip` in the configuration and run setup again, or delete the other entry"),
                    self.kubectl().map(|kubectl| kubectl.line_bare(&["get", "serviceentry", "--all-namespaces", "-o", "wide"])),
                )),
            ),
            (None, None) => asked.failed(
                Problem::new(Code::NoListener, format!("the sidecar of `{pod}` has no listener {listener}"))
                    .seen(format!("hosts of {wanted}: {}", host_words(envoy.hosts.as_deref())))
                    .hint(with(
                        Hint::text("the ServiceEntry is missing, not visible in the members' namespace, or istiod has not sent it: look at the entry, then at istiod"),
                        self.kubectl().into_iter().flat_map(|kubectl| {
                            [
                                kubectl.line(&["get", "serviceentry,sidecars.networking.istio.io", "-o", "yaml"]),
                                kubectl.line_in("istio-system", &["logs", "deployment/istiod", "--tail=50"]),
                            ]
                        }),
                    )),
            ),
        }
    }

    fn endpoints(&self, before: &[Check]) -> Check {
        let asked = self.ask(ids::ENVOY_ENDPOINTS);
        let envoy = match (&self.seen.envoy, find(before, ids::ENVOY_LISTENER, &self.subject)) {
            (Fetched::Got(envoy), _) => envoy,
            (Fetched::Failed(_), Some(listener)) => return asked.skipped(listener),
            (Fetched::Failed(problem), None) => return asked.unfetched(problem),
        };
        let pod = &self.seen.member;
        let hosts = match &envoy.hosts {
            Some(hosts) if !hosts.is_empty() => hosts,
            none => {
                let what = if none.is_none() { "no cluster" } else { "no endpoint" };
                return asked.failed(
                    Problem::new(Code::NoEndpoints, format!("the sidecar of `{pod}` has {what} for `{}`", self.envoy_cluster()))
                        .seen(format!("hosts of {}: {}", self.envoy_cluster(), host_words(none.as_deref())))
                        .hint(with(
                            Hint::text("look at `spec.endpoints` of the ServiceEntry (an endpoint with `network` is dropped without mutual TLS), then run setup again"),
                            self.kubectl().map(|kubectl| kubectl.line(&["get", "serviceentry", "-o", "yaml"])),
                        )),
                );
            }
        };
        if hosts.iter().all(|host| host.ejected) {
            return asked.failed(
                Problem::new(
                    Code::NoEndpoints,
                    format!("the sidecar of `{pod}` has ejected every endpoint after failures"),
                )
                .seen(format!("failed_outlier_check on {}", host_words(Some(hosts))))
                .hint(Hint::text(
                    "mend what refuses or drops connections there; ejection ends by itself after `baseEjectionTime`",
                )),
            );
        }
        match desired::desired_endpoints(self.spec, self.facts) {
            Err(problem) => asked.unknown(
                Problem::new(
                    problem.code,
                    format!(
                        "the endpoints in the sidecar of `{pod}` cannot be compared with the source: {}",
                        problem.message
                    ),
                )
                .seen(format!("hosts: {}", host_words(Some(hosts)))),
            ),
            Ok(wanted) => {
                let mut have: Vec<_> = hosts.iter().map(|host| host.endpoint).collect();
                have.sort_unstable();
                if have == wanted {
                    return asked.passed([host_words(Some(hosts))]);
                }
                let words: Vec<String> = wanted.iter().map(ToString::to_string).collect();
                let problem = Problem::new(
                    Code::NoEndpoints,
                    format!(
                        "the sidecar of `{pod}` sends to {}, but the source is at {}",
                        host_words(Some(hosts)),
                        words.join(", ")
                    ),
                )
                .hint(Hint::text(
                    "run setup again: it brings the ServiceEntry's endpoints in line with the source's nodes",
                ));
                // Some right ones still carry connections; none right means that every connection goes astray.
                if have.iter().any(|endpoint| wanted.contains(endpoint)) {
                    asked.warned(problem)
                } else {
                    asked.failed(problem)
                }
            }
        }
    }

    /// The checks that need an answer of the probe.
    fn probe(&self, checks: &mut Vec<Check>) {
        let blocked =
            checks.iter().find(|check| matches!(check.outcome, crate::domain::check::Outcome::Failed(_))).cloned();
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
                    format!("container `{}` of `{}` has no mysql client, so the path cannot be proven", self.spec.replica.container, self.seen.member),
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
        let query = self.query(answer, &greeting);
        let server = self.server(answer, &query);
        checks.extend([accepts, greeting, query, server]);
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
            Reach::Refused => asked.failed(blame_of::refused(self, answer)),
            Reach::Silent => asked.failed(blame_of::silent(self, answer)),
            Reach::NotDialled => asked.failed(blame_of::not_dialled(self, answer)),
            Reach::Unseen => asked.unknown(blame_of::unseen(self, answer)),
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
            (Lost::BeforeGreeting | Lost::Elsewhere, true) => asked.failed(blame_of::no_greeting(self, answer)),
            _ => asked.failed(blame_of::closed(self, answer)),
        }
    }

    fn query(&self, answer: &ProbeAnswer, greeting: &Check) -> Check {
        let asked = self.ask(ids::PATH_QUERY);
        if !greeting.is_good() {
            return asked.skipped(greeting);
        }
        match &answer.end {
            ProbeEnd::Answered { hostname, seen_as, .. } => {
                asked.passed([format!("{} answered, {hostname} sees {seen_as}", answer.by)])
            }
            ProbeEnd::Error { errno, text } => asked.failed(blame_of::login(self, answer, *errno, text)),
            ProbeEnd::TimedOut | ProbeEnd::NoClient => asked.failed(blame_of::closed(self, answer)),
        }
    }

    fn server(&self, answer: &ProbeAnswer, query: &Check) -> Check {
        let asked = self.ask(ids::PATH_SERVER);
        let ProbeEnd::Answered { server_uuid, hostname, .. } = &answer.end else { return asked.skipped(query) };
        let owner =
            |side| servers(self.facts, side).find(|(_, server)| server.server_uuid.eq_ignore_ascii_case(server_uuid));
        if let Some((one, _)) = owner(Side::Replica) {
            return asked.failed(blame_of::itself(
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
        let hosts = self.seen.envoy.got().and_then(|envoy: &EnvoyFacts| envoy.hosts.as_ref())?;
        hosts.iter().find_map(|host| {
            let address = Some(host.endpoint.address);
            let one = members(self.facts, Side::Replica)
                .iter()
                .find(|one| one.pod.ip == address || one.pod.host_ip == address)?;
            let what = if one.pod.ip == address { "the address" } else { "the node" };
            Some(format!("endpoint {} is {what} of {}", host.endpoint, named(Side::Replica, one)))
        })
    }
}

/// The hosts in one phrase.
fn host_words(hosts: Option<&[EnvoyHost]>) -> String {
    match hosts {
        None => "no such cluster".to_owned(),
        Some([]) => "none".to_owned(),
        Some(hosts) => hosts.iter().map(|host| host.endpoint.to_string()).collect::<Vec<_>>().join(", "),
    }
}
