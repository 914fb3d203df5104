//! What of a world lives.

use std::fs;

use super::{CONTROL_PLANE, NODE_DAEMONS, World, WorldError};
use crate::cache::Cache;

/// One process of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartStatus {
    /// `node/daemon`, or the node alone for its init.
    pub part: String,
    /// Its process id on the host, if it runs.
    pub pid: Option<i32>,
}

/// Names of the worlds that have state in the cache, sorted.
pub fn list(cache: &Cache) -> Vec<String> {
    names(cache)
}

pub(crate) fn names(cache: &Cache) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(cache.worlds())
        .map(|entries| entries.flatten().collect::<Vec<_>>())
        .unwrap_or_default()
        .into_iter()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

impl World {
    /// Every process that should run, first the bridge's, then node by node.
    pub fn status(&self) -> Result<Vec<PartStatus>, WorldError> {
        let mut parts = vec![PartStatus { part: "wan".to_owned(), pid: self.wan()?.init().map(|process| process.pid) }];
        for place in self.places() {
            let node = Self::node(&place)?;
            let name = place.name();
            parts.push(PartStatus { part: name.clone(), pid: node.init().map(|process| process.pid) });
            let control_plane = if place.ordinal == 0 { &CONTROL_PLANE[..] } else { &[] };
            let record = node.record();
            for daemon in control_plane.iter().chain(&NODE_DAEMONS) {
                let process = record.daemons.get(*daemon).filter(|process| process.alive());
                parts.push(PartStatus { part: format!("{name}/{daemon}"), pid: process.map(|process| process.pid) });
            }
        }
        Ok(parts)
    }
}
