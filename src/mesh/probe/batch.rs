//! Commands that run side by side in one container, started by one exec: starting one costs a cluster many times what the commands
//! themselves do.
//!
//! A shell reads on its standard input what it is to run, so nothing of it is in an argument, and nothing runs before it is sent.
//! What the commands print comes back as lines of text that say whose it is, in the hexadecimal numbers of `od`, since it may be
//! any bytes and comes mixed.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::{Gate, Place};
use crate::{
    k8s::{
        K8sError,
        exec::{Running, start},
    },
    wait::Deadline,
};

/// The functions with which a command's output and end are told. Descriptor 3 takes the exit code out of the pipes, 4 standard
/// error past standard output, 5 is where everything is told. Ends with 127 where the container has no `od`, and where `printf`,
/// which is given the secrets, is a program, whose arguments everybody can read.
const TELL: &str = include_str!("batch.sh");
/// What starting a shell in a container may take.
const STARTING: Duration = Duration::from_secs(10);

/// One command of a batch.
pub(super) struct Command {
    /// The program, or a function of [`TELL`], and its arguments; none of them a secret.
    pub argv: Vec<String>,
    /// What it gets on standard input, which ends there; nothing otherwise.
    pub stdin: Option<SecretString>,
    /// What it may take, counted from when the gate opens; a batch is followed for the longest of its commands.
    pub limit: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// Standard output, at most 16 KiB, as is what follows.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Its exit code, 0 to 255; 127 where the container has no such program.
    pub code: i32,
}

impl Ended {
    /// Standard output as text.
    pub(super) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text, without white space around it.
    pub(super) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// How one command of a batch went.
pub(super) struct Went {
    /// Milliseconds that it took, with the start of the shell and without the time at the gate.
    pub took_ms: u64,
    /// Its end; one that has not ended in time is `TimedOut`.
    pub ended: Result<Ended, K8sError>,
}

/// Starts a shell in a container, hands it the commands once the gate is open, and gives how each of them went, in their order.
/// What has ended before the stream to the container broke, or before the time was over, keeps its end.
pub(super) async fn run(place: Place<'_>, commands: &[&Command], gate: &Gate, deadline: Deadline) -> Vec<Went> {
    let begun = Instant::now();
    let started = start(place.cluster, place.pod, place.container, &["sh"], deadline.at_most(STARTING)).await;
    let starting = begun.elapsed();
    gate.wait().await;
    let opened = Instant::now();
    let mut heard = Heard::of(commands.len());
    let rest = match started {
        Ok(running) => follow(running, commands, &mut heard, deadline).await,
        Err(error) => Err(error),
    };
    let took = |ended: Instant| u64::try_from((starting + (ended - opened)).as_millis()).unwrap_or(u64::MAX);
    let over = Instant::now();
    heard
        .commands
        .into_iter()
        .map(|(ended, at)| match (at, &rest) {
            (Some(at), _) => Went { took_ms: took(at), ended: Ok(ended) },
            (None, Ok(code)) => Went { took_ms: took(over), ended: Ok(Ended { code: *code, ..ended }) },
            (None, Err(error)) => Went { took_ms: took(over), ended: Err(error.clone()) },
        })
        .collect()
}

/// Gives the exit code of the shell, which matters for commands that it did not come to.
async fn follow(
    running: Running,
    commands: &[&Command],
    heard: &mut Heard,
    deadline: Deadline,
) -> Result<i32, K8sError> {
    let script = script(commands);
    let limit = commands.iter().map(|command| command.limit).max().unwrap_or_default();
    let tell = |bytes: &[u8]| heard.take(bytes);
    let (code, said) = running.follow(script.expose_secret().as_bytes(), tell, deadline.at_most(limit)).await?;
    if !said.is_empty() {
        tracing::debug!("the shell of the probes said: {said}");
    }
    Ok(code)
}

/// What the shell is to run.
fn script(commands: &[&Command]) -> SecretString {
    let mut text = TELL.to_owned();
    for (place, Command { argv, stdin, .. }) in commands.iter().enumerate() {
        let stdin = stdin.as_ref().map_or("''".into(), |stdin| shell_words::quote(stdin.expose_secret()));
        text = format!("{text}given={stdin}\ntell {place} {} &\n", shell_words::join(argv));
    }
    // Its input stays open, so it has to end by itself.
    (text + "wait\nexit 0\n").into()
}

/// What came of each command so far, and when it ended.
struct Heard {
    commands: Vec<(Ended, Option<Instant>)>,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

impl Heard {
    fn of(commands: usize) -> Self {
        Self { commands: vec![(Ended::default(), None); commands], begun: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            // Nothing but the functions of the shell writes there; a line of another form belongs to no command.
            let _known = self.line(&String::from_utf8_lossy(&line));
        }
    }

