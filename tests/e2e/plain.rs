//! Links between two plain servers, without Kubernetes and without a world: what a person with docker-compose or a VPN has.

use std::{
    io::{BufRead, BufReader},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sandbox::{
    plain::{End, Grants},
    world::Proc,
};

use crate::{duo::Duo, runbook, stage::Checked};

/// A trial that raises its own servers.
pub(crate) type Body = fn() -> Checked;

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("a_link_from_setup_to_teardown", from_setup_to_teardown),
    ("a_refused_password_leaves_nothing", refused_passwords),
    ("a_source_that_is_down", source_down),
    ("a_killed_replica_goes_on", killed_replica),
    ("two_setups_at_once", two_at_once),
    ("an_interrupted_setup_goes_on", interrupted),
    ("a_channel_without_tls", without_tls),
    ("what_docker_compose_makes", compose),
    ("a_purged_source_is_cloned_as_printed", cloned),
];

/// How many locks of runs there are.
const LOCKS: &str = "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE object_type = 'USER LEVEL LOCK'";

fn insert(duo: &Duo, what: &str) -> Checked {
    duo.sql(End::Source, &format!("INSERT INTO t.a (v) SELECT CONCAT('{what}', id) FROM t.a LIMIT 20")).map(drop)
}

fn same(what: &str, before: &str, after: &str) -> Checked {
    if before == after { Ok(()) } else { Err(format!("{what} changed\nbefore {before}\nafter {after}").into()) }
}

fn from_setup_to_teardown() -> Checked {
    let duo = Duo::raise("e2e-setup")?;
    let tool = duo.tool();
    let untouched = duo.replica_state()?;
    tool.run(&["setup", "--dry-run", "--exit-code"])?.exits(1)?;
    same("the replica by a dry run", &untouched, &duo.replica_state()?)?;
    let ended = tool.run(&["setup", "--yes"])?;
    ended.exits(0)?;
    ended.says("follows 127.0.0.1:")?;
    duo.rows_arrive()?;
    tool.run(&["status"])?.exits(0)?;
    let verified = tool.run(&["-v", "verify", "--only", "receiver.login"])?;
    verified.exits(0)?;
    verified.says("as repl@%, TLS verify-identity by")?;
    tool.run(&["verify"])?.exits(0)?;
    insert(&duo, "more")?;
    duo.rows_arrive()?;
    let before = duo.replica_state()?;
    let again = tool.run(&["setup", "--yes"])?;
    again.exits(0)?;
    again.says("nothing to change")?;
    same("the replica by a second setup", &before, &duo.replica_state()?)?;
    tool.run(&["monitor", "--count", "1"])?.exits(0)?;
    tool.run(&["render"])?.fails(2, "PXL120", &["127.0.0.1"])?;
    tool.run(&["setup", "--yes", "--dns", "coredns-stub"])?.fails(2, "PXL120", &[])?;
    tool.run(&["teardown", "--yes"])?.exits(0)?;
    same("what there is of channels", "", duo.left_of_channels()?.trim())?;
    same("the lock", "0", &duo.sql(End::Replica, LOCKS)?)?;
    let gone = tool.run(&["verify"])?;
    gone.exits(4)?;
    gone.says("PXL507")?;
    tool.run(&["teardown", "--yes"])?.says("nothing of link production")?;
    // What was applied before is there and is not applied again.
    duo.linked()?;
    insert(&duo, "after")?;
    duo.rows_arrive()?;
    // The pair itself leaves nothing either.
    let (dir, processes) = (duo.plain.dir().to_owned(), End::ALL.map(|end| duo.plain.process(end)));
    drop(duo);
    let runs = |process: &Option<Proc>| process.is_none_or(|process| process.alive());
    let begun = Instant::now();
    while processes.iter().any(runs) && begun.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(50));
    }
    if processes.iter().any(runs) || dir.exists() {
        return Err(format!("something of the pair was left: {processes:?}, {}", dir.display()).into());
    }
    Ok(())
}

