//! Work that needs a single-threaded process: the program starts itself again for it, because namespaces cannot be
//! entered or left from a process with several threads, and forking by hand is not safe Rust.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, chroot, dup2_stdout, getppid, setgroups, setresgid, setresuid, setsid};
use serde::{Deserialize, Serialize};

use crate::world::links::{self, LinkOp};

/// First argument of a process that was started by [`command`]; no user types it.
const MARK: &str = "__pxc-link-sandbox-task";

/// The program itself, also after the file was replaced by a newer build.
const SELF: &str = "/proc/self/exe";

/// What a process started again has to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Makes new namespaces and starts [`Task::Init`] in them; prints its process id and ends.
    Unshare(Namespaces),
    /// Is process 1 of the new namespaces: mounts, says `ready`, then only reaps.
    Init(Namespaces),
    /// Enters the namespaces of a process and starts a command there that stays; prints its process id as seen there.
    Daemon(Entry),
    /// Second half of [`Task::Daemon`], inside: starts the command and ends, so that the namespace's init inherits it.
    Detach(Entry),
    /// Enters the namespaces of a process and runs a command there with this process's standard streams.
    Run(Entry),
    /// Becomes a command of an image's programs, as a normal user, with mounts of its own.
    Confined(Confined),
    /// Enters the network namespace of a process and changes its links.
    Links { init: i32, ops: Vec<LinkOp> },
}

/// A command of an image's programs. It sees the image, read-only, and one directory at the path that it has on the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Confined {
    /// Root of the image.
    pub image: PathBuf,
    /// The one directory that it may write to; its own user's.
    pub dir: PathBuf,
    /// User and group.
    pub id: u32,
    pub argv: Vec<String>,
    /// The process with whose end it ends, the one that starts it; else it ends by itself and belongs to no session.
    pub parent: Option<i32>,
}

/// The namespaces of one node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Namespaces {
    /// Directory of the node: names the process in listings, and holds what is mounted below.
    pub dir: PathBuf,
    /// Directories that become empty memory file systems.
    pub masks: Vec<PathBuf>,
    /// Mounted in this order after the masks; missing targets are made.
    pub binds: Vec<Bind>,
    /// Files by which its init enters its cgroups.
    pub cgroups: Vec<PathBuf>,
}

/// A bind mount.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub source: PathBuf,
    pub target: PathBuf,
    pub read_only: bool,
}

/// A command to run in the namespaces of the process `init`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub init: i32,
    pub dir: PathBuf,
    pub env: BTreeMap<String, String>,
    pub argv: Vec<String>,
    /// Takes both output streams of a daemon; appended to.
    pub log: Option<PathBuf>,
    /// Files by which a daemon enters its cgroups.
    pub cgroups: Vec<PathBuf>,
}

/// Runs the task and ends the process if it was started by this library; returns at once otherwise.
///
/// Every binary that uses the library calls this before anything else, while it has a single thread.
pub fn intercept() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(MARK) {
        return;
    }
    let code = match args.next().ok_or_else(|| io::Error::other("no task given")).and_then(|json| {
        let task: Task = serde_json::from_str(&json)?;
        perform(task)
    }) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            1
        }
    };
    #[expect(clippy::exit, reason = "the process exists for this task alone; main must not go on")]
    std::process::exit(code);
}

/// The command that performs `task` in a process of its own.
pub(crate) fn command(task: &Task) -> io::Result<Command> {
    let mut command = Command::new(SELF);
    command.arg(MARK).arg(serde_json::to_string(task)?);
    Ok(command)
}

fn perform(task: Task) -> io::Result<i32> {
    match task {
        Task::Unshare(namespaces) => make_namespaces(namespaces).map(|()| 0),
        Task::Init(namespaces) => be_init(&namespaces),
        Task::Daemon(entry) => start_daemon(entry),
        Task::Detach(entry) => detach(&entry).map(|()| 0),
        Task::Run(entry) => run(&entry),
        Task::Confined(confined) => Err(become_confined(&confined)),
        Task::Links { init, ops } => {
            enter(init, CloneFlags::CLONE_NEWNET)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(links::apply(&ops)).map(|()| 0).map_err(io::Error::other)
        }
    }
}

