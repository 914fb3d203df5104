//! The sandbox: two real Kubernetes clusters with Istio and MySQL on one machine, without Docker.
//!
//! [`prepare::prepare`] fills a cache with everything that is built, fetched and unpacked;
//! [`world::up`] raises a world from it, [`plain::raise`] two servers without Kubernetes.

pub mod cache;
pub mod faults;
pub mod host;
pub mod kills;
pub mod plain;
pub mod prepare;
pub mod progress;
pub mod reexec;
pub mod relay;
pub mod world;
