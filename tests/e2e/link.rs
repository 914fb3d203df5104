//! The main job: setup on the happy path, again, and what the reading commands say of it; last, taking it away.

use std::{
    collections::BTreeSet,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sandbox::world::Cluster;
use serde_json::Value;

use crate::{
    Body,
    stage::{Checked, LINK, Stage},
};

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("setup_and_rows_arrive", setup_and_rows_arrive),
    ("again_writes_nothing_anywhere", again_writes_nothing),
    ("a_stopped_channel_is_started_again", stopped_channel),
    ("a_changed_object_is_mended", changed_object),
    ("reading_commands_write_nothing", reading_commands),
    ("json_is_one_document_of_its_schema", json_documents),
    ("events_are_json_lines", json_events),
    ("facts_judge_the_same_elsewhere", saved_facts),
    ("init_writes_a_file_that_works", init_works),
    ("a_plain_channel_works_and_is_warned_of", plain_channel),
    ("certificates_are_looked_at_and_used_through_the_mesh", certificates),
    ("a_changed_setting_is_shown_and_brought_in_line", changed_setting),
    ("sigterm_takes_back_and_ends_143", terminated),
    ("a_killed_run_is_taken_over_at_once", killed),
];

pub(crate) const LAST: &[(&str, Body)] =
    &[("a_part_of_a_link_is_kept", kept), ("teardown_takes_away_only_what_is_its_own", teardown)];

const SETUP: [&str; 4] = ["setup", "--source", "production", "--yes"];

fn setup_and_rows_arrive(stage: &Stage) -> Checked {
    stage.unlinked()?;
    stage.sql(
        Cluster::Production,
        "DROP DATABASE IF EXISTS demo; CREATE DATABASE demo; CREATE TABLE demo.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(64)); INSERT INTO demo.t (v) VALUES ('before')",
    )?;
    let dry = stage.tool().run(&["setup", "--source", "production", "--dry-run", "--exit-code"])?;
    dry.exits(1)?;
    dry.says("ServiceEntry/pxc-source-production")?;
    let ended = stage.tool().run(&SETUP)?;
    ended.exits(0)?;
    for text in ["ServiceEntry/pxc-source-production", "pxc-source.production.global", "missing"] {
        ended.says(text)?;
    }
    stage.sql(Cluster::Production, "INSERT INTO demo.t (v) VALUES ('after')")?;
    let begun = Instant::now();
    while stage.sql(Cluster::Dr, "SELECT GROUP_CONCAT(v ORDER BY id) FROM demo.t")? != "before,after" {
        if begun.elapsed() > Duration::from_secs(15) {
            return Err(format!("the row did not arrive\n{ended}").into());
        }
    }
    let checksum = "CHECKSUM TABLE demo.t";
    let (source, replica) = (stage.sql(Cluster::Production, checksum)?, stage.sql(Cluster::Dr, checksum)?);
    if source == replica { Ok(()) } else { Err(format!("checksums differ: {source} {replica}").into()) }
}

fn again_writes_nothing(stage: &Stage) -> Checked {
    stage.linked()?;
    let before = stage.untouched()?;
    let ended = stage.tool().run(&SETUP)?;
    ended.exits(0)?;
    ended.says("nothing to change")?;
    let after = stage.untouched()?;
    if before != after {
        return Err(format!("something was written:\nbefore {before:#?}\nafter {after:#?}").into());
    }
    stage.tool().run(&["setup", "--source", "production", "--dry-run", "--exit-code"])?.exits(0)
}

fn stopped_channel(stage: &Stage) -> Checked {
    stage.linked()?;
    stage.sql(Cluster::Dr, "STOP REPLICA FOR CHANNEL 'production'")?;
    stage.tool().run(&["status"])?.exits(4)?;
    let ended = stage.tool().run(&SETUP)?;
    ended.exits(0)?;
    ended.says("start")?;
    stage.tool().run(&["status"])?.exits(0)
}

