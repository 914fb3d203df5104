//! Renderers: the same report, plan, problem or status as text or as JSON. Nothing here judges.
//!
//! The functions take what the domain made and a theme and return text; who calls them decides where it goes.

pub mod difference;
pub mod explain;
pub mod grants;
pub mod json;
pub mod junit;
mod layout;
pub mod plan;
pub mod problem;
#[cfg(test)]
mod samples;
pub mod status;
pub mod text;

pub use layout::commands;
