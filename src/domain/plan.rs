//! The plan: the difference between what is to be and what is, step by step, made before anything is written.

use serde::{Deserialize, Serialize};

use super::{
    channel::{Password, Restart, can_be_fetched_again, changes, desired_channel, options},
    code::Code,
    desired,
    diff::diff,
    facts::{ChannelFacts, Facts, MemberFacts, ServerFacts},
    hint::Hint,
    problem::Problem,
    spec::ReplicationLink,
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

    /// Whether a step of this kind would write.
    pub fn writes(&self, kind: StepKind) -> bool {
        self.steps.iter().any(|step| step.kind == kind && step.action.writes())
    }

    /// Whether two plans would write the same; what they leave alone may differ.
    pub fn writes_the_same(&self, other: &Self) -> bool {
        let writes = |plan: &Self| plan.steps.iter().filter(|step| step.action.writes()).cloned().collect::<Vec<_>>();
        writes(self) == writes(other)
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
    /// A copy of the channel on a member that is not to have it: stopped and deleted before anything is started elsewhere.
    Fence,
    /// The channel's settings.
    Channel,
    /// The threads that must be off while the channel is changed.
    Stop,
    /// The receiver, then the applier.
    Start,
    /// The link's lock.
    Lease,
    /// The template of the client's pods, so that they are made anew.
    RestartMembers,
    /// A PeerAuthentication of the source.
    PeerAuthentication,
    /// A server block for the mesh name in CoreDNS's configuration.
    CorednsStub,
    /// CoreDNS's pods, where they do not read their configuration again.
    CorednsRestart,
    /// Writes on a member of the source, which a promotion ends.
    CloseSource,
    /// What the source still has and the replica lacks; only waits.
    CatchUp,
    /// Writes on a member of the replica, which a promotion begins.
    OpenReplica,
    /// An event that replication left disabled.
    EnableEvent,
}

impl Step {
    /// What making or changing its target means beyond that, for whoever is to agree to it.
    pub fn meaning(&self) -> Option<&'static str> {
        if self.kind == StepKind::Fence {
            return Some(
                "stopped first, then its records and relay logs are deleted: only one member may have the channel",
            );
        }
        if !matches!(self.action, Action::Create { .. } | Action::Update { .. }) {
            return None;
        }
        match self.kind {
            StepKind::RestartMembers => Some(
                "the pods are made anew, as their update strategy has it: MySQL, or whatever else runs in them, restarts in each",
            ),
            StepKind::PeerAuthentication => Some(
                "holds for everybody in the source's mesh: nobody's identity is known on that port any more, and clients whose DestinationRule demands ISTIO_MUTUAL there stop connecting",
            ),
            StepKind::CloseSource => {
                Some("nobody can write there any more, not even an administrator, after a restart too")
            }
            StepKind::CorednsRestart => Some("the Corefile has no `reload`, so CoreDNS is restarted, pod by pod"),
            _ => None,
        }
    }
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
    /// Threads run and are stopped, to be started again.
    Stop {
        /// Which threads.
        threads: Vec<String>,
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

/// Makes the plan of `setup`: of a link through a mesh its objects and the proof of the path; of replication, where it is to be seen
/// to, the channel and its threads. The lock is not a step of it.
///
/// # Errors
/// Why no member can carry the channel (see [`desired::pick_member`]), or why a second copy of it may not be deleted (see [`may_go`]).
pub fn plan(
    replication: Option<ReplicationLink<'_>>,
    facts: &Facts,
    previews: Option<&MeshPreviews>,
    password: Password,
) -> Result<Plan, Problem> {
    let mut steps = previews.map_or_else(Vec::new, |previews| mesh_steps(facts, previews));
    if let Some(link) = replication {
        steps.extend(channel_steps(link, facts, password)?);
    }
    Ok(Plan { steps })
}

fn mesh_steps(facts: &Facts, previews: &MeshPreviews) -> Vec<Step> {
    let pods: Vec<&str> = facts.client.pods().map(|member| member.pod.name.as_str()).collect();
    vec![
        object_step(StepKind::ServiceEntry, "ServiceEntry", &previews.service_entry),
        object_step(StepKind::DestinationRule, "DestinationRule", &previews.destination_rule),
        Step { kind: StepKind::Path, target: format!("network path from {}", pods.join(", ")), action: Action::Read },
    ]
}

fn channel_steps(link: ReplicationLink<'_>, facts: &Facts, password: Password) -> Result<Vec<Step>, Problem> {
    let member = desired::pick_member(link, facts)?;
    let pod = member.name();
    let name = &link.replication.channel;
    let existing = member
        .server()
        .and_then(|server| server.channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name)));
    let channel = channel_action(link, existing, password);
    let mut fences = Vec::new();
    for one in desired::surplus(link, facts) {
        let copy = one.server().and_then(|server| {
            let own = |channel: &&ChannelFacts| channel.name.eq_ignore_ascii_case(name);
            Some((server, server.channels.iter().find(own)?))
        });
        if let Some((server, copy)) = copy {
            may_go(facts, copy, (one.name(), server), member)?;
        }
        let target = format!("channel {name} on {}", one.name());
        fences.push(Step { kind: StepKind::Fence, target, action: Action::Delete });
    }
    let restart = match (existing, &channel) {
        (Some(existing), Action::Update { fields }) => Some(Restart::of(existing, fields)),
        _ => None,
    };
    let owned = |threads: &[&str]| threads.iter().map(ToString::to_string).collect::<Vec<_>>();
    let threads = format!("threads of channel {name} on {pod}");
    let stop = restart.as_ref().filter(|restart| !restart.stops.is_empty()).map(|restart| Step {
        kind: StepKind::Stop,
        target: threads.clone(),
        action: Action::Stop { threads: owned(&restart.stops) },
    });
    let start = match &restart {
        Some(restart) => Action::Start { threads: owned(&restart.starts) },
        None => start_action(existing),
    };
    let channel = Step { kind: StepKind::Channel, target: format!("channel {name} on {pod}"), action: channel };
    let start = Step { kind: StepKind::Start, target: threads, action: start };
    Ok(fences.into_iter().chain(stop).chain([channel, start]).collect())
}

