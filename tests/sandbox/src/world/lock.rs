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

/// Locks what `name` stands for, beside the worlds' directories, so that a removed world leaves no lock held on
/// nothing.
pub(crate) async fn lock(cache: &Cache, name: &str, deadline: Duration) -> Result<Lock, WorldError> {
    files::make_dir(&cache.worlds())?;
    let path: PathBuf = cache.worlds().join(format!(".{name}.lock"));
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
