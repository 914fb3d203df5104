//! What a long command says while it runs: the boundaries of its stages and steps, for any renderer.

use serde::Serialize;

/// One thing that happened, in the order it happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line of every command that touches a cluster: what is about to be worked on.
    Target {
        /// The link.
        link: String,
        /// Context, namespace and name of the source, or its host and port.
        source: String,
        /// Context, namespace and pods of the side that uses the name, or host and port of the replica.
        client: String,
        /// The mesh name with its port; `None` on a link through no mesh.
        host: Option<String>,
    },
    /// Something begins.
    Started {
        /// What, as a phrase: `path from pxc-0`.
        what: String,
    },
    /// It is still going on.
    Waiting {
        /// What is waited for.
        what: String,
        /// What was seen last.
        seen: String,
        /// Seconds since it began.
        elapsed_seconds: f64,
        /// Seconds after which it is given up.
        deadline_seconds: f64,
    },
    /// It ended well.
    Done {
        /// What.
        what: String,
        /// What was seen.
        seen: String,
        /// Seconds it took.
        took_seconds: f64,
    },
    /// It ended, but something is to be looked at.
    Warned {
        /// What.
        what: String,
        /// The code.
        code: super::code::Code,
        /// What was seen.
        seen: String,
    },
    /// It ended badly; the error itself follows at the end of the run.
    Failed {
        /// What.
        what: String,
        /// The code.
        code: super::code::Code,
        /// Seconds it took.
        took_seconds: f64,
    },
    /// Something this run had made was taken back.
    TakenBack {
        /// What.
        what: String,
    },
}
