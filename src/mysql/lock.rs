//! The lock of a channel on the replica's server: a named lock of a session, free again as soon as that session ends.

use super::{
    client::Server,
    error::MysqlError,
    operate::channel_literal,
    statements::{self, Statement},
};
use crate::wait::Deadline;

/// `ER_UNKNOWN_ERROR`, with which PXC denies what its strict mode does not allow.
const DENIED: u16 = 1105;

/// How the question for a lock ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This session has it.
    Taken,
    /// Another session has it: which, as far as that can be seen.
    Held(String),
    /// The server gives no such locks, and says why.
    Denied(String),
}

impl Server {
    /// Takes the lock of a channel, without waiting for it. Names of channels differ in more than case.
    ///
    /// # Errors
    /// As any statement.
    pub async fn take_lock(&mut self, channel: &str, deadline: Deadline) -> Result<Answer, MysqlError> {
        match self.asked(statements::LOCK_TAKE, channel, "taken", deadline).await {
            Ok(true) => Ok(Answer::Taken),
            Ok(false) => Ok(Answer::Held(self.lock_holder(channel, deadline).await?)),
            Err(MysqlError::Statement { errno: DENIED, text, .. }) => Ok(Answer::Denied(text)),
            Err(error) => Err(error),
        }
    }

    /// Whether this session still has the lock of a channel.
    ///
    /// # Errors
    /// As any statement; a session that ended has lost it.
    pub async fn has_lock(&mut self, channel: &str, deadline: Deadline) -> Result<bool, MysqlError> {
        self.asked(statements::LOCK_CHECK, channel, "held", deadline).await
    }

    async fn asked(
        &mut self,
        statement: Statement,
        channel: &str,
        column: &str,
        deadline: Deadline,
    ) -> Result<bool, MysqlError> {
        let rows = self.send(statement, &filled(statement, channel)?, deadline).await?;
        let [row] = rows.as_slice() else {
            return Err(self.unexpected(statement, format!("{} rows where one was expected", rows.len())));
        };
        // NULL: the server could not tell, which is no lock.
        Ok(self.field::<Option<i64>>(statement, row, column)? == Some(1))
    }

    async fn lock_holder(&mut self, channel: &str, deadline: Deadline) -> Result<String, MysqlError> {
        let statement = statements::LOCK_HOLDER;
        let rows = self.send(statement, &filled(statement, channel)?, deadline).await?;
        let Some(row) = rows.first() else { return Ok("a session that has ended since".to_owned()) };
        let id: u64 = self.field(statement, row, "id")?;
        let user: Option<String> = self.field(statement, row, "user")?;
        let host: Option<String> = self.field(statement, row, "host")?;
        Ok(format!("session {id}, {}@{}", user.unwrap_or_default(), host.unwrap_or_default()))
    }
}

/// Channel names are the same in any case, and the lock's name is made of this one.
fn filled(statement: Statement, channel: &str) -> Result<String, MysqlError> {
    let name = channel_literal(&channel.to_lowercase())?;
    Ok(statement.filled(&[("channel", &name)]).to_string())
}
