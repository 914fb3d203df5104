//! One thing that is wrong: its code, what was tried and seen, and what mends it.

use serde::{Deserialize, Serialize};

use super::{code::Code, hint::Hint};

/// A finding with a code. Expected failures of every layer end up as one of these; secrets never enter it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable code; `pxc-link explain CODE` prints its text.
    pub code: Code,
    /// One sentence without a full stop: what was tried and how it ended.
    pub message: String,
    /// What was seen, raw: error texts, values compared, names of the rules that are missing.
    pub evidence: Vec<String>,
    /// What to do next.
    pub hint: Option<Hint>,
}

impl Problem {
    /// A problem with a message and nothing more yet.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), evidence: Vec::new(), hint: None }
    }

    /// Adds one line of what was seen.
    #[must_use]
    pub fn seen(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// Sets what mends it.
    #[must_use]
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }
}

/// A fact that was fetched, or the reason why it could not be. A failed fetch is never a missing or a good fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetched<T> {
    /// The fact.
    Got(T),
    /// Why there is none.
    Failed(Problem),
}

impl<T> Fetched<T> {
    /// The fact, if it was fetched.
    pub fn got(&self) -> Option<&T> {
        match self {
            Self::Got(fact) => Some(fact),
            Self::Failed(_) => None,
        }
    }

    /// Why it was not fetched, if it was not.
    pub fn failed(&self) -> Option<&Problem> {
        match self {
            Self::Got(_) => None,
            Self::Failed(problem) => Some(problem),
        }
    }
}

impl<T, E: Into<Problem>> From<Result<T, E>> for Fetched<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(fact) => Self::Got(fact),
            Err(error) => Self::Failed(error.into()),
        }
    }
}