    /// `2 out 6d 79 …`, `2 err …`, or `2 end 0`.
    fn line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_whitespace();
        let (ended, at) = self.commands.get_mut(words.next()?.parse::<usize>().ok()?)?;
        match words.next()? {
            "out" => ended.stdout.extend(words.filter_map(|byte| u8::from_str_radix(byte, 16).ok())),
            "err" => ended.stderr.extend(words.filter_map(|byte| u8::from_str_radix(byte, 16).ok())),
            "end" => {
                ended.code = words.next()?.parse().ok()?;
                *at = Some(Instant::now());
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        process::{Command as Process, Stdio},
    };

    use super::*;

    fn command(argv: &[&str], stdin: Option<&str>) -> Command {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Command { argv, stdin: stdin.map(SecretString::from), limit: Duration::from_secs(9) }
    }

    /// By a shell of this machine, whose standard input stays open.
    fn run_by(shell: &str, commands: &[&Command]) -> Vec<Option<Ended>> {
        let mut child =
            Process::new(shell).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(script(commands).expose_secret().as_bytes()).unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut heard = Heard::of(commands.len());
        let mut buffer = [0; 7];
        while let count @ 1.. = stdout.read(&mut buffer).unwrap() {
            heard.take(&buffer[..count]);
        }
        assert_eq!(child.wait().unwrap().code(), Some(0));
        drop(stdin);
        heard.commands.into_iter().map(|(ended, at)| at.map(|_| ended)).collect()
    }

    #[test]
    fn each_command_has_its_own_input_output_and_end() {
        let given = "a\\b 'c' \"$HOME\"\n";
        let commands = [
            command(&["sh", "-c", "printf '\\377\\000\\n'; echo no >&2; exit 3"], None),
            command(&["cat"], Some(given)),
            command(&["no-such-program-anywhere", "x"], None),
            command(&["sh", "-c", "cat; echo \"$0\"", "last $(one)"], None),
        ];
        for shell in ["sh", "bash"] {
            let ended = run_by(shell, &commands.each_ref());
            let ended: Vec<Ended> = ended.into_iter().map(Option::unwrap).collect();
            let [bytes, cat, none, last] = &ended[..] else { panic!("{ended:?}") };
            assert_eq!((bytes.stdout.as_slice(), bytes.err().as_str(), bytes.code), (&b"\xff\0\n"[..], "no", 3));
            assert_eq!((cat.out().as_str(), cat.code), (given, 0), "{shell}");
            assert_eq!((none.out().as_str(), none.code), ("", 127));
            assert_eq!((last.out().as_str(), last.code), ("last $(one)\n", 0));
        }
    }

    #[test]
    fn endless_output_is_cut_and_ends_its_command_only() {
        let commands = [command(&["yes"], None), command(&["echo", "here"], None)];
        let ended = run_by("sh", &commands.each_ref());
        assert_eq!(ended[0].as_ref().map(|ended| ended.stdout.len()), Some(16384));
        assert_eq!(ended[1].as_ref().map(Ended::out).as_deref(), Some("here\n"));
    }

    #[test]
    fn what_has_not_ended_and_what_is_no_line_of_ours_is_no_end() {
        let mut heard = Heard::of(2);
        heard.take(b"1 out 6f\n9 end 0\nbash: something\n1 end");
        assert!(heard.commands.iter().all(|(_, at)| at.is_none()));
        heard.take(b" 2\n");
        assert_eq!(heard.commands[1].0, Ended { stdout: b"o".into(), stderr: Vec::new(), code: 2 });
        assert!(heard.commands[1].1.is_some() && heard.commands[0].1.is_none());
    }
}
