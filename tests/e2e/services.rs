//! Links that carry any service: HTTP and plain ports of the light server, set up, proven, watched from outside and taken away.

use std::time::Duration;

use libtest_mimic::Failed;
use sandbox::world::Cluster;
use serde_json::Value;

use crate::{
    Body,
    stage::{Checked, Stage},
    tool::{Ended, Tool},
};

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("an_http_service_end_to_end", http_service),
    ("several_ports_of_both_kinds", several_ports),
    ("works_directly_but_not_by_name", not_by_name),
    ("past_the_mesh_is_forbidden", registry_only),
    ("a_port_that_the_service_lacks", no_such_port),
    ("no_client_matches", no_client),
    ("a_container_without_any_program", no_program),
];

const LINKS: &str = include_str!("services.yaml");

/// The tool as somebody runs it who was never given a password.
pub(crate) fn tool(stage: &Stage) -> Result<Tool, Failed> {
    stage.write("services.yaml", LINKS)?;
    Ok(stage.tool().without("PXC_").with("PXC_LINK_CONFIG", "services.yaml"))
}

fn run(tool: &Tool, arguments: &[&str], exit: i32) -> Result<Ended, Failed> {
    let ended = tool.run(arguments)?;
    ended.exits(exit)?;
    Ok(ended)
}

/// What the client's own program gets, as an application would ask.
pub(crate) fn ask(stage: &Stage, script: &str) -> Result<String, Failed> {
    stage.kubectl(&[
        "--context",
        "dr",
        "-n",
        "demo",
        "exec",
        "deploy/client",
        "-c",
        "client",
        "--",
        "bash",
        "-c",
        script,
    ])
}

/// Demands that nothing of a link is left in the client's namespace.
pub(crate) fn gone(stage: &Stage) -> Checked {
    let left = stage.kubectl(&[
        "--context",
        "dr",
        "-n",
        "demo",
        "get",
        "serviceentries,destinationrules,leases",
        "-o",
        "name",
    ])?;
    if left.trim().is_empty() { Ok(()) } else { Err(format!("still there: {left}").into()) }
}

