//! Every fault of the sandbox: broken, found with its code and evidence, mended as printed, and then the link is whole.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use pxc_link::{
    domain::{code::Exit, hint::Remedy},
    report,
};
use sandbox::{
    faults::{Fault, Finder, Ground, Mender},
    plain::End,
    world::Cluster,
};

use crate::{
    duo::Duo,
    stage::{Checked, Stage},
    tool::{Ended, Tool},
};

/// The ground that the world has now; neighbours in the table share it.
static GROUND: Mutex<Option<&'static Ground>> = Mutex::new(None);

/// How long the clusters may take until a change is seen everywhere.
const SETTLED: Duration = Duration::from_secs(20);

/// A fault that touches the whole world.
pub(crate) fn world(stage: &Stage, fault: &'static Fault) -> Checked {
    stand_on(stage, fault.ground())?;
    match fault.found_by {
        Finder::Setup | Finder::Start => stage.unlinked()?,
        Finder::Verify => drop(stage.linked()?),
    }
    let done = breaks_and_mends(Spot::World(stage), &stage.tool(), fault);
    // Whatever was found, the next trial gets a world that is whole.
    soon(|| Ok(stage.runtime.block_on(fault.mend(&stage.world))?))?;
    if done.is_err() || is_last_of_its_ground(fault) {
        stand_on(stage, None)?;
    }
    done
}

/// A fault that has a client and a link of its own.
pub(crate) fn pair(stage: &Stage, fault: &'static Fault) -> Checked {
    let tool = stage.tool_of_pairs();
    stage.runtime.block_on(fault.prepare(&stage.world))?;
    let done = match fault.found_by {
        Finder::Setup | Finder::Start => Ok(()),
        Finder::Verify => tool.run(&setup(fault)).and_then(|ended| ended.exits(0)),
    };
    let done = done.and_then(|()| breaks_and_mends(Spot::World(stage), &tool, fault));
    stage.runtime.block_on(async {
        fault.mend(&stage.world).await?;
        fault.clear(&stage.world).await
    })?;
    done
}

/// A fault that has two plain servers of its own. Mended means that their tables are the same again.
pub(crate) fn plain(fault: &'static Fault) -> Checked {
    // Names of pairs are short, and faults keep their places.
    let place = sandbox::faults::all().position(|other| other.name == fault.name).unwrap_or_default();
    let duo = Duo::raise(&format!("e2e-fault-{place}"))?;
    if !fault.tls.is_empty() {
        let link = duo.plain.link("production", "pxc_link", "repl", fault.tls);
        duo.configure(&format!("apiVersion: pxc-link.io/v1alpha1\nkind: Links\nlinks:\n{link}"))?;
    }
    if fault.found_by == Finder::Verify {
        duo.linked()?;
        duo.rows_arrive()?;
    }
    breaks_and_mends(Spot::Plain(&duo), &duo.tool(), fault)?;
    duo.rows_arrive()?;
    duo.sql(End::Source, "INSERT INTO t.a (v) VALUES ('after')")?;
    duo.rows_arrive()
}

/// Where a fault is tried.
#[derive(Clone, Copy)]
enum Spot<'a> {
    World(&'a Stage),
    Plain(&'a Duo),
}

impl Spot<'_> {
    fn apply(self, fault: &Fault) -> Checked {
        match self {
            Self::World(stage) => Ok(stage.runtime.block_on(fault.apply(&stage.world))?),
            Self::Plain(duo) => duo.now(fault.apply(&duo.plain)),
        }
    }

    fn mend(self, fault: &Fault) -> Checked {
        match self {
            Self::World(stage) => Ok(stage.runtime.block_on(fault.mend(&stage.world))?),
            Self::Plain(duo) => duo.now(fault.mend(&duo.plain)),
        }
    }

    /// What a setup that failed may not leave behind.
    fn left(self, fault: &Fault) -> Result<(String, String), Failed> {
        match self {
            Self::World(stage) => left(stage, fault),
            Self::Plain(duo) => Ok((duo.left_of_channels()?, duo.sql(End::Replica, "SELECT @@gtid_executed")?)),
        }
    }

    /// Runs a command line of a hint as a person at the terminal would, who has an administrator's rights; the tool's own user has not.
    fn run(self, tool: &Tool, argv: &[String]) -> Checked {
        match self {
            Self::World(stage) => {
                let kubeconfig = stage.world.admin_kubeconfig().display().to_string();
                stage.tool().with("KUBECONFIG", kubeconfig).run_hint(argv)
            }
            Self::Plain(_) => tool.run_hint(argv),
        }
    }

    /// Runs a statement of a hint as root.
    fn sql(self, server: &str, statement: &str) -> Checked {
        match (self, server.contains("source"), server.contains("replica")) {
            (Self::Plain(duo), true, false) => duo.sql(End::Source, statement).map(drop),
            (Self::Plain(duo), false, true) => duo.sql(End::Replica, statement).map(drop),
            _ => Err(format!("a statement for {server} was not expected here: {statement}").into()),
        }
    }
}

fn setup(fault: &Fault) -> [&'static str; 4] {
    ["setup", "--source", fault.link(), "--yes"]
}

fn verify(fault: &Fault) -> [&'static str; 3] {
    ["verify", "--source", fault.link()]
}

