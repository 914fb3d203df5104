//! What mends a problem: a sentence, and the exact commands or statements to run, rendered by one quoting function.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The next action for whoever reads a failed check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// What to do and why, one sentence without a full stop.
    pub text: String,
    /// The commands that do it, in the order to run them; empty where only a person can decide.
    pub commands: Vec<Remedy>,
}

impl Hint {
    /// A hint that is a sentence only.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), commands: Vec::new() }
    }

    /// A hint with one command line.
    pub fn run<const N: usize>(text: impl Into<String>, argv: [&str; N]) -> Self {
        Self::text(text).then(argv)
    }

    /// The same hint with one more command line after those it has.
    #[must_use]
    pub fn then<const N: usize>(mut self, argv: [&str; N]) -> Self {
        self.commands.push(Remedy::Argv(argv.iter().map(ToString::to_string).collect()));
        self
    }

    /// The same hint with one more statement after the commands it has.
    #[must_use]
    pub fn sql(mut self, server: impl Into<String>, statement: impl Into<String>) -> Self {
        self.commands.push(Remedy::Sql { server: server.into(), statement: statement.into() });
        self
    }
}

/// One thing to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// A command line for a POSIX shell, one element an argument.
    Argv(Vec<String>),
    /// A statement to run on a named server, as an account that may.
    Sql {
        /// The server, as the report names it.
        server: String,
        /// The statement, without a closing semicolon.
        statement: String,
    },
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argv(argv) => f.write_str(&shell_words::join(argv)),
            Self::Sql { server, statement } => write!(f, "{statement};  -- on {server}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_parses_back_into_the_same_arguments() {
        let argv = ["kubectl", "patch", "-p", r#"{"spec":{"a b":"it's"}}"#];
        let Remedy::Argv(kept) = &Hint::run("x", argv).commands[0] else { panic!("argv expected") };
        assert_eq!(shell_words::split(&Remedy::Argv(kept.clone()).to_string()).unwrap(), argv);
    }
}