fn make_namespaces(namespaces: Namespaces) -> io::Result<()> {
    setsid()?;
    join(&namespaces.cgroups)?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)?;
    let init = command(&Task::Init(namespaces))?.stdin(Stdio::null()).spawn()?;
    writeln!(io::stdout(), "{}", init.id())
}

fn be_init(namespaces: &Namespaces) -> io::Result<i32> {
    // Before the first child can end: an ignored signal would not wake `wait` below.
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    std::env::set_current_dir("/")?;
    mount_all(namespaces)?;
    writeln!(io::stdout(), "ready")?;
    let null: OwnedFd = OpenOptions::new().read(true).write(true).open("/dev/null")?.into();
    dup2_stdout(&null)?;
    loop {
        while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        children.wait()?;
    }
}

fn mount_all(namespaces: &Namespaces) -> io::Result<()> {
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, NONE)?;
    for mask in &namespaces.masks {
        mount(Some("tmpfs"), mask, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
            .map_err(|error| context(&format!("mount an empty {}", mask.display()), error))?;
    }
    for bind in &namespaces.binds {
        mount_bind(bind).map_err(|error| {
            context(&format!("mount {} on {}", bind.source.display(), bind.target.display()), error)
        })?;
    }
    // The kubelet hands mounts on to its containers.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SHARED, NONE)?;
    Ok(())
}

fn mount_bind(bind: &Bind) -> io::Result<()> {
    const NONE: Option<&str> = None;
    if !bind.target.exists() {
        if bind.source.is_dir() {
            std::fs::create_dir_all(&bind.target)?;
        } else {
            File::create(&bind.target)?;
        }
    }
    mount(Some(&bind.source), &bind.target, NONE, MsFlags::MS_BIND, NONE)?;
    if bind.read_only {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(NONE, &bind.target, NONE, flags, NONE)?;
    }
    Ok(())
}

fn enter(init: i32, kinds: CloneFlags) -> io::Result<()> {
    // All are opened first: /proc means another one once the mount namespace is entered.
    let mut namespaces = Vec::new();
    for (kind, name) in
        [(CloneFlags::CLONE_NEWNET, "net"), (CloneFlags::CLONE_NEWPID, "pid"), (CloneFlags::CLONE_NEWNS, "mnt")]
    {
        if kinds.contains(kind) {
            let path = format!("/proc/{init}/ns/{name}");
            namespaces.push((File::open(&path).map_err(|error| context(&format!("open {path}"), error))?, kind));
        }
    }
    for (namespace, kind) in namespaces {
        setns(namespace, kind).map_err(|error| context(&format!("enter the namespaces of process {init}"), error))?;
    }
    Ok(())
}

const NODE: CloneFlags = CloneFlags::CLONE_NEWNET.union(CloneFlags::CLONE_NEWPID).union(CloneFlags::CLONE_NEWNS);

fn start_daemon(entry: Entry) -> io::Result<i32> {
    let log = entry.log.as_deref().ok_or_else(|| io::Error::other("a daemon needs a log file"))?;
    let log = open_log(log)?;
    join(&entry.cgroups)?;
    let init = entry.init;
    let mut second = command(&Task::Detach(Entry { log: None, cgroups: Vec::new(), ..entry }))?;
    enter(init, NODE)?;
    let status = second.stdin(Stdio::null()).stderr(log).spawn()?.wait()?;
    Ok(code_of(status))
}

fn detach(entry: &Entry) -> io::Result<()> {
    setsid()?;
    // The log arrives as standard error; the id goes to standard output.
    let log = io::stderr();
    let log = std::os::fd::AsFd::as_fd(&log).try_clone_to_owned()?;
    let child = spawn(entry, Stdio::null(), Stdio::from(log.try_clone()?), Stdio::from(log))?;
    writeln!(io::stdout(), "{}", child.id())
}

fn run(entry: &Entry) -> io::Result<i32> {
    enter(entry.init, NODE)?;
    let mut child = spawn(entry, Stdio::inherit(), Stdio::inherit(), Stdio::inherit())?;
    Ok(code_of(child.wait()?))
}

