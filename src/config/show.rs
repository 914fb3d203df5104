//! What `config` shows: every value of the resolved configuration and where it came from.

use std::fmt;

use serde::Serialize;

/// The resolved configuration, in the order of the file. Passwords appear as references only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigView {
    /// The file, as it was found.
    pub file: String,
    /// Why this file.
    pub chosen_by: String,
    /// Every value.
    pub values: Vec<ValueView>,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueView {
    /// Its path in the file's shape: `links.production.host`.
    pub key: String,
    /// The value as the program uses it.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "from")]
pub enum Origin {
    /// The file.
    File {
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// Nothing is written: the program's own default.
    Default,
    /// Nothing is written: made from another value.
    Derived {
        /// Which value.
        of: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { line, column } => write!(f, "line {line}:{column}"),
            Self::Default => f.write_str("default"),
            Self::Derived { of } => write!(f, "derived from {of}"),
        }
    }
}

impl fmt::Display for ConfigView {
    /// A line a value: key, value, origin, in columns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: fn(&ValueView) -> &str| {
            self.values.iter().map(|value| text(value).chars().count()).max().unwrap_or_default()
        };
        let (keys, values) = (width(|value| &value.key), width(|value| &value.value));
        writeln!(f, "{}  ({})", self.file, self.chosen_by)?;
        for ValueView { key, value, origin } in &self.values {
            writeln!(f, "{key:keys$}  {value:values$}  {origin}")?;
        }
        Ok(())
    }
}
