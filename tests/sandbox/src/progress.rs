//! What a long command says while it works: a line when a piece starts, a line when it ends, and what is left.

use std::{
    fmt::Write as _,
    io::Write as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Prints plain lines on stderr, each with the time since the command started. May be shared by threads.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    quiet: bool,
    left: Mutex<Vec<String>>,
}

/// One piece of work that has been announced; say [`Piece::done`] when it is finished.
#[derive(Debug)]
#[must_use = "a piece that is never done stays in the list of what is left"]
pub struct Piece<'a> {
    progress: &'a Progress,
    name: String,
    started: Instant,
}

impl Progress {
    /// Starts the clock.
    pub fn new() -> Self {
        Self { started: Instant::now(), quiet: false, left: Mutex::default() }
    }

    /// A progress that prints nothing, for callers that show their own.
    pub fn silent() -> Self {
        Self { quiet: true, ..Self::new() }
    }

    /// Says in advance what there is to do; the names are counted down as the pieces end.
    pub fn expect<S: Into<String>>(&self, names: impl IntoIterator<Item = S>) {
        self.left().extend(names.into_iter().map(Into::into));
    }

    /// Announces a piece of work. `doing` says what happens, such as "go build (7 programs)".
    pub fn begin(&self, name: &str, doing: &str) -> Piece<'_> {
        self.say(&format!("{name:<14} {doing}"));
        Piece { progress: self, name: name.to_owned(), started: Instant::now() }
    }

    /// A line that belongs to no piece.
    pub fn note(&self, text: &str) {
        self.say(text);
    }

    /// Time since the command started.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn left(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            // One write per line, so that the lines of two threads do not mix; a closed stderr is nobody's failure.
            let line = format!("{:>6}  {text}\n", clock(self.elapsed()));
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Piece<'_> {
    /// Counts the piece as finished and says what is left.
    pub fn done(self) {
        let mut line = format!("{:<14} done in {}", self.name, took(self.started.elapsed()));
        {
            let mut left = self.progress.left();
            left.retain(|name| *name != self.name);
            // `write!` into a String cannot fail.
            let _ = match left.as_slice() {
                [] => Ok(()),
                names => write!(line, "; {} left: {}", names.len(), names.join(" ")),
            };
        }
        self.progress.say(&line);
    }
}

/// Minutes and seconds as on a clock: `0:07`, `12:30`.
fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// A time for reading: `0.4 s`, `7 s`, `12 min 30 s`.
pub fn took(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(clock(Duration::from_secs(7)), "0:07");
        assert_eq!(clock(Duration::from_secs(750)), "12:30");
        assert_eq!(took(Duration::from_millis(420)), "0.4 s");
        assert_eq!(took(Duration::from_secs(59)), "59 s");
        assert_eq!(took(Duration::from_secs(750)), "12 min 30 s");
    }

    #[test]
    fn a_finished_piece_is_no_longer_left() {
        let progress = Progress::silent();
        progress.expect(["one", "two"]);
        progress.begin("one", "working").done();
        assert_eq!(*progress.left(), ["two"]);
    }
}
