//! The plan: the difference between what is to be and what is, step by step, made before anything is written.

use serde::{Deserialize, Serialize};

/// What a run would do; empty steps are kept, so that the reader sees what stays.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// In the order they are carried out.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.changes() == 0
    }

    /// How many steps would write.
    pub fn changes(&self) -> usize {
        self.steps.iter().filter(|step| step.action.writes()).count()
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What it is about.
    pub kind: StepKind,
    /// The object, channel or server, as the reader knows it: `ServiceEntry/pxc-source-production`, `channel production on pxc-0`.
    pub target: String,
    /// What happens to it.
    pub action: Action,
}

/// What applying one object would do, as the cluster itself answered a dry run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The object as it is; `None` where it does not exist.
    pub before: Option<serde_json::Value>,
    /// The object as it would be.
    pub after: serde_json::Value,
}

/// What a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The ServiceEntry.
    ServiceEntry,
    /// The DestinationRule.
    DestinationRule,
    /// Proof of the path from every member; reads only.
    Path,
    /// The channel's settings.
    Channel,
    /// The receiver, then the applier.
    Start,
    /// The link's lock.
    Lease,
}

/// What happens to a step's target.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// It does not exist and is made.
    Create {
        /// What it will be, a line a fact.
        with: Vec<String>,
    },
    /// It exists and differs.
    Update {
        /// The fields that change.
        fields: Vec<FieldChange>,
    },
    /// A thread is off and is started.
    Start {
        /// Which threads.
        threads: Vec<String>,
    },
    /// It exists and is taken away.
    Delete,
    /// Nothing to do.
    Unchanged {
        /// What was compared and what was not (`password: not compared`).
        note: Option<String>,
    },
    /// Looks only.
    Read,
}

impl Action {
    /// Whether the step writes anywhere.
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Unchanged { .. } | Self::Read)
    }
}

/// A field before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Its path, such as `spec.endpoints`.
    pub field: String,
    /// The value it has.
    pub before: String,
    /// The value it gets.
    pub after: String,
}
