//! The channel on two plain servers: accounts with nothing but their grants, changes with the least stopping, and values as the
//! server keeps them.

use std::cell::RefCell;

use libtest_mimic::Failed;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use pxc_link::{
    domain::quote,
    mysql::{Encryption, Server, Target},
    wait::Deadline,
};
use sandbox::{plain::End, world::Account};
use secrecy::SecretString;
use serde_json::Value;

use crate::{duo::Duo, stage::Checked, tool::Ended};

/// A trial that raises its own servers.
type Body = fn() -> Checked;

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("printed_grants_are_enough_and_each_is_needed", grants),
    ("a_change_stops_what_reads_it_and_nothing_else", changes),
    ("a_password_is_rotated_while_both_are_good", rotation),
    ("each_mode_of_tls_and_a_certificate_of_ones_own", tls),
    ("what_the_server_takes_it_keeps_unchanged", round_trips),
];

/// The other side has no such account, or is to keep it as it is.
const UNLOGGED: &str = "SET sql_log_bin = 0; ";
/// What is said of a channel that a change did not do for.
const PUT_BACK: &str = "its former settings were put back, and the receiver is connected again";
/// What a run of so many cases with a server takes is a few seconds.
const CASES: u32 = 96;
/// A statement on an idle server.
const SOON: std::time::Duration = std::time::Duration::from_secs(20);

fn document(ended: &Ended) -> Result<Value, Failed> {
    Ok(serde_json::from_str(&ended.stdout)?)
}

fn literal(text: &str) -> Result<String, Failed> {
    Ok(quote::literal(text)?.to_string())
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, wanted: &T) -> Checked {
    if seen == wanted { Ok(()) } else { Err(format!("{what}: {seen:?}, not {wanted:?}").into()) }
}

fn grants() -> Checked {
    let duo = Duo::raise("e2e-grants")?;
    let tls = format!("{{mode: verify-identity, ca: {}}}", duo.plain.ca().display());
    let head = "apiVersion: pxc-link.io/v1alpha1\nkind: Links\nlinks:\n";
    duo.configure(&(head.to_owned() + &duo.plain.link("production", "\"o'reader\"", "\"re'pl\"", &tls)))?;
    let environment = duo.plain.environment();
    let printed = duo.tool().run(&["grants"])?;
    printed.exits(0)?;
    if environment.values().any(|secret| printed.stdout.contains(secret.as_str())) {
        return Err(format!("a password is printed\n{printed}").into());
    }
    if duo.sql(End::Source, &printed.stdout).is_ok() {
        return Err("the SQL runs with the marks in it".into());
    }
    let (of_source, of_replica) = printed.stdout.split_once("-- On the replica").ok_or("no part for the replica")?;
    for (end, text) in [(End::Source, of_source), (End::Replica, of_replica)] {
        let mut text = if end == End::Replica { format!("-- On the replica{text}") } else { text.to_owned() };
        for (mark, variable) in [
            ("<REPLICATION_PASSWORD>", "PXC_REPLICATION_PASSWORD"),
            ("<SOURCE_PASSWORD>", "PXC_SOURCE_PASSWORD"),
            ("<REPLICA_PASSWORD>", "PXC_REPLICA_PASSWORD"),
        ] {
            // In the statements, and not in the comments above them.
            text = text.replace(&format!("BY {mark}"), &format!("BY {}", literal(&environment[variable])?));
        }
        let text = if end == End::Replica { format!("{UNLOGGED}{text}") } else { text };
        duo.sql(end, &text)?;
    }
    duo.linked()?;
    duo.rows_arrive()?;
    duo.tool().run(&["verify"])?.exits(0)?;
    let accounts = document(&duo.tool().run(&["grants", "-o", "json"])?)?;
    let statements = accounts["accounts"].as_array().into_iter().flatten().flat_map(|account| {
        let replica = account["side"] == "replica";
        account["grants"].as_array().into_iter().flatten().map(move |grant| (replica, grant.clone()))
    });
    for (replica, grant) in statements {
        let (end, code) = if replica { (End::Replica, "PXL403") } else { (End::Source, "PXL433") };
        let statement = grant["statement"].as_str().unwrap_or_default();
        let revoke = statement.replacen("GRANT", "REVOKE", 1).replace(" TO ", " FROM ");
        duo.sql(end, &format!("{UNLOGGED}{revoke}"))?;
        if !replica {
            restart_receiver(&duo)?;
        }
        crate::plain::soon(|| {
            let ended = duo.tool().run(&["verify"])?;
            ended.exits(4)?;
            ended.says(code)?;
            ended.says(grant["privilege"].as_str().unwrap_or_default())
        })?;
        duo.sql(end, &format!("{UNLOGGED}{statement}"))?;
    }
    restart_receiver(&duo)?;
    crate::plain::soon(|| duo.tool().run(&["verify"])?.exits(0))
}

