//! What is to be: the virtual address, the endpoints and the member that carries the channel, from the link and the facts.

mod address;
mod endpoints;
mod member;
mod way_in;

pub use address::{VipOrigin, desired_vip, records};
pub(crate) use address::{cluster_ranges, is_own};
pub(crate) use endpoints::service_groups;
pub use endpoints::{Entrance, Entrances, desired_endpoints, desired_entrances, written_entrances};
pub(crate) use member::carriers;
pub use member::pick_member;
pub(crate) use member::surplus;
pub(crate) use way_in::{described, service_port};