fn changed_object(stage: &Stage) -> Checked {
    stage.linked()?;
    let patch = r#"{"spec":{"endpoints":[{"address":"198.18.99.99","ports":{"tcp-mysql":31306}}]}}"#;
    // As the tool's own manager: what another manager owns is a conflict, which is told and not forced.
    let entry =
        ["--context", "dr", "-n", "pxc", "patch", "serviceentry/pxc-source-production", "--type=merge", "-p", patch];
    stage.kubectl(&[&entry[..], &["--field-manager=somebody"]].concat())?;
    let refused = stage.tool().run(&SETUP)?;
    refused.fails(4, "PXL210", &["somebody"])?;
    let ended = stage.tool().run(&["setup", "--source", "production", "--yes", "--force-conflicts"])?;
    ended.exits(0)?;
    ended.says("198.18.99.99")?;
    stage.tool().run(&["verify", "--source", "production"])?.exits(0)
}

fn reading_commands(stage: &Stage) -> Checked {
    stage.linked()?;
    let before = stage.untouched()?;
    let verify = stage.tool().run(&["verify", "--source", "production", "-v"])?;
    verify.exits(0)?;
    for milestone in ["M0", "M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8"] {
        verify.says(milestone)?;
    }
    let status = stage.tool().run(&["status", "--all"])?;
    status.exits(0)?;
    status.says("replicating")?;
    let monitor = stage.tool().run(&["monitor", "--count", "2", "--interval", "1s"])?;
    monitor.exits(0)?;
    if monitor.stdout.lines().count() != 2 {
        return Err(format!("two samples were expected\n{monitor}").into());
    }
    stage.tool().run(&["config"])?.says("pxc-source.production.global")?;
    if before == stage.untouched()? { Ok(()) } else { Err("a reading command wrote".into()) }
}

fn json_documents(stage: &Stage) -> Checked {
    stage.linked()?;
    let documents: [(&[&str], &str); 4] = [
        (&["verify", "-o", "json"], "pxc-link.io/report/v1"),
        (&["status", "-o", "json"], "pxc-link.io/status/v1"),
        (&["setup", "--source", "production", "--yes", "-o", "json"], "pxc-link.io/report/v1"),
        (&["setup", "--source", "production", "--dry-run", "-o", "json"], "pxc-link.io/plan/v1"),
    ];
    for (arguments, schema) in documents {
        let ended = stage.tool().run(arguments)?;
        ended.exits(0)?;
        let document: Value = serde_json::from_str(&ended.stdout)?;
        if document["schema"] != schema {
            return Err(format!("{schema} was expected\n{ended}").into());
        }
    }
    Ok(())
}

fn json_events(stage: &Stage) -> Checked {
    let ended = stage.tool().run(&["--progress", "json", "setup", "--source", "production", "--yes"])?;
    ended.exits(0)?;
    let mut kinds = BTreeSet::new();
    for line in ended.stderr.lines().filter(|line| line.starts_with('{')) {
        let event: Value = serde_json::from_str(line)?;
        kinds.insert(event["event"].as_str().unwrap_or_default().to_owned());
    }
    for kind in ["target", "started", "done"] {
        if !kinds.contains(kind) {
            return Err(format!("no event `{kind}` among {kinds:?}\n{ended}").into());
        }
    }
    Ok(())
}

fn saved_facts(stage: &Stage) -> Checked {
    stage.linked()?;
    let live = stage.tool().run(&["verify", "-o", "json", "--save", "facts.json"])?;
    live.exits(0)?;
    // Judged without a cluster: the environment has neither kubeconfig nor passwords.
    let elsewhere = stage.tool().with("KUBECONFIG", "/nonexistent").with("PXC_REPLICA_PASSWORD", "");
    let again = elsewhere.run(&["verify", "-o", "json", "--facts", "facts.json"])?;
    again.exits(0)?;
    if live.stdout == again.stdout { Ok(()) } else { Err(format!("{live}\ndiffers from\n{again}").into()) }
}

fn init_works(stage: &Stage) -> Checked {
    let path = stage.folder.path().join("made.yaml");
    let made = path.display().to_string();
    let arguments = [
        "--config",
        &made,
        "init",
        "--name",
        "production",
        "--source-context",
        "production",
        "--replica-context",
        "dr",
        "--ca",
        "/etc/mysql/tls/ca.crt",
    ];
    stage.tool().run(&arguments)?.exits(0)?;
    let again = stage.tool().run(&arguments)?;
    if again.code == Some(0) {
        return Err(format!("a file that was there was written over\n{again}").into());
    }
    stage.linked()?;
    let ended =
        stage.tool().run(&["--config", &made, "setup", "--source", "production", "--dry-run", "--exit-code"])?;
    ended.exits(0)
}

