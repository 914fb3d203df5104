//! The plan: the difference between what is to be and what is, step by step, made before anything is written.

use serde::{Deserialize, Serialize};

use super::{
    channel::{channel_differences, desired_channel, options},
    desired,
    diff::diff,
    facts::{ChannelFacts, Facts},
    problem::Problem,
    spec::LinkSpec,
};

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

/// What applying the link's mesh objects would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeshPreviews {
    /// Of the ServiceEntry.
    pub service_entry: Preview,
    /// Of the DestinationRule.
    pub destination_rule: Preview,
}

/// Makes the plan of `setup`: mesh objects, proof of the path, the channel, its threads. The lock is not a step of it.
///
/// # Errors
/// Why no member can carry the channel (see [`desired::pick_member`]).
pub fn plan(spec: &LinkSpec, facts: &Facts, previews: &MeshPreviews) -> Result<Plan, Problem> {
    let member = desired::pick_member(spec, facts)?;
    let pod = &member.pod.name;
    let name = &spec.replication.channel;
    let existing = member
        .server
        .got()
        .and_then(|server| server.channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name)));
    let channel = channel_action(spec, existing);
    let start = start_action(existing, &channel);
    let members = facts.replica.members.got().map_or(&[][..], Vec::as_slice);
    let pods: Vec<&str> = members.iter().map(|member| member.pod.name.as_str()).collect();
    Ok(Plan {
        steps: vec![
            object_step(StepKind::ServiceEntry, "ServiceEntry", &previews.service_entry),
            object_step(StepKind::DestinationRule, "DestinationRule", &previews.destination_rule),
            Step {
                kind: StepKind::Path,
                target: format!("network path from {}", pods.join(", ")),
                action: Action::Read,
            },
            Step { kind: StepKind::Channel, target: format!("channel {name} on {pod}"), action: channel },
            Step { kind: StepKind::Start, target: format!("threads of channel {name} on {pod}"), action: start },
        ],
    })
}

fn object_step(kind: StepKind, object: &str, preview: &Preview) -> Step {
    let name = preview.after.pointer("/metadata/name").and_then(serde_json::Value::as_str).unwrap_or_default();
    let action = match &preview.before {
        None => Action::Create { with: spec_lines(&preview.after) },
        Some(before) => match diff(before, &preview.after) {
            fields if fields.is_empty() => Action::Unchanged { note: None },
            fields => Action::Update { fields },
        },
    };
    Step { kind, target: format!("{object}/{name}"), action }
}

/// The leaves of an object's spec, a line each.
fn spec_lines(object: &serde_json::Value) -> Vec<String> {
    let nothing = serde_json::json!({});
    let spec = object.get("spec").unwrap_or(&nothing);
    diff(&nothing, spec).into_iter().map(|change| format!("{}: {}", change.field, change.after)).collect()
}

fn channel_action(spec: &LinkSpec, existing: Option<&ChannelFacts>) -> Action {
    let wanted = desired_channel(spec);
    let Some(existing) = existing else {
        let set = options(&wanted).into_iter().filter(|(_, value)| !value.is_empty());
        return Action::Create { with: set.map(|(option, value)| format!("{option}: {value}")).collect() };
    };
    match channel_differences(&existing.settings, &wanted) {
        fields if fields.is_empty() => Action::Unchanged { note: Some("password: not compared".to_owned()) },
        fields => Action::Update { fields },
    }
}

fn start_action(existing: Option<&ChannelFacts>, channel: &Action) -> Action {
    let both = || Action::Start { threads: vec!["receiver".to_owned(), "applier".to_owned()] };
    let Some(existing) = existing.filter(|_| !channel.writes()) else { return both() };
    // A receiver that is still connecting runs; starting it again would do nothing.
    let off = [("receiver", &existing.receiver), ("applier", &existing.applier)]
        .into_iter()
        .filter(|(_, thread)| thread.is_off());
    match off.map(|(thread, _)| thread.to_owned()).collect::<Vec<_>>() {
        threads if threads.is_empty() => Action::Unchanged {
            note: Some(format!("receiver {}, applier {}", existing.receiver.state, existing.applier.state)),
        },
        threads => Action::Start { threads },
    }
}
