//! The shell that a container gets for everything that is to be run in it: starting one costs a cluster many times what the
//! commands themselves do.
//!
//! It reads on its standard input what it is to run, so nothing of it is in an argument, and runs commands side by side. What they
//! print comes back as lines of text that say whose it is, in the hexadecimal numbers of `od`, since it may be any bytes and comes
//! mixed. At the end of its input it waits for what it began: a container's first process is a server, which would never reap it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{future::join_all, stream};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::{OnceCell, mpsc, oneshot},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use super::{Gate, Place};
use crate::{
    k8s::{
        K8sError,
        exec::{Running, start},
    },
    wait::Deadline,
};

/// What the shell is: it evaluates lines that begin with `|` once a line with a dot follows. Of the functions with which a command's
/// output and end are told, descriptor 3 takes the exit code out of the pipes, 4 standard error past standard output, 5 is where
/// everything is told. It outlives whoever reads that, to reap its commands. Ends with 127 where the container has no `od`, and where `printf`, which is given the secrets, is a program,
/// whose arguments everybody can read.
const SHELL: &str = include_str!("shell.sh");
/// What starting a shell in a container may take.
const STARTING: Duration = Duration::from_secs(10);
/// What is kept of what a command prints, if nothing else is said.
pub(super) const OUTPUT: u32 = 1 << 14;

/// One command for a shell.
pub(super) struct Command {
    /// The program, or a function of [`SHELL`], and its arguments; none of them a secret.
    pub argv: Vec<String>,
    /// What it gets on standard input, which ends there; nothing otherwise.
    pub stdin: Option<SecretString>,
    /// How many bytes of its standard output are kept at the most, and how many of its standard error.
    pub most: u32,
    /// What it may take, counted from when the gate opens.
    pub limit: Duration,
    /// What it does, as a phrase for the case that it does not end: `looking at files`.
    pub what: String,
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// Standard output, as far as it is kept.
    pub stdout: Vec<u8>,
    /// Standard error, as far as it is kept.
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

/// How one of several commands went.
pub(super) struct Went {
    /// Milliseconds that it took, from when the shell was there and the gate was open.
    pub took_ms: u64,
    /// Its end; one that has not ended in time is `TimedOut`.
    pub ended: Result<Ended, K8sError>,
}

/// The shells of a run, by pod and container, each kept until it ends or a command in it hangs. They end with the run, as their
/// standard input does.
#[derive(Default)]
pub struct Shells(Mutex<HashMap<(String, String), Slot>>);

/// Where a container's shell is, or is being started.
type Slot = Arc<OnceCell<Arc<Shell>>>;

impl Shells {
    /// The one of a container, started if there is none.
    ///
    /// # Errors
    /// Those of [`start`], and `Pod` where that took too long: it says nothing of what a command would have met.
    async fn of(&self, place: Place<'_>, deadline: Deadline) -> Result<Arc<Shell>, K8sError> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = slots.entry((place.pod.to_owned(), place.container.to_owned())).or_default();
            if slot.get().is_some_and(|shell| shell.is_spent()) {
                *slot = Slot::default();
            }
            slot.clone()
        };
        let shell = slot.get_or_try_init(async || Shell::start(place, deadline).await.map(Arc::new));
        match deadline.bound(shell).await {
            Ok(Err(K8sError::TimedOut { elapsed, .. })) | Err(elapsed) => {
                Err(place.broken("starting a shell", elapsed.to_string()))
            }
            Ok(shell) => shell.cloned(),
        }
    }
}

/// Hands commands to the container's shell once the gate is open, and gives how each of them went, in their order.
pub(super) async fn run(place: Place<'_>, commands: &[&Command], gate: &Gate, deadline: Deadline) -> Vec<Went> {
    let shell = place.shells.of(place, deadline.at_most(STARTING)).await;
    // Where the time is over first, so it is for the commands.
    let _open = deadline.bound(gate.wait()).await;
    let opened = Instant::now();
    let ended = match shell {
        Ok(shell) => shell.run(place, commands, deadline).await,
        Err(error) => commands.iter().map(|_| (Err(error.clone()), opened)).collect(),
    };
    let took = |at: Instant| u64::try_from((at - opened).as_millis()).unwrap_or(u64::MAX);
    ended.into_iter().map(|(ended, at)| Went { took_ms: took(at), ended }).collect()
}