fn refused_passwords() -> Checked {
    let duo = Duo::raise("e2e-password")?;
    let before = (duo.left_of_channels()?, duo.sql(End::Replica, "SELECT @@gtid_executed")?);
    for (variable, exit, code, evidence) in [
        ("PXC_SOURCE_PASSWORD", 5, "PXL402", "source 127.0.0.1:"),
        ("PXC_REPLICA_PASSWORD", 5, "PXL402", "replica 127.0.0.1:"),
        ("PXC_REPLICATION_PASSWORD", 4, "PXL410", "Access denied for user 'repl'"),
    ] {
        let wrong = duo.tool().with(variable, "not the password");
        let ended = wrong.run(&["setup", "--yes"])?;
        ended.fails(exit, code, &[evidence])?;
        let after = (duo.left_of_channels()?, duo.sql(End::Replica, "SELECT @@gtid_executed")?);
        if before != after || ended.stderr.contains("not the password") {
            return Err(format!("{variable}: something was left: {before:?} {after:?}\n{ended}").into());
        }
    }
    // The right one is not remembered as refused.
    duo.linked()?;
    duo.rows_arrive()
}

fn source_down() -> Checked {
    let duo = Duo::raise("e2e-source")?;
    duo.now(duo.plain.kill(End::Source))?;
    duo.tool().run(&["setup", "--yes"])?.fails(5, "PXL401", &["source 127.0.0.1:"])?;
    duo.now(duo.plain.start(End::Source, &[]))?;
    duo.linked()?;
    duo.rows_arrive()?;
    duo.now(duo.plain.kill(End::Source))?;
    soon(|| {
        let ended = duo.tool().run(&["verify"])?;
        ended.exits(4)?;
        ended.says("PXL510")
    })?;
    duo.now(duo.plain.start(End::Source, &[]))?;
    insert(&duo, "back")?;
    duo.rows_arrive()?;
    soon(|| duo.tool().run(&["verify"])?.exits(0))
}

fn killed_replica() -> Checked {
    let duo = Duo::raise("e2e-replica")?;
    duo.linked()?;
    for round in 0..3 {
        insert(&duo, &format!("before {round} "))?;
        duo.now(duo.plain.kill(End::Replica))?;
        insert(&duo, &format!("meanwhile {round} "))?;
        duo.tool().run(&["status"])?.exits(5)?;
        duo.now(duo.plain.start(End::Replica, &[]))?;
        insert(&duo, &format!("after {round} "))?;
        duo.rows_arrive()?;
    }
    soon(|| duo.tool().run(&["verify"])?.exits(0))?;
    duo.tool().run(&["setup", "--yes"])?.says("nothing to change")
}

fn two_at_once() -> Checked {
    let duo = Duo::raise("e2e-two")?;
    // Whoever has the lock, from wherever: the replica's server is where they meet.
    let holder = "SELECT GET_LOCK(CONCAT('pxc-link ', LEFT(SHA2('production', 256), 40)), 0); DO SLEEP(3)";
    let held = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok::<_, Failed>(runtime.block_on(duo.plain.sql(End::Replica, holder))?)
        });
        std::thread::sleep(Duration::from_millis(500));
        let refused = duo.tool().run(&["setup", "--yes"])?.fails(4, "PXL209", &["root@127.0.0.1"]);
        let got = other.join().map_err(|_| "the other session panicked")??;
        same("the lock of the other session", "1", got.trim())?;
        refused
    });
    held?;
    same("what there is of channels", "", duo.left_of_channels()?.trim())?;
    // Two that begin together: one sets the link up, the other is turned away or finds nothing to do.
    let both = std::thread::scope(|scope| {
        let one = || duo.tool().run(&["setup", "--yes"]);
        let (first, second) = (scope.spawn(one), scope.spawn(one));
        [first, second].map(|run| run.join().unwrap_or_else(|_| Err("a run panicked".into())))
    });
    let [first, second] = both;
    let (first, second) = (first?, second?);
    match (first.code, second.code) {
        (Some(0), Some(0)) => {}
        (Some(0), _) => second.fails(4, "PXL209", &[])?,
        _ => {
            first.fails(4, "PXL209", &[])?;
            second.exits(0)?;
        }
    }
    duo.rows_arrive()?;
    duo.tool().run(&["verify"])?.exits(0)
}