/// Whether a copy of the channel may go with its relay logs: everything that it received is executed there or on the member that keeps
/// the channel, or the source sends it again.
///
/// # Errors
/// [`Code::ApplierStopped`] where the relay logs hold what nobody else has.
pub(crate) fn may_go(
    facts: &Facts,
    copy: &ChannelFacts,
    (name, server): (&str, &ServerFacts),
    stays: &MemberFacts,
) -> Result<(), Problem> {
    let elsewhere = stays.server().map(|server| server.gtid_executed.clone()).unwrap_or_default();
    let executed = server.gtid_executed.union(&elsewhere);
    let waiting = copy.received.subtract(&executed);
    if waiting.is_empty() || can_be_fetched_again(facts, &elsewhere, &waiting) {
        return Ok(());
    }
    let message = format!(
        "channel `{}` cannot be taken away from {name}: its relay logs hold the only copy of what was received",
        copy.name
    );
    Err(Problem::new(Code::ApplierStopped, message)
        .seen(format!("{} transactions received and not applied, and not on every member of the source: {waiting}", waiting.count()))
        .hint(Hint::text(
            "see whether that member can apply them (START REPLICA SQL_THREAD for this channel), or let the source answer; then run setup again",
        )))
}

pub(crate) fn object_step(kind: StepKind, object: &str, preview: &Preview) -> Step {
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

fn channel_action(link: ReplicationLink<'_>, existing: Option<&ChannelFacts>, password: Password) -> Action {
    let wanted = desired_channel(link);
    let Some(existing) = existing else {
        let set = options(&wanted).into_iter().filter(|(_, value)| !value.is_empty());
        return Action::Create { with: set.map(|(option, value)| format!("{option}: {value}")).collect() };
    };
    match changes(&existing.settings, &wanted, password) {
        fields if fields.is_empty() => Action::Unchanged { note: Some("password: not compared".to_owned()) },
        fields => Action::Update { fields },
    }
}

/// Of a channel that is made now, or that stays as it is.
fn start_action(existing: Option<&ChannelFacts>) -> Action {
    let both = || Action::Start { threads: vec!["receiver".to_owned(), "applier".to_owned()] };
    let Some(existing) = existing else { return both() };
    // A receiver that is still connecting runs; starting it again would do nothing. Where it is off the applier is started
    // after it, and stopped before it if it runs: nothing is applied until it is known whom it came from.
    match (existing.receiver.is_off(), existing.applier.is_off()) {
        (true, _) => both(),
        (false, true) => Action::Start { threads: vec!["applier".to_owned()] },
        (false, false) => Action::Unchanged {
            note: Some(format!("receiver {}, applier {}", existing.receiver.state, existing.applier.state)),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        facts::ThreadState,
        sample::{self, facts, spec, unlinked},
    };

    fn object(address: &str) -> Value {
        json!({
            "metadata": {"name": "pxc-source-production", "resourceVersion": "7"},
            "spec": {"addresses": [address], "hosts": ["pxc-source.production.global"]},
        })
    }

    fn previews(before: Option<Value>) -> MeshPreviews {
        let preview = Preview { before, after: object("240.0.0.7") };
        MeshPreviews { service_entry: preview.clone(), destination_rule: preview }
    }

    fn step(plan: &Plan, kind: StepKind) -> &Step {
        plan.steps.iter().find(|step| step.kind == kind).unwrap()
    }

    #[test]
    fn a_first_setup_creates_everything() {
        let plan = plan(spec().replication(), &unlinked(), Some(&previews(None)), Password::Kept).unwrap();
        let kinds: Vec<StepKind> = plan.steps.iter().map(|step| step.kind).collect();
        assert_eq!(
            kinds,
            [StepKind::ServiceEntry, StepKind::DestinationRule, StepKind::Path, StepKind::Channel, StepKind::Start]
        );
        assert_eq!(plan.changes(), 4);
        let entry = step(&plan, StepKind::ServiceEntry);
        assert_eq!(entry.target, "ServiceEntry/pxc-source-production");
        let with =
            vec![r#"addresses: ["240.0.0.7"]"#.to_owned(), r#"hosts: ["pxc-source.production.global"]"#.to_owned()];
        assert_eq!(entry.action, Action::Create { with });
        assert_eq!(step(&plan, StepKind::Path).target, "network path from pxc-0, pxc-1");
        let Action::Create { with } = &step(&plan, StepKind::Channel).action else { panic!("{plan:#?}") };
        assert!(with.contains(&"SOURCE_HOST: pxc-source.production.global".to_owned()), "{with:?}");
        assert_eq!(
            step(&plan, StepKind::Start).action,
            Action::Start { threads: vec!["receiver".to_owned(), "applier".to_owned()] }
        );
    }

    #[test]
    fn a_link_in_order_has_an_empty_plan() {
        let mut before = object("240.0.0.7");
        before["metadata"]["resourceVersion"] = json!("6");
        let plan = plan(spec().replication(), &facts(), Some(&previews(Some(before))), Password::Kept).unwrap();
        assert!(plan.is_empty(), "{plan:#?}");
        let note = Some("password: not compared".to_owned());
        assert_eq!(step(&plan, StepKind::Channel).action, Action::Unchanged { note });
    }

    #[test]
    fn a_difference_is_shown_field_by_field_and_a_changed_channel_is_started_again() {
        let mut facts = facts();
        sample::replica(&mut facts, 0).channels[0].settings.options.retry_count = 10;
        let plan =
            plan(spec().replication(), &facts, Some(&previews(Some(object("240.0.0.9")))), Password::Kept).unwrap();
        let field = |field: &str, before: &str, after: &str| FieldChange {
            field: field.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        assert_eq!(
            step(&plan, StepKind::ServiceEntry).action,
            Action::Update { fields: vec![field("spec.addresses", r#"["240.0.0.9"]"#, r#"["240.0.0.7"]"#)] }
        );
        assert_eq!(
            step(&plan, StepKind::Channel).action,
            Action::Update { fields: vec![field("SOURCE_RETRY_COUNT", "10", "86400")] }
        );
        let receiver = vec!["receiver".to_owned()];
        assert_eq!(step(&plan, StepKind::Stop).action, Action::Stop { threads: receiver.clone() });
        assert_eq!(step(&plan, StepKind::Start).action, Action::Start { threads: receiver });
    }

    #[test]
    fn a_password_is_applied_anew_where_it_is_asked_for_and_never_shown() {
        let plan =
            plan(spec().replication(), &facts(), Some(&previews(Some(object("240.0.0.7")))), Password::Anew).unwrap();
        let Action::Update { fields } = &step(&plan, StepKind::Channel).action else { panic!("{plan:#?}") };
        let shown: Vec<_> =
            fields.iter().map(|it| (it.field.as_str(), it.before.as_str(), it.after.as_str())).collect();
        assert_eq!(shown, [("SOURCE_PASSWORD", "not shown", "as configured, not shown")]);
        let kinds: Vec<StepKind> = plan.steps.iter().map(|step| step.kind).skip(3).collect();
        assert_eq!(kinds, [StepKind::Stop, StepKind::Channel, StepKind::Start]);
    }

    #[test]
    fn only_threads_that_are_off_are_started() {
        for (receiver, applier, wanted) in [
            ("OFF", "ON", vec!["receiver", "applier"]),
            ("ON", "OFF", vec!["applier"]),
            ("OFF", "OFF", vec!["receiver", "applier"]),
            ("CONNECTING", "ON", vec![]),
        ] {
            let mut facts = facts();
            let channel = &mut sample::replica(&mut facts, 0).channels[0];
            channel.receiver = ThreadState { state: receiver.to_owned(), error: None };
            channel.applier = ThreadState { state: applier.to_owned(), error: None };
            let plan =
                plan(spec().replication(), &facts, Some(&previews(Some(object("240.0.0.7")))), Password::Kept).unwrap();
            let started = match &step(&plan, StepKind::Start).action {
                Action::Start { threads } => threads.clone(),
                Action::Unchanged { .. } => Vec::new(),
                other => panic!("{other:?}"),
            };
            assert_eq!(started, wanted);
        }
    }

    #[test]
    fn a_copy_is_deleted_before_anything_is_made_or_started_elsewhere() {
        let mut facts = facts();
        sample::in_group(&mut facts, ["SECONDARY", "PRIMARY"]);
        let made = |facts: &Facts| {
            plan(spec().replication(), facts, Some(&previews(Some(object("240.0.0.7")))), Password::Kept)
        };
        let moved = made(&facts).unwrap();
        let steps: Vec<_> = moved.steps.iter().skip(3).map(|step| (step.kind, step.target.as_str())).collect();
        assert_eq!(
            steps,
            [
                (StepKind::Fence, "channel production on pxc-0"),
                (StepKind::Channel, "channel production on pxc-1"),
                (StepKind::Start, "threads of channel production on pxc-1"),
            ]
        );
        assert_eq!(step(&moved, StepKind::Fence).action, Action::Delete);
        assert!(matches!(step(&moved, StepKind::Channel).action, Action::Create { .. }));
        // What was received there and is nowhere else keeps it.
        let only = sample::gtids("77000000-0000-0000-0000-000000000001:1-3");
        sample::replica(&mut facts, 0).channels[0].received = only.clone();
        assert_eq!(made(&facts).unwrap_err().code, Code::ApplierStopped);
        let executed = sample::replica(&mut facts, 1).gtid_executed.union(&only);
        sample::replica(&mut facts, 1).gtid_executed = executed;
        assert!(made(&facts).is_ok(), "the other member has it");
    }

    #[test]
    fn without_a_member_to_carry_the_channel_there_is_no_plan() {
        let mut facts = unlinked();
        for one in sample::replicas(&mut facts) {
            one.pod().ready = false;
        }
        assert_eq!(
            plan(spec().replication(), &facts, Some(&previews(None)), Password::Kept).unwrap_err().code,
            Code::MemberNotReady
        );
    }
}
