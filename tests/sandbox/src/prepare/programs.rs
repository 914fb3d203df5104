//! The full cache as a world sees it: where the programs, the images and the host's tools are.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Plan, PrepareError, StepError,
    error::Doing as _,
    golang::{ISTIO, KUBERNETES, NODE},
    job::Job,
};
use crate::{
    cache::Cache,
    host::{Archive, HostFacts, judge},
};

/// A cache that holds everything a world needs.
#[derive(Debug, Clone)]
pub struct Prepared {
    cache: Cache,
}

impl Prepared {
    /// Checks, in well under a second, that the cache is full and made from this checkout's sources.
    pub fn open(cache: &Cache) -> Result<Self, PrepareError> {
        let facts = HostFacts::gather(cache.root());
        judge(&facts, 0)?;
        let archive = Archive::of_host(facts.keyring.unwrap_or_default());
        Self::of_plan(cache, &Plan::new(&archive.stable))
    }

    pub(super) fn of_plan(cache: &Cache, plan: &Plan) -> Result<Self, PrepareError> {
        let missing: Vec<_> =
            plan.kept().into_iter().filter(|part| !part.is_done(cache)).map(|part| part.name).collect();
        if missing.is_empty() { Ok(Self { cache: cache.clone() }) } else { Err(PrepareError::NotPrepared { missing }) }
    }

    /// The cache that this is.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// One directory with all programs: Kubernetes, etcd, containerd, the CNI plugins, runc, iptables, istioctl.
    pub fn bin_dir(&self) -> PathBuf {
        self.cache.part("programs")
    }

    /// One program of [`Self::bin_dir`].
    pub fn bin(&self, name: &str) -> PathBuf {
        self.bin_dir().join(name)
    }

    /// A containerd root with all images unpacked. Link its files into a node's own root, but copy the `*.db` files.
    pub fn containerd_root(&self) -> PathBuf {
        self.cache.part("images").join("root")
    }

    /// A PATH for the node's processes: the sandbox's programs first, then the host's.
    pub fn tools_path(&self) -> OsString {
        let mut path = self.bin_dir().into_os_string();
        path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        path
    }

    /// The environment in which runc and iptables work on a host that has neither: PATH and where their libraries are.
    pub fn tools_env(&self) -> Vec<(&'static str, OsString)> {
        let tools = self.cache.part("host-tools");
        vec![
            ("PATH", self.tools_path()),
            ("LD_LIBRARY_PATH", tools.join("lib").into_os_string()),
            ("XTABLES_LIBDIR", tools.join("xtables").into_os_string()),
        ]
    }
}

/// Puts all programs into one directory; they are links to the parts' files and take no space.
pub(super) fn collect(job: &Job, cache: &Cache) -> Result<(), StepError> {
    for module in [&KUBERNETES, &NODE, &ISTIO] {
        for (_, name) in module.programs {
            link(&cache.part(module.name).join(name), &job.dir.join(name))?;
        }
    }
    let tools = cache.part("host-tools").join("bin");
    for entry in fs::read_dir(&tools).doing("list", &tools)? {
        let from = entry.doing("list", &tools)?.path();
        let name = from.file_name().unwrap_or_default().to_owned();
        link(&from, &job.dir.join(name))?;
    }
    Ok(())
}

/// A hard link, also of a symbolic link itself.
fn link(from: &Path, to: &Path) -> Result<(), StepError> {
    fs::hard_link(from, to)
        .or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
        .doing("link", from)
}
