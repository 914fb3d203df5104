//! What can go wrong with a world, each with what was tried, what was seen and what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::pki::PkiError;

/// A world that could not be raised, used or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// The name given is none.
    #[error("{0:?} is no name for a world: use 1 to 20 of a-z, 0-9 and `-`, beginning with a letter")]
    Name(String),
    /// No world of that name stands.
    #[error("there is no world {name:?}; raise it with `cargo sandbox up --name {name}`")]
    Absent {
        /// The name asked for.
        name: String,
    },
    /// No pair of that name stands.
    #[error("there are no plain servers {name:?}; raise them with `cargo sandbox plain up --name {name}`")]
    NoPlain {
        /// The name asked for.
        name: String,
    },
    /// There is no MySQL in the cache.
    #[error("the cache holds no MySQL; fill it with `cargo sandbox prepare`")]
    NotPrepared,
    /// What is asked for cannot be.
    #[error("cannot raise such a world: {0}")]
    Options(&'static str),
    /// A node that is needed is gone.
    #[error("the node {node} does not run; `cargo sandbox up` for its world restarts it")]
    NodeGone {
        /// The node's directory or name.
        node: String,
    },
    /// No part of the world is called so, or it has not written anything.
    #[error("no part {part:?} of this world has a log; `cargo sandbox status` lists the parts")]
    NoLog {
        /// The name given.
        part: String,
    },
    /// A kubeconfig of the world is unusable.
    #[error("could not use the kubeconfig {path}: {cause}; `cargo sandbox up` writes it anew")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A standing world cannot become what was asked for.
    #[error(
        "the world {name:?} stands with {has}, asked for was {wanted}; run `cargo sandbox down --name {name}` first"
    )]
    Differs {
        /// Name of the world.
        name: String,
        /// The option as it is.
        has: String,
        /// The option as it was asked for.
        wanted: String,
    },
    /// Another process raises or removes the same world.
    #[error("another process has had the lock {path} for {waited:?}; wait for it or end it")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long this process waited.
        waited: Duration,
    },
    /// The addresses for worlds are used up.
    #[error("no free network 198.18.N.0/24: {seen}; remove a world with `cargo sandbox down --name NAME`")]
    NoNetwork {
        /// Who has them.
        seen: String,
    },
    /// The system refused.
    #[error("could not {what}: {cause}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Certificates could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A Kubernetes API refused or did not answer.
    #[error("could not {what} in cluster {cluster}: {cause}")]
    Api {
        /// What was tried.
        what: String,
        /// Kubernetes context.
        cluster: &'static str,
        /// What the client said.
        cause: Box<kube::Error>,
    },
    /// A manifest of the repository or of Istio cannot be read.
    #[error("could not read the manifest {name}: {cause}")]
    Manifest {
        /// File or purpose.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A program of the sandbox ended with an error.
    #[error("{program} failed: {seen}")]
    Program {
        /// Its name.
        program: String,
        /// The end of its error output.
        seen: String,
    },
    /// Something did not become so in time.
    #[error("waited {deadline:?} for {what}; last seen: {seen}; look at {look}")]
    Late {
        /// What was awaited.
        what: String,
        /// The last observation.
        seen: String,
        /// The time given.
        deadline: Duration,
        /// A log file or command.
        look: String,
    },
    /// The world's record cannot be read.
    #[error("the record {path} is not readable: {cause}; run `cargo sandbox down` for this world")]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

/// Adds what was tried to a system's refusal.
pub(crate) trait While<T> {
    /// Names the attempt, as it reads after "could not".
    fn while_doing(self, what: impl FnOnce() -> String) -> Result<T, WorldError>;
}

impl<T> While<T> for io::Result<T> {
    fn while_doing(self, what: impl FnOnce() -> String) -> Result<T, WorldError> {
        self.map_err(|cause| WorldError::System { what: what(), cause })
    }
}
