//! Verify beyond its plain report: chosen checks, waiting, JUnit; and render, which shows what setup applies.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt as _,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use pxc_link::domain::baseline;
use sandbox::{faults, world::Cluster};
use serde_json::Value;

use crate::{
    Body,
    stage::{Checked, Stage},
};

pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("render_is_what_setup_applies", render),
    ("only_looks_at_what_was_asked_for", only),
    ("wait_ends_when_everything_passes", wait),
    ("junit_of_a_broken_link", junit),
    ("no_process_stays_in_the_container", no_process),
];

/// What a container takes to notice that its client is gone, and what its commands take then.
const NOTICED: Duration = Duration::from_secs(15);

fn render(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let tool = stage.tool();
    let rendered = tool.run(&["render"])?;
    rendered.exits(0)?;
    let file = stage.write("rendered.yaml", &rendered.stdout)?.display().to_string();
    stage.kubectl(&["--context", "dr", "apply", "--dry-run=server", "-f", &file])?;
    let new = tool.run(&["render", "--diff", "--exit-code"])?;
    new.exits(1)?;
    new.says("+++ link/pxc/ServiceEntry/pxc-source-production")?;
    if new.stdout.lines().any(|line| line.starts_with('-') && !line.starts_with("---")) {
        return Err(format!("nothing is there that could go\n{new}").into());
    }
    stage.linked()?;
    let before = stage.untouched()?;
    let equal = tool.run(&["render", "--diff", "--exit-code"])?;
    equal.exits(0)?;
    let again = tool.run(&["render"])?;
    // What the replica had of its own when the link was made is known, and kept, from then on.
    let kept = |line: &&str| line.trim() == "annotations:" || line.contains(baseline::RECORD);
    let made = |text: &str| text.lines().filter(|line| !kept(line)).map(str::to_owned).collect::<Vec<_>>();
    if !equal.stdout.is_empty() || made(&again.stdout) != made(&rendered.stdout) {
        return Err(format!("setup applied something else than was rendered\n{equal}\n{rendered}\n{again}").into());
    }
    let entry = ["--context", "dr", "-n", "pxc", "patch", "serviceentry/pxc-source-production", "--type=merge"];
    let patch = r#"{"spec":{"endpoints":[{"address":"198.18.99.99","ports":{"tcp-mysql":31306}}]}}"#;
    stage.kubectl(&[&entry[..], &["-p", patch, "--field-manager=somebody"]].concat())?;
    tool.run(&["render", "--diff"])?.fails(4, "PXL210", &["somebody", ".spec.endpoints", "--force-conflicts"])?;
    tool.run(&["setup", "--source", "production", "--yes", "--force-conflicts"])?.exits(0)?;
    stage.kubectl(&["--context", "dr", "-n", "pxc", "delete", "destinationrule/pxc-source-production"])?;
    let gone = tool.run(&["render", "--diff"])?;
    gone.exits(0)?;
    gone.says("+kind: DestinationRule")?;
    tool.run(&["render", "--diff", "--exit-code"])?.exits(1)?;
    stage.linked()?;
    let after = stage.untouched()?;
    if before.objects() == after.objects() { Ok(()) } else { Err(format!("{before:#?}\n{after:#?}").into()) }
}

fn only(stage: &Stage) -> Checked {
    stage.linked()?;
    let ids = |only: &str| -> Result<Vec<String>, Failed> {
        let ended = stage.tool().run(&["verify", "-o", "json", "--only", only])?;
        ended.exits(0)?;
        let document: Value = serde_json::from_str(&ended.stdout)?;
        let checks = document["checks"].as_array().cloned().unwrap_or_default();
        Ok(checks.iter().filter_map(|check| check["id"].as_str()).map(ToOwned::to_owned).collect())
    };
    if ids("path.query")? != ["path.query"] || ids("name.*")? != ["name.resolves", "name.table"] {
        return Err("other checks than those that were asked for".into());
    }
    // Nothing runs in a container where the path is not asked for.
    let execs = || -> Result<usize, Failed> {
        let log = std::fs::read_to_string(stage.world.audit_log(Cluster::Dr))?;
        Ok(log.lines().filter(|line| line.contains("/exec?") && line.contains("pxc-link")).count())
    };
    let before = execs()?;
    ids("M8")?;
    let between = execs()?;
    ids("M1")?;
    if before == 0 || between != before || execs()? == between {
        return Err(format!("commands in containers: {before}, {between}, {}", execs()?).into());
    }
    Ok(())
}

