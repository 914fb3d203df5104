//! Wrong input: one message with code, evidence and what mends it, the right exit code, and nothing changed.

use std::{
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use sandbox::world::Cluster;

use crate::{
    Body,
    stage::{Checked, LINK, Stage},
};

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("no_such_source", no_such_source),
    ("unknown_key", unknown_key),
    ("duplicate_key", duplicate_key),
    ("literal_password", literal_password),
    ("no_such_context", no_such_context),
    ("same_cluster_twice", same_cluster_twice),
    ("cluster_unreachable", cluster_unreachable),
    ("a_hanging_context_beside_a_good_one", hanging_context),
    ("no_pod_matches", no_pod_matches),
    ("wrong_source_password", wrong_source_password),
    ("wrong_replica_password", wrong_replica_password),
    ("password_over_32_bytes", password_over_32_bytes),
    ("password_variable_not_set", password_not_set),
    ("no_terminal_without_yes", no_terminal),
    ("interrupted_at_the_prompt", interrupted_at_the_prompt),
    ("answered_no_at_the_prompt", answered_no),
    ("a_second_setup_at_once", second_setup),
    ("channel_points_elsewhere", channel_elsewhere),
    ("purged_gtids", purged_gtids),
    ("endpoints_only", endpoints_only),
    ("out_of_time", out_of_time),
];

const SETUP: [&str; 4] = ["setup", "--source", "production", "--yes"];

/// Setup with a changed configuration is refused.
fn refused_with(stage: &Stage, from: &str, to: &str, exit: i32, code: &str, evidence: &[&str]) -> Checked {
    if !LINK.contains(from) {
        return Err(format!("`{from}` is not in the configuration").into());
    }
    stage.write("wrong.yaml", &LINK.replace(from, to))?;
    stage.refuses(
        &stage.tool(),
        &["--config", "wrong.yaml", "setup", "--source", "production", "--yes"],
        exit,
        code,
        evidence,
    )
}

fn no_such_source(stage: &Stage) -> Checked {
    stage.refuses(
        &stage.tool(),
        &["setup", "--source", "prodction", "--yes"],
        3,
        "PXL107",
        &["prodction", "`production`"],
    )
}

fn unknown_key(stage: &Stage) -> Checked {
    refused_with(stage, "service: pxc", "servce: pxc", 3, "PXL103", &["servce", "`service`", "wrong.yaml:6:"])
}

fn duplicate_key(stage: &Stage) -> Checked {
    refused_with(stage, "service: pxc}", "service: pxc, service: other}", 3, "PXL104", &["service", "wrong.yaml:6:"])
}

fn literal_password(stage: &Stage) -> Checked {
    let literal = "hunter2-never-shown";
    stage.write("wrong.yaml", &LINK.replace("{env: PXC_SOURCE_PASSWORD}", literal))?;
    let arguments = ["-vvv", "--config", "wrong.yaml", "setup", "--source", "production", "--yes"];
    stage.refuses(&stage.tool(), &arguments, 3, "PXL106", &["wrong.yaml:7:"])?;
    let ended = stage.tool().run(&arguments)?;
    if ended.to_string().contains("hunter2") { Err(format!("the password was quoted\n{ended}").into()) } else { Ok(()) }
}

fn no_such_context(stage: &Stage) -> Checked {
    refused_with(stage, "context: dr", "context: d-r", 3, "PXL201", &["d-r", "production"])
}

fn same_cluster_twice(stage: &Stage) -> Checked {
    refused_with(stage, "context: dr", "context: production", 3, "PXL204", &["production"])
}

/// A kubeconfig in which `production` leads to another address.
fn with_source_at(stage: &Stage, server: &str) -> Result<String, Failed> {
    let text = std::fs::read_to_string(stage.world.kubeconfig())?;
    let address = format!("https://{}:6443", stage.world.node_address(Cluster::Production));
    if !text.contains(&address) {
        return Err(format!("{address} is not in the kubeconfig").into());
    }
    Ok(stage.write("other.kubeconfig", &text.replace(&address, server))?.display().to_string())
}

fn cluster_unreachable(stage: &Stage) -> Checked {
    let kubeconfig = with_source_at(stage, "https://127.0.0.1:1")?;
    let tool = stage.tool().with("KUBECONFIG", kubeconfig);
    stage.refuses(&tool, &SETUP, 5, "PXL202", &["production", "127.0.0.1:1", "refused"])
}

fn hanging_context(stage: &Stage) -> Checked {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let kubeconfig = with_source_at(stage, &format!("https://{}", listener.local_addr()?))?;
    let tool = stage.tool().with("KUBECONFIG", kubeconfig);
    let begun = Instant::now();
    stage.refuses(&tool, &SETUP, 6, "PXL203", &["production"])?;
    // The good side is looked at meanwhile, and the whole ends with the hanging side's own deadline.
    if begun.elapsed() > Duration::from_secs(20) {
        return Err(format!("took {:?}", begun.elapsed()).into());
    }
    let status = tool.run(&["status", "-o", "json"])?;
    let document: serde_json::Value = serde_json::from_str(&status.stdout)?;
    // The replica is read and its missing count is not known: the source is silent, not empty.
    if document["links"][0]["state"] == "unknown" || document["links"][0].get("missing").is_some() {
        return Err(format!("the replica should be read, what is missing not known\n{status}").into());
    }
    Ok(())
}

fn no_pod_matches(stage: &Stage) -> Checked {
    refused_with(stage, "selector: app=pxc", "selector: app=pxd", 4, "PXL206", &["app=pxd"])
}

