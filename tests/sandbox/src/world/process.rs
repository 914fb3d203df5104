//! Processes of a world, told apart from later ones of the same id by their start time.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::{ProcState, Process, all_processes};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::reexec::{self, Entry, Namespaces, Task};

/// Deadline for a helper process that only makes system calls.
const HELPER_DEADLINE: Duration = Duration::from_secs(20);

/// A process of the host's numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proc {
    /// Process id as the host sees it.
    pub pid: i32,
    /// Clock ticks after boot, from `/proc/PID/stat`.
    pub started: u64,
}

impl Proc {
    /// The process that has this id now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = Process::new(pid).ok()?.stat().ok()?;
        Some(Self { pid, started: stat.starttime })
    }

    /// Whether it still runs; one that ended and waits to be reaped does not.
    pub fn alive(&self) -> bool {
        Process::new(self.pid).and_then(|process| process.stat()).is_ok_and(|stat| {
            let ended = matches!(stat.state(), Ok(ProcState::Zombie | ProcState::Dead));
            // A dying init waits for all of its namespace, and has none of its own any more while it does.
            let dying = std::fs::read_link(format!("/proc/{}/ns/net", self.pid)).is_err();
            stat.starttime == self.started && !ended && !dying
        })
    }

    /// Whether it is stopped by a signal.
    pub(crate) fn stopped(&self) -> bool {
        Process::new(self.pid)
            .and_then(|process| process.stat())
            .is_ok_and(|stat| stat.starttime == self.started && matches!(stat.state(), Ok(ProcState::Stopped)))
    }

    /// Sends a signal, if it is still the same process.
    pub fn signal(&self, signal: Signal) {
        if self.alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// Starts the init of new namespaces and waits until its mounts stand.
pub(crate) async fn start_init(namespaces: Namespaces, log: &Path) -> io::Result<Proc> {
    let log_file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = tokio::process::Command::from(reexec::command(&Task::Unshare(namespaces))?);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file).spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe to the node's init"))?;
    let wait = async {
        let mut lines = BufReader::new(stdout).lines();
        // The id and the word come from two processes, in either order.
        let (mut pid, mut ready) = (None, false);
        while let Some(line) = lines.next_line().await? {
            match line.as_str() {
                "ready" => ready = true,
                other => pid = other.parse().ok(),
            }
            if ready && pid.is_some() {
                break;
            }
        }
        child.wait().await?;
        pid.filter(|_| ready)
            .and_then(Proc::of)
            .ok_or_else(|| io::Error::other(format!("the node's init did not come up, see {}", log.display())))
    };
    tokio::time::timeout(HELPER_DEADLINE, wait).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("the node's init said nothing, see {}", log.display()))
    })?
}

/// A command that stays, in the namespaces of `init`.
pub(crate) struct Daemon<'a> {
    pub init: i32,
    pub dir: &'a Path,
    pub env: BTreeMap<String, String>,
    pub argv: Vec<String>,
    pub log: PathBuf,
    pub cgroups: Vec<PathBuf>,
}

/// Starts a daemon and finds its id.
pub(crate) async fn start_daemon(daemon: Daemon<'_>) -> io::Result<Proc> {
    let entry = Entry {
        init: daemon.init,
        dir: daemon.dir.to_owned(),
        env: daemon.env,
        argv: daemon.argv,
        log: Some(daemon.log),
        cgroups: daemon.cgroups,
    };
    let output = output(&Task::Daemon(entry)).await?;
    let inner: i32 = output.trim().parse().map_err(|_| io::Error::other(format!("no process id in {output:?}")))?;
    translate(daemon.init, inner).ok_or_else(|| io::Error::other(format!("process {inner} of the node ended at once")))
}

/// A process that runs this command in the process namespace of `init`: one that was started, but not recorded
/// because the starting program was interrupted.
pub(crate) fn find_daemon(init: i32, argv: &[String]) -> Option<Proc> {
    let namespace = std::fs::read_link(format!("/proc/{init}/ns/pid")).ok()?;
    all_processes().ok()?.flatten().find_map(|process| {
        let own = std::fs::read_link(format!("/proc/{}/ns/pid", process.pid)).ok()?;
        let same = own == namespace && process.cmdline().ok()? == argv;
        same.then(|| Proc::of(process.pid)).flatten()
    })
}

/// The inits of a node, or of any node below `dir`, recorded or not.
pub(crate) fn find_inits(dir: &Path) -> Vec<Proc> {
    let Ok(processes) = all_processes() else { return Vec::new() };
    processes
        .flatten()
        .filter(|process| {
            process
                .cmdline()
                .is_ok_and(|arguments| reexec::init_dir(&arguments).is_some_and(|own| own.starts_with(dir)))
        })
        .filter_map(|process| Proc::of(process.pid))
        .collect()
}

/// Runs a helper to its end and returns what it printed.
pub(crate) async fn output(task: &Task) -> io::Result<String> {
    let mut command = tokio::process::Command::from(reexec::command(task)?);
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(HELPER_DEADLINE, run).await.map_err(|_| io::ErrorKind::TimedOut)??;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// The host's number of a process known by its number inside the process namespace of `init`.
fn translate(init: i32, inner: i32) -> Option<Proc> {
    let namespace = std::fs::read_link(format!("/proc/{init}/ns/pid")).ok()?;
    all_processes().ok()?.flatten().find_map(|process| {
        let last = process.status().ok()?.nspid?.last().copied()?;
        let own = std::fs::read_link(format!("/proc/{}/ns/pid", process.pid)).ok()?;
        (last == inner && own == namespace).then(|| Proc::of(process.pid)).flatten()
    })
}
