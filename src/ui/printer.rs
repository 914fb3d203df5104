//! The only way to the two streams: data to stdout, everything else to stderr; a closed pipe is no error.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use indicatif::ProgressBar;

use super::theme::{ColourChoice, Theme};
use crate::domain::{code::Code, problem::Problem};

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loudness {
    /// Errors only.
    Quiet,
    /// Events and notes too.
    #[default]
    Normal,
}

/// Writes to the streams. Clones write to the same streams and share the status line.
#[derive(Clone)]
pub struct Printer {
    shared: Arc<Shared>,
}

struct Shared {
    loudness: Loudness,
    out_theme: Theme,
    err_theme: Theme,
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    out_closed: AtomicBool,
    err_is_terminal: bool,
    /// The status line while one is drawn; text goes above it.
    bar: Mutex<Option<ProgressBar>>,
}

impl Printer {
    /// A printer on the process's stdout and stderr.
    pub fn new(loudness: Loudness, colour: ColourChoice) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        Self {
            shared: Arc::new(Shared {
                loudness,
                out_theme: Theme::of(&out, colour),
                err_theme: Theme::of(&err, colour),
                err_is_terminal: err.is_terminal(),
                out: Mutex::new(Box::new(out)),
                err: Mutex::new(Box::new(err)),
                out_closed: AtomicBool::new(false),
                bar: Mutex::new(None),
            }),
        }
    }

    /// How text for [`Printer::out`] is to look.
    pub fn out_theme(&self) -> Theme {
        self.shared.out_theme
    }

    /// How text for [`Printer::note`] and [`Printer::error`] is to look.
    pub fn err_theme(&self) -> Theme {
        self.shared.err_theme
    }

    /// Whether stderr is a terminal.
    pub fn err_is_terminal(&self) -> bool {
        self.shared.err_is_terminal
    }

    /// Whether the reader of stdout has gone; `monitor` ends then, without an error.
    pub fn out_is_closed(&self) -> bool {
        self.shared.out_closed.load(Ordering::Relaxed)
    }

    /// Whether events and notes are shown.
    pub fn is_quiet(&self) -> bool {
        self.shared.loudness == Loudness::Quiet
    }

    /// Data and results, to stdout at once. A line end is added where there is none.
    ///
    /// # Errors
    /// [`Code::OutputUnwritable`] when stdout cannot be written, a full disk for one; not when its reader has gone.
    pub fn out(&self, text: &str) -> Result<(), Problem> {
        if self.out_is_closed() {
            return Ok(());
        }
        match self.above_the_bar(|| write_all(&self.shared.out, text)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.shared.out_closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                Err(Problem::new(Code::OutputUnwritable, "cannot write the result to stdout").seen(error.to_string()))
            }
        }
    }

    /// What a person likes to know beside the result, to stderr; nothing when quiet.
    pub fn note(&self, text: &str) {
        if !self.is_quiet() {
            self.error(text);
        }
    }

    /// Errors, warnings and questions, to stderr, also when quiet.
    pub fn error(&self, text: &str) {
        // Where stderr cannot be written there is no place left to say so; the exit code still tells the end.
        let _ = self.above_the_bar(|| write_all(&self.shared.err, text));
    }

    /// Stderr for a log, such as the writer that `tracing_subscriber` asks for at every line.
    pub fn log_writer(&self) -> LogWriter {
        LogWriter(self.clone())
    }

    /// A question: the cursor stays behind it.
    pub(super) fn ask(&self, question: &str) -> io::Result<()> {
        self.above_the_bar(|| {
            let mut err = lock(&self.shared.err);
            write!(err, "{question} ")?;
            err.flush()
        })
    }

    /// Puts a status line below all text, or takes it away.
    pub(super) fn set_bar(&self, bar: Option<ProgressBar>) {
        if let Some(old) = std::mem::replace(&mut *lock(&self.shared.bar), bar) {
            old.finish_and_clear();
        }
    }

    fn above_the_bar<T>(&self, write: impl FnOnce() -> T) -> T {
        match &*lock(&self.shared.bar) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// Stderr for a log: what is written to it goes above the status line. Write whole lines.
pub struct LogWriter(Printer);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.error(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A thread that panicked in the middle of a line leaves at worst half a line.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_all(stream: &Mutex<Box<dyn Write + Send>>, text: &str) -> io::Result<()> {
    let mut stream = lock(stream);
    stream.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        stream.write_all(b"\n")?;
    }
    stream.flush()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a printer wrote to one stream.
    #[derive(Clone, Default)]
    pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A printer on two streams of the test's own.
    pub(crate) fn printer(
        loudness: Loudness,
        theme: Theme,
        terminal: bool,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Printer {
        Printer {
            shared: Arc::new(Shared {
                loudness,
                out_theme: theme,
                err_theme: theme,
                err_is_terminal: terminal,
                out: Mutex::new(Box::new(out)),
                err: Mutex::new(Box::new(err)),
                out_closed: AtomicBool::new(false),
                bar: Mutex::new(None),
            }),
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_is_noticed() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let printer = printer(Loudness::Normal, Theme::default(), false, writer, Page::default());
        assert!(!printer.out_is_closed());
        printer.out("x").unwrap();
        assert!(printer.out_is_closed());
        printer.out("y").unwrap();
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let printer = printer(Loudness::Normal, Theme::default(), false, full, Page::default());
        assert_eq!(printer.out("x").unwrap_err().code, Code::OutputUnwritable);
    }

    #[test]
    fn quiet_leaves_results_and_errors() {
        let (out, err) = (Page::default(), Page::default());
        let printer = printer(Loudness::Quiet, Theme::default(), false, out.clone(), err.clone());
        printer.out("result").unwrap();
        printer.note("note");
        printer.error("error");
        assert_eq!((out.text().as_str(), err.text().as_str()), ("result\n", "error\n"));
    }
}