fn wrong_source_password(stage: &Stage) -> Checked {
    let tool = stage.tool().with("PXC_SOURCE_PASSWORD", "wrong");
    stage.refuses(&tool, &SETUP, 5, "PXL402", &["1045", "pxc_link", "source pxc-0"])
}

fn wrong_replica_password(stage: &Stage) -> Checked {
    let tool = stage.tool().with("PXC_REPLICA_PASSWORD", "wrong");
    stage.refuses(&tool, &SETUP, 5, "PXL402", &["1045", "pxc_link", "replica pxc-0"])
}

fn password_over_32_bytes(stage: &Stage) -> Checked {
    let tool = stage.tool().with("PXC_REPLICATION_PASSWORD", "x".repeat(33));
    stage.refuses(&tool, &SETUP, 3, "PXL109", &["33 bytes"])
}

fn password_not_set(stage: &Stage) -> Checked {
    let tool = stage.tool().with("PXC_REPLICATION_PASSWORD", "");
    stage.refuses(&tool, &SETUP, 3, "PXL108", &["PXC_REPLICATION_PASSWORD"])
}

fn no_terminal(stage: &Stage) -> Checked {
    stage.unlinked()?;
    stage.refuses(&stage.tool(), &["setup", "--source", "production"], 2, "PXL112", &["--yes"])
}

/// Runs setup on a terminal of its own until it asks.
fn at_the_prompt(stage: &Stage) -> Result<rexpect::session::PtySession, Failed> {
    let command = stage.tool().command(&["setup", "--source", "production"]);
    let mut session = rexpect::session::spawn_command(command, Some(30_000))?;
    session.exp_string("[y/N]")?;
    Ok(session)
}

fn interrupted_at_the_prompt(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let before = stage.untouched()?;
    let mut session = at_the_prompt(stage)?;
    session.send_control('c')?;
    let rest = session.exp_eof()?;
    let ended = session.process().wait()?;
    if !format!("{ended:?}").ends_with(", 130)") {
        return Err(format!("exit code 130 was expected, not {ended:?}: {rest}").into());
    }
    if before == stage.untouched()? { Ok(()) } else { Err("something was changed".into()) }
}

fn answered_no(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let before = stage.untouched()?;
    let mut session = at_the_prompt(stage)?;
    session.send_line("n")?;
    let rest = session.exp_eof()?;
    let ended = session.process().wait()?;
    if !format!("{ended:?}").ends_with(", 2)") || !rest.contains("PXL112") {
        return Err(format!("exit code 2 and PXL112 were expected, not {ended:?}: {rest}").into());
    }
    if before == stage.untouched()? { Ok(()) } else { Err("something was changed".into()) }
}

fn second_setup(stage: &Stage) -> Checked {
    stage.unlinked()?;
    // The first run is stopped with the lock in its hands, as on a laptop that went to sleep.
    let mut first = stage.tool().command(&SETUP).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(first.id())?);
    let lease = ["--context", "dr", "-n", "pxc", "get", "leases", "-o", "name"];
    let begun = Instant::now();
    while !stage.kubectl(&lease)?.contains("pxc-link-production") {
        if first.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(30) {
            return Err("the first setup never held the lock".into());
        }
    }
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP)?;
    let refused = stage.tool().run(&SETUP);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT)?;
    let status = first.wait()?;
    refused?.fails(4, "PXL209", &["pxc-link-production", &pid.to_string()])?;
    if !status.success() {
        return Err(format!("the first setup ended with {status}").into());
    }
    stage.unlinked()
}

fn channel_elsewhere(stage: &Stage) -> Checked {
    stage.unlinked()?;
    stage.sql(
        Cluster::Dr,
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='elsewhere.example', SOURCE_USER='repl', SOURCE_AUTO_POSITION=1 FOR CHANNEL 'production'",
    )?;
    let refused =
        stage.refuses(&stage.tool(), &SETUP, 4, "PXL505", &["elsewhere.example", "pxc-source.production.global"]);
    stage.sql(Cluster::Dr, "RESET REPLICA ALL FOR CHANNEL 'production'")?;
    refused
}

fn purged_gtids(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let pod = stage.sql(Cluster::Production, "SELECT @@server_uuid")?;
    stage.sql(
        Cluster::Production,
        "CREATE DATABASE gone; DROP DATABASE gone; FLUSH BINARY LOGS; SET @before = NOW() + INTERVAL 1 SECOND; DO SLEEP(1); PURGE BINARY LOGS BEFORE @before",
    )?;
    let purged = stage.sql(Cluster::Production, "SELECT @@gtid_purged")?;
    let refused = if purged.is_empty() {
        Err("nothing was purged".into())
    } else {
        stage.refuses(&stage.tool(), &SETUP, 4, "PXL503", &[&pod, "CLONE"])
    };
    // Both sides are empty again afterwards.
    stage.sql(Cluster::Production, "RESET BINARY LOGS AND GTIDS")?;
    refused
}

fn endpoints_only(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let node = stage.world.node_address(Cluster::Production);
    let endpoints = format!("endpoints: [{{address: {node}, port: 31999}}]");
    refused_with(
        stage,
        "kubernetes: {context: production, namespace: pxc, service: pxc}\n      account: {user: pxc_link, password: {env: PXC_SOURCE_PASSWORD}}",
        &endpoints,
        3,
        "PXL110",
        &["source.endpoints"],
    )
}

fn out_of_time(stage: &Stage) -> Checked {
    let begun = Instant::now();
    let ended = stage.tool().run(&["--timeout", "50ms", "verify", "--source", "production"])?;
    if !matches!(ended.code, Some(4..=6)) || begun.elapsed() > Duration::from_secs(5) {
        return Err(format!("it should have run out of time at once\n{ended}").into());
    }
    Ok(())
}
