//! What a program asks through relays: counted, and the program killed at a request where that is wanted.
//!
//! A request is what a client sends after it was answered, until the next answer begins. That is one request of HTTP/1.1 and one
//! statement of MySQL, in clear or in TLS, since neither sends the next before it has an answer; of a WebSocket it is each turn of
//! whatever goes through it. The handshake of TLS, where it passes the relay, counts as what it is: one or two turns.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::{FDTarget, Process};
use tokio::process::{Child, Command};

/// When a program is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// At which of its requests, from 1 on.
    pub request: usize,
    /// At which moment of it.
    pub moment: Moment,
    /// Who is killed in its place, if it is not the program itself.
    pub other: Option<i32>,
}

/// A moment of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the server gets it.
    Unsent,
    /// When the server's answer begins, of which the program gets nothing: what it asked for has happened.
    Unanswered,
}

impl Moment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Unsent, Self::Unanswered];
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unsent => "unsent",
            Self::Unanswered => "unanswered",
        })
    }
}

/// A request as the relay saw it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method and path of HTTP; else nothing.
    pub what: Option<String>,
    /// When it came.
    pub begun: Instant,
    /// When its answer began; `None` where there was none.
    pub answered: Option<Instant>,
}

impl Asked {
    /// How many of some requests were made one after the other, each after the answer to the one before. With a delay that is long
    /// beside everything else this is what a program waits for.
    pub fn in_a_row(requests: &[Self]) -> usize {
        let mut spans: Vec<(Instant, Instant)> =
            requests.iter().filter_map(|asked| Some((asked.answered?, asked.begun))).collect();
        spans.sort_unstable();
        let mut last = None;
        spans
            .into_iter()
            .filter(|(answered, begun)| {
                let after = last.is_none_or(|last| *begun >= last);
                if after {
                    last = Some(*answered);
                }
                after
            })
            .count()
    }
}

/// The requests of one program, through as many relays as it has servers.
pub struct Requests {
    /// Whether others use the relays, too, whose requests are passed on unseen.
    shared: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    process: Option<Pid>,
    kill: Option<Kill>,
    killed: bool,
    asked: Vec<Asked>,
}

impl Requests {
    /// Whoever uses the relays is the program.
    pub fn of_everybody() -> Arc<Self> {
        Arc::new(Self { shared: false, state: Mutex::default() })
    }

    /// Only what the program's own process sends is a request of it: a replica uses the same address of its source.
    pub fn of_its_process() -> Arc<Self> {
        Arc::new(Self { shared: true, state: Mutex::default() })
    }

    /// Starts the program and begins to count anew.
    pub fn start(&self, command: &mut Command, kill: Option<Kill>) -> io::Result<Child> {
        // Held meanwhile, so that its first connection finds out whose it is.
        let mut state = self.state();
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        *state = State { process: id.map(Pid::from_raw), kill, ..State::default() };
        Ok(child)
    }

    /// What it asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// Whether it was killed at its request.
    pub fn has_killed(&self) -> bool {
        self.state().killed
    }

    /// A connection that was accepted from somebody.
    pub(super) fn conversation(self: &Arc<Self>, peer: SocketAddr) -> Conversation {
        let watched = !self.shared || self.state().process.is_some_and(|process| owns(process, peer));
        Conversation { requests: watched.then(|| self.clone()), turn: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Kills once; the connection ends with it.
    fn kill(&mut self) -> io::Result<()> {
        let other = self.kill.take().and_then(|kill| kill.other).map(Pid::from_raw);
        if let Some(process) = other.or(self.process) {
            kill(process, Signal::SIGKILL)?;
        }
        self.killed = true;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// Whether a process has the socket that a connection came from.
fn owns(process: Pid, peer: SocketAddr) -> bool {
    let Ok(process) = Process::new(process.as_raw()) else { return false };
    let Ok(sockets) = process.tcp() else { return false };
    let inodes: BTreeSet<u64> =
        sockets.into_iter().filter(|socket| socket.local_address == peer).map(|socket| socket.inode).collect();
    let files = process.fd().into_iter().flatten().flatten();
    let mut targets = files.map(|file| file.target);
    targets.any(|target| matches!(target, FDTarget::Socket(inode) if inodes.contains(&inode)))
}

/// One connection of the program, or of somebody else.
pub(super) struct Conversation {
    requests: Option<Arc<Requests>>,
    turn: Mutex<Turn>,
}

/// Who spoke last.
#[derive(Default)]
struct Turn {
    /// The request that waits for its answer, by its place.
    open: Option<usize>,
    /// Its answer kills.
    fatal: bool,
}

impl Conversation {
    /// A piece of the client's, before it is passed on; an error where it must not be. Its end asks for nothing.
    pub(super) fn asks(&self, piece: &[u8]) -> io::Result<()> {
        let Some(requests) = &self.requests else { return Ok(()) };
        let (mut state, mut turn) = (requests.state(), self.turn());
        if turn.open.is_some() || piece.is_empty() {
            return Ok(());
        }
        turn.open = Some(state.asked.len());
        state.asked.push(Asked { what: request_line(piece), begun: Instant::now(), answered: None });
        match state.kill {
            Some(Kill { request, moment, .. }) if request == state.asked.len() => match moment {
                Moment::Unsent => state.kill(),
                Moment::Unanswered => {
                    turn.fatal = true;
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }

    /// A piece of the server's, before it is passed on; an error where it must not be. Its end is all the answer that a goodbye gets.
    pub(super) fn answers(&self) -> io::Result<()> {
        let Some(requests) = &self.requests else { return Ok(()) };
        let (mut state, mut turn) = (requests.state(), self.turn());
        if let Some(open) = turn.open.take()
            && let Some(asked) = state.asked.get_mut(open)
        {
            asked.answered = Some(Instant::now());
        }
        if turn.fatal { state.kill() } else { Ok(()) }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Method and path of a request of HTTP, without its query.
fn request_line(piece: &[u8]) -> Option<String> {
    let line = piece.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?.strip_suffix(" HTTP/1.1")?;
    Some(line.split('?').next().unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_waits_for_an_answer_is_in_a_row() {
        let at = Instant::now();
        let asked = |begun: u64, answered: u64| Asked {
            what: None,
            begun: at + Duration::from_millis(begun),
            answered: Some(at + Duration::from_millis(answered)),
        };
        assert_eq!(Asked::in_a_row(&[]), 0);
        assert_eq!(Asked::in_a_row(&[asked(0, 100), asked(0, 110), asked(5, 103)]), 1);
        assert_eq!(Asked::in_a_row(&[asked(0, 300), asked(0, 100), asked(100, 200), asked(210, 310)]), 3);
    }

    #[test]
    fn a_request_of_http_is_known_by_its_line() {
        let line = |text: &str| request_line(text.as_bytes());
        assert_eq!(line("PATCH /apis/x/y?dryRun=All HTTP/1.1\r\nhost: a\r\n").as_deref(), Some("PATCH /apis/x/y"));
        assert_eq!(line("\u{16}\u{3}\u{1}"), None);
    }
}