/// A shell that runs, or ran.
struct Shell {
    todo: mpsc::UnboundedSender<Todo>,
    next: AtomicUsize,
    /// Its end; set before those who wait for a command of its learn that they wait in vain.
    over: Over,
    /// Whether a command has not ended in time, so that nobody knows whether the shell is still there.
    hangs: AtomicBool,
    _serves: AbortOnDropHandle<()>,
}

/// The exit code of a shell and what it said on standard error, or why there is none.
type Over = Arc<OnceLock<Result<(i32, String), K8sError>>>;

/// Commands for a shell, as it reads them, and who waits for the end of each.
struct Todo {
    text: SecretString,
    waiting: Vec<(usize, oneshot::Sender<Ended>)>,
}

impl Shell {
    async fn start(place: Place<'_>, deadline: Deadline) -> Result<Self, K8sError> {
        let running = start(place.cluster, place.pod, place.container, &["sh", "-c", SHELL], deadline).await?;
        let (todo, todos) = mpsc::unbounded_channel();
        let over = Over::default();
        let serves = AbortOnDropHandle::new(tokio::spawn(serve(running, todos, over.clone())));
        Ok(Self { todo, next: AtomicUsize::default(), over, hangs: AtomicBool::default(), _serves: serves })
    }

    fn is_spent(&self) -> bool {
        self.over.get().is_some() || self.hangs.load(Ordering::Relaxed)
    }

    /// How each command ended, and when.
    async fn run(
        &self,
        place: Place<'_>,
        commands: &[&Command],
        deadline: Deadline,
    ) -> Vec<(Result<Ended, K8sError>, Instant)> {
        let first = self.next.fetch_add(commands.len(), Ordering::Relaxed);
        let (waiting, ends): (Vec<_>, Vec<_>) = (first..)
            .zip(commands)
            .map(|(number, command)| {
                let (told, end) = oneshot::channel();
                ((number, told), (*command, end))
            })
            .unzip();
        // What a shell that has ended does not take is dropped, and with it the senders that the ends below wait for.
        drop(self.todo.send(Todo { text: script(first, commands), waiting }));
        join_all(ends.into_iter().map(|(command, end)| async move {
            let ended = match deadline.at_most(command.limit).bound(end).await {
                Ok(Ok(ended)) => Ok(ended),
                Ok(Err(_)) => {
                    match self.over.get().expect("a shell says how it ended before it drops what it was to do") {
                        // It had nothing to run commands with.
                        Ok((127, _)) => Ok(Ended { code: 127, ..Ended::default() }),
                        Ok((code, said)) => {
                            Err(place.broken(&command.what, format!("the shell ended with {code} before that: {said}")))
                        }
                        Err(error) => Err(error.clone()),
                    }
                }
                Err(elapsed) => {
                    self.hangs.store(true, Ordering::Relaxed);
                    let what = place.doing(&command.what);
                    Err(K8sError::TimedOut { target: place.cluster.target(), what, elapsed })
                }
            };
            (ended, Instant::now())
        }))
        .await
    }
}

/// Feeds a shell and tells the ends of its commands, to its own end.
async fn serve(running: Running, mut todos: mpsc::UnboundedReceiver<Todo>, over: Over) {
    let heard = Mutex::new(Heard::default());
    let input = stream::unfold(&mut todos, async |todos| {
        let Todo { text, waiting } = todos.recv().await?;
        heard.lock().unwrap_or_else(PoisonError::into_inner).wait(waiting);
        Some((text, todos))
    });
    let hear = |bytes: &[u8]| heard.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
    let ended = running.follow(input, hear).await;
    let _once = over.set(ended);
}

