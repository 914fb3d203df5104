//! Checks and reports: one judged fact about one subject, and the list of them that every renderer shows.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{judge::ids, problem::Problem};

/// The stable name of a check, such as `path.query`; the same for every subject it is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct CheckId(pub &'static str);

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Where the data comes from.
    Source,
    /// Where it goes, on a link that carries replication.
    Replica,
    /// Who uses the mesh name, on a link that carries anything else.
    Client,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Replica => "replica",
            Self::Client => "client",
        })
    }
}

/// What a check speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The link as a whole.
    Link,
    /// A Kubernetes cluster.
    Cluster(Side),
    /// An object of a cluster, as `Kind/name`.
    Object(Side, String),
    /// A member's pod, or the server in it.
    Member(Side, String),
    /// A port of the mesh name, as a pod sees it.
    Port(Side, String, u16),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("link"),
            Self::Cluster(side) => write!(f, "{side} cluster"),
            Self::Object(side, name) | Self::Member(side, name) => write!(f, "{side} {name}"),
            Self::Port(side, name, port) => write!(f, "{side} {name}:{port}"),
        }
    }
}

/// The stations between a name and rows that arrive, in the order in which a failure stops the later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// Clusters, pods and servers can be reached and read.
    Access,
    /// M0: nothing stands in the way of the mesh objects.
    Preflight,
    /// M1: the name resolves in the application container.
    Name,
    /// M2: the sidecar intercepts the connection.
    Interception,
    /// M3: the sidecar has the listener and the cluster.
    MeshConfiguration,
    /// M4: the sidecar has the right endpoints.
    Endpoints,
    /// M5: an endpoint accepts the connection.
    Connection,
    /// M6: the server's greeting arrives.
    Greeting,
    /// M7: an authenticated query is answered by the right server.
    Query,
    /// What both servers must have before a channel may start.
    Prerequisites,
    /// M8: the channel runs and rows arrive.
    Replication,
}

impl Milestone {
    /// Every milestone, in order.
    pub const ALL: [Self; 11] = [
        Self::Access,
        Self::Preflight,
        Self::Name,
        Self::Interception,
        Self::MeshConfiguration,
        Self::Endpoints,
        Self::Connection,
        Self::Greeting,
        Self::Query,
        Self::Prerequisites,
        Self::Replication,
    ];

    /// The short label of reports: `access`, `M0` … `M8`, `prerequisites`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Preflight => "M0 preflight",
            Self::Name => "M1 name",
            Self::Interception => "M2 sidecar",
            Self::MeshConfiguration => "M3 mesh configuration",
            Self::Endpoints => "M4 endpoints",
            Self::Connection => "M5 connection",
            Self::Greeting => "M6 greeting",
            Self::Query => "M7 query",
            Self::Prerequisites => "prerequisites",
            Self::Replication => "M8 replication",
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Seen to be as it must be.
    Passed,
    /// Works, but something should be looked at.
    Warned(Problem),
    /// Seen to be wrong.
    Failed(Problem),
    /// Not judged, because another check did not pass.
    Skipped {
        /// The check it depends on, and of whom.
        because: (CheckId, Subject),
    },
    /// Could not be seen; never counted as passed.
    Unknown(Problem),
}

/// One judged fact about one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was judged.
    pub id: CheckId,
    /// Of whom.
    pub subject: Subject,
    /// Which station of the path it belongs to.
    pub milestone: Milestone,
    /// The verdict.
    pub outcome: Outcome,
    /// What was seen, for the reader of a check that passed too.
    pub evidence: Vec<String>,
}

impl Check {
    /// The problem of a warned, failed or unknown check.
    pub fn problem(&self) -> Option<&Problem> {
        match &self.outcome {
            Outcome::Warned(problem) | Outcome::Failed(problem) | Outcome::Unknown(problem) => Some(problem),
            Outcome::Passed | Outcome::Skipped { .. } => None,
        }
    }

    /// Whether it warns and no more: a warning, or what a check that only advises ([`ids::is_advisory`]) could not see.
    pub fn advises(&self) -> bool {
        match self.outcome {
            Outcome::Warned(_) => true,
            Outcome::Unknown(_) => ids::is_advisory(self.id),
            Outcome::Passed | Outcome::Failed(_) | Outcome::Skipped { .. } => false,
        }
    }

    /// Whether a later step may rely on it.
    pub fn is_good(&self) -> bool {
        matches!(self.outcome, Outcome::Passed | Outcome::Warned(_))
    }
}

/// What a report comes to: the worst of its outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was judged is good.
    Ok,
    /// Works, but something should be looked at.
    Warning,
    /// Something could not be seen and nothing is known to be wrong; also where nothing was judged at all.
    Unknown,
    /// Something is wrong.
    Failed,
}

/// Something a run wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The object, channel or setting.
    pub target: String,
    /// `created`, `changed`, `deleted`, `started` or `taken back`.
    pub verb: &'static str,
}

/// Everything a command has to say about a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The link's name.
    pub link: String,
    /// When the facts were gathered.
    pub at: Timestamp,
    /// Every check, in the order of the path.
    pub checks: Vec<Check>,
    /// What this run wrote; empty for reading commands and for a run that found nothing to change.
    pub changes: Vec<Change>,
}

impl Report {
    /// The worst outcome. A skipped check adds nothing: the one that it waits for does. An unknown of a check that only advises
    /// ([`ids::is_advisory`]) is a warning.
    pub fn verdict(&self) -> Verdict {
        self.checks
            .iter()
            .filter_map(|check| match check.outcome {
                _ if check.advises() => Some(Verdict::Warning),
                Outcome::Passed => Some(Verdict::Ok),
                Outcome::Warned(_) => Some(Verdict::Warning),
                Outcome::Unknown(_) => Some(Verdict::Unknown),
                Outcome::Failed(_) => Some(Verdict::Failed),
                Outcome::Skipped { .. } => None,
            })
            .max()
            .unwrap_or(Verdict::Unknown)
    }

    /// The first failed check, or the first unknown one that does not only advise where none failed, in the order of the path.
    pub fn first_problem(&self) -> Option<&Check> {
        let first = |wanted: fn(&Check) -> bool| {
            self.checks.iter().filter(|check| wanted(check)).min_by_key(|check| check.milestone)
        };
        first(|check| matches!(check.outcome, Outcome::Failed(_)))
            .or_else(|| first(|check| matches!(check.outcome, Outcome::Unknown(_)) && !check.advises()))
    }
}