fn plain_channel(stage: &Stage) -> Checked {
    stage.unlinked()?;
    stage
        .write("plain.yaml", &LINK.replace("{mode: verify-identity, ca: /etc/mysql/tls/ca.crt}", "{mode: disabled}"))?;
    let ended = stage.tool().run(&["--config", "plain.yaml", "setup", "--source", "production", "--yes"])?;
    ended.exits(0)?;
    ended.says("PXL413")?;
    let settings = "SELECT ssl_allowed, get_public_key FROM performance_schema.replication_connection_configuration WHERE channel_name = 'production'";
    let settings = stage.sql(Cluster::Dr, settings)?;
    if settings != "NO\tYES" {
        return Err(format!("a plain channel with the public key was expected: {settings}").into());
    }
    stage.tool().run(&["--config", "plain.yaml", "verify"])?.exits(0)?;
    stage.tool().run(&["--config", "plain.yaml", "verify", "--strict"])?.exits(4)?;
    // The same link with TLS: the difference is shown, and the channel brought in line.
    let ended = stage.tool().run(&SETUP)?;
    ended.exits(0)?;
    ended.says("SOURCE_SSL")
}

fn certificates(stage: &Stage) -> Checked {
    let used = |tls: &str| {
        let written = LINK.replace("{mode: verify-identity, ca: /etc/mysql/tls/ca.crt}", tls);
        stage.write("tls.yaml", &written)?;
        stage.tool().run(&["--config", "tls.yaml", "setup", "--yes", "--rotate-password"])
    };
    stage.linked()?;
    let ca = "/etc/mysql/tls/ca.crt";
    let client = |cert: &str, key: &str| format!("cert: /etc/mysql/tls/{cert}, key: {key}");
    // What is wrong with a file is found before anything is written.
    let writes = stage.writes()?;
    for (tls, code, evidence) in [
        ("{mode: verify-ca, ca: /etc/mysql/tls/none.crt}".to_owned(), "PXL406", "No such file"),
        ("{mode: verify-ca, ca: /etc/mysql/tls/tls.key}".to_owned(), "PXL435", "PRIVATE KEY"),
        ("{mode: verify-ca, ca: /etc/mysql/tls/tls.crt}".to_owned(), "PXL441", "CN=mysql-production"),
        (format!("{{mode: required, {}}}", client("tls.crt", "/proc/kmsg")), "PXL434", "mode 400"),
    ] {
        let ended = used(&tls)?;
        ended.fails(4, code, &[evidence])?;
        if ended.stdout.contains("Plan") {
            return Err(format!("a plan was made all the same\n{ended}").into());
        }
    }
    if writes != stage.writes()? {
        return Err("something was written".into());
    }
    let ended = used(&format!("{{mode: verify-ca, ca: {ca}, {}}}", client("tls.crt", "/etc/mysql/tls/tls.key")))?;
    ended.exits(0)?;
    ended.says("SOURCE_SSL_CERT")?;
    let verified = stage.tool().run(&["--config", "tls.yaml", "verify", "-v"])?;
    verified.exits(0)?;
    for said in ["tls.source", "tls.issuer", "CN=mysql-production", "tls.client", "CN=mysql-dr"] {
        verified.says(said)?;
    }
    stage.linked().map(drop)
}

fn changed_setting(stage: &Stage) -> Checked {
    stage.linked()?;
    stage.sql(
        Cluster::Dr,
        "STOP REPLICA FOR CHANNEL 'production'; CHANGE REPLICATION SOURCE TO SOURCE_RETRY_COUNT=3 FOR CHANNEL 'production'; START REPLICA FOR CHANNEL 'production'",
    )?;
    let verify = stage.tool().run(&["verify"])?;
    verify.exits(4)?;
    verify.says("PXL514")?;
    let ended = stage.tool().run(&SETUP)?;
    ended.exits(0)?;
    ended.says("SOURCE_RETRY_COUNT")?;
    stage.tool().run(&["verify"])?.exits(0)
}

/// Starts a setup whose path is silent and waits until its mesh object is there.
fn half_way(stage: &Stage) -> Result<Child, Failed> {
    let child =
        stage.tool().command(&SETUP).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let begun = Instant::now();
    while !stage.untouched_objects()?.contains("serviceentry") {
        if begun.elapsed() > Duration::from_secs(30) {
            return Err("the setup never applied its ServiceEntry".into());
        }
    }
    Ok(child)
}

