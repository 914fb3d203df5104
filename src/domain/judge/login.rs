//! The login of the channel's account at the source from this machine, on a link without a mesh. It shows what a login can show and
//! does not prove the replica's way: that the receiver does.

use super::{ask, certificates, ids, of_channel, servers};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    facts::{Facts, ReceiverLogin},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// Judges the login, if one was tried.
pub fn receiver_login(spec: ReplicationLink<'_>, facts: &Facts) -> Option<Check> {
    let asked = ask(ids::RECEIVER_LOGIN, Subject::Link);
    let user = &spec.replication.account.user;
    Some(match facts.receiver_login.as_ref()? {
        Fetched::Got(login) => {
            let ReceiverLogin { from, account, server_uuid, tls } = login;
            let seen = format!("from {from}, as {account}, {tls}, by {server_uuid}");
            asked.passed([seen])
        }
        Fetched::Failed(problem) if is_attached(spec, facts) => {
            asked.passed([format!("the replica's own receiver is connected; from this machine: {}", problem.message)])
        }
        Fetched::Failed(problem) => {
            let problem = &certificates::explained(spec, facts, None, problem.clone());
            let code = match problem.code {
                Code::AccessDenied => Code::ReplicationAccessDenied,
                other => other,
            };
            let what = format!(
                "account `{user}` does not get in at {} from this machine: {}",
                spec.dialled(),
                problem.message
            );
            let told = problem.evidence.iter().fold(Problem::new(code, what), super::super::problem::Problem::seen);
            let hint =
                problem.hint.clone().unwrap_or_else(|| Hint::text("see whether the source is reached from here"));
            let text = format!("whether it gets in from the replica only its receiver shows. {}", hint.text);
            asked.warned(told.hint(Hint { text, ..hint }))
        }
    })
}

/// Whether the link's receiver is connected.
fn is_attached(spec: ReplicationLink<'_>, facts: &Facts) -> bool {
    let mut replicas = servers(facts, Side::Replica);
    replicas.any(|(one, _)| of_channel(spec, one).is_some_and(|(_, channel)| channel.receiver.is_on()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        check::Outcome,
        sample::{self, facts, spec, unlinked},
    };

    fn judged(facts: &Facts) -> Check {
        receiver_login(spec().replication().unwrap(), facts).unwrap()
    }

    fn refused() -> Fetched<ReceiverLogin> {
        let problem = Problem::new(Code::AccessDenied, "source db:3306 refuses account `repl` with error 1045");
        Fetched::Failed(problem.seen("Access denied for user 'repl'@'10.0.0.9'"))
    }

    #[test]
    fn a_login_says_from_where_it_was_made() {
        assert!(receiver_login(spec().replication().unwrap(), &facts()).is_none(), "in a mesh nobody tries it");
        let login = ReceiverLogin {
            from: "dba-1".to_owned(),
            account: "repl@10.0.0.%".to_owned(),
            server_uuid: sample::SOURCE[0].to_owned(),
            tls: "TLS disabled".to_owned(),
        };
        let check = judged(&Facts { receiver_login: Some(Fetched::Got(login)), ..unlinked() });
        assert_eq!(check.outcome, Outcome::Passed);
        assert!(check.evidence[0].starts_with("from dba-1, as repl@10.0.0.%"), "{check:?}");
    }

    #[test]
    fn a_refusal_warns_until_the_receiver_proves_that_it_does_not_matter() {
        let check = judged(&Facts { receiver_login: Some(refused()), ..unlinked() });
        let Outcome::Warned(problem) = &check.outcome else { panic!("{check:?}") };
        assert_eq!(problem.code, Code::ReplicationAccessDenied);
        assert!(problem.evidence[0].contains("10.0.0.9"), "{problem:?}");
        assert_eq!(judged(&Facts { receiver_login: Some(refused()), ..facts() }).outcome, Outcome::Passed);
    }
}
