//! MySQL: the only user of `mysql_async`. Reads servers into facts and carries out the channel's statements.

mod client;
mod error;
mod lock;
mod membership;
mod observe;
mod operate;
mod presented;
mod schema;
mod statements;
mod writes;

pub use client::{Encryption, Server, Target, TlsFiles};
pub use error::MysqlError;
pub use lock::Answer;
pub use observe::Depth;
pub use presented::presented;
