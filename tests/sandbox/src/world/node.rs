//! One node: its init process, its daemons, and the record of both.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::error::While;
use super::process::{self, Daemon, Proc};
use super::{WorldError, containerd, files};
use crate::reexec::{Bind, Namespaces};

/// Paths that containerd, the kubelet and the CNI plugins use and no flag moves.
const MASKS: [&str; 4] = ["/run", "/var/lib", "/var/log", "/opt"];

/// What a node's processes leave in here must not stay.
const TEMPORARY: &str = "/tmp";

/// What the kubelet would set for the whole machine. Shown to it as set already, so that it leaves the host's alone.
const KUBELET_SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// The processes of a node, kept in its directory.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    pub init: Option<Proc>,
    /// Whether its network is set up.
    pub connected: bool,
    pub daemons: BTreeMap<String, Proc>,
}

/// Namespaces with an init, and what runs in them.
#[derive(Debug)]
pub(crate) struct Node {
    dir: PathBuf,
    record: Mutex<Record>,
}

impl Node {
    /// The node whose directory this is; nothing runs if it has no record.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, WorldError> {
        let record = files::read_json(&dir.join("node.json"))?.unwrap_or_default();
        Ok(Self { dir, record: Mutex::new(record) })
    }

    /// A copy of its record.
    pub(crate) fn record(&self) -> Record {
        self.lock().clone()
    }

    /// The init, if it runs.
    pub(crate) fn init(&self) -> Option<Proc> {
        self.lock().init.filter(Proc::alive)
    }

    fn running_init(&self) -> Result<Proc, WorldError> {
        self.init().ok_or_else(|| WorldError::NodeGone { node: self.dir.display().to_string() })
    }

    /// A file of the node as the host reaches it, also where the node's mounts hide it.
    pub(crate) fn inside(&self, path: &str) -> Result<PathBuf, WorldError> {
        Ok(PathBuf::from(format!("/proc/{}/root{path}", self.running_init()?.pid)))
    }

    /// Starts the init of a node that runs containers from `images`, a prepared containerd root.
    pub(crate) async fn start(&self, images: &Path, cgroups: Vec<PathBuf>) -> Result<(), WorldError> {
        let masks = self.masks()?;
        for name in ["log", "kubelet", "containerd", "cni", "sysctl", "pki"] {
            files::make_dir(&self.dir.join(name))?;
        }
        let mut binds = vec![Bind {
            source: self.dir.join("kubelet"),
            target: PathBuf::from("/var/lib/kubelet"),
            read_only: false,
        }];
        for (setting, value) in KUBELET_SETTINGS {
            let source = self.dir.join("sysctl").join(setting.replace('/', "."));
            files::write(&source, &format!("{value}\n"))?;
            binds.push(Bind { source, target: Path::new("/proc/sys").join(setting), read_only: true });
        }
        binds.extend(containerd::share_images(images, &self.dir.join("containerd"))?);
        self.start_init(Namespaces { dir: self.dir.clone(), masks, binds, cgroups }).await
    }

    /// Starts an init that only keeps namespaces.
    pub(crate) async fn start_empty(&self, cgroups: Vec<PathBuf>) -> Result<(), WorldError> {
        files::make_dir(&self.dir)?;
        self.start_init(Namespaces { dir: self.dir.clone(), masks: Vec::new(), binds: Vec::new(), cgroups }).await
    }

    fn masks(&self) -> Result<Vec<PathBuf>, WorldError> {
        if let Some(mask) = MASKS.into_iter().find(|mask| self.dir.starts_with(mask)) {
            return Err(io::Error::other("a node has a directory of its own there")).while_doing(|| {
                format!("keep {} below {mask}; set XDG_CACHE_HOME to another place", self.dir.display())
            });
        }
        let hidden = |path: &&str| Path::new(path).is_dir() && !self.dir.starts_with(path);
        Ok(MASKS.iter().chain([&TEMPORARY]).copied().filter(hidden).map(PathBuf::from).collect())
    }

    async fn start_init(&self, namespaces: Namespaces) -> Result<(), WorldError> {
        // One that was started but not recorded, because the starting program was interrupted.
        for stray in process::find_inits(&self.dir) {
            stray.signal(Signal::SIGKILL);
        }
        let log = self.dir.join("init.log");
        let init = process::start_init(namespaces, &log)
            .await
            .while_doing(|| format!("start the node {}", self.dir.display()))?;
        self.change(|record| *record = Record { init: Some(init), ..Record::default() })
    }

    /// Keeps that its network is set up.
    pub(crate) fn set_connected(&self) -> Result<(), WorldError> {
        self.change(|record| record.connected = true)
    }

    /// Whether a daemon runs.
    pub(crate) fn runs(&self, name: &str) -> bool {
        self.lock().daemons.get(name).is_some_and(Proc::alive)
    }

    /// Starts a daemon unless it runs; one that was frozen goes on.
    pub(crate) async fn ensure(
        &self,
        name: &str,
        argv: Vec<String>,
        env: &BTreeMap<String, String>,
        cgroups: Vec<PathBuf>,
    ) -> Result<(), WorldError> {
        let recorded = self.lock().daemons.get(name).copied().filter(Proc::alive);
        if let Some(daemon) = recorded {
            if daemon.stopped() {
                daemon.signal(Signal::SIGCONT);
            }
            return Ok(());
        }
        let init = self.running_init()?.pid;
        let started = if let Some(found) = process::find_daemon(init, &argv) {
            found
        } else {
            let log = self.dir.join("log").join(format!("{name}.log"));
            let daemon = Daemon { init, dir: &self.dir, env: env.clone(), argv, log: log.clone(), cgroups };
            process::start_daemon(daemon).await.while_doing(|| format!("start {name} (log: {})", log.display()))?
        };
        self.change(|record| {
            record.daemons.insert(name.to_owned(), started);
        })
    }

    /// Sends a signal to a daemon; false if it does not run.
    pub(crate) fn signal(&self, name: &str, signal: Signal) -> bool {
        let daemon = self.lock().daemons.get(name).copied().filter(Proc::alive);
        if let Some(daemon) = daemon {
            daemon.signal(signal);
        }
        daemon.is_some()
    }

    fn change(&self, change: impl FnOnce(&mut Record)) -> Result<(), WorldError> {
        let mut record = self.lock();
        change(&mut record);
        files::write_json(&self.dir.join("node.json"), &*record)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
