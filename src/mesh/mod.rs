//! The mesh between the replica's members and the source: its objects, one sidecar's view of it, and probes through it.

pub mod envoy;
pub mod objects;
pub mod path;
pub mod probe;
pub mod proxy_config;
