//! Judging: what the facts mean. Pure; the same facts always give the same checks, here and on another machine.
//!
//! A fact that could not be fetched is judged `Unknown` (or `Failed` where the refusal is the answer), never `Passed` and
//! never left out; whatever depends on it is `Skipped` and says because of what.

mod access;
mod authorization;
mod blame;
mod certificates;
mod channel;
pub mod ids;
mod kubectl;
mod login;
mod mesh;
mod path;
pub mod peer;
mod policy;
mod prerequisites;
pub mod promotion;
mod selector;
#[cfg(test)]
mod tests;

use super::{
    check::{Check, CheckId, Outcome, Side, Subject},
    code::Code,
    facts::{ChannelFacts, Facts, MemberFacts, PodMember, ServerFacts},
    gtid::GtidSet,
    problem::Problem,
    spec::{LinkSpec, ReplicationLink, SourceLocation},
};

pub use access::access;
pub use certificates::explained;
pub use channel::{channel, channel_preflight, lag};
pub use login::receiver_login;
pub use mesh::{endpoints_current, mesh_objects, mesh_preflight};
pub use path::{path, paths};
pub use policy::{MutualTls, mutual_tls};
pub use prerequisites::prerequisites;

/// Judges everything that was seen, in the order of the path.
///
/// The path is judged from every member that was asked, and the channel of a link that carries replication always: without one
/// it fails `channel.unique`. `setup` calls the finer functions stage by stage instead.
pub fn judge(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let mut checks = way(spec, facts);
    if let Some(link) = spec.replication() {
        checks.extend(receiver_login(link, facts));
        checks.extend(prerequisites(link, facts));
        checks.extend(channel(link, facts));
    }
    checks.sort_by_key(|check| check.milestone);
    checks
}

/// Judges what was seen of the way to the source, with nothing of the replication that goes over it.
pub fn way(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let mut checks = access(spec, facts);
    if let Some(mesh) = spec.mesh() {
        checks.extend(mesh_preflight(mesh, facts));
        checks.extend(mesh_objects(mesh, facts));
        let current = endpoints_current(mesh, facts, &checks);
        checks.push(current.clone());
        let mut walked: Vec<&str> = facts.paths.iter().map(|seen| seen.member.as_str()).collect();
        walked.dedup();
        checks.extend(paths(mesh, facts, walked).into_iter().map(|check| after(&current, check)));
    }
    checks.sort_by_key(|check| check.milestone);
    checks
}

/// A sidecar whose endpoints are wrong waits for the ServiceEntry to be right, unless it is worse off than that explains.
fn after(current: &Check, check: Check) -> Check {
    let code = |check: &Check| check.problem().map(|problem| problem.code);
    let stale = check.id == ids::ENVOY_ENDPOINTS
        && (code(current), code(&check)) == (Some(Code::EndpointsStale), Some(Code::NoEndpoints))
        && (!current.is_good() || check.is_good());
    if stale { ask(check.id, check.subject).skipped(current) } else { check }
}

/// The check that stops a setup, if one does: the first that failed, else the first unknown one.
///
/// An unknown stops nothing where the check only advises ([`ids::is_advisory`]): the proof of the path decides.
/// An unknown about one member of the source stops nothing while the same check is good for another of its members: one
/// member that is down must not keep a link from the others. The replica's members have no such leave, because one that
/// cannot be seen may hold a second copy of the channel.
pub fn blocking(checks: &[Check]) -> Option<&Check> {
    let excused = |unknown: &Check| {
        ids::is_advisory(unknown.id)
            || matches!(unknown.subject, Subject::Member(Side::Source, _))
                && checks.iter().any(|other| {
                    other.id == unknown.id
                        && matches!(other.subject, Subject::Member(Side::Source, _))
                        && other.is_good()
                })
    };
    checks
        .iter()
        .find(|check| matches!(check.outcome, Outcome::Failed(_)))
        .or_else(|| checks.iter().find(|check| matches!(check.outcome, Outcome::Unknown(_)) && !excused(check)))
}

/// A check that is about to get its verdict.
struct Asked {
    id: CheckId,
    subject: Subject,
}

/// Asks one thing about one subject.
fn ask(id: CheckId, subject: Subject) -> Asked {
    Asked { id, subject }
}