fn restart_receiver(duo: &Duo) -> Checked {
    let text = "STOP REPLICA IO_THREAD FOR CHANNEL 'production'; START REPLICA IO_THREAD FOR CHANNEL 'production'";
    duo.sql(End::Replica, text).map(drop)
}

/// The threads of the receiver and of the applier: a thread that was stopped and started is another one.
fn threads(duo: &Duo) -> Result<[String; 2], Failed> {
    let of = |table: &str| {
        duo.sql(End::Replica, &format!("SELECT COALESCE(MAX(thread_id), 0) FROM performance_schema.{table}"))
    };
    Ok([of("replication_connection_status")?, of("replication_applier_status_by_coordinator")?])
}

/// A configuration whose channel has these keys beside its account and TLS.
fn with(duo: &Duo, keys: &str, address: &str) -> Checked {
    let text =
        duo.plain.configuration("production").replace("    replication:\n", &format!("    replication:\n{keys}"));
    duo.configure(&text.replace("address: 127.0.0.1", &format!("address: {address}")))
}

fn changes() -> Checked {
    let duo = Duo::raise("e2e-changes")?;
    duo.linked()?;
    duo.rows_arrive()?;
    let relay_logs = || {
        duo.sql(End::Replica, "SELECT Relay_log_name FROM mysql.slave_relay_log_info WHERE Channel_name = 'production'")
    };
    let first = relay_logs()?;
    let mut before = threads(&duo)?;
    for (keys, stops, anew) in [
        ("      heartbeat: 1500ms\n", "stop receiver", [true, false]),
        ("      heartbeat: 1500ms\n      delay: 1s\n", "stop applier", [false, true]),
        (
            "      connectRetry: 3s\n      retryCount: 0\n      compression: [zstd, uncompressed]\n      zstdLevel: 5\n",
            "stop receiver and applier",
            [true, true],
        ),
    ] {
        with(&duo, keys, "127.0.0.1")?;
        let ended = duo.tool().run(&["setup", "--yes"])?;
        ended.exits(0)?;
        ended.says(stops)?;
        let after = threads(&duo)?;
        let changed = [before[0] != after[0], before[1] != after[1]];
        equal(&format!("threads that are others after {keys}"), &changed, &anew)?;
        before = after;
        duo.tool().run(&["setup", "--yes"])?.says("nothing to change")?;
        duo.sql(End::Source, "INSERT INTO t.a (v) VALUES ('more')")?;
        duo.rows_arrive()?;
    }
    // At no moment both threads were off, or the relay logs would have begun anew.
    if relay_logs()? <= first {
        return Err(format!("relay logs began anew: {first}, now {}", relay_logs()?).into());
    }
    // A filter is nobody's business here.
    duo.sql(
        End::Replica,
        "STOP REPLICA SQL_THREAD FOR CHANNEL 'production'; CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = (t.none) FOR CHANNEL 'production'; \
         START REPLICA SQL_THREAD FOR CHANNEL 'production'",
    )?;
    // The replica's mysqld resolves no such name, this machine does: the channel gets its old address back and goes on.
    with(&duo, "", "localhost")?;
    let ended = duo.tool().run(&["setup", "--yes", "--timeout", "12s"])?;
    ended.fails(4, "PXL510", &["localhost", PUT_BACK])?;
    ended.says("taken back")?;
    duo.sql(End::Source, "INSERT INTO t.a (v) VALUES ('after a move that failed')")?;
    duo.rows_arrive()?;
    with(&duo, "", "127.0.0.1")?;
    duo.linked()?;
    duo.tool().run(&["verify"])?.exits(0)?;
    let filters = duo.sql(End::Replica, "SELECT COUNT(*) FROM performance_schema.replication_applier_filters")?;
    equal("filters", &filters.as_str(), &"1")
}

