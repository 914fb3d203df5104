//! Running the pxc-link binary as a user does, and judging how it ended.

use std::{
    collections::BTreeMap,
    fmt,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use rexpect::process::WaitStatus;

use crate::stage::Checked;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// The binary with a folder and an environment.
pub(crate) struct Tool {
    folder: PathBuf,
    environment: BTreeMap<String, String>,
}

/// No run may take longer.
const LONGEST: Duration = Duration::from_mins(2);

fn read_all(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read until an error is what there is to show.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Tool {
    pub(crate) fn new(folder: &Path, environment: BTreeMap<&'static str, String>) -> Self {
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { folder: folder.to_owned(), environment }
    }

    /// The same with one variable set otherwise.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// The same without the variables whose names begin so.
    pub(crate) fn without(mut self, prefix: &str) -> Self {
        self.environment.retain(|name, _| !name.starts_with(prefix));
        self
    }

    /// The command of a run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pxc-link"));
        command.args(arguments).current_dir(&self.folder).env_clear().envs(&self.environment);
        command
    }

    /// Runs it to its end, without a terminal.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Ended, Failed> {
        let begun = Instant::now();
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (read_all(child.stdout.take()), read_all(child.stderr.take()));
        let mut code = None;
        while code.is_none() {
            match child.try_wait()? {
                Some(status) => code = Some(status.code()),
                None if begun.elapsed() > LONGEST => {
                    child.kill()?;
                    child.wait()?;
                    return Err(format!("pxc-link {arguments:?} did not end within {LONGEST:?}").into());
                }
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
        let text = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
        Ok(Ended { code: code.flatten(), stdout: text(stdout), stderr: text(stderr), took: begun.elapsed() })
    }

    /// Runs it on a terminal where a person answers each question; the words on the screen stand for its output.
    pub(crate) fn run_answering(&self, arguments: &[&str], dialogue: &[(&str, &str)]) -> Result<Ended, Failed> {
        let (begun, longest) = (Instant::now(), u64::try_from(LONGEST.as_millis())?);
        let mut session = rexpect::session::spawn_command(self.command(arguments), Some(longest))?;
        let mut stdout = String::new();
        for (question, answer) in dialogue {
            stdout += &session.exp_string(question)?;
            session.send_line(answer)?;
        }
        stdout += &session.exp_eof()?;
        let code = match session.process().wait()? {
            WaitStatus::Exited(_, code) => Some(code),
            _ => None,
        };
        Ok(Ended { code, stdout, stderr: String::new(), took: begun.elapsed() })
    }

    /// Runs a pxc-link of a hint, as printed, on a terminal where a person agrees to what it asks.
    pub(crate) fn run_agreed(&self, argv: &[String]) -> Checked {
        let arguments: Vec<&str> = argv.iter().skip(1).map(String::as_str).collect();
        let longest = u64::try_from(LONGEST.as_millis())?;
        let mut session = rexpect::session::spawn_command(self.command(&arguments), Some(longest))?;
        let asked = session.exp_string("[y/N]");
        if asked.is_ok() {
            session.send_line("y")?;
        }
        let rest = session.exp_eof()?;
        let status = session.process().wait()?;
        if format!("{status:?}").ends_with(", 0)") {
            return Ok(());
        }
        Err(format!("the hint {argv:?} ended with {status:?}: {asked:?} {rest}").into())
    }

    /// Runs a command line of a hint, as printed.
    pub(crate) fn run_hint(&self, argv: &[String]) -> Checked {
        let Some((program, arguments)) = argv.split_first() else { return Err("an empty command".into()) };
        let mut command =
            if program == "pxc-link" { Command::new(env!("CARGO_BIN_EXE_pxc-link")) } else { Command::new(program) };
        command.args(arguments).current_dir(&self.folder).envs(&self.environment).stdin(Stdio::null());
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("the hint {argv:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
            .into())
    }
}

impl Ended {
    /// Demands an exit code.
    pub(crate) fn exits(&self, code: i32) -> Checked {
        if self.code == Some(code) { Ok(()) } else { Err(format!("exit code {code} was expected\n{self}").into()) }
    }

    /// Demands a text on either stream.
    pub(crate) fn says(&self, text: &str) -> Checked {
        if self.stdout.contains(text) || self.stderr.contains(text) {
            Ok(())
        } else {
            Err(format!("`{text}` was expected\n{self}").into())
        }
    }

    /// Demands a failure: exit code, the code of the first error, every text of the evidence, and what mends it.
    pub(crate) fn fails(&self, exit: i32, code: &str, evidence: &[&str]) -> Checked {
        self.exits(exit)?;
        let first = self.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        if !first.contains(&format!("[{code}]")) {
            return Err(format!("the first error should carry {code}\n{self}").into());
        }
        evidence.iter().try_for_each(|text| self.says(text))?;
        self.says("hint: ")
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr, took } = self;
        write!(f, "-- ended with {code:?} after {took:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}")
    }
}