fn interrupted() -> Checked {
    let duo = Duo::raise("e2e-interrupt")?;
    let (status, said) = cut(&duo, Signal::SIGINT)?;
    if status.code() != Some(130) || !said.contains("PXL903") {
        return Err(format!("it should have been interrupted, ended with {status}\n{said}").into());
    }
    same("what there is of channels", "", duo.left_of_channels()?.trim())?;
    same("the lock", "0", &duo.sql(End::Replica, LOCKS)?)?;
    // A run that is killed takes nothing back; its lock goes with its session, and the next run goes on.
    cut(&duo, Signal::SIGKILL)?;
    duo.linked()?;
    duo.rows_arrive()?;
    duo.tool().run(&["verify"])?.exits(0)
}

/// Sends a setup a signal when its receiver was started; how it ended, and what it said.
fn cut(duo: &Duo, signal: Signal) -> Result<(ExitStatus, String), Failed> {
    let mut command = duo.tool().command(&["setup", "--yes", "--progress", "json"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let id = Pid::from_raw(i32::try_from(child.id())?);
    let mut said = String::new();
    // It is looked at whom the receiver reaches; only then the applier would be started.
    for line in BufReader::new(child.stderr.take().ok_or("no error stream")?).lines() {
        let line = line?;
        if line.contains("\"started\"") && line.contains("receiver on") {
            kill(id, signal)?;
        }
        said += &line;
        said.push('\n');
    }
    Ok((child.wait()?, said))
}

fn without_tls() -> Checked {
    let duo = Duo::raise("e2e-plaintext")?;
    let link = duo.plain.link("production", "pxc_link", "repl", "{mode: disabled}");
    duo.configure(&format!("apiVersion: pxc-link.io/v1alpha1\nkind: Links\nlinks:\n{link}"))?;
    duo.linked()?;
    duo.rows_arrive()?;
    // The server forgets whose passwords it knows: the channel must not live on that.
    duo.sql(End::Source, "FLUSH PRIVILEGES")?;
    duo.sql(
        End::Replica,
        "STOP REPLICA IO_THREAD FOR CHANNEL 'production'; START REPLICA IO_THREAD FOR CHANNEL 'production'",
    )?;
    insert(&duo, "in the clear")?;
    duo.rows_arrive()?;
    let ended = soon(|| {
        let ended = duo.tool().run(&["verify"])?;
        ended.exits(0).map(|()| ended)
    })?;
    ended.says("PXL413")
}

/// What docker-compose.yml has its servers run, run here: the statements that make the accounts, and the script that makes the
/// certificates. A link stands on both.
fn compose() -> Checked {
    let compose: serde_yaml::Value = serde_yaml::from_str(include_str!("../../docker-compose.yml"))?;
    let content = |name: &str| compose["configs"][name]["content"].as_str().map(str::to_owned).ok_or("no such config");
    let duo = Duo::raise("e2e-compose")?;
    // The pair's own accounts give way.
    let gone = "SET sql_log_bin = 0; DROP USER IF EXISTS pxc_link@'%', repl@'%';";
    for (end, name) in [(End::Source, "source-accounts"), (End::Replica, "replica-accounts")] {
        let mut statements = content(name)?;
        for (variable, value) in duo.plain.environment() {
            statements = statements.replace(&format!("${{{variable}:?set it in .env}}"), &value);
        }
        if statements.contains("${") {
            return Err(format!("a variable nobody knows: {statements}").into());
        }
        duo.sql(end, &format!("{gone} {statements}"))?;
    }
    let script = compose["services"]["certificates"]["command"][0].as_str().ok_or("no script")?;
    // It runs as root there, and here as the servers' user already.
    let script = script.replace("/tls", "tls/made").replace("chown 999:999 source.key", "");
    let names = "openssl verify -CAfile ca.crt -verify_hostname source source.crt; \
                 openssl verify -CAfile ca.crt -verify_hostname replica source.crt || echo not of replica";
    let said =
        duo.now(duo.plain.shell_with("usr/bin/openssl", End::Source, &format!("mkdir tls/made; {script}\n{names}")))?;
    for text in ["source.crt: OK", "not of replica"] {
        if !said.contains(text) {
            return Err(format!("`{text}` was expected\n{said}").into());
        }
    }
    let tls = "SET GLOBAL ssl_ca='{home}/ca.crt'; SET GLOBAL ssl_cert='{home}/source.crt'; SET GLOBAL ssl_key='{home}/source.key'; ALTER INSTANCE RELOAD TLS";
    let home = duo.plain.home(End::Source).join("tls/made");
    duo.sql(End::Source, &tls.replace("{home}", &home.display().to_string()))?;
    // The new certificate is of an authority that the pair does not know.
    let refused = duo.tool().run(&["setup", "--yes"])?;
    refused.fails(4, "PXL405", &["UnknownIssuer"])?;
    // By its own certificate the link stands on the accounts as they were made.
    duo.now(duo.plain.shut_down(End::Source))?;
    duo.now(duo.plain.start(End::Source, &[]))?;
    duo.linked()?;
    duo.rows_arrive()?;
    duo.tool().run(&["teardown", "--yes"])?.exits(0)
}

/// Runs the runbook of a purged source as it is printed; the password goes where it says so.
fn cloned() -> Checked {
    let duo = Duo::raise("e2e-clone")?;
    duo.sql(End::Source, "FLUSH BINARY LOGS; PURGE BINARY LOGS TO 'binlog.000002'")?;
    let ended = duo.tool().run(&["setup", "--yes"])?;
    ended.fails(4, "PXL503", &["has purged 3 transaction(s)"])?;
    let sql = |end, statement: &str| {
        if !statement.starts_with("CLONE INSTANCE") {
            return duo.sql(end, statement);
        }
        // A server that nothing restarts ends with what it cloned and with error 3707.
        if duo.now(duo.plain.sql(end, statement)).is_ok() {
            return Err("a server without a supervisor cannot have restarted itself".into());
        }
        soon(|| if duo.plain.process(end).is_none() { Ok(()) } else { Err("the replica still runs".into()) })?;
        duo.now(duo.plain.start(end, &[]))?;
        Ok(String::new())
    };
    // The last line, setup again, comes when the replica's account has its privileges back.
    let statements = runbook::run(&ended.stderr, sql, |_| Ok(()))?;
    same("how many statements are printed", "6", &statements.to_string())?;
    // The source's accounts came along; the replica's own has its privileges again.
    let grants = Grants::LEAST.replica.iter().map(|grant| format!("GRANT {grant} TO pxc_link"));
    duo.sql(End::Replica, &format!("SET sql_log_bin=0; {}", grants.collect::<Vec<_>>().join("; ")))?;
    duo.linked()?;
    insert(&duo, "after the clone")?;
    duo.rows_arrive()?;
    soon(|| duo.tool().run(&["verify"])?.exits(0))
}

/// Tries until it is good: a receiver sees the end of its source a moment later.
pub(crate) fn soon<T>(mut attempt: impl FnMut() -> Result<T, Failed>) -> Result<T, Failed> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(_) if begun.elapsed() < Duration::from_secs(30) => std::thread::sleep(Duration::from_millis(200)),
            end => return end,
        }
    }
}
