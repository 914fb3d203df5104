//! What was seen of a server's tables, without a row of them, and of rules that decide about channels beside their settings.

use serde::{Deserialize, Serialize};

/// The tables of a server that its account may see, those of the server itself left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablesFacts {
    /// The account may see every table; without that some may be missing here.
    pub all_visible: bool,
    /// There are more than were listed: nothing is known of names after the last one.
    pub cut: bool,
    /// By schema and name, ascending as the server sorts them.
    pub tables: Vec<TableFacts>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its engine; `None` where the server cannot open it.
    pub engine: Option<String>,
    /// An estimate of its rows; `None` where the server has none.
    pub rows: Option<u64>,
    /// It has a primary key, or a unique one without NULLs in its stead; `None` where the columns are not visible.
    pub has_key: Option<bool>,
    /// A checksum over names, types and order of its columns; `None` where they are not visible.
    pub columns: Option<u64>,
}

impl std::fmt::Display for TableFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A rule about channels that is no setting of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFacts {
    /// What it is.
    pub kind: RuleKind,
    /// The channel it is for; empty for the default channel and for rules of every channel.
    pub channel: String,
    /// In the server's words: `203.0.113.5:3306 weight 50`, `REPLICATE_DO_DB app`.
    pub rule: String,
}

/// What a [`RuleFacts`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// A source of the asynchronous connection failover.
    Failover,
    /// A replication filter.
    Filter,
}
