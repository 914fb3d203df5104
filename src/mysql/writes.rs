//! Whether a server takes writes: read, closed and opened; and the events that replication left disabled.

use super::{
    client::Server,
    error::MysqlError,
    statements::{self, Statement},
};
use crate::{
    domain::{
        promotion::{ClosedAgain, EventName, WriteState},
        quote,
    },
    wait::Deadline,
};

impl Server {
    /// Whether it takes writes.
    ///
    /// # Errors
    /// As any statement.
    pub async fn write_state(&mut self, deadline: Deadline) -> Result<WriteState, MysqlError> {
        let statement = statements::WRITE_STATE;
        let row = self.one(statement, deadline).await?;
        Ok(WriteState {
            read_only: self.field(statement, &row, "read_only")?,
            super_read_only: self.field(statement, &row, "super_read_only")?,
        })
    }

    /// Closes it to every writer, after a restart too. What is being committed is waited for, 10 s at the most.
    ///
    /// # Errors
    /// As any statement; 1205 where somebody keeps a lock.
    pub async fn close_to_writes(&mut self, deadline: Deadline) -> Result<(), MysqlError> {
        self.run(statements::SESSION_LOCK_WAIT, deadline).await?;
        self.run(statements::CLOSE_TO_WRITES, deadline).await.map(drop)
    }

    /// Takes [`Server::close_to_writes`] back.
    ///
    /// # Errors
    /// As any statement.
    pub async fn reopen(&mut self, before: WriteState, deadline: Deadline) -> Result<(), MysqlError> {
        self.run(statements::FORGET_SUPER_READ_ONLY, deadline).await?;
        let open = if before.read_only { statements::OPEN_TO_ADMINISTRATORS } else { statements::OPEN_TO_WRITES };
        self.run(open, deadline).await.map(drop)
    }

    /// Opens it to every writer and forgets what was persisted of its being closed.
    ///
    /// # Errors
    /// As any statement.
    pub async fn open_to_writes(&mut self, deadline: Deadline) -> Result<(), MysqlError> {
        for statement in [statements::FORGET_SUPER_READ_ONLY, statements::FORGET_READ_ONLY, statements::OPEN_TO_WRITES]
        {
            self.run(statement, deadline).await?;
        }
        Ok(())
    }

    /// The files and options that close it again when it starts, as far as can be seen: a value that was set since hides them.
    ///
    /// # Errors
    /// As any statement.
    pub async fn closed_again(&mut self, deadline: Deadline) -> Result<Vec<ClosedAgain>, MysqlError> {
        let statement = statements::READ_ONLY_SOURCES;
        let rows = self.run(statement, deadline).await?;
        let one = |row: &mysql_async::Row| {
            let (source, path): (String, String) =
                (self.field(statement, row, "source")?, self.field(statement, row, "path")?);
            let by = if path.is_empty() { source } else { path };
            Ok(ClosedAgain { variable: self.field(statement, row, "name")?, by })
        };
        rows.iter().map(one).collect()
    }

    /// The events that replication brought and left disabled, of the schemas on which the account has EVENT.
    ///
    /// # Errors
    /// As any statement.
    pub async fn disabled_events(&mut self, deadline: Deadline) -> Result<Vec<EventName>, MysqlError> {
        let statement = statements::DISABLED_EVENTS;
        let rows = self.run(statement, deadline).await?;
        let one = |row: &mysql_async::Row| {
            let definer: String = self.field(statement, row, "definer")?;
            let (user, host) = definer.rsplit_once('@').unwrap_or((&definer, "%"));
            Ok(EventName {
                schema: self.field(statement, row, "schema_name")?,
                name: self.field(statement, row, "name")?,
                definer: (user.to_owned(), host.to_owned()),
            })
        };
        rows.iter().map(one).collect()
    }

    /// Lets an event run here, as whom it ran before.
    ///
    /// # Errors
    /// As any statement; a definer whose name cannot be sent.
    pub async fn enable_event(&mut self, event: &EventName, deadline: Deadline) -> Result<(), MysqlError> {
        let statement: Statement = statements::ENABLE_EVENT;
        let literal = |text: &str| quote::literal(text).map_err(|why| MysqlError::Unsendable { field: "definer", why });
        let (user, host) = (literal(&event.definer.0)?, literal(&event.definer.1)?);
        let (schema, name) = (quote::identifier(&event.schema), quote::identifier(&event.name));
        let text = statement.filled(&[("user", &user), ("host", &host), ("schema", &schema), ("event", &name)]);
        self.send(statement, &text, deadline).await.map(drop)
    }
}
