//! Every fault of the sandbox: broken, found with its code and evidence, mended as printed, and then the link comes up.

use std::sync::Mutex;

use libtest_mimic::Failed;
use pxc_link::{domain::hint::Remedy, report};
use sandbox::{
    faults::{Fault, Ground, Mender},
    world::Cluster,
};

use crate::{
    stage::{Checked, Stage},
    tool::Ended,
};

/// The ground that the world has now; neighbours in the table share it.
static GROUND: Mutex<Option<&'static Ground>> = Mutex::new(None);

/// The one loop for all of them.
pub(crate) fn breaks_and_mends(stage: &Stage, fault: &'static Fault) -> Checked {
    stand_on(stage, fault.ground)?;
    stage.unlinked()?;
    let broken = stage.runtime.block_on(fault.break_only(&stage.world)).map_err(Failed::from);
    let found = broken.and_then(|()| find(stage, fault));
    // Whatever was found, the next trial gets a world that is whole.
    let mended = found.and_then(|ended| mend_as_printed(stage, fault, &ended));
    stage.runtime.block_on(fault.mend_only(&stage.world))?;
    if mended.is_err() || is_last_of_its_ground(fault) {
        stand_on(stage, None)?;
    }
    mended
}

fn find(stage: &Stage, fault: &Fault) -> Result<Ended, Failed> {
    let before = (stage.untouched_objects()?, stage.sql(Cluster::Dr, "SELECT @@gtid_executed")?);
    let ended = stage.tool().run(&["setup", "--source", "production", "--yes"])?;
    ended.fails(exit_of(fault.code)?, fault.code, fault.evidence)?;
    let after = (stage.untouched_objects()?, stage.sql(Cluster::Dr, "SELECT @@gtid_executed")?);
    if before == after { Ok(ended) } else { Err(format!("something was left: {before:?} {after:?}\n{ended}").into()) }
}

fn exit_of(code: &str) -> Result<i32, Failed> {
    Ok(code.parse::<pxc_link::domain::code::Code>()?.exit() as i32)
}

fn mend_as_printed(stage: &Stage, fault: &Fault, ended: &Ended) -> Checked {
    match fault.mended_by {
        Mender::Table => stage.runtime.block_on(fault.mend_only(&stage.world))?,
        Mender::Hint => {
            let remedies = report::commands(&ended.stderr);
            if remedies.is_empty() {
                return Err(format!("no command was printed\n{ended}").into());
            }
            // A person at the terminal has an administrator's rights; the tool's own user has not.
            let admin = stage.tool().with("KUBECONFIG", stage.world.admin_kubeconfig().display().to_string());
            for remedy in remedies {
                match remedy {
                    Remedy::Argv(argv) => admin.run_hint(&argv)?,
                    Remedy::Sql { server, statement } => {
                        return Err(format!("a statement for {server} was not expected here: {statement}").into());
                    }
                }
            }
        }
    }
    stage.linked()?;
    stage.tool().run(&["verify", "--source", "production"])?.exits(0)
}

fn stand_on(stage: &Stage, wanted: Option<&'static Ground>) -> Checked {
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
    let mut later = sandbox::faults::FAULTS.iter().skip_while(|other| other.name != fault.name).skip(1);
    !later.any(|other| other.ground.map(|ground| ground.name) == fault.ground.map(|ground| ground.name))
}
