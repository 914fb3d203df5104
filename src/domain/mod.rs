//! The pure heart: what a link is, what was seen, what it means and what to do. No I/O, no clock, no async.

pub mod accounts;
pub mod applier;
pub mod baseline;
pub mod certificate;
pub mod channel;
pub mod check;
pub mod code;
pub mod corefile;
pub mod desired;
pub mod diff;
pub mod errno;
pub mod event;
pub mod facts;
pub mod grants;
pub mod gtid;
pub mod hint;
pub mod judge;
pub mod lag;
pub(crate) mod nearest;
pub mod offered;
pub mod owner;
pub mod plan;
pub mod policy_record;
pub mod problem;
pub mod promotion;
pub mod pxc;
pub mod quote;
pub(crate) mod range;
#[cfg(test)]
pub(crate) mod sample;
pub mod selection;
pub mod spec;
pub mod status;
pub mod vip;
