//! What a command does with a link: gather, judge, plan, execute. Tells events; knows no terminal.

mod beside;
mod carry;
mod entrance;
mod former;
mod gather;
mod lock;
mod offers;
mod promote;
mod prove;
pub mod render;
mod servers;
mod session;
pub mod setup;
mod sides;
mod start;
pub mod teardown;
mod undo;
pub mod verify;
mod wanted;
pub mod watch;

pub use session::{Events, Session};
