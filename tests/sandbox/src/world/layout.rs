//! Names and addresses: which clusters and nodes a world has, and where everything of them is.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the two Kubernetes clusters; its name is the kube context and Istio's cluster name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cluster {
    /// Holds the source.
    Production,
    /// Holds the replica.
    Dr,
}

impl Cluster {
    /// Both clusters.
    pub const ALL: [Self; 2] = [Self::Production, Self::Dr];

    /// Kube context, Istio cluster name and name of the first node.
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Dr => "dr",
        }
    }

    /// Istio's network name.
    pub fn network(self) -> &'static str {
        match self {
            Self::Production => "net-production",
            Self::Dr => "net-dr",
        }
    }

    /// Whether pods of namespace `pxc` get a sidecar.
    pub(crate) fn injects(self) -> bool {
        self == Self::Dr
    }

    /// Added to a member's ordinal + 1; a world has fewer than 100 members on each side.
    pub(crate) fn server_id_base(self) -> u32 {
        match self {
            Self::Production => 100,
            Self::Dr => 200,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Production => 0,
            Self::Dr => 1,
        }
    }

    /// All pod addresses of the cluster, a /20.
    pub(crate) fn pods(self) -> Range {
        Range { base: Ipv4Addr::new(10, 244, 16 * self.number(), 0), prefix: 20 }
    }

    /// All Service addresses of the cluster, a /20.
    pub(crate) fn services(self) -> Range {
        Range { base: Ipv4Addr::new(10, 96, 16 * self.number(), 0), prefix: 20 }
    }

    /// Address of the Service `kubernetes`.
    pub(crate) fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96, 16 * self.number(), 1)
    }

    /// Address of CoreDNS.
    pub(crate) fn dns_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96, 16 * self.number(), 10)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Cluster {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|cluster| cluster.name() == name)
            .ok_or_else(|| format!("{name:?} is no cluster of a world; there are `production` and `dr`"))
    }
}

/// A range of addresses, written as CIDR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub base: Ipv4Addr,
    pub prefix: u8,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// The most nodes a cluster may have: its pods' /20 holds sixteen /24.
pub(crate) const MAX_NODES: u8 = 16;

/// The most MySQL members a cluster may have.
pub(crate) const MAX_MEMBERS: u32 = 9;

/// A node: where it is and which addresses it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub cluster: Cluster,
    /// 0 for the node that also runs the control plane.
    pub ordinal: u8,
    /// Index of the world's network.
    pub world: u8,
    /// Name of the world.
    pub world_name: String,
    /// The node's directory.
    pub dir: PathBuf,
}

impl Place {
    /// Kubernetes' name for the node.
    pub(crate) fn name(&self) -> String {
        match self.ordinal {
            0 => self.cluster.name().to_owned(),
            ordinal => format!("{}-{}", self.cluster.name(), ordinal + 1),
        }
    }

    /// Its address on the world's bridge.
    pub(crate) fn address(&self) -> Ipv4Addr {
        let last = match (self.ordinal, self.cluster) {
            (0, cluster) => 11 + cluster.number(),
            (ordinal, cluster) => 20 + 20 * cluster.number() + ordinal,
        };
        Ipv4Addr::new(198, 18, self.world, last)
    }

    /// The addresses of its pods.
    pub(crate) fn pods(&self) -> Range {
        let [a, b, c, _] = self.cluster.pods().base.octets();
        Range { base: Ipv4Addr::new(a, b, c + self.ordinal, 0), prefix: 24 }
    }

    /// Its cgroup, relative to a hierarchy's root.
    pub(crate) fn cgroup(&self) -> String {
        format!("{}{}", cgroup_prefix(self.world, &self.world_name), self.name())
    }

    /// A file or directory of the node.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.join(relative)
    }

    /// The log of one of its daemons.
    pub(crate) fn log(&self, daemon: &str) -> PathBuf {
        self.dir.join("log").join(format!("{daemon}.log"))
    }
}

/// Begins the name of every cgroup of a world; `.` cannot be in a world's name.
pub(crate) fn cgroup_prefix(world: u8, name: &str) -> String {
    format!("pxl-{world}-{name}.")
}

/// The host's interface on the bridge of a world.
pub(crate) fn host_link(world: u8) -> String {
    format!("pxl{world}")
}

/// The host's address on the bridge of a world.
pub(crate) fn host_address(world: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, world, 1)
}

/// Whether a text may name a world.
pub(crate) fn valid_name(name: &str) -> bool {
    name.len() <= 20
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn place(cluster: Cluster, ordinal: u8) -> Place {
        Place { cluster, ordinal, world: 7, world_name: "w".to_owned(), dir: PathBuf::from("/w") }
    }

    #[test]
    fn no_two_nodes_share_an_address_or_a_pod_range() {
        let places: Vec<_> = Cluster::ALL
            .into_iter()
            .flat_map(|cluster| (0..MAX_NODES).map(move |ordinal| place(cluster, ordinal)))
            .collect();
        let addresses: BTreeSet<_> = places.iter().map(Place::address).collect();
        let pods: BTreeSet<_> = places.iter().map(|place| place.pods().base).collect();
        let cgroups: BTreeSet<_> = places.iter().map(Place::cgroup).collect();
        assert_eq!((addresses.len(), pods.len(), cgroups.len()), (places.len(), places.len(), places.len()));
        assert!(!addresses.contains(&host_address(7)));
    }

    #[test]
    fn contract_addresses() {
        assert_eq!(place(Cluster::Production, 0).address(), Ipv4Addr::new(198, 18, 7, 11));
        assert_eq!(place(Cluster::Dr, 0).address(), Ipv4Addr::new(198, 18, 7, 12));
        assert_eq!(place(Cluster::Production, 1).address(), Ipv4Addr::new(198, 18, 7, 21));
        assert_eq!(place(Cluster::Dr, 1).name(), "dr-2");
    }

    #[test]
    fn names() {
        assert!(valid_name("default") && valid_name("dev-1"));
        assert!(!valid_name("") && !valid_name("1a") && !valid_name("a.b") && !valid_name("A") && !valid_name("a/b"));
    }
}