fn with_a_silent_endpoint(stage: &Stage, body: impl FnOnce() -> Checked) -> Checked {
    stage.unlinked()?;
    let silent = sandbox::faults::find("endpoint-silent").ok_or("no fault endpoint-silent")?;
    stage.runtime.block_on(silent.apply(&stage.world))?;
    let checked = body();
    stage.runtime.block_on(silent.mend(&stage.world))?;
    checked
}

fn terminated(stage: &Stage) -> Checked {
    with_a_silent_endpoint(stage, || {
        let mut child = half_way(stage)?;
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        let status = child.wait()?;
        if status.code() != Some(143) {
            return Err(format!("exit code 143 was expected, not {status}").into());
        }
        let left = stage.untouched_objects()?;
        if left.trim().is_empty() { Ok(()) } else { Err(format!("left: {left}").into()) }
    })
}

fn killed(stage: &Stage) -> Checked {
    with_a_silent_endpoint(stage, || {
        let mut child = half_way(stage)?;
        child.kill()?;
        child.wait()?;
        if stage.untouched_objects()?.contains("lease") { Ok(()) } else { Err("the killed run left no lock".into()) }
    })?;
    // The lock says who held it: a process of this host that is no more.
    let begun = Instant::now();
    let ended = stage.tool().run(&SETUP)?;
    ended.exits(0)?;
    if begun.elapsed() > Duration::from_secs(20) {
        return Err(format!("the lock was waited for\n{ended}").into());
    }
    Ok(())
}

fn kept(stage: &Stage) -> Checked {
    let objects = ["--context", "dr", "-n", "pxc", "get", "serviceentries,destinationrules,leases", "-o", "name"];
    let channels = "SELECT channel_name FROM performance_schema.replication_connection_configuration";
    let there = || -> Result<(usize, String), Failed> {
        Ok((stage.kubectl(&objects)?.lines().count(), stage.sql(Cluster::Dr, channels)?))
    };
    for (part, wanted) in [("mesh", (2, "")), ("replication", (0, "production"))] {
        stage.linked()?;
        let ended = stage.tool().run(&["teardown", "--source", "production", "--keep", part, "--yes"])?;
        ended.exits(0)?;
        let left = there()?;
        if (left.0, left.1.as_str()) != wanted {
            return Err(format!("with the {part} kept there is {left:?}\n{ended}").into());
        }
    }
    stage.linked().map(drop)
}

fn teardown(stage: &Stage) -> Checked {
    stage.linked()?;
    let others = ["--context", "dr", "-n", "pxc", "get", "all,secrets,configmaps", "-o", "name"];
    let (rows, before) = (stage.sql(Cluster::Dr, "SHOW DATABASES")?, stage.kubectl(&others)?);
    let asked = stage.tool().run(&["teardown", "--source", "production"])?;
    asked.fails(2, "PXL112", &["--yes"])?;
    let mut session = rexpect::session::spawn_command(stage.tool().command(&["teardown"]), Some(30_000))?;
    session.exp_string("to go on:")?;
    session.send_line("y")?;
    let rest = session.exp_eof()?;
    if !rest.contains("PXL112") || !stage.untouched_objects()?.contains("production") {
        return Err(format!("`y` is not the link's name: {rest}").into());
    }
    let ended = stage.tool().run(&["teardown", "--source", "production", "--yes"])?;
    ended.exits(0)?;
    for gone in
        ["channel production on pxc-0", "ServiceEntry/pxc-source-production", "DestinationRule/pxc-source-production"]
    {
        ended.says(gone)?;
    }
    if !stage.untouched_objects()?.trim().is_empty() {
        return Err(format!("left: {}", stage.untouched_objects()?).into());
    }
    if (rows, before) != (stage.sql(Cluster::Dr, "SHOW DATABASES")?, stage.kubectl(&others)?) {
        return Err("teardown touched something else".into());
    }
    let writes = stage.writes()?;
    let again = stage.tool().run(&["teardown", "--source", "production", "--yes"])?;
    again.exits(0)?;
    again.says("nothing")?;
    if writes == stage.writes()? { Ok(()) } else { Err("a second teardown wrote".into()) }
}