impl Asked {
    fn end(self, outcome: Outcome, evidence: Vec<String>) -> Check {
        Check { id: self.id, milestone: ids::milestone(self.id), subject: self.subject, outcome, evidence }
    }

    fn passed<S: Into<String>>(self, evidence: impl IntoIterator<Item = S>) -> Check {
        self.end(Outcome::Passed, evidence.into_iter().map(Into::into).collect())
    }

    fn warned(self, problem: Problem) -> Check {
        self.end(Outcome::Warned(problem), Vec::new())
    }

    fn failed(self, problem: Problem) -> Check {
        self.end(Outcome::Failed(problem), Vec::new())
    }

    fn unknown(self, problem: Problem) -> Check {
        self.end(Outcome::Unknown(problem), Vec::new())
    }

    fn skipped(self, because: &Check) -> Check {
        self.end(Outcome::Skipped { because: (because.id, because.subject.clone()) }, Vec::new())
    }

    /// The verdict on a fact that was not fetched: a refusal is an answer, silence is none.
    fn unfetched(self, problem: &Problem) -> Check {
        if is_answer(problem.code) { self.failed(problem.clone()) } else { self.unknown(problem.clone()) }
    }
}

/// Whether a failed fetch says something about its object (it was refused, it is not there) rather than nothing at all.
fn is_answer(code: Code) -> bool {
    matches!(
        code,
        Code::NoSuchContext
            | Code::SecretUnreadable
            | Code::Forbidden
            | Code::CredentialsRejected
            | Code::NoPodMatches
            | Code::SourceServiceUnusable
            | Code::IstioMissing
            | Code::AccessDenied
            | Code::PrivilegeMissing
            | Code::TlsRequired
            | Code::TlsVerification
            | Code::PublicKeyNeeded
            | Code::VersionTooOld
    )
}

/// The first of the checks that has this id and subject.
fn find<'a>(checks: &'a [Check], id: CheckId, subject: &Subject) -> Option<&'a Check> {
    checks.iter().find(|check| check.id == id && check.subject == *subject)
}

/// A member as the subject of a check.
fn member(side: Side, member: &MemberFacts) -> Subject {
    Subject::Member(side, member.name().to_owned())
}

/// The members of a side, none where they could not be listed.
fn members(facts: &Facts, side: Side) -> &[MemberFacts] {
    let list = match side {
        Side::Source => &facts.source.members,
        Side::Replica | Side::Client => &facts.client.members,
    };
    list.got().map_or(&[], Vec::as_slice)
}

/// The members of a side that run in pods.
fn pods(facts: &Facts, side: Side) -> impl Iterator<Item = PodMember<'_>> {
    match side {
        Side::Source => facts.source.pods(),
        Side::Replica | Side::Client => facts.client.pods(),
    }
}

/// The members of a side whose servers could be read.
fn servers(facts: &Facts, side: Side) -> impl Iterator<Item = (&MemberFacts, &ServerFacts)> {
    members(facts, side).iter().filter_map(|member| Some((member, member.server()?)))
}

/// The server of a member and the link's channel on it, if it has one.
fn of_channel<'a>(spec: ReplicationLink<'_>, one: &'a MemberFacts) -> Option<(&'a ServerFacts, &'a ChannelFacts)> {
    let server = one.server()?;
    let name = &spec.replication.channel;
    Some((server, server.channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name))?))
}

/// The first server of a side that could not be read, and why not; the list of members itself counts too.
fn unread(facts: &Facts, side: Side) -> Option<&Problem> {
    let list = match side {
        Side::Source => &facts.source.members,
        Side::Replica | Side::Client => &facts.client.members,
    };
    list.failed().or_else(|| members(facts, side).iter().find_map(|member| member.unread()))
}

/// Whether the configuration gives the source's addresses only, so that its servers cannot be read from here.
fn source_is_endpoints(spec: &LinkSpec) -> bool {
    spec.mesh().is_some_and(|mesh| matches!(mesh.source, SourceLocation::Endpoints(_)))
}

/// The name of a server in hints and evidence, the same as its subject's.
fn named(side: Side, member: &MemberFacts) -> String {
    format!("{side} {}", member.name())
}

/// A GTID set that is to be read by people.
fn or_empty(set: &GtidSet) -> String {
    if set.is_empty() { "empty".to_owned() } else { set.to_string() }
}
