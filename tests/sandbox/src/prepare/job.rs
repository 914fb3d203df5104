//! Runs the programs that make a part: output to the part's log, a deadline, and an end on interruption with all children.

use std::{
    fs,
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{
    error::{Doing as _, StepError},
    part::remove,
};

/// How long a program that was told to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Whether the work is to end early: by a signal, or because something beside it failed.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    own: Arc<AtomicBool>,
    outer: Option<Arc<AtomicBool>>,
}

impl Cancel {
    /// Becomes true on SIGINT, SIGTERM or SIGHUP from now on, in place of ending the process.
    pub fn on_signals() -> std::io::Result<Self> {
        let cancel = Self::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&cancel.own))?;
        }
        Ok(cancel)
    }

    /// Asks the work to end.
    pub fn cancel(&self) {
        self.own.store(true, Ordering::SeqCst);
    }

    /// One that is cancelled with this one, or alone.
    pub(super) fn inner(&self) -> Self {
        Self { own: Arc::default(), outer: Some(Arc::clone(&self.own)) }
    }

    /// Whether the work is to end.
    pub fn is_cancelled(&self) -> bool {
        self.own.load(Ordering::SeqCst) || self.outer.as_ref().is_some_and(|outer| outer.load(Ordering::SeqCst))
    }
}

/// The making of one part: where it is built, where it logs, and whether to go on.
#[derive(Debug)]
pub(super) struct Job {
    /// The unfinished part's directory; becomes the part when all went well.
    pub(super) dir: PathBuf,
    log: PathBuf,
    cancel: Cancel,
}

/// A program running in a process group of its own, which is ended when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    what: String,
    program: String,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Job {
    pub(super) fn new(dir: PathBuf, log: PathBuf, cancel: Cancel) -> Self {
        Self { dir, log, cancel }
    }

    /// An error when the work is to end.
    pub(super) fn go_on(&self) -> Result<(), StepError> {
        if self.cancel.is_cancelled() { Err(StepError::Interrupted) } else { Ok(()) }
    }

    /// Runs a program to its end. `what` completes the sentence "it was to …".
    pub(super) fn run(&self, what: &str, command: &mut Command, deadline: Duration) -> Result<(), StepError> {
        let out = self.open_log()?;
        self.spawn(what, command, out)?.wait(self, deadline)
    }

    /// Runs a program to its end and returns what it wrote on stdout.
    pub(super) fn output(&self, what: &str, command: &mut Command, deadline: Duration) -> Result<String, StepError> {
        let path = self.dir.join(".stdout");
        self.output_to(what, command, &path, deadline)?;
        let text = fs::read_to_string(&path).doing("read", &path)?;
        fs::remove_file(&path).doing("remove", &path)?;
        Ok(text)
    }

    /// Runs a program to its end, with its stdout in a file.
    pub(super) fn output_to(
        &self,
        what: &str,
        command: &mut Command,
        path: &Path,
        deadline: Duration,
    ) -> Result<(), StepError> {
        let out = File::create(path).doing("create", path)?;
        self.spawn(what, command, out)?.wait(self, deadline)
    }

    /// Starts a program that runs beside the following steps; its output goes to the log.
    pub(super) fn start(&self, what: &str, command: &mut Command) -> Result<Running, StepError> {
        let out = self.open_log()?;
        self.spawn(what, command, out)
    }

    fn spawn(&self, what: &str, command: &mut Command, stdout: File) -> Result<Running, StepError> {
        self.go_on()?;
        let mut log = self.open_log()?;
        // The command line helps whoever reads the log; the environment may hold credentials of proxies and stays out.
        let line: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy())
            .collect();
        writeln!(log, "$ {}", line.join(" ")).doing("write", &self.log)?;
        let program = program_of(command);
        let child = command
            // What a killed program leaves behind goes with the unfinished part.
            .env("TMPDIR", self.scratch()?)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log)
            .spawn()
            .map_err(|source| StepError::Start { what: what.to_owned(), program: program.clone(), source })?;
        Ok(Running { what: what.to_owned(), program, child, ended: None })
    }

    /// A directory for temporary files.
    fn scratch(&self) -> Result<PathBuf, StepError> {
        let dir = self.dir.join(".tmp");
        fs::create_dir_all(&dir).doing("create", &dir)?;
        Ok(dir)
    }

    /// Removes the temporary files when the part is made.
    pub(super) fn sweep(&self) -> Result<(), StepError> {
        remove(&self.dir.join(".tmp"))
    }

    fn open_log(&self) -> Result<File, StepError> {
        File::options().create(true).append(true).open(&self.log).doing("open", &self.log)
    }

    /// What has been logged so far.
    pub(super) fn logged(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Polls until `ready`, the deadline, or the end of the work.
    pub(super) fn until(
        &self,
        what: &str,
        deadline: Duration,
        mut ready: impl FnMut() -> Result<bool, StepError>,
    ) -> Result<(), StepError> {
        let start = Instant::now();
        loop {
            if ready()? {
                return Ok(());
            }
            self.go_on()?;
            if start.elapsed() > deadline {
                return Err(StepError::Deadline { what: what.to_owned(), after: deadline });
            }
            // Most programs here end soon, but a build of minutes need not be polled hard.
            thread::sleep((start.elapsed() / 4).clamp(Duration::from_millis(1), Duration::from_millis(100)));
        }
    }
}

