//! Kubernetes: connecting, observing, applying, exec, port-forward and the link's lock; the only user of `kube`.

pub mod access;
pub mod apply;
pub mod client;
mod connection;
pub mod coredns;
pub mod error;
pub mod exec;
pub mod forward;
pub mod http;
mod in_use;
pub mod lease;
pub mod observe;
pub mod pods;
pub(crate) mod review;
pub mod secrets;
pub mod services;
pub mod surroundings;
pub mod templates;

pub use client::Cluster;
pub use error::K8sError;