/// What a shell is to run, in the form in which it reads that.
fn script(first: usize, commands: &[&Command]) -> SecretString {
    let mut text = String::new();
    for (number, Command { argv, stdin, most, .. }) in (first..).zip(commands) {
        let stdin = stdin.as_ref().map_or("''".into(), |stdin| shell_words::quote(stdin.expose_secret()));
        let command = format!("given={stdin}\ntell {number} {most} {}", shell_words::join(argv));
        text = format!("{text}|{}\n.\n", command.replace('\n', "\n|"));
    }
    text.into()
}

/// What came of each command so far.
#[derive(Default)]
struct Heard {
    commands: HashMap<usize, (Ended, oneshot::Sender<Ended>)>,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

impl Heard {
    fn wait(&mut self, waiting: Vec<(usize, oneshot::Sender<Ended>)>) {
        self.commands.extend(waiting.into_iter().map(|(number, told)| (number, (Ended::default(), told))));
    }

    fn take(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        let Some(last) = self.begun.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = self.begun.split_off(last + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        for line in String::from_utf8_lossy(&whole).lines() {
            // Nothing but the functions of the shell writes there; a line of another form belongs to no command.
            let _known = self.line(line);
        }
    }

    /// `2 out 6d 79 …`, `2 err …`, or `2 end 0`.
    fn line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let (ended, _) = self.commands.get_mut(&number)?;
        match words.next()? {
            "out" => ended.stdout.extend(words.filter_map(|byte| u8::from_str_radix(byte, 16).ok())),
            "err" => ended.stderr.extend(words.filter_map(|byte| u8::from_str_radix(byte, 16).ok())),
            "end" => {
                ended.code = words.next()?.parse().ok()?;
                let (ended, told) = self.commands.remove(&number)?;
                // Whoever waited may have given up.
                let _waits = told.send(ended);
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
        let (stdin, limit, what) = (stdin.map(SecretString::from), Duration::from_secs(9), String::new());
        Command { argv, stdin, most: OUTPUT, limit, what }
    }

    fn waiting(numbers: impl IntoIterator<Item = usize>) -> (Heard, Vec<oneshot::Receiver<Ended>>) {
        let (waiting, ends) = numbers
            .into_iter()
            .map(|number| {
                let (told, end) = oneshot::channel();
                ((number, told), end)
            })
            .unzip();
        let mut heard = Heard::default();
        heard.wait(waiting);
        (heard, ends)
    }

    /// By a shell of this machine, which ends with its standard input.
    fn run_by(shell: &str, commands: &[&Command]) -> Vec<Option<Ended>> {
        let mut child = Process::new(shell)
            .args(["-c", SHELL])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(script(7, commands).expose_secret().as_bytes()).unwrap();
        drop(stdin);
        let mut stdout = child.stdout.take().unwrap();
        let (mut heard, ends) = waiting(7..7 + commands.len());
        let mut buffer = [0; 7];
        while let count @ 1.. = stdout.read(&mut buffer).unwrap() {
            heard.take(&buffer[..count]);
        }
        assert_eq!(child.wait().unwrap().code(), Some(0));
        ends.into_iter().map(|mut end| end.try_recv().ok()).collect()
    }

    #[test]
    fn each_command_has_its_own_input_output_and_end() {
        let given = "a\\b 'c'\n.\n|\"$HOME\"\n";
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
        let (mut heard, mut ends) = waiting(0..2);
        heard.take(b"1 out 6f\n9 end 0\nbash: something\n1 end");
        assert!(ends.iter_mut().all(|end| end.try_recv().is_err()));
        heard.take(b" 2\n");
        assert_eq!(ends[1].try_recv(), Ok(Ended { stdout: b"o".into(), stderr: Vec::new(), code: 2 }));
        assert!(ends[0].try_recv().is_err());
    }
}
