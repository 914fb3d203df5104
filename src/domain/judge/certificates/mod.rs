//! The certificates of a channel before it uses them: the files on every member of the replica, what the source shows, and whether
//! the one leads to the other. Also why a handshake failed, where these say so.

mod files;
mod source;

use jiff::Timestamp;

use super::{Asked, ask, ids, member, members, of_channel};
use crate::domain::{
    certificate::{Certificate, Holds},
    check::{Check, Outcome, Side, Subject},
    code::Code,
    facts::{Facts, MemberFacts},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// What a certificate or a file is not.
enum Flaw {
    /// It cannot be used.
    Wrong(Problem),
    /// It can, and not for long.
    Soon(Problem),
    /// It cannot be told.
    Untold(Problem),
}

/// The evidence where nothing is wrong, or what is.
type Seen = Result<Vec<String>, Flaw>;

fn told(asked: Asked, seen: Seen) -> Check {
    match seen {
        Ok(evidence) => asked.passed(evidence),
        Err(Flaw::Wrong(problem)) => asked.failed(problem),
        Err(Flaw::Soon(problem)) => asked.warned(problem),
        Err(Flaw::Untold(problem)) => asked.unknown(problem),
    }
}

/// Judges what was looked at; nothing where nothing was.
pub(super) fn certificates(spec: ReplicationLink<'_>, facts: &Facts) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for one in members(facts, Side::Source) {
        let asked = ask(ids::TLS_SOURCE, member(Side::Source, one));
        match &one.presented {
            Some(Fetched::Got(shown)) => checks.push(told(asked, source::shown(spec, facts, one, shown))),
            Some(Fetched::Failed(problem)) => checks.push(asked.unknown(problem.clone())),
            None => {}
        }
    }
    let of_source = checks.first().cloned();
    for one in members(facts, Side::Replica) {
        match &one.tls_files {
            Some(Fetched::Got(seen)) => checks.extend(files::of_member(spec, facts, one, seen, of_source.as_ref())),
            Some(Fetched::Failed(problem)) => checks.extend(unseen(spec, one, problem)),
            None => {}
        }
    }
    checks
}

/// The cause of a problem with what was seen of both, where it is a handshake's and the certificates say why that failed; else the
/// problem itself. `replica` is the member whose files were used, if any was.
pub fn explained(spec: ReplicationLink<'_>, facts: &Facts, replica: Option<&str>, problem: Problem) -> Problem {
    // rustls names the first thing that it found wrong, and then that is the cause, whatever else may be wrong.
    let of_issuer = problem.evidence.iter().any(|line| line.contains("UnknownIssuer"));
    let asks: &[_] = match problem.code {
        Code::TlsVerification if of_issuer => &[ids::TLS_ISSUER],
        Code::TlsVerification => &[ids::TLS_SOURCE, ids::TLS_ISSUER, ids::TLS_CLIENT],
        Code::CaFileMissing => &[ids::TLS_CA],
        _ => return problem,
    };
    let replica = replica.map(|name| Subject::Member(Side::Replica, name.to_owned()));
    let checks = certificates(spec, facts);
    let failed = |check: &&Check| matches!(check.outcome, Outcome::Failed(_));
    let matters = |check: &&Check| check.id == ids::TLS_SOURCE || Some(&check.subject) == replica.as_ref();
    let of = |id| checks.iter().filter(failed).filter(matters).find(|check| check.id == id);
    let Some(cause) = asks.iter().find_map(|id| of(*id)).and_then(Check::problem) else { return problem };
    let evidence = std::iter::once(&problem.message).chain(&problem.evidence).chain(&cause.evidence).cloned();
    Problem { evidence: evidence.collect(), ..cause.clone() }
}

/// The checks of files that nobody could look at. A receiver that is connected by them has shown that they are good.
fn unseen(spec: ReplicationLink<'_>, one: &MemberFacts, problem: &Problem) -> Vec<Check> {
    let replication = spec.replication;
    let ca = replication.tls.ca().map(|_| [ids::TLS_CA, ids::TLS_ISSUER]);
    let client = replication.client_certificate.as_ref().map(|_| ids::TLS_CLIENT);
    let asked = |id| ask(id, member(Side::Replica, one));
    let in_use = of_channel(spec, one).is_some_and(|(_, channel)| {
        let of_channel = (&channel.settings.tls, &channel.settings.client_certificate);
        channel.receiver.is_on() && of_channel == (&replication.tls, &replication.client_certificate)
    });
    let mut checks: Vec<Check> = Vec::new();
    for id in ca.into_iter().flatten().chain(client) {
        checks.push(match checks.first() {
            _ if in_use => asked(id).passed([format!("the receiver is connected with them; {}", problem.message)]),
            Some(first) => asked(id).skipped(first),
            None => asked(id).unknown(problem.clone()),
        });
    }
    checks
}

/// What is wrong with a certificate's time, if anything is; `renewed` says what mends it.
fn validity(certificate: &Certificate, at: Timestamp, whose: &str, renewed: &Hint) -> Result<(), Flaw> {
    let (begin, end) = (certificate.not_before, certificate.not_after);
    let told = |code, message: String| {
        Problem::new(code, message)
            .seen(certificate.described())
            .seen(format!("now it is {at} by this machine's clock"))
            .hint(renewed.clone())
    };
    match certificate.holds(at) {
        Holds::Yes => Ok(()),
        Holds::NotForLong => {
            let message = format!("{whose} ends in {} days, at {end}", certificate.days_left(at));
            Err(Flaw::Soon(told(Code::CertificateEnds, message)))
        }
        Holds::NoMore => Err(Flaw::Wrong(told(Code::CertificateExpired, format!("{whose} expired at {end}")))),
        Holds::NotYet => {
            Err(Flaw::Wrong(told(Code::CertificateNotYet, format!("{whose} does not hold before {begin}"))))
        }
    }
}
