//! What a link is to be: the configuration after it has been checked, with every default filled in and no secret in it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A link between a remote source and the replica that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSpec {
    /// The name in `links:`; a DNS label.
    pub name: String,
    /// The mesh name, `pxc-source.<name>.global` unless given.
    pub host: String,
    /// The port at the mesh name; 3306 unless given.
    pub port: u16,
    /// The virtual address, if the configuration fixes it; in 240.0.0.0/4 and outside 240.240.0.0/16.
    pub vip: Option<Ipv4Addr>,
    /// Where the data comes from.
    pub source: SourceSpec,
    /// Where it goes.
    pub replica: ReplicaSpec,
    /// How it gets there.
    pub replication: ReplicationSpec,
    /// When lag is a warning and when it is critical.
    pub lag: LagThresholds,
}

/// The source side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpec {
    /// How to find it.
    pub location: SourceLocation,
    /// The account that reads the source's state; the replication account serves where there is none.
    pub account: Option<Account>,
}

/// Exactly one way to find the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceLocation {
    /// A Service of a cluster whose API can be reached.
    Kubernetes {
        /// Which cluster.
        cluster: ClusterRef,
        /// The Service that selects the source's members.
        service: String,
    },
    /// Addresses only, where the source's API is out of reach.
    Endpoints(Vec<Endpoint>),
}

/// The replica side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSpec {
    /// Which cluster.
    pub cluster: ClusterRef,
    /// The label selector of the members' pods.
    pub selector: String,
    /// The application container, the one in which mysqld runs.
    pub container: String,
    /// The account that reads the replica and runs the channel's statements.
    pub account: Account,
}

/// A cluster as a kubeconfig knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRef {
    /// A kubeconfig file; the usual search (`KUBECONFIG`, `~/.kube/config`, in-cluster) where there is none.
    pub kubeconfig: Option<PathBuf>,
    /// The context; in-cluster or else the current one where there is none.
    pub context: Option<String>,
    /// The namespace of the members.
    pub namespace: String,
}

/// An address and port where the source is reachable from the replica's cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port, 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// A MySQL account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user name, at most 32 characters (manual: "Account User Names").
    pub user: String,
    /// Where its password is.
    pub password: SecretRef,
}

/// Where a secret is; never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable of this process.
    Env(String),
    /// A file; one newline at its end is not part of the secret.
    File(PathBuf),
    /// A key of a Kubernetes Secret, read in the cluster and namespace where the side lives.
    Secret {
        /// The Secret.
        name: String,
        /// The key in its data.
        key: String,
    },
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable `{name}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Secret { name, key } => write!(f, "key `{key}` of Secret `{name}`"),
        }
    }
}

/// How rows travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationSpec {
    /// The account the receiver logs in with at the source.
    pub account: Account,
    /// The channel; the link's name unless given. `[A-Za-z0-9_.-]{1,64}`.
    pub channel: String,
    /// How the receiver's connection is encrypted.
    pub tls: Tls,
}

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

/// Bounds of the lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LagThresholds {
    /// From here on a warning; 30 s unless given.
    pub warning: Duration,
    /// From here on critical; 5 min unless given.
    pub critical: Duration,
}