fn rotation() -> Checked {
    let duo = Duo::raise("e2e-rotation")?;
    duo.linked()?;
    duo.rows_arrive()?;
    let before = threads(&duo)?;
    let fresh = r#"n'e\w "pass" ü %s"#;
    duo.sql(
        End::Source,
        &format!("{UNLOGGED}ALTER USER repl@'%' IDENTIFIED BY {} RETAIN CURRENT PASSWORD", literal(fresh)?),
    )?;
    // A password that does not log in takes no working one's place.
    let wrong = duo.tool().with("PXC_REPLICATION_PASSWORD", "not the password");
    wrong.run(&["setup", "--yes", "--rotate-password"])?.fails(4, "PXL410", &["Access denied"])?;
    equal("threads after a refusal", &threads(&duo)?, &before)?;
    let rotated = duo.tool().with("PXC_REPLICATION_PASSWORD", fresh);
    let ended = rotated.run(&["setup", "--yes", "--rotate-password"])?;
    ended.exits(0)?;
    ended.says("SOURCE_PASSWORD: not shown")?;
    if ended.stdout.contains(fresh) || ended.stderr.contains(fresh) {
        return Err(format!("the password is shown\n{ended}").into());
    }
    let after = threads(&duo)?;
    equal("the applier's thread", &after[1], &before[1])?;
    // The old one is of no use any more.
    duo.sql(End::Source, &format!("{UNLOGGED}ALTER USER repl@'%' DISCARD OLD PASSWORD"))?;
    restart_receiver(&duo)?;
    duo.sql(End::Source, "INSERT INTO t.a (v) VALUES ('rotated')")?;
    duo.rows_arrive()?;
    // A password changed at the source and in the configuration alone is found, with what mends it.
    let next = "the next one";
    duo.sql(End::Source, &format!("{UNLOGGED}ALTER USER repl@'%' IDENTIFIED BY {}", literal(next)?))?;
    restart_receiver(&duo)?;
    let rotated = rotated.with("PXC_REPLICATION_PASSWORD", next);
    crate::plain::soon(|| {
        let ended = rotated.run(&["verify"])?;
        ended.exits(4)?;
        ended.says("pxc-link setup --source production --rotate-password")
    })?;
    rotated.run(&["setup", "--source", "production", "--rotate-password", "--yes"])?.exits(0)?;
    duo.sql(End::Source, "INSERT INTO t.a (v) VALUES ('and again')")?;
    duo.rows_arrive()
}

/// What a value of a channel can be made of: what the operators' passwords have, quotes and what looks like them, controls, and
/// characters of two to four bytes; in one of eight values somewhere a character that no statement carries.
fn text(most: usize) -> impl Strategy<Value = String> {
    let character = prop_oneof![
        6 => proptest::char::range('!', '~'),
        2 => prop::sample::select(vec!['\'', '"', '\\', '`', '%', '_', '#', ';', ' ', '-', '/', '*', '@', '{', '}']),
        1 => prop::sample::select(vec!['\t', '\r', '\u{1a}', '\u{8}', '\u{7f}', '\u{1}', 'ü', 'ß', '’', '漢', '\u{feff}', '😀', '\u{10ffff}']),
    ];
    let unsent = prop_oneof![7 => Just(None), 1 => prop::sample::select(vec![Some('\n'), Some('\0')])];
    (prop::collection::vec(character, 1..=most), unsent, any::<prop::sample::Index>()).prop_map(
        |(mut text, unsent, at)| {
            if let Some(unsent) = unsent {
                text.insert(at.index(text.len()), unsent);
            }
            String::from_iter(text)
        },
    )
}

