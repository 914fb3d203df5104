//! Locks: one for each world, and one for the choice of a network.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::WorldError;
use super::error::While;
use super::files;
use crate::cache::Cache;

/// Held until dropped, or until its process ends.
pub(crate) struct Lock {
    _file: File,
}

/// Locks what `name` stands for. The file is outside the world's directory and stays: a lock on a removed file would
/// keep nobody out.
pub(crate) async fn lock(cache: &Cache, name: &str, deadline: Duration) -> Result<Lock, WorldError> {
    let locks = cache.root().join("locks");
    files::make_dir(&locks)?;
    let path: PathBuf = locks.join(name);
    let open = || File::options().create(true).append(true).open(&path);
    let file = open().while_doing(|| format!("open the lock {}", path.display()))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::Error(error)) => return Err(error).while_doing(|| format!("lock {}", path.display())),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= deadline => {
                return Err(WorldError::Locked { path, waited: deadline });
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
