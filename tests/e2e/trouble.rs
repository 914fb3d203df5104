//! Trouble around a link: an API server that goes half-way, no istiod, no custom resources, a crowd of other entries. A clear
//! error each, nothing lost, no hang.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use sandbox::world::Cluster;
use serde_json::{Value, json};

use crate::{
    Body,
    stage::{Checked, LINK, Stage},
};

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("the_api_goes_between_plan_and_apply", api_goes),
    ("without_istiod_the_link_is_still_judged", no_istiod),
    ("an_older_istio_and_none", served_versions),
    ("two_hundred_other_entries", crowd),
];

const SETUP: [&str; 4] = ["setup", "--source", "production", "--yes"];
const CRD: &str = "crd/serviceentries.networking.istio.io";

fn api_goes(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let arguments = [&SETUP[..], &["--progress", "json", "--timeout", "30s"]].concat();
    let mut command = stage.tool().command(&arguments);
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
    let mut said = String::new();
    let mut looks = 0;
    // The second look is the one under the lock: the plan is agreed to and nothing is applied yet.
    for line in lines.by_ref() {
        let line = line?;
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        looks += usize::from(event["event"] == "done" && event["what"] == "both sides answer");
        said = format!("{said}{line}\n");
        if looks == 2 {
            break;
        }
    }
    stage.runtime.block_on(stage.world.stop(Cluster::Dr, "kube-apiserver"))?;
    for line in lines {
        said = format!("{said}{}\n", line?);
    }
    let code = child.wait()?.code();
    let took = begun.elapsed();
    stage.runtime.block_on(stage.world.start(Cluster::Dr, "kube-apiserver"))?;
    api_answers(stage)?;
    if looks != 2 || !matches!(code, Some(5..=7)) || took > Duration::from_secs(50) {
        return Err(format!("exit code 5, 6 or 7 was expected in time, not {code:?} after {took:?}\n{said}").into());
    }
    if !said.contains("[PXL202]") && !said.contains("[PXL203]") {
        return Err(format!("the error should name the API\n{said}").into());
    }
    // What could not be taken back is told.
    let objects = ["--context", "dr", "-n", "pxc", "get", "serviceentries,destinationrules", "-o", "name"];
    for object in stage.kubectl(&objects)?.lines().filter(|name| name.contains("pxc-source-production")) {
        let kind = if object.starts_with("serviceentry") { "ServiceEntry" } else { "DestinationRule" };
        if !said.contains("left standing") || !said.contains(&format!("{kind}/pxc-source-production")) {
            return Err(format!("{object} is there and was not told of\n{said}").into());
        }
    }
    stage.linked()?;
    stage.tool().run(&["verify"])?.exits(0)
}

fn istiod_is_back(stage: &Stage) -> Checked {
    let rollout = ["rollout", "status", "deployment/istiod", "--timeout=110s"];
    stage.kubectl(&[&["--context", "dr", "-n", "istio-system"][..], &rollout].concat())?;
    Ok(())
}

