//! Removing a world: the machine is as it was before.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::layout::cgroup_prefix;
use super::lock::lock;
use super::wait::Wait;
use super::{WorldError, cgroup, files, network, process, world_dir};
use crate::cache::Cache;

/// How long to wait for another process that raises or removes the same world.
const LOCK_DEADLINE: Duration = Duration::from_mins(5);

/// How long processes and cgroups may take to go.
const END_DEADLINE: Duration = Duration::from_secs(30);

/// Removes the world. Says whether there was one.
pub async fn down(cache: &Cache, name: &str) -> Result<bool, WorldError> {
    let dir = world_dir(cache, name)?;
    let _lock = lock(cache, name, LOCK_DEADLINE).await?;
    let stood = dir.exists();
    clear(&dir, name).await?;
    Ok(stood)
}

/// Ends and removes whatever is left of a world; its directory goes last, so that an interrupted run can be repeated.
pub(crate) async fn clear(dir: &Path, name: &str) -> Result<(), WorldError> {
    if !dir.exists() {
        return Ok(());
    }
    let inits = process::find_inits(dir);
    for init in &inits {
        init.signal(Signal::SIGKILL);
    }
    let wait = Wait {
        what: "the end of the nodes' processes".to_owned(),
        deadline: END_DEADLINE,
        look: dir.display().to_string(),
    };
    wait.until(async || match inits.iter().find(|init| init.alive()) {
        None => Ok(()),
        Some(init) => Err(format!("process {} still runs", init.pid)),
    })
    .await?;
    // Read loosely: it may have been written by another version of this program.
    let record = files::read_json::<serde_json::Value>(&dir.join("world.json")).ok().flatten();
    let index = record.and_then(|record| u8::try_from(record.get("index")?.as_u64()?).ok());
    if let Some(index) = index {
        cgroup::remove(&cgroup_prefix(index, name), END_DEADLINE).await?;
        network::disconnect_host(index).await?;
    }
    remove_dir(dir).await
}

async fn remove_dir(dir: &Path) -> Result<(), WorldError> {
    let wait = Wait {
        what: format!("the removal of {}", dir.display()),
        deadline: END_DEADLINE,
        look: dir.display().to_string(),
    };
    wait.until(async || match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    })
    .await
}
