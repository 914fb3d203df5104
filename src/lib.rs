//! Links a replica MySQL cluster to a remote source through an Istio name.
//!
//! Dependencies point one way: `domain ← config ← {mysql, k8s} ← mesh (on k8s) ← workflow ← cli ← main`;
//! `report` and `ui` see only `domain`. `domain` is pure. `mysql` and `k8s` do not know each other.
//! I/O gathers facts, pure functions judge them, renderers show one report.

pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod k8s;
pub mod mesh;
pub mod mysql;
pub mod report;
pub mod shutdown;
pub mod ui;
pub mod wait;
pub mod workflow;
