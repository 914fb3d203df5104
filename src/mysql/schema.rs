//! Reads a server's tables, and the rules about channels that are no settings of theirs, into facts.

use super::{
    client::Server,
    error::MysqlError,
    observe::Reader,
    statements::{self, Statement},
};
use crate::{
    domain::facts::{RuleFacts, RuleKind, TableFacts, TablesFacts},
    wait::Deadline,
};

/// As many tables as are kept; the statement lists one more, to know whether there are more.
const TABLES: usize = 1000;

impl Server {
    /// Every table that the account sees. `all_visible` is what its grants say of that.
    ///
    /// # Errors
    /// As any statement; also where the server ended it for the time it took.
    pub(super) async fn tables(&mut self, all_visible: bool, deadline: Deadline) -> Result<TablesFacts, MysqlError> {
        self.run(statements::SESSION_STATS, deadline).await?;
        let mut tables = self.read(statements::TABLES, deadline, table).await?;
        let cut = tables.len() > TABLES;
        tables.truncate(TABLES);
        Ok(TablesFacts { all_visible, cut, tables })
    }

    /// Failover lists and filters.
    ///
    /// # Errors
    /// As any statement.
    pub(super) async fn rules(&mut self, deadline: Deadline) -> Result<Vec<RuleFacts>, MysqlError> {
        self.read(statements::REPLICA_RULES, deadline, rule).await
    }

    async fn read<T>(
        &mut self,
        statement: Statement,
        deadline: Deadline,
        one: fn(&Reader<'_>) -> Result<T, MysqlError>,
    ) -> Result<Vec<T>, MysqlError> {
        let rows = self.run(statement, deadline).await?;
        rows.iter().map(|row| one(&Reader { server: self, statement, row })).collect()
    }
}

fn table(row: &Reader<'_>) -> Result<TableFacts, MysqlError> {
    let has_key: Option<bool> = row.get("has_key")?;
    Ok(TableFacts {
        schema: row.get("table_schema")?,
        name: row.get("table_name")?,
        engine: row.get("engine")?,
        rows: row.get("table_rows")?,
        has_key,
        // The checksum of no visible column is 0.
        columns: has_key.and(row.get("columns")?),
    })
}

fn rule(row: &Reader<'_>) -> Result<RuleFacts, MysqlError> {
    let kind = match row.get::<String>("kind")?.as_str() {
        "failover" => RuleKind::Failover,
        _ => RuleKind::Filter,
    };
    Ok(RuleFacts { kind, channel: row.get("channel")?, rule: row.get("rule")? })
}
