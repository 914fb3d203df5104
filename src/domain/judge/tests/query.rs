//! The query at the end of the path: what the server answers, and which server that is.

use super::{
    broken, check_of, commands,
    path::{error, probe},
    replica, shown, source, unread, verdict,
};
use crate::domain::{
    code::Code,
    facts::{Facts, ProbeAnswer, ProbeEnd},
    judge::{ids, path},
    problem::Fetched,
    sample::{self, facts, sources, spec},
    spec::Tls,
};

#[test]
fn what_the_server_answers_decides_the_code() {
    for (errno, text, code) in [
        (
            1045,
            "ERROR 1045 (28000): Access denied for user 'repl'@'198.18.0.11' (using password: YES)",
            Code::ReplicationAccessDenied,
        ),
        (
            1130,
            "ERROR 1130 (HY000): Host '198.18.0.11' is not allowed to connect to this MySQL server",
            Code::AddressRefused,
        ),
        (
            3159,
            "ERROR 3159 (HY000): Connections using insecure transport are prohibited while --require_secure_transport=ON.",
            Code::TlsRequired,
        ),
        (
            2061,
            "ERROR 2061 (HY000): Authentication plugin 'caching_sha2_password' reported error: Authentication requires secure connection.",
            Code::PublicKeyNeeded,
        ),
        (
            2026,
            "ERROR 2026 (HY000): SSL connection error: error:0A000086:SSL routines::certificate verify failed",
            Code::TlsVerification,
        ),
        (
            2026,
            "ERROR 2026 (HY000): SSL connection error: SSL_CTX_set_default_verify_paths failed",
            Code::CaFileMissing,
        ),
        (1040, "ERROR 1040 (HY000): Too many connections", Code::ServerFull),
        (
            1129,
            "ERROR 1129 (HY000): Host '198.18.0.11' is blocked because of many connection errors",
            Code::AddressRefused,
        ),
    ] {
        let check = broken(ids::PATH_QUERY, &replica(0), ("failed", code), |_, facts| {
            probe(facts, error(80, errno, text), 1, 0);
        });
        assert!(shown(&check).contains(text), "the server's own words are evidence");
        // The greeting was there, so nothing before it may be blamed.
        let mut facts = facts();
        probe(&mut facts, error(80, errno, text), 1, 0);
        assert_eq!(verdict(&check_of(&spec(), &facts, ids::GREETING_ARRIVES, &replica(0))), ("passed", None), "{text}");
    }
}

#[test]
fn a_refused_account_is_looked_up_on_the_source() {
    let check = broken(ids::PATH_QUERY, &replica(0), ("failed", Code::ReplicationAccessDenied), |spec, facts| {
        sample::replication(spec).account.user = "o'repl".to_owned();
        probe(facts, error(80, 1045, "ERROR 1045 (28000): Access denied"), 1, 0);
    });
    assert_eq!(
        commands(&check),
        [
            "SELECT user, host, plugin, account_locked, password_expired FROM mysql.user WHERE user = 'o''repl';  -- on source pxc-0"
        ]
    );
}

#[test]
fn a_missing_ca_file_is_looked_for_in_the_container() {
    let check = broken(ids::PATH_QUERY, &replica(0), ("failed", Code::CaFileMissing), |spec, facts| {
        sample::replication(spec).tls = Tls::VerifyCa { ca: "/nowhere/ca.crt".to_owned() };
        probe(
            facts,
            error(80, 2026, "ERROR 2026 (HY000): SSL connection error: SSL_CTX_set_default_verify_paths failed"),
            1,
            0,
        );
    });
    assert_eq!(commands(&check), ["kubectl --context dr -n pxc exec pxc-0 -c pxc -- ls -l /nowhere/ca.crt"]);
}

#[test]
fn a_container_without_a_client_proves_nothing() {
    let check = broken(ids::PATH_QUERY, &replica(0), ("unknown", Code::NoProbe), |_, facts| {
        facts.paths[0].probe = Fetched::Got(ProbeAnswer { by: "sh".into(), took_ms: 20, end: ProbeEnd::NoClient });
    });
    assert!(shown(&check).contains("container `pxc` of `pxc-0`"));
    let mut facts = facts();
    facts.paths[0].probe = Fetched::Got(ProbeAnswer { by: "sh".into(), took_ms: 20, end: ProbeEnd::NoClient });
    for id in [ids::ENDPOINT_ACCEPTS, ids::GREETING_ARRIVES, ids::PATH_SERVER] {
        assert_eq!(verdict(&check_of(&spec(), &facts, id, &replica(0))), ("skipped", None), "{id}");
    }
}

fn answered(facts: &mut Facts, uuid: &str) {
    let end = ProbeEnd::Answered { server_uuid: uuid.to_owned(), hostname: "h".into(), seen_as: "repl@1.2.3.4".into() };
    facts.paths[0].probe = Fetched::Got(ProbeAnswer { by: "mysql client".into(), took_ms: 90, end });
}

#[test]
fn the_server_that_answers_must_be_a_known_one() {
    const STRANGER: &str = "77000000-0000-0000-0000-000000000001";
    let me = &replica(0);
    for own in sample::REPLICA {
        let check = broken(ids::PATH_SERVER, me, ("failed", Code::SelfConnection), |_, facts| answered(facts, own));
        assert!(shown(&check).contains("is that of replica pxc-"));
    }
    let check = broken(ids::PATH_SERVER, me, ("failed", Code::WrongServer), |_, facts| answered(facts, STRANGER));
    assert!(shown(&check).contains(STRANGER) && shown(&check).contains(sample::SOURCE[0]));
    broken(ids::PATH_SERVER, me, ("unknown", Code::WrongServer), |_, facts| {
        answered(facts, STRANGER);
        sources(facts)[1].server = Some(unread(Code::ServerUnreachable));
    });
    let mut facts = facts();
    answered(&mut facts, &sample::SOURCE[1].to_uppercase());
    let check = check_of(&spec(), &facts, ids::PATH_SERVER, me);
    assert_eq!((verdict(&check), check.evidence.len()), (("passed", None), 1));
    assert!(check.evidence[0].ends_with(&source(1).to_string()));
}

#[test]
fn a_path_that_was_not_tried_is_unknown() {
    let checks = path(spec().mesh().unwrap(), &facts(), "pxc-9", 3306);
    assert_eq!(verdict(&checks[0]), ("unknown", Some(Code::NoProbe)));
    assert_eq!(checks.len(), 9);
    assert!(checks[1..].iter().all(|check| verdict(check).0 == "skipped"));
}