fn api_answers(stage: &Stage) -> Checked {
    let begun = Instant::now();
    while stage.kubectl(&["--context", "dr", "get", "--raw", "/readyz"]).is_err() {
        if begun.elapsed() > Duration::from_mins(1) {
            return Err("the API server did not come back".into());
        }
        thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

fn no_istiod(stage: &Stage) -> Checked {
    stage.linked()?;
    let scale = |to: &str| {
        stage.kubectl(&[
            "--context",
            "dr",
            "-n",
            "istio-system",
            "scale",
            "deployment/istiod",
            &format!("--replicas={to}"),
        ])
    };
    scale("0")?;
    stage.kubectl(&[
        "--context",
        "dr",
        "-n",
        "istio-system",
        "wait",
        "--for=delete",
        "pod",
        "-l",
        "app=istiod",
        "--timeout=60s",
    ])?;
    let verify = stage.tool().run(&["verify"]);
    let setup = stage.tool().run(&SETUP);
    scale("1")?;
    istiod_is_back(stage)?;
    let verify = verify?;
    verify.exits(4)?;
    verify.says("[PXL302]")?;
    // Sidecars keep what they know: the path is proven all the same.
    let proven = verify.stdout.lines().any(|line| line.contains("path.query") && line.contains(" ok "));
    if !proven {
        return Err(format!("the path should be proven without istiod\n{verify}").into());
    }
    setup?.fails(4, "PXL302", &["istiod"])?;
    stage.tool().run(&["verify", "--wait", "30s"])?.exits(0)
}

/// Lets the CRD of ServiceEntries serve the versions of which `served` says so.
fn serve(stage: &Stage, served: impl Fn(&str) -> bool) -> Checked {
    let crd: Value = serde_json::from_str(&stage.kubectl(&["--context", "dr", "get", CRD, "-o", "json"])?)?;
    let versions = crd["spec"]["versions"].as_array().ok_or("no versions")?;
    let patches = versions.iter().enumerate().map(|(index, version)| {
        let served = version["name"].as_str().is_some_and(&served);
        json!({"op": "replace", "path": format!("/spec/versions/{index}/served"), "value": served})
    });
    let patch = Value::Array(patches.collect()).to_string();
    stage.kubectl(&["--context", "dr", "patch", CRD, "--type=json", "-p", &patch])?;
    let begun = Instant::now();
    // Discovery follows a moment later, and the storage of the resource begins anew before it answers.
    let listed = |version: &str| {
        let group = format!("/apis/networking.istio.io/{version}");
        let get = |path: &str| stage.kubectl(&["--context", "dr", "get", "--raw", path]);
        let known = get(&group).is_ok_and(|list| list.contains("\"serviceentries\""));
        let answers = get(&format!("{group}/serviceentries?limit=1")).is_ok();
        if known == answers { Some(known) } else { None }
    };
    while ["v1", "v1beta1"].into_iter().any(|version| listed(version) != Some(served(version))) {
        if begun.elapsed() > Duration::from_secs(30) {
            return Err("the API server's discovery does not follow".into());
        }
    }
    Ok(())
}

fn served_versions(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let checked = serve(stage, |version| version != "v1").and_then(|()| {
        let rendered = stage.tool().run(&["render"])?;
        rendered.exits(0)?;
        rendered.says("apiVersion: networking.istio.io/v1beta1\nkind: ServiceEntry\n")?;
        let plan = stage.tool().run(&["setup", "--source", "production", "--dry-run", "--exit-code"])?;
        plan.exits(1)?;
        plan.says("ServiceEntry/pxc-source-production")?;
        serve(stage, |_| false)?;
        stage.tool().run(&SETUP)?.fails(4, "PXL301", &["networking.istio.io"])?;
        let verify = stage.tool().run(&["verify"])?;
        verify.exits(4)?;
        verify.says("[PXL301]")
    });
    serve(stage, |_| true)?;
    // istiod's own watch of the resource broke and comes back with a pause.
    stage.kubectl(&["--context", "dr", "-n", "istio-system", "rollout", "restart", "deployment/istiod"])?;
    istiod_is_back(stage)?;
    checked?;
    stage.linked()?;
    Ok(())
}

fn crowd(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let address = |rendered: &str| -> Result<String, Failed> {
        let address = rendered.lines().skip_while(|line| line.trim() != "addresses:").nth(1);
        Ok(address.ok_or_else(|| format!("no address in {rendered}"))?.trim().trim_start_matches("- ").to_owned())
    };
    let alone = stage.tool().run(&["render"])?;
    let derived = address(&alone.stdout)?;
    let entry = |number: u32| {
        let vip = match number {
            0 => Some(derived.clone()),
            1..30 => Some(format!("240.77.{number}.1")),
            _ => None,
        };
        let port = if vip.is_some() {
            json!({"number": 3306, "name": "tcp-mysql", "protocol": "TCP"})
        } else {
            json!({"number": 80, "name": "http", "protocol": "HTTP"})
        };
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": format!("other-{number}"), "namespace": "crowd"},
            "spec": {
                "hosts": [format!("other-{number}.example")], "addresses": vip, "ports": [port],
                "location": "MESH_EXTERNAL", "resolution": "STATIC", "endpoints": [{"address": "198.18.99.99"}],
            },
        })
    };
    let addresses = |mut object: Value| {
        let vip = object["spec"]["addresses"].take();
        object["spec"]["addresses"] = if vip.is_null() { json!([]) } else { json!([vip]) };
        object
    };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "crowd"}});
    let mut items = vec![namespace];
    items.extend((0..200).map(entry).map(addresses));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let file = stage.write("crowd.json", &list.to_string())?.display().to_string();
    stage.kubectl(&["--context", "dr", "create", "-f", &file])?;
    let checked = beside(stage, &derived, address);
    stage.kubectl(&["--context", "dr", "delete", "namespace", "crowd", "--timeout=110s"])?;
    checked
}

/// With the crowd in place: the derived address is taken, so another is derived; one that is written down is refused.
fn beside(stage: &Stage, taken: &str, address: impl Fn(&str) -> Result<String, Failed>) -> Checked {
    let rendered = stage.tool().run(&["render"])?;
    rendered.exits(0)?;
    if address(&rendered.stdout)? == taken {
        return Err(format!("{taken} is somebody else's\n{rendered}").into());
    }
    stage.write("taken.yaml", &LINK.replace("  production:\n", &format!("  production:\n    vip: {taken}\n")))?;
    stage.refuses(
        &stage.tool(),
        &["--config", "taken.yaml", "setup", "--source", "production", "--yes"],
        4,
        "PXL303",
        &["crowd/other-0", taken],
    )?;
    stage.linked()?;
    let verify = stage.tool().run(&["verify", "--timeout", "30s"])?;
    verify.exits(0)?;
    stage.unlinked()
}
