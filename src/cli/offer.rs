//! What setup offers a person at a terminal when it would stop: each as a question of its own, answered no unless said otherwise.

use std::io::{self, IsTerminal};

use super::{Context, output::Output};
use crate::{
    domain::{
        code::Code,
        hint::Hint,
        offered::{DnsWay, Offers},
        problem::Problem,
        spec::LinkSpec,
    },
    error::Failure,
    ui::confirm::{self, Answer},
};

/// Whether everything that stops a setup can be mended by what it offers and was not told to do yet, and somebody is there to ask.
pub(super) fn mends(failure: &Failure, offers: Offers) -> bool {
    io::stdin().is_terminal()
        && io::stderr().is_terminal()
        && failure.problems.iter().all(|problem| offer(problem, offers).is_some())
}

/// What there is to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    Dns,
    DisableSourceMtls,
}

fn offer(problem: &Problem, offers: Offers) -> Option<Offer> {
    match problem.code {
        Code::NameUnresolved | Code::NameElsewhere | Code::CaptureOutdated if offers.dns.is_none() => Some(Offer::Dns),
        Code::PermissiveHang | Code::StrictHang if !offers.disable_source_mtls => Some(Offer::DisableSourceMtls),
        _ => None,
    }
}

/// Shows what stops the setup and asks what to do about it.
///
/// # Errors
/// [`Code::NotApproved`] where nothing of it is wanted.
pub(super) async fn ask(
    context: &Context,
    output: &Output,
    spec: &LinkSpec,
    failure: &Failure,
    mut offers: Offers,
) -> Result<Offers, Failure> {
    output.stopped_by(failure);
    for problem in &failure.problems {
        let interrupted = context.shutdown.requested();
        match offer(problem, offers) {
            Some(Offer::Dns) => {
                let ways = [
                    "stop here",
                    "let CoreDNS answer it: a stub for this one name, which teardown takes out; nothing restarts",
                    "turn DNS capture on in the pods' template: the pods are made anew, what runs in them restarts",
                ];
                let question = format!("How is `{}` to resolve in the members of link {}?", spec.host, spec.name);
                match confirm::choose(&context.printer, &question, &ways, interrupted).await? {
                    1 => offers.dns = Some(DnsWay::CorednsStub),
                    2 => offers.dns = Some(DnsWay::RestartMembers),
                    _ => return Err(declined().into()),
                }
            }
            Some(Offer::DisableSourceMtls) => {
                let question = "Take the source's port out of mutual TLS, for everybody in that mesh?";
                if confirm::confirm(&context.printer, question, interrupted).await? == Answer::No {
                    return Err(declined().into());
                }
                offers.disable_source_mtls = true;
            }
            // Mended by an answer given just now.
            None => {}
        }
    }
    Ok(offers)
}

fn declined() -> Problem {
    Problem::new(Code::NotApproved, "nothing was chosen of what would mend it; nothing was changed").hint(Hint::text(
        "run it again and choose, or say it by `--dns coredns-stub`, `--dns restart-members` or `--disable-source-mtls`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_offered_and_not_asked_for_yet_is_asked_about() {
        let of = |code, offers| offer(&Problem::new(code, "x"), offers);
        assert_eq!(of(Code::NameUnresolved, Offers::default()), Some(Offer::Dns));
        assert_eq!(of(Code::StrictHang, Offers::default()), Some(Offer::DisableSourceMtls));
        assert_eq!(of(Code::EndpointRefused, Offers::default()), None);
        let both = Offers { dns: Some(DnsWay::CorednsStub), disable_source_mtls: true };
        assert_eq!((of(Code::NameUnresolved, both), of(Code::PermissiveHang, both)), (None, None));
    }
}