impl Running {
    fn wait(mut self, job: &Job, deadline: Duration) -> Result<(), StepError> {
        let what = self.what.clone();
        job.until(&what, deadline, || self.is_over())?;
        match self.ended {
            Some(status) if !status.success() => Err(StepError::Program {
                what,
                program: self.program.clone(),
                status,
                last_line: telling_line(&job.logged()),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the program has ended by itself.
    pub(super) fn is_over(&mut self) -> Result<bool, StepError> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().map_err(|source| StepError::Start {
                what: self.what.clone(),
                program: self.program.clone(),
                source,
            })?;
        }
        Ok(self.ended.is_some())
    }

    /// Asks a program that runs on by itself to end, and waits until it has.
    pub(super) fn finish(mut self, job: &Job, deadline: Duration) -> Result<(), StepError> {
        if let Some(group) = self.group() {
            let _ = killpg(group, Signal::SIGTERM);
        }
        let what = format!("end what was started to {}", self.what);
        job.until(&what, deadline, || self.is_over())
    }

    fn group(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().map(Pid::from_raw)
    }

    /// Asks the whole group to end, kills what is left after a grace period, and waits for the program itself.
    fn end(&mut self) {
        let Some(group) = self.group() else { return };
        let asked = Instant::now();
        let _ = killpg(group, Signal::SIGTERM);
        while !self.is_over().unwrap_or(true) && asked.elapsed() < GRACE {
            thread::sleep(Duration::from_millis(20));
        }
        // The leader may be gone while its children are not.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.end();
        }
    }
}

/// Asks a program for something before there is a part to log to; `None` when it fails or takes too long.
pub(crate) fn ask(command: &mut Command, deadline: Duration) -> Option<String> {
    let out = tempfile::tempfile().ok()?;
    let child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out.try_clone().ok()?)
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let program = program_of(command);
    let mut running = Running { what: "answer".to_owned(), program, child, ended: None };
    let start = Instant::now();
    while !running.is_over().ok()? {
        if start.elapsed() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
    running.ended.filter(ExitStatus::success)?;
    let mut text = String::new();
    let mut out = out;
    out.rewind().ok()?;
    out.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Looks a program up as the shell would.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    // A cron job's or a systemd unit's PATH may lack the directories of the administrator's programs.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file: &PathBuf| {
            fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

/// The program that a failure is about.
fn program_of(command: &Command) -> String {
    // Behind `nice -n 10`, see [`nice`].
    let nice = command.get_program() == "nice";
    let program = command.get_args().nth(2).filter(|_| nice).unwrap_or(command.get_program());
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

/// The line of a failed program's output that says why: apt's first complaint, else the last that speaks of an error.
fn telling_line(log: &str) -> String {
    let after = log.rfind("\n$ ").map_or(log, |at| &log[at + 1..]);
    let lines = || after.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("$ "));
    let speaks_of_error = |line: &&str| {
        let line = line.to_ascii_lowercase();
        line.contains("error") || line.contains("fatal")
    };
    let line = lines().find(|line| line.starts_with("E: ")).or_else(|| lines().rfind(speaks_of_error));
    line.or_else(|| lines().next_back()).unwrap_or_default().to_owned()
}

/// A program of the host, run at a low priority: a build beside it comes first.
pub(super) fn nice(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "10"]).arg(program.as_ref());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(dir: &Path) -> Job {
        Job::new(dir.to_owned(), dir.join("log"), Cancel::default())
    }

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_names_the_program_and_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let error =
            job(dir.path()).run("try", &mut sh("echo first; echo no such luck >&2; exit 3"), GRACE).unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed (exit status: 3) while it was to try: no such luck");
    }

    #[test]
    fn the_line_that_tells_is_found() {
        assert_eq!(
            telling_line("$ old\nerror: old\n$ new\nE: no such package\nE: some error\n\nbye\n"),
            "E: no such package"
        );
        assert_eq!(telling_line("$ new\nfirst\nlast\n"), "last");
        assert_eq!(telling_line("$ new\n"), "");
        assert_eq!(program_of(nice("/usr/bin/apt-get").arg("update")), "apt-get");
        assert_eq!(program_of(&Command::new("/usr/bin/tar")), "tar");
    }

    #[test]
    fn a_deadline_ends_the_program_and_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let child = dir.path().join("child");
        let script = format!("sleep 300 & echo $! >{}; wait", child.display());
        let error = job(dir.path()).run("sleep", &mut sh(&script), Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, StepError::Deadline { .. }), "{error}");
        let id: i32 = fs::read_to_string(child).unwrap().trim().parse().unwrap();
        let gone = job(dir.path()).until("see it gone", GRACE, || Ok(!is_running(id)));
        assert!(gone.is_ok(), "the child still runs");
    }

    #[test]
    fn a_cancelled_job_ends_its_program_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let job = job(dir.path());
        let cancel = job.cancel.clone();
        let start = Instant::now();
        let canceller = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            cancel.cancel();
        });
        let error = job.run("sleep", &mut sh("sleep 300"), Duration::from_mins(5)).unwrap_err();
        canceller.join().unwrap();
        assert!(matches!(error, StepError::Interrupted), "{error}");
        assert!(start.elapsed() < GRACE);
    }

    #[test]
    fn an_inner_cancel_does_not_reach_out() {
        let outer = Cancel::default();
        let inner = outer.inner();
        inner.cancel();
        assert!(inner.is_cancelled() && !outer.is_cancelled());
        let inner = outer.inner();
        outer.cancel();
        assert!(inner.is_cancelled());
    }

    #[test]
    fn asking_ends_at_the_deadline() {
        assert_eq!(ask(&mut sh("echo yes"), GRACE).as_deref(), Some("yes\n"));
        assert_eq!(ask(&mut sh("echo no; exit 1"), GRACE), None);
        let start = Instant::now();
        assert_eq!(ask(&mut sh("sleep 300"), Duration::from_millis(100)), None);
        assert!(start.elapsed() < GRACE);
    }

    /// A zombie counts as gone: nobody but its parent can remove it.
    fn is_running(id: i32) -> bool {
        fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }
}
