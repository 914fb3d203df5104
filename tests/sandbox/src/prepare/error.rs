//! What can go wrong while the cache is filled.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

use crate::{host::Refusal, progress::took};

/// Why `prepare` ended without a full cache, or why a cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The host lacks something that the sandbox does not bring itself.
    #[error(transparent)]
    Host(#[from] Refusal),
    /// One part could not be made; what was finished before stays.
    #[error("part `{part}` could not be made: {source}\nits log: {}\nrun `cargo sandbox prepare` again to go on from here", log.display())]
    Part { part: &'static str, log: PathBuf, source: Box<StepError> },
    /// Ended by a signal; what was finished stays.
    #[error("interrupted; run `cargo sandbox prepare` again to go on from here")]
    Interrupted,
    /// The cache has not been filled, or for other sources than this checkout's.
    #[error("the sandbox's cache lacks {}; run `cargo sandbox prepare`", missing.join(", "))]
    NotPrepared { missing: Vec<&'static str> },
    /// Worlds are running out of the cache that was to be emptied.
    #[error("the cache is in use by {}; run `cargo sandbox down --name {}` first", worlds.join(", "), worlds[0])]
    InUse { worlds: Vec<String> },
    /// Another process has held the cache's lock for longer than any work on it takes.
    #[error("another `cargo sandbox` has worked on the cache for {}; see what it does (`fuser .lock` there), or end it", took(*after))]
    Busy { after: Duration },
    /// The cache's own files cannot be handled.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

/// Why one step of making a part failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A program ended with an error.
    #[error("`{program}` failed ({status}) while it was to {what}{}", last_words(last_line))]
    Program { what: String, program: String, status: ExitStatus, last_line: String },
    /// A program could not be started.
    #[error("`{program}` could not be started to {what}: {source}")]
    Start { what: String, program: String, source: io::Error },
    /// A program did not end, or a service did not answer, in time.
    #[error("no end after {} while trying to {what}", took(*after))]
    Deadline { what: String, after: Duration },
    /// Ended by a signal.
    #[error("interrupted")]
    Interrupted,
    /// A pinned archive or package is no longer offered.
    #[error("{what} is gone from {place}; take a version that is offered there and change it in the sandbox's sources")]
    Gone { what: String, place: String },
    /// A pinned archive or package is offered, but not with the content that was pinned or signed.
    #[error("{what} has changed: expected {expected}, got {got}; nothing of it was used")]
    Changed { what: String, expected: String, got: String },
    /// An index or archive could not be fetched.
    #[error("cannot fetch {what}: {source}")]
    Fetch { what: String, source: Box<ureq::Error> },
    /// An archive that was fetched and checked cannot be read.
    #[error("cannot unpack {what}: {source}")]
    Unpack { what: String, source: zip::result::ZipError },
    /// An image's description is not valid.
    #[error("cannot describe the image {image}: {source}")]
    Image { image: String, source: oci_spec::OciSpecError },
    /// A part was made but does not do what it is for.
    #[error("{what} was made but does not work: {seen}")]
    Unfit { what: String, seen: String },
    /// A file cannot be handled.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

fn last_words(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!(": {line}") }
}

/// Adds the file and what was done with it to an [`io::Error`].
pub(super) trait Doing<T> {
    fn doing(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, StepError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, StepError> {
        self.map_err(|source| StepError::Io { what, path: path.into(), source })
    }
}