fn wait(stage: &Stage) -> Checked {
    stage.linked()?;
    stage.sql(Cluster::Dr, "STOP REPLICA FOR CHANNEL 'production'")?;
    let ended = thread::scope(|scope| {
        let waiting = scope.spawn(|| stage.tool().run(&["verify", "--wait", "60s", "--only", "M8"]));
        thread::sleep(Duration::from_secs(3));
        stage.sql(Cluster::Dr, "START REPLICA FOR CHANNEL 'production'")?;
        waiting.join().map_err(|_| Failed::from("the run could not be watched"))?
    })?;
    ended.exits(0)?;
    ended.says("waiting for receiver.running of replica pxc-0")?;
    if ended.took < Duration::from_secs(3) {
        return Err(format!("it did not wait\n{ended}").into());
    }
    stage.sql(Cluster::Dr, "STOP REPLICA FOR CHANNEL 'production'")?;
    let begun = Instant::now();
    let late = stage.tool().run(&["verify", "--wait", "3s", "--only", "M8"])?;
    late.exits(4)?;
    late.says("receiver.running")?;
    if begun.elapsed() > Duration::from_secs(12) {
        return Err(format!("it waited too long\n{late}").into());
    }
    stage.linked()?;
    Ok(())
}

fn junit(stage: &Stage) -> Checked {
    stage.linked()?;
    let fault = faults::find("endpoint-refused").ok_or("the fault is gone")?;
    stage.runtime.block_on(fault.apply(&stage.world))?;
    let ended = stage.tool().run(&["verify", "-o", "junit"]);
    stage.runtime.block_on(fault.mend(&stage.world))?;
    let ended = ended?;
    ended.exits(4)?;
    let document = quick_junit::Report::deserialize_from_str(&ended.stdout).map_err(|error| error.to_string())?;
    let (failures, skipped) = (document.failures, document.skipped);
    if document.test_suites.len() != 1 || failures == 0 || skipped < 2 {
        return Err(format!("a suite with failures and skipped cases was expected\n{ended}").into());
    }
    ended.says("type=\"PXL340\"")
}

/// The first process of the container is mysqld, which reaps nobody's children: also a verify that was killed leaves none, neither
/// running nor ended.
fn no_process(stage: &Stage) -> Checked {
    stage.linked()?;
    let list = "for p in /proc/[0-9]*; do read -r line <$p/stat && echo \"$line\"; done 2>/dev/null; true";
    let shown = ["--context", "dr", "-n", "pxc", "exec", "pxc-0", "-c", "pxc", "--", "sh", "-c", list];
    let processes = || -> Result<BTreeMap<String, String>, Failed> {
        let all = stage.kubectl(&shown)?;
        // The shell that lists is one of them.
        let others = all.lines().filter(|line| !line.contains("(sh) R")).filter_map(|line| line.split_once(' '));
        Ok(others.map(|(pid, what)| (pid.to_owned(), what.to_owned())).collect())
    };
    // What other trials ran in it has left some.
    let before = processes()?;
    let left = || -> Result<Vec<String>, Failed> {
        Ok(processes()?.into_iter().filter(|(pid, _)| !before.contains_key(pid)).map(|(_, what)| what).collect())
    };
    let mut killed = 0;
    for cut in [None, Some(60), Some(100), Some(140), Some(180), Some(220), Some(260), Some(300)] {
        let mut verify = stage.tool().command(&["verify"]);
        let mut verify = verify.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        if let Some(milliseconds) = cut {
            thread::sleep(Duration::from_millis(milliseconds));
            // It may have ended just before.
            let _ended = verify.kill();
        }
        let status = verify.wait()?;
        if cut.is_none() && !status.success() {
            return Err(format!("verify ended with {status}").into());
        }
        killed += usize::from(status.signal().is_some());
    }
    if killed < 4 {
        return Err(format!("only {killed} of 7 runs lived until they were killed").into());
    }
    let begun = Instant::now();
    while let left = left()?
        && !left.is_empty()
    {
        if begun.elapsed() > NOTICED {
            return Err(format!("left in the container:\n{}", left.join("\n")).into());
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