fn round_trips() -> Checked {
    let duo = Duo::raise("e2e-values")?;
    let connect = |end: End, user: &str, password: &str| {
        let target = Target { name: format!("{end}"), host: "127.0.0.1".to_owned(), port: duo.plain.port(end) };
        let (user, password) = (user.to_owned(), SecretString::from(password));
        async move { Server::connect(&target, &Encryption::UNVERIFIED, &user, &password, Deadline::after(SOON)).await }
    };
    let admin = duo.now(connect(End::Replica, "pxc_link", duo.plain.password(Account::PxcLink)))?;
    let admin = RefCell::new(admin);
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let values = (text(30), text(32), text(60).prop_map(|path| format!("/{path}")));
    let seen = RefCell::new([0_u32; 2]);
    let outcome = runner.run(&values, |(password, user, path)| {
        let failed = |error: &dyn std::fmt::Display| TestCaseError::fail(format!("{password:?} {user:?} {path:?}: {error}"));
        let options = [("SOURCE_USER", user.clone()), ("SOURCE_SSL_CA", path.clone())];
        let secret = SecretString::from(password.as_str());
        let sent = {
            let mut admin = admin.borrow_mut();
            duo.now(async { Ok::<_, Failed>(admin.change_source("p", &options, Some(&secret), Deadline::after(SOON)).await) })
        };
        let sent = sent.map_err(|error| failed(&format!("{error:?}")))?;
        let cannot = |text: &str| text.contains(|c| c == '\n' || c == '\0' || c > '\u{ffff}');
        let refused = password.len() > 32 || [&password, &user, &path].into_iter().any(|text| cannot(text));
        seen.borrow_mut()[usize::from(refused)] += 1;
        match (sent, refused) {
            (Err(error), true) if error.errno().is_none() => return Ok(()),
            (Err(error), _) => return Err(failed(&format!("{error} {error:?}"))),
            (Ok(()), true) => return Err(failed(&"was sent")),
            (Ok(()), false) => {}
        }
        let kept = duo
            .sql(End::Replica, "SELECT CONCAT_WS(' ', HEX(User_password), HEX(User_name), HEX(Ssl_ca)) FROM mysql.slave_master_info WHERE Channel_name = 'p'")
            .map_err(|error| failed(&format!("{error:?}")))?;
        let bytes = |hex: &str| {
            let pairs = hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
            String::from_utf8(pairs.collect::<Option<Vec<u8>>>()?).ok()
        };
        let kept: Vec<Option<String>> = kept.split(' ').map(bytes).collect();
        prop_assert_eq!(kept, [Some(password), Some(user), Some(path)]);
        Ok(())
    });
    outcome.map_err(|error| Failed::from(error.to_string()))?;
    let [sent, refused] = *seen.borrow();
    // About one case in four can be sent.
    if sent < 5 || refused < 5 {
        return Err(format!("{sent} cases were sent and {refused} refused: too few of one kind").into());
    }
    Ok(())
}

