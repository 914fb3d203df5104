//! What of a channel the configuration decides beside where it leads: its TLS, its patience, its compression.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

/// The channel's TLS; MySQL has no "preferred" mode for a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Tls {
    /// Plain text: must be written, is warned of.
    Disabled,
    /// Encrypted, the server's identity not checked.
    Required,
    /// Encrypted, the certificate must come from the CA.
    VerifyCa {
        /// The CA file's path on the replica's members.
        ca: String,
    },
    /// Encrypted, the certificate must come from the CA and name the mesh host.
    VerifyIdentity {
        /// The CA file's path on the replica's members.
        ca: String,
    },
}

impl Tls {
    /// The name of the mode in the configuration.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Required => "required",
            Self::VerifyCa { .. } => "verify-ca",
            Self::VerifyIdentity { .. } => "verify-identity",
        }
    }

    /// The CA file's path on the members, where the mode has one.
    pub fn ca(&self) -> Option<&str> {
        match self {
            Self::Disabled | Self::Required => None,
            Self::VerifyCa { ca } | Self::VerifyIdentity { ca } => Some(ca),
        }
    }
}

/// A certificate with which the receiver shows who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The certificate file's path on the replica's members.
    pub cert: String,
    /// The path of its key there.
    pub key: String,
}

/// What of a channel can be chosen beside where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelOptions {
    /// Seconds between two attempts of the receiver to connect, at least 1; 10 unless given.
    pub connect_retry: u32,
    /// Attempts before the receiver gives up, 0 for no end. 86400 unless given: ten days. The server's own default is 10 on MySQL 9
    /// (seen on 9.7), so that an outage of minutes would end replication for good.
    pub retry_count: u64,
    /// Milliseconds between two heartbeats of an idle source; 5000 unless given: silence is noticed long before an idle connection
    /// is cut.
    pub heartbeat_ms: u64,
    /// The forms of compression that the source is offered, at least one; uncompressed only unless given.
    pub compression: BTreeSet<Compression>,
    /// How hard zstd tries, 1 to 22; 3 unless given.
    pub zstd_level: u32,
    /// Seconds that the applier stays behind on purpose; 0 unless given.
    pub delay_seconds: u32,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            connect_retry: 10,
            retry_count: 86_400,
            heartbeat_ms: 5_000,
            compression: BTreeSet::from([Compression::Uncompressed]),
            zstd_level: 3,
            delay_seconds: 0,
        }
    }
}

/// A form of compression between source and receiver. The server takes the first that both sides have, in this order (MySQL 8.0.18
/// and later: "Connection Compression Control").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Deflate.
    Zlib,
    /// Zstandard.
    Zstd,
    /// None.
    Uncompressed,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Zlib, Self::Zstd, Self::Uncompressed];
}

impl fmt::Display for Compression {
    /// As the server and the configuration write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
            Self::Uncompressed => "uncompressed",
        })
    }
}