/// The one loop for all of them.
fn breaks_and_mends(spot: Spot<'_>, tool: &Tool, fault: &Fault) -> Checked {
    spot.apply(fault)?;
    let hint = match fault.found_by {
        Finder::Setup => {
            let before = spot.left(fault)?;
            let ended = tool.run(&setup(fault))?;
            ended.fails(exit_of(fault.code)?, fault.code, fault.evidence)?;
            let after = spot.left(fault)?;
            if before != after {
                return Err(format!("something was left: {before:?} {after:?}\n{ended}").into());
            }
            ended.stderr
        }
        Finder::Start => {
            let ended = tool.run(&setup(fault))?;
            ended.fails(Exit::PartWay as i32, fault.code, fault.evidence)?;
            ended.says("left standing")?;
            ended.stderr
        }
        Finder::Verify => soon(|| found(&tool.run(&verify(fault))?, fault))?,
    };
    match fault.mended_by {
        Mender::Table => spot.mend(fault)?,
        Mender::Hint => mend_as_printed(spot, tool, &hint)?,
    }
    // What was found by looking must be gone by looking again; what kept a link from being made is gone when it is made.
    if fault.found_by != Finder::Verify || fault.mended_by == Mender::Table {
        // A Service, that of istiod's webhook too, leads to its new pods a moment after they are ready.
        soon(|| tool.run(&setup(fault))?.exits(0))?;
    }
    soon(|| tool.run(&verify(fault))?.exits(0))
}

/// What a setup that failed may not leave behind.
fn left(stage: &Stage, fault: &Fault) -> Result<(String, String), Failed> {
    if fault.link() == "production" {
        return Ok((stage.untouched_objects()?, stage.sql(Cluster::Dr, "SELECT @@gtid_executed")?));
    }
    let label = format!("pxc-link.io/link={}", fault.link());
    let objects =
        ["--context", "dr", "get", "serviceentries,destinationrules,leases", "-A", "-l", &label, "-o", "name"];
    Ok((stage.kubectl(&objects)?, String::new()))
}

fn exit_of(code: &str) -> Result<i32, Failed> {
    Ok(code.parse::<pxc_link::domain::code::Code>()?.exit() as i32)
}

/// Demands that the first check that failed carries the fault's code and evidence; gives what is printed below it.
fn found(ended: &Ended, fault: &Fault) -> Result<String, Failed> {
    ended.exits(Exit::Checks as i32)?;
    let mut lines = ended.stdout.lines().skip_while(|line| !line.contains(" fail "));
    let first = lines.next().unwrap_or_default();
    if !first.contains(&format!("[{}]", fault.code)) {
        return Err(format!("the first failed check should carry {}\n{ended}", fault.code).into());
    }
    // What belongs to a check is printed below its words, further in than any check begins.
    let indented = |line: &&str| line.starts_with("      ");
    let block: Vec<&str> = std::iter::once(first).chain(lines.take_while(indented)).collect();
    let mut block = block.join("\n");
    if block.contains("hint: as above") {
        // The same hint was printed before, with an earlier check.
        let earlier = ended.stdout.split_once(first).map_or("", |(earlier, _)| earlier);
        let hint = earlier.rfind("hint: ").and_then(|at| earlier.get(at..)).unwrap_or_default();
        block.push_str("\n    ");
        block.push_str(hint);
    }
    match fault.evidence.iter().find(|text| !block.contains(**text)) {
        None => Ok(block),
        Some(text) => Err(format!("`{text}` was expected with the first failed check\n{ended}").into()),
    }
}

/// Tries until it is good, as changes take a moment to be seen everywhere.
fn soon<T>(mut attempt: impl FnMut() -> Result<T, Failed>) -> Result<T, Failed> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(_) if begun.elapsed() < SETTLED => std::thread::sleep(Duration::from_millis(200)),
            end => return end,
        }
    }
}

fn mend_as_printed(spot: Spot<'_>, tool: &Tool, hint: &str) -> Checked {
    let remedies = report::commands(hint);
    if remedies.is_empty() {
        return Err(format!("no command was printed\n{hint}").into());
    }
    for remedy in remedies {
        match remedy {
            Remedy::Argv(argv) if argv.first().is_some_and(|program| program == "pxc-link") => {
                tool.run_agreed(&argv)?;
            }
            Remedy::Argv(argv) => spot.run(tool, &argv)?,
            Remedy::Sql { server, statement } => spot.sql(&server, &statement)?,
        }
    }
    Ok(())
}

/// Runs a trial on the ground of a fault, and leaves that to the faults of the same ground.
pub(crate) fn on_ground(stage: &Stage, fault: &Fault, body: impl FnOnce(&Stage) -> Checked) -> Checked {
    stand_on(stage, fault.ground())?;
    let done = body(stage);
    if done.is_err() {
        stand_on(stage, None)?;
    }
    done
}

/// Brings a ground about, or the world as it was raised.
pub(crate) fn stand_on(stage: &Stage, wanted: Option<&'static Ground>) -> Checked {
    let mut now = GROUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if now.map(|ground| ground.name) == wanted.map(|ground| ground.name) {
        return Ok(());
    }
    // Restarted servers begin empty: a channel from before would be a difference of its own.
    stage.unlinked()?;
    if let Some(ground) = now.take() {
        stage.runtime.block_on(ground.clear(&stage.world))?;
    }
    if let Some(ground) = wanted {
        stage.runtime.block_on(ground.lay(&stage.world))?;
    }
    *now = wanted;
    Ok(())
}

fn is_last_of_its_ground(fault: &Fault) -> bool {
    let mut later = sandbox::faults::all().skip_while(|other| other.name != fault.name).skip(1);
    !later.any(|other| other.ground().map(|ground| ground.name) == fault.ground().map(|ground| ground.name))
}
