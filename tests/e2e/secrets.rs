//! Secrets: setup with passwords that can be recognised, then everything that could show them is searched.

use std::{collections::BTreeSet, fs};

use libtest_mimic::Failed;
use sandbox::world::{Account, Cluster};

use crate::{
    Body,
    stage::{Checked, Stage},
    tool::Tool,
};

pub(crate) const TRIALS: &[(&str, Body)] = &[("appear_nowhere", appear_nowhere)];

/// The alphabet of the Percona operator's generated passwords.
const OPERATOR: &str = "!#$%&()*+,-.<=>?@[]^_{}~";

fn appear_nowhere(stage: &Stage) -> Checked {
    stage.unlinked()?;
    // 32 bytes for the channel; a run of letters in each makes even a piece of it recognisable.
    let channel = format!("cnryR{OPERATOR}'\\\"");
    let channel = format!("{channel:x<32.32}");
    let source = r#"cnrySqz'\"$(zq)`zq` ;--"#.to_owned();
    let replica = format!("cnryAqw {OPERATOR}");
    for (cluster, user, password) in [
        (Cluster::Production, "repl", &channel),
        (Cluster::Production, "pxc_link", &source),
        (Cluster::Dr, "pxc_link", &replica),
    ] {
        stage.sql(cluster, &alter(user, password))?;
    }
    for cluster in [Cluster::Production, Cluster::Dr] {
        stage
            .sql(cluster, "SET GLOBAL general_log_file='/var/lib/mysql/data/general.log'; SET GLOBAL general_log=ON")?;
    }
    let found = search(stage, [&channel, &source, &replica]);
    for cluster in [Cluster::Production, Cluster::Dr] {
        stage.sql(cluster, "SET GLOBAL general_log=OFF")?;
    }
    let ended = with(stage, [&channel, &source, &replica]).run(&["teardown", "--source", "production", "--yes"]);
    let restore = |cluster, user, account| stage.sql(cluster, &alter(user, stage.world.password(account))).map(drop);
    restore(Cluster::Production, "repl", Account::Replication)?;
    restore(Cluster::Production, "pxc_link", Account::PxcLink)?;
    restore(Cluster::Dr, "pxc_link", Account::PxcLink)?;
    found?;
    ended?.exits(0)
}

/// Accounts are changed in this session's log only: the search must find what the tool shows, not what the test did.
fn alter(user: &str, password: &str) -> String {
    let literal = password.replace('\\', "\\\\").replace('\'', "''");
    format!("SET sql_log_bin=0; ALTER USER {user}@'%' IDENTIFIED BY '{literal}'")
}

fn with(stage: &Stage, [channel, source, replica]: [&String; 3]) -> Tool {
    stage
        .tool()
        .with("PXC_REPLICATION_PASSWORD", channel)
        .with("PXC_SOURCE_PASSWORD", source)
        .with("PXC_REPLICA_PASSWORD", replica)
}

fn search(stage: &Stage, passwords: [&String; 3]) -> Checked {
    let tool = with(stage, passwords);
    let mut places: Vec<(String, String)> = Vec::new();
    let mut child = tool
        .command(&["-vvv", "--progress", "json", "setup", "--source", "production", "--yes", "-o", "json"])
        .stdout(fs::File::create(stage.folder.path().join("out"))?)
        .stderr(fs::File::create(stage.folder.path().join("err"))?)
        .spawn()?;
    // While it runs: what every process of the machine, the containers' included, has in its arguments; what those of the
    // containers have in their environment.
    while child.try_wait()?.is_none() {
        places.extend(processes());
    }
    for name in ["out", "err"] {
        places.push((format!("setup's {name}"), fs::read_to_string(stage.folder.path().join(name))?));
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("setup ended with {status}: {}", places.last().map_or("", |(_, text)| text)).into());
    }
    let runs: [&[&str]; 6] = [
        &["-vvv", "setup", "--source", "production", "--dry-run"],
        &["-vvv", "setup", "--source", "production", "--dry-run", "-o", "json"],
        &["-vvv", "verify", "--save", "facts.json"],
        &["-vvv", "status", "-o", "json"],
        &["-vvv", "config", "-o", "json"],
        &["-vvv", "monitor", "--count", "1"],
    ];
    for arguments in runs {
        let ended = tool.run(arguments)?;
        ended.exits(0)?;
        places.push((arguments.join(" "), ended.to_string()));
    }
    places.push(("saved facts".into(), fs::read_to_string(stage.folder.path().join("facts.json"))?));
    let objects = [
        "--context",
        "dr",
        "-n",
        "pxc",
        "get",
        "serviceentries,destinationrules,leases,events",
        "-o",
        "yaml",
        "--show-managed-fields",
    ];
    places.push(("applied objects".into(), stage.kubectl(&objects)?));
    for cluster in [Cluster::Production, Cluster::Dr] {
        let log = ["--context", cluster.name(), "-n", "pxc", "logs", "pxc-0", "-c", "pxc"];
        places.push((format!("{cluster} error log"), stage.kubectl(&log)?));
        let general = [
            "--context",
            cluster.name(),
            "-n",
            "pxc",
            "exec",
            "pxc-0",
            "-c",
            "pxc",
            "--",
            "cat",
            "/var/lib/mysql/data/general.log",
        ];
        let general = stage.kubectl(&general)?;
        if !general.contains("Query") {
            return Err(format!("the general log of {cluster} is empty").into());
        }
        places.push((format!("{cluster} general log"), general));
        places.push((format!("{cluster} audit log"), fs::read_to_string(stage.world.audit_log(cluster))?));
    }
    if !places.iter().any(|(place, _)| place.starts_with("environment of")) {
        return Err("no container's environment was seen".into());
    }
    // Any seven characters in a row would give a piece away.
    let pieces: BTreeSet<String> = passwords
        .iter()
        .flat_map(|password| {
            let letters: Vec<char> = password.chars().collect();
            letters.windows(7).map(|window| window.iter().collect()).collect::<Vec<String>>()
        })
        .filter(|piece| piece.chars().any(|c| c != 'x'))
        .collect();
    for (place, text) in &places {
        for secret in &pieces {
            if let Some(at) = text.find(secret.as_str()) {
                let around: String = text[..at].chars().rev().take(120).collect::<Vec<_>>().into_iter().rev().collect();
                return Err(Failed::from(format!("{secret} is in {place}, after: {around}")));
            }
        }
    }
    Ok(())
}

/// Arguments of every process, environments of those that run in the world's containers.
fn processes() -> Vec<(String, String)> {
    let mut seen = Vec::new();
    let Ok(folder) = fs::read_dir("/proc") else { return seen };
    for entry in folder.flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let read = |name: &str| {
            fs::read(entry.path().join(name)).map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        };
        if let Ok(arguments) = read("cmdline") {
            seen.push((format!("arguments of process {pid}"), arguments));
        }
        if read("cgroup").is_ok_and(|cgroup| cgroup.contains("kubepods"))
            && let Ok(environment) = read("environ")
        {
            seen.push((format!("environment of process {pid}"), environment));
        }
    }
    seen
}
