//! Where the sandbox keeps its things: one directory outside the checkout, with one lock.

use std::{
    env, fs,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// The directory that holds everything the sandbox builds, fetches and runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// The cache's place cannot be told.
#[derive(Debug, thiserror::Error)]
#[error(
    "neither `XDG_CACHE_HOME` nor `HOME` holds an absolute path; set one of them, the sandbox keeps its cache there"
)]
pub struct NoCacheHome;

/// Holds the cache's lock until dropped, or until its process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// The cache of this user: `$XDG_CACHE_HOME/pxc-link-sandbox`, else `$HOME/.cache/pxc-link-sandbox`.
    ///
    /// Relative paths in these variables are ignored, as the XDG base directory specification asks.
    pub fn of_user() -> Result<Self, NoCacheHome> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        Ok(Self::at(home.ok_or(NoCacheHome)?.join("pxc-link-sandbox")))
    }

    /// A cache at a place of the caller's choice (absolute path).
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a finished part.
    pub fn part(&self, name: &str) -> PathBuf {
        self.parts().join(name)
    }

    /// The log of the last attempt to make a part.
    pub fn log(&self, part: &str) -> PathBuf {
        self.root.join("logs").join(format!("{part}.log"))
    }

    /// All state of a running world.
    pub fn world(&self, name: &str) -> PathBuf {
        self.worlds().join(name)
    }

    /// The directory that holds one directory per world.
    pub fn worlds(&self) -> PathBuf {
        self.root.join("worlds")
    }

    /// The directory that holds one directory per pair of servers without Kubernetes.
    pub fn plain(&self) -> PathBuf {
        self.root.join("plain")
    }

    pub(crate) fn parts(&self) -> PathBuf {
        self.root.join("parts")
    }

    /// What the go command keeps.
    pub(crate) fn go(&self) -> PathBuf {
        self.root.join("go")
    }

    pub(crate) fn go_build(&self) -> PathBuf {
        self.go().join("build")
    }

    pub(crate) fn go_mod(&self) -> PathBuf {
        self.go().join("mod")
    }

    /// Takes the lock that only one `prepare` or `clean` holds at a time; `None` when another process has it.
    pub fn try_lock(&self) -> io::Result<Option<Lock>> {
        fs::create_dir_all(&self.root)?;
        let file = File::options().create(true).append(true).open(self.root.join(".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lock_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().join("cache"));
        let held = cache.try_lock().unwrap();
        assert!(held.is_some());
        assert!(cache.try_lock().unwrap().is_none());
        drop(held);
        assert!(cache.try_lock().unwrap().is_some());
    }
}
