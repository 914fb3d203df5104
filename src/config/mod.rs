//! From `pxc-link.yaml` to a validated `LinkSpec`; the only place that reads or writes YAML.

mod channel;
mod document;
mod findings;
pub mod init;
mod link;
mod load;
pub(crate) mod manifest;
mod names;
mod raw;
mod schema;
pub mod secret;
mod servers;
mod service;
pub mod show;
mod structure;
mod tree;
mod validate;

pub use load::{Config, FILE_NAME, FILE_VARIABLE, check, load};
pub use manifest::to_yaml;
pub use schema::schema;
