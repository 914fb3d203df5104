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
            Err(error) => denied(error).map(Answer::Denied),
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

/// What a server that gives no locks says; any other error stays one.
fn denied(error: MysqlError) -> Result<String, MysqlError> {
    match error {
        MysqlError::Statement { errno: DENIED, text, .. } => Ok(text),
        other => Err(other),
    }
}

/// Channel names are the same in any case, and the lock's name is made of this one.
fn filled(statement: Statement, channel: &str) -> Result<String, MysqlError> {
    let name = channel_literal(&channel.to_lowercase())?;
    Ok(statement.filled(&[("channel", &name)]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_gives_no_locks_is_told_from_one_that_fails() {
        let answered = |errno, text: &str| MysqlError::Statement {
            server: "replica db:3306".to_owned(),
            account: "pxc_link@%".to_owned(),
            statement: "lock_take.sql",
            errno,
            text: text.to_owned(),
        };
        // Worded after PXC's own texts for what its strict mode denies; not seen on a server.
        let pxc = "Percona-XtraDB-Cluster prohibits use of GET_LOCK with pxc_strict_mode = ENFORCING";
        assert_eq!(denied(answered(1105, pxc)).unwrap(), pxc);
        assert!(denied(answered(1205, "Lock wait timeout exceeded")).is_err());
    }

    #[test]
    fn the_locks_of_a_channel_have_one_name_in_any_case() {
        let name = |channel: &str| filled(statements::LOCK_TAKE, channel).unwrap();
        assert_eq!(name("Production"), name("production"));
        assert_ne!(name("production"), name("staging"));
        assert!(filled(statements::LOCK_TAKE, "it's").is_err());
    }
}
