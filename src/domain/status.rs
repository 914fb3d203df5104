//! What a link is doing now, one entry a member with its channel: what `status` lists and `monitor` samples.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::code::Code;

/// The state of a link in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Both threads run, the source is a known one and the replica lacks nothing beyond what is on its way.
    Replicating,
    /// Both threads run and the replica still lacks transactions that the source had before.
    CatchingUp,
    /// The receiver tries to connect.
    Connecting,
    /// Both threads run and the receiver has not heard of the source for two heartbeats.
    Silent,
    /// A thread is off and shows no error: somebody stopped it.
    Stopped,
    /// A thread is off with an error, or the receiver is attached to an unknown server.
    Broken,
    /// The mesh objects of a link without replication are there; whether the service answers `verify` proves.
    Linked,
    /// No member has the channel; of a link without replication: its mesh objects are not there.
    NotConfigured,
    /// The member did not answer.
    Unknown,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Replicating => "replicating",
            Self::CatchingUp => "catching up",
            Self::Connecting => "connecting",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
            Self::Broken => "broken",
            Self::Linked => "linked",
            Self::NotConfigured => "not configured",
            Self::Unknown => "unknown",
        })
    }
}

/// How far the replica is behind in time: now minus the source's commit time of the oldest transaction that was
/// committed there and is not applied here, the offset of the clocks subtracted. Zero is an exact zero only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "known", rename_all = "snake_case")]
pub enum Lag {
    /// Known.
    Exactly {
        /// Seconds, 0 or more.
        seconds: f64,
    },
    /// A lower bound: the source has not been heard of since, or what is missing has not been received.
    AtLeast {
        /// Seconds, more than 0.
        seconds: f64,
    },
    /// Cannot be told.
    Unknown,
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly { seconds } => f.pad(&span(*seconds)),
            Self::AtLeast { seconds } => f.pad(&format!(">={}", span(*seconds))),
            Self::Unknown => f.pad("?"),
        }
    }
}

/// Seconds as people read them: `0.4s`, `34s`, `8m 20s`, `3h 5m`, `2d 4h`.
fn span(seconds: f64) -> String {
    let whole = jiff::SignedDuration::try_from_secs_f64(seconds.max(0.0).round()).map_or(0, |d| d.as_secs());
    match whole {
        0..60 if seconds < 10.0 && seconds.fract() != 0.0 => format!("{seconds:.1}s"),
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m {}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// An error that a thread of the channel shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusError {
    /// What it means here, where that is known.
    pub code: Option<Code>,
    /// The server's number; 0 where there is none.
    pub errno: u32,
    /// The server's text.
    pub text: String,
}

/// A link as one member of the replica has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The link.
    pub link: String,
    /// The member with the channel; none where no member has it.
    pub member: Option<String>,
    /// What a link without replication gives its clients: the mesh name and its ports, `hello.cluster-a.global:8080,9000`.
    pub name: Option<String>,
    /// The state in one word.
    pub state: LinkState,
    /// How far behind in time.
    pub lag: Lag,
    /// How many transactions the source has executed and the member has not; `None` where that cannot be told.
    pub missing: Option<u128>,
    /// `SERVICE_STATE` of the receiver: `ON`, `OFF`, `CONNECTING`.
    pub receiver: Option<String>,
    /// `SERVICE_STATE` of the applier: `ON`, `OFF`.
    pub applier: Option<String>,
    /// `@@server_uuid` of the source the receiver is or was attached to.
    pub source_uuid: Option<String>,
    /// The source's member of that UUID, where it is a known one.
    pub source_member: Option<String>,
    /// The error of the receiver, or else of the applier, or why the member could not be asked.
    pub error: Option<StatusError>,
}

/// One look of `monitor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// What was seen.
    pub status: LinkStatus,
    /// Transactions applied per second since the sample before; none in the first one.
    pub applied_per_second: Option<f64>,
    /// Which threshold it is above, or what else stands out.
    pub note: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_shown_with_what_is_known_of_it() {
        let shown = [
            Lag::Exactly { seconds: 0.0 },
            Lag::Exactly { seconds: 0.44 },
            Lag::Exactly { seconds: 59.6 },
            Lag::AtLeast { seconds: 500.0 },
            Lag::Exactly { seconds: 11_100.0 },
            Lag::Exactly { seconds: 187_200.0 },
            Lag::Unknown,
        ]
        .map(|lag| lag.to_string());
        assert_eq!(shown, ["0s", "0.4s", "1m 0s", ">=8m 20s", "3h 5m", "2d 4h", "?"]);
    }
}
