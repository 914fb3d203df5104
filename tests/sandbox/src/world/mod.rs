//! A world: two Kubernetes clusters with Istio and MySQL, connected by a bridge.

mod access;
mod apply;
mod cgroup;
mod containerd;
mod control_plane;
mod down;
mod error;
pub(crate) mod files;
mod group;
mod hello;
mod istio;
mod layout;
pub(crate) mod links;
pub(crate) mod lock;
mod mysql;
mod network;
mod node;
pub(crate) mod pki;
mod process;
mod rights;
mod status;
mod up;
pub(crate) mod wait;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use access::ExecError;
pub use control_plane::{CONTROL_PLANE, NODE_DAEMONS};
pub use down::down;
pub(crate) use error::While;
pub use error::WorldError;
pub use hello::{DEMO, HELLO_ECHO, HELLO_GREETING, HELLO_HTTP};
pub use istio::NAMESPACE as ISTIO_NAMESPACE;
pub use layout::Cluster;
pub use mysql::{Account, Ha, NAMESPACE, SOURCE_HOST, SOURCE_NODE_PORT};
pub(crate) use mysql::{make_accounts, passwords, quoted};
pub(crate) use node::Node;
pub use pki::PkiError;
pub use process::Proc;
pub use status::{PartStatus, list};
pub use up::up;

use crate::cache::Cache;
use layout::Place;
pub(crate) use layout::valid_name;

/// What a world is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldOptions {
    /// Tells worlds apart: 1 to 20 of a-z, 0-9 and `-`.
    pub name: String,
    /// MySQL members in each cluster, 1 to 9.
    pub members: u32,
    /// Nodes in each cluster, 1 to 16.
    pub nodes: u8,
    /// Whether sidecars answer the DNS queries of their pods.
    pub dns_capture: bool,
    /// What the MySQL members of each cluster form together.
    #[serde(default)]
    pub ha: Ha,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self { name: "default".to_owned(), members: 1, nodes: 1, dns_capture: true, ha: Ha::None }
    }
}

/// What is kept of a world; holds its passwords, so it is never shown.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub options: WorldOptions,
    /// N of its network 198.18.N.0/24.
    pub index: u8,
    /// By account name.
    pub passwords: BTreeMap<String, String>,
    /// Directory of the prepared programs.
    pub bin_dir: PathBuf,
    /// Environment in which the prepared programs find each other.
    pub env: BTreeMap<String, String>,
}

/// A standing world.
pub struct World {
    dir: PathBuf,
    record: Record,
}

impl World {
    /// The world of that name, as it was left by [`up`]. Says nothing of whether its parts live.
    pub fn open(cache: &Cache, name: &str) -> Result<Self, WorldError> {
        let dir = world_dir(cache, name)?;
        let record = files::read_json(&dir.join("world.json"))?;
        record.map(|record| Self { dir, record }).ok_or_else(|| WorldError::Absent { name: name.to_owned() })
    }

    /// What it was made of.
    pub fn options(&self) -> &WorldOptions {
        &self.record.options
    }

    /// Its directory in the cache.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every node, first nodes first.
    fn places(&self) -> Vec<Place> {
        let nodes = self.record.options.nodes;
        (0..nodes).flat_map(|ordinal| Cluster::ALL.map(|cluster| self.place(cluster, ordinal))).collect()
    }

    fn place(&self, cluster: Cluster, ordinal: u8) -> Place {
        let mut place = Place {
            cluster,
            ordinal,
            world: self.record.index,
            world_name: self.record.options.name.clone(),
            dir: PathBuf::new(),
        };
        place.dir = self.dir.join(place.name());
        place
    }

    fn node(place: &Place) -> Result<Node, WorldError> {
        Node::open(place.dir.clone())
    }

    /// The namespace that holds the bridge.
    fn wan(&self) -> Result<Node, WorldError> {
        Node::open(self.dir.join("wan"))
    }

    fn save(&self) -> Result<(), WorldError> {
        files::write_json(&self.dir.join("world.json"), &self.record)
    }
}

fn world_dir(cache: &Cache, name: &str) -> Result<PathBuf, WorldError> {
    if layout::valid_name(name) { Ok(cache.world(name)) } else { Err(WorldError::Name(name.to_owned())) }
}