fn tls() -> Checked {
    let duo = Duo::raise("e2e-tls")?;
    let folder = duo.plain.ca().parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let configure = |tls: &str| {
        let head = "apiVersion: pxc-link.io/v1alpha1\nkind: Links\nlinks:\n";
        duo.configure(&(head.to_owned() + &duo.plain.link("production", "pxc_link", "repl", &format!("{{{tls}}}"))))
    };
    let client = format!("cert: {folder}/tls.crt, key: {folder}/tls.key");
    for mode in [
        "mode: required".to_owned(),
        format!("mode: verify-ca, ca: {folder}/ca.crt"),
        format!("mode: verify-identity, ca: {folder}/ca.crt"),
    ] {
        configure(&mode)?;
        duo.linked()?;
        duo.tool().run(&["setup", "--yes"])?.says("nothing to change")?;
        duo.tool().run(&["verify"])?.exits(0)?;
    }
    // A CA that did not issue the source's certificate, and one that is not there: the channel goes on with what it had.
    for (ca, code) in [(format!("{folder}/tls.crt"), "PXL405"), (format!("{folder}/none.crt"), "PXL406")] {
        configure(&format!("mode: verify-ca, ca: {ca}"))?;
        let ended = duo.tool().run(&["setup", "--yes"])?;
        ended.fails(4, code, &[PUT_BACK])?;
        // Nobody could look at the replica's files beforehand, and that is said.
        ended.says("PXL444")?;
        duo.sql(End::Source, &format!("INSERT INTO t.a (v) VALUES ('{code}')"))?;
        duo.rows_arrive()?;
    }
    passwords_put_back(&duo, &configure)?;
    configure(&format!("mode: verify-identity, ca: {folder}/ca.crt"))?;
    duo.linked()?;
    // An account that demands a certificate.
    duo.sql(End::Source, &format!("{UNLOGGED}ALTER USER repl@'%' REQUIRE X509"))?;
    restart_receiver(&duo)?;
    crate::plain::soon(|| duo.tool().run(&["verify"])?.says("PXL410"))?;
    configure(&format!("mode: verify-identity, ca: {folder}/ca.crt, cert: {folder}/none.crt, key: {folder}/tls.key"))?;
    duo.tool().run(&["setup", "--yes"])?.exits(4)?;
    configure(&format!("mode: verify-identity, ca: {folder}/ca.crt, {client}"))?;
    duo.linked()?;
    duo.tool().run(&["verify"])?.exits(0)?;
    duo.tool().run(&["setup", "--yes", "--rotate-password"])?.exits(0)?;
    duo.sql(End::Source, "INSERT INTO t.a (v) VALUES ('with a certificate')")?;
    duo.rows_arrive()
}

/// A change of the TLS and of the password that does not connect: TLS is put back, the former password where it can be read.
fn passwords_put_back(duo: &Duo, configure: &impl Fn(&str) -> Checked) -> Checked {
    let kept =
        || duo.sql(End::Replica, "SELECT User_password FROM mysql.slave_master_info WHERE Channel_name = 'production'");
    configure("mode: verify-ca, ca: /nowhere/ca.crt")?;
    let rotate = |password: &str| {
        let retained = format!("ALTER USER repl@'%' IDENTIFIED BY '{password}' RETAIN CURRENT PASSWORD");
        duo.sql(End::Source, &format!("{UNLOGGED}{retained}"))?;
        let rotated = duo.tool().with("PXC_REPLICATION_PASSWORD", password);
        let ended = rotated.run(&["setup", "--yes", "--rotate-password"])?;
        duo.sql(End::Source, &format!("INSERT INTO t.a (v) VALUES ('{password}')"))?;
        duo.rows_arrive()?;
        Ok::<_, Failed>(ended)
    };
    let ended = rotate("second")?;
    ended.fails(7, "PXL406", &[PUT_BACK, "its former password could not be read"])?;
    equal("the password that stays", &kept()?.as_str(), &"second")?;
    let grant = format!("{UNLOGGED}GRANT SELECT ON mysql.slave_master_info TO pxc_link");
    duo.sql(End::Replica, &grant)?;
    rotate("third")?.fails(4, "PXL406", &[PUT_BACK])?;
    equal("the password that is put back", &kept()?.as_str(), &"second")?;
    duo.sql(End::Replica, &grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))?;
    let own = duo.plain.password(Account::Replication);
    duo.sql(End::Source, &format!("{UNLOGGED}ALTER USER repl@'%' IDENTIFIED BY {}", literal(own)?))?;
    configure("mode: required")?;
    duo.tool().run(&["setup", "--yes", "--rotate-password"])?.exits(0)
}