/// The outcome of every check of an id, by subject.
fn outcomes(ended: &Ended, id: &str) -> Result<Vec<(String, String)>, Failed> {
    let report: Value = serde_json::from_str(&ended.stdout)?;
    let checks = report["checks"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = checks.iter().filter(|check| check["id"] == id);
    let mut found: Vec<_> = found.map(|check| (text(&check["subject"]["name"]), text(&check["outcome"]))).collect();
    found.sort();
    Ok(found)
}

fn http_service(stage: &Stage) -> Checked {
    let tool = tool(stage)?;
    run(&tool, &["teardown", "--source", "hello", "--yes"], 0)?;
    run(&tool, &["status", "--source", "hello"], 4)?.says("not configured")?;
    run(&tool, &["setup", "--source", "hello", "--dry-run", "--exit-code"], 1)?.says("ServiceEntry/pxc-link-hello")?;
    gone(stage)?;
    let set_up = run(&tool, &["setup", "--source", "hello", "--yes"], 0)?;
    set_up.says("ok: link hello answers as hello.cluster-a.global (set up)")?;
    let hello = ask(
        stage,
        r"exec 3<>/dev/tcp/hello.cluster-a.global/8080; printf 'GET / HTTP/1.1\r\nHost: hello.cluster-a.global\r\nConnection: close\r\n\r\n' >&3; cat <&3",
    )?;
    if !hello.contains("Hello from Cluster A!") {
        return Err(format!("the application got {hello:?}").into());
    }
    let proven = run(&tool, &["-v", "verify", "--source", "hello"], 0)?;
    for words in [
        "service.answers",
        "bash in container client, GET http://hello.cluster-a.global:8080/: HTTP 200",
        "endpoint.direct",
    ] {
        proven.says(words)?;
    }
    run(&tool, &["status", "--source", "hello"], 0)?.says("hello.cluster-a.global:8080")?;
    let writes = || -> Result<Vec<String>, Failed> {
        Ok(stage.writes()?.into_iter().filter(|write| write.contains("/namespaces/demo/")).collect())
    };
    let before = writes()?;
    run(&tool, &["setup", "--source", "hello", "--yes"], 0)?.says("nothing to change")?;
    if writes()? != before || before.is_empty() {
        return Err("a setup that had nothing to change wrote something".into());
    }
    tool.run(&["monitor", "--source", "hello"])?.fails(2, "PXL119", &["hello.cluster-a.global:8080"])?;
    run(&tool, &["teardown", "--source", "hello", "--yes"], 0)?;
    gone(stage)
}

fn several_ports(stage: &Stage) -> Checked {
    let tool = tool(stage)?;
    run(&tool, &["setup", "--source", "streams", "--yes"], 0)?;
    let ports = stage.kubectl(&[
        "--context",
        "dr",
        "-n",
        "demo",
        "get",
        "serviceentry",
        "pxc-link-streams",
        "-o",
        "jsonpath={.spec.ports} {.spec.endpoints}",
    ])?;
    for words in [r#""name":"http-8080""#, r#""protocol":"HTTP""#, r#""tcp-echo":31900"#, r#""tcp-greeting":31901"#] {
        if !ports.contains(words) {
            return Err(format!("{words} is not in {ports}").into());
        }
    }
    let verified = run(&tool, &["verify", "--source", "streams", "-o", "json"], 0)?;
    for id in ["endpoint.accepts", "service.answers", "endpoint.direct"] {
        let found = outcomes(&verified, id)?;
        let good = found.iter().all(|(_, outcome)| outcome == "passed");
        if found.len() != 3 || !good {
            return Err(format!("{id}: {found:?}\n{verified}").into());
        }
    }
    verified.says("the server spoke first: Hello from Cluster A!")?;
    verified.says("an endpoint took the connection and holds it open")?;
    let echoed = ask(stage, "exec 3<>/dev/tcp/streams.cluster-a.global/9000; echo there and back >&3; head -n 1 <&3")?;
    if echoed.trim() != "there and back" {
        return Err(format!("the echo said {echoed:?}").into());
    }
    run(&tool, &["teardown", "--source", "streams", "--yes"], 0)?;
    gone(stage)
}

fn not_by_name(stage: &Stage) -> Checked {
    let tool = tool(stage)?;
    run(&tool, &["setup", "--source", "hello", "--yes"], 0)?;
    stage.kubectl(&[
        "--context",
        "dr",
        "-n",
        "demo",
        "patch",
        "serviceentry",
        "pxc-link-hello",
        "--type",
        "merge",
        "-p",
        r#"{"spec":{"exportTo":["elsewhere"]}}"#,
    ])?;
    let ended = hidden(&tool)?;
    let direct = outcomes(&ended, "endpoint.direct")?;
    run(&tool, &["teardown", "--source", "hello", "--yes"], 0)?;
    if direct.iter().any(|(_, outcome)| outcome != "passed") || direct.is_empty() {
        return Err(format!("endpoint.direct: {direct:?}\n{ended}").into());
    }
    ended.says("the mesh keeps the name from working, not the network")?;
    gone(stage)
}

/// Verifies until the sidecar has forgotten the name.
fn hidden(tool: &Tool) -> Result<Ended, Failed> {
    for _ in 0..10 {
        let ended = tool.run(&["verify", "--source", "hello", "-o", "json"])?;
        if outcomes(&ended, "name.resolves")?.iter().all(|(_, outcome)| outcome == "failed") {
            ended.exits(4)?;
            return Ok(ended);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Err("the sidecar knows the name for ever".into())
}

fn registry_only(stage: &Stage) -> Checked {
    const SIDECAR: &str = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: registry-only, namespace: demo}\nspec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n";
    let tool = tool(stage)?;
    run(&tool, &["setup", "--source", "hello", "--yes"], 0)?;
    stage.runtime.block_on(stage.world.apply_yaml(Cluster::Dr, SIDECAR))?;
    let mut ended = tool.run(&["-v", "verify", "--source", "hello"])?;
    for _ in 0..10 {
        if ended.stdout.contains("REGISTRY_ONLY") {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
        ended = tool.run(&["-v", "verify", "--source", "hello"])?;
    }
    stage.kubectl(&["--context", "dr", "-n", "demo", "delete", "sidecars.networking.istio.io", "registry-only"])?;
    run(&tool, &["teardown", "--source", "hello", "--yes"], 0)?;
    ended.says("the mesh lets nothing pass but names it knows (REGISTRY_ONLY)")
}

/// Setup of link hello with a changed line is refused and leaves nothing.
fn refused_with(stage: &Stage, from: &str, to: &str, exit: i32, code: &str, evidence: &[&str]) -> Checked {
    let tool = tool(stage)?;
    if !LINKS.contains(from) {
        return Err(format!("`{from}` is not in the configuration").into());
    }
    stage.write("services.yaml", &LINKS.replace(from, to))?;
    tool.run(&["setup", "--source", "hello", "--yes"])?.fails(exit, code, evidence)?;
    gone(stage)
}

fn no_such_port(stage: &Stage) -> Checked {
    refused_with(
        stage,
        "number: 8080, name: http,",
        "number: 7777, name: nothing,",
        4,
        "PXL207",
        &["7777", "8080 at node port 31080"],
    )
}

fn no_client(stage: &Stage) -> Checked {
    refused_with(stage, "selector: app=client", "selector: app=nobody", 4, "PXL206", &["app=nobody"])
}

fn no_program(stage: &Stage) -> Checked {
    const MUTE: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: mute, namespace: demo, labels: {app: mute}}\nspec: {terminationGracePeriodSeconds: 0, containers: [{name: client, image: 'sandbox.local/pause:1', imagePullPolicy: Never}]}\n";
    stage.runtime.block_on(stage.world.apply_yaml(Cluster::Dr, MUTE))?;
    let pod = ["--context", "dr", "-n", "demo", "wait", "pod/mute", "--for=condition=Ready", "--timeout=60s"];
    let ended = stage.kubectl(&pod).and_then(|_| {
        refused_with(
            stage,
            "selector: app=client",
            "selector: app=mute",
            4,
            "PXL347",
            &["container `client` of `mute`", "curl, wget, bash, nc"],
        )
    });
    stage.kubectl(&["--context", "dr", "-n", "demo", "delete", "pod", "mute", "--now"])?;
    ended
}