/// Gives only the reason why it could not.
fn become_confined(confined: &Confined) -> io::Error {
    let Confined { image, dir, id, argv, parent } = confined;
    let prepare = || {
        if parent.is_none() {
            setsid()?;
        }
        unshare(CloneFlags::CLONE_NEWNS)?;
        let root = own_root(image, dir)?;
        chroot(&root)?;
        std::env::set_current_dir(dir)?;
        let (user, group) = (Uid::from_raw(*id), Gid::from_raw(*id));
        setgroups(&[group])?;
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
        prctl::set_no_new_privs()?;
        if let Some(parent) = parent {
            // A change of user takes it back, so it comes last; a parent that has ended before sends nothing.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != Pid::from_raw(*parent) {
                return Err(io::Error::other("whoever started it has ended"));
            }
        }
        argv.split_first().ok_or_else(|| io::Error::other("no command given"))
    };
    match prepare() {
        Ok((program, args)) => {
            let path = "/usr/sbin:/usr/bin:/sbin:/bin";
            let error = Command::new(program).args(args).env_clear().env("PATH", path).exec();
            context(&format!("start {program}"), error)
        }
        Err(error) => error,
    }
}

/// An empty root in memory, in a mount namespace of this process alone: the image's directories and `dir` are mounted in it.
fn own_root(image: &Path, dir: &Path) -> io::Result<PathBuf> {
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let root = PathBuf::from("/tmp");
    // Opened before it may be hidden: both may be below the place of the new root.
    let [image, dir_source] =
        [image, dir].map(|path| File::open(path).map_err(|error| context(&path.display().to_string(), error)));
    let by_handle = |file: &File| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let (image, dir_source) = (image?, dir_source?);
    mount(Some("tmpfs"), &root, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0755"))?;
    for entry in std::fs::read_dir(by_handle(&image))? {
        let entry = entry?;
        let target = root.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_symlink() => std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, target)?,
            kind if kind.is_dir() && ["usr", "etc"].iter().any(|name| entry.file_name() == *name) => {
                mount_bind(&Bind { source: entry.path(), target, read_only: true })?;
            }
            _ => {}
        }
    }
    let target = root.join(dir.strip_prefix("/").map_err(io::Error::other)?);
    std::fs::create_dir_all(&target)?;
    mount_bind(&Bind { source: by_handle(&dir_source), target, read_only: false })?;
    Ok(root)
}

fn spawn(entry: &Entry, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> io::Result<Child> {
    let (program, args) = entry.argv.split_first().ok_or_else(|| io::Error::other("no command given"))?;
    Command::new(program)
        .args(args)
        .envs(&entry.env)
        .current_dir(&entry.dir)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0)
        .spawn()
        .map_err(|error| context(&format!("start {program}"), error))
}

/// Enters cgroups, so that neither a limit nor the end of the session that started this process reaches it.
fn join(cgroups: &[PathBuf]) -> io::Result<()> {
    for file in cgroups {
        // 0 stands for the process that writes.
        std::fs::write(file, "0").map_err(|error| context(&format!("enter the cgroup {}", file.display()), error))?;
    }
    Ok(())
}

/// The directory of the node of whose init, or of what starts it, these are the arguments.
pub(crate) fn init_dir(arguments: &[String]) -> Option<PathBuf> {
    let [_, mark, task] = arguments else { return None };
    if mark != MARK {
        return None;
    }
    // Read loosely: it may have been started by another version of this program.
    let task: serde_json::Value = serde_json::from_str(task).ok()?;
    let namespaces = task.get("Init").or_else(|| task.get("Unshare"))?;
    namespaces.get("dir")?.as_str().map(PathBuf::from)
}

fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| context(&format!("open {}", path.display()), error))
}

fn code_of(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn context(what: &str, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_is_known_by_its_directory_whatever_else_its_task_says() {
        let task = r#"{"Init":{"dir":"/c/worlds/w/dr","of_another_version":1}}"#;
        let arguments = ["/proc/self/exe", MARK, task].map(str::to_owned);
        assert_eq!(init_dir(&arguments), Some(PathBuf::from("/c/worlds/w/dr")));
        let other = ["/proc/self/exe", MARK, r#"{"Links":{"init":1,"ops":[]}}"#].map(str::to_owned);
        assert_eq!(init_dir(&other), None);
        let stranger = ["sh", "-c", task].map(str::to_owned);
        assert_eq!(init_dir(&stranger), None);
    }
}
