//! The versioned shape of machine-readable output, apart from the domain's types so that those can be renamed freely.
//!
//! Within one version of a `schema` fields are only added. Times are RFC 3339 in UTC, spans are seconds as numbers, and
//! what is not known is absent. YAML is made from the same structs.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{
    check::{Change, Check, Milestone, Outcome, Report, Side, Subject, Verdict},
    hint::{Hint, Remedy},
    plan::{Action, FieldChange, Plan, Step, StepKind},
    problem::Problem,
    status::{Lag, LinkState, LinkStatus, Sample, StatusError},
};

/// `pxc-link.io/report/v1`: one link, every check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportDto {
    /// Name and version of this shape.
    pub schema: &'static str,
    /// The link.
    pub link: String,
    /// When the facts were gathered.
    pub at: Timestamp,
    /// The worst outcome: `ok`, `warning`, `unknown` or `failed`.
    pub verdict: Verdict,
    /// In the order of the path.
    pub checks: Vec<CheckDto>,
    /// What the run wrote.
    pub changes: Vec<ChangeDto>,
}

/// One judged fact about one subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckDto {
    /// Stable name, such as `path.query`.
    pub id: String,
    /// Of whom.
    pub subject: SubjectDto,
    /// `access`, `preflight`, `name`, … `replication`.
    pub milestone: Milestone,
    /// `passed`, `warned`, `failed`, `skipped` or `unknown`.
    pub outcome: &'static str,
    /// The code of what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One sentence on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<HintDto>,
    /// Which check a skipped one waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<BecauseDto>,
}

/// Whom a check speaks of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubjectDto {
    /// `link`, `cluster`, `object` or `member`.
    pub kind: &'static str,
    /// `source` or `replica`; none for a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// The object as `Kind/name`, or the member's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The check that another one waits for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BecauseDto {
    /// Its name.
    pub id: String,
    /// Of whom.
    pub subject: SubjectDto,
}

/// What mends a problem.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HintDto {
    /// What to do and why.
    pub text: String,
    /// In the order to run them.
    pub commands: Vec<CommandDto>,
}

/// Either `argv`, or `sql` and the `server` to run it on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CommandDto {
    /// A command, one element an argument.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// A statement without a closing semicolon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// The server, as the report names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// Something a run wrote.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeDto {
    /// The object, channel or setting.
    pub target: String,
    /// `created`, `changed`, `deleted`, `started`, `stopped` or `taken back`.
    pub verb: &'static str,
}

/// `pxc-link.io/error/v1`: why a command ended without a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorDto {
    /// Name and version of this shape.
    pub schema: &'static str,
    /// At least one.
    pub problems: Vec<ProblemDto>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProblemDto {
    /// Its code.
    pub code: String,
    /// One sentence on it.
    pub message: String,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<HintDto>,
}

/// `pxc-link.io/plan/v1`: what a run would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanDto {
    /// Name and version of this shape.
    pub schema: &'static str,
    /// How many steps would write.
    pub changes: usize,
    /// In the order they are carried out.
    pub steps: Vec<StepDto>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepDto {
    /// What it is about.
    pub kind: StepKind,
    /// The object, channel or server.
    pub target: String,
    /// `create`, `change`, `stop`, `start`, `delete`, `unchanged` or `read`.
    pub action: &'static str,
    /// Of `create`: what it will be, a line a fact.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// Of `change`: the fields that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDto>,
    /// Of `start`: which threads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub threads: Vec<String>,
    /// Of `unchanged`: what was not compared; else what the step means beyond its target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A field before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDto {
    /// Its path, such as `spec.endpoints`.
    pub field: String,
    /// The value it has.
    pub before: String,
    /// The value it gets.
    pub after: String,
}

/// `pxc-link.io/status/v1`: what links are doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusesDto {
    /// Name and version of this shape.
    pub schema: &'static str,
    /// When they were asked.
    pub at: Timestamp,
    /// One entry a link and member.
    pub links: Vec<StatusDto>,
}

/// A link as one member has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusDto {
    /// The link.
    pub link: String,
    /// The member with the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The mesh name and its ports, of a link without replication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `replicating`, `catching_up`, `connecting`, `stopped`, `broken`, `linked`, `not_configured` or `unknown`.
    pub state: LinkState,
    /// Seconds; absent where it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<f64>,
    /// The lag is at least `lag_seconds`, and how much more is not known.
    pub lag_is_lower_bound: bool,
    /// Transactions executed by the source and not by the member; absent where it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_transactions: Option<u128>,
    /// `ON`, `OFF` or `CONNECTING`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// `ON` or `OFF`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applier: Option<String>,
    /// The server the receiver is or was attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_uuid: Option<String>,
    /// The source's member of that UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_member: Option<String>,
    /// What a thread of the channel shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StatusErrorDto>,
}

/// An error of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusErrorDto {
    /// What it means here, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The server's number; 0 where there is none.
    pub errno: u32,
    /// The server's text.
    pub text: String,
}

/// `pxc-link.io/sample/v1`: one look of `monitor`, one object a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleDto {
    /// Name and version of this shape.
    pub schema: &'static str,
    /// When.
    pub at: Timestamp,
    /// What was seen.
    pub status: StatusDto,
    /// Since the sample before; absent in the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_per_second: Option<f64>,
    /// What stands out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One of these documents as one line, for streams of them.
pub fn line(document: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(document).map(|text| text + "\n")
}

/// The text of any of these documents: indented, with a line end.
pub fn text(document: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(document).map(|text| text + "\n")
}

impl From<&Report> for ReportDto {
    fn from(report: &Report) -> Self {
        let mut checks: Vec<&Check> = report.checks.iter().collect();
        checks.sort_by_key(|check| check.milestone);
        Self {
            schema: "pxc-link.io/report/v1",
            link: report.link.clone(),
            at: report.at,
            verdict: report.verdict(),
            checks: checks.into_iter().map(Into::into).collect(),
            changes: report.changes.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Check> for CheckDto {
    fn from(check: &Check) -> Self {
        let problem = check.problem();
        let mut evidence: Vec<String> = problem.map(|problem| problem.evidence.clone()).unwrap_or_default();
        evidence.extend(check.evidence.iter().cloned());
        Self {
            id: check.id.to_string(),
            subject: (&check.subject).into(),
            milestone: check.milestone,
            outcome: match check.outcome {
                Outcome::Passed => "passed",
                Outcome::Warned(_) => "warned",
                Outcome::Failed(_) => "failed",
                Outcome::Skipped { .. } => "skipped",
                Outcome::Unknown(_) => "unknown",
            },
            code: problem.map(|problem| problem.code.to_string()),
            message: problem.map(|problem| problem.message.clone()),
            evidence,
            hint: problem.and_then(|problem| problem.hint.as_ref()).map(Into::into),
            because: match &check.outcome {
                Outcome::Skipped { because: (id, subject) } => {
                    Some(BecauseDto { id: id.to_string(), subject: subject.into() })
                }
                _ => None,
            },
        }
    }
}

impl From<&Subject> for SubjectDto {
    fn from(subject: &Subject) -> Self {
        let (kind, side, name) = match subject {
            Subject::Link => ("link", None, None),
            Subject::Cluster(side) => ("cluster", Some(*side), None),
            Subject::Object(side, name) => ("object", Some(*side), Some(name.clone())),
            Subject::Member(side, name) => ("member", Some(*side), Some(name.clone())),
            Subject::Port(side, name, port) => ("port", Some(*side), Some(format!("{name}:{port}"))),
        };
        Self { kind, side, name }
    }
}

impl From<&Hint> for HintDto {
    fn from(hint: &Hint) -> Self {
        Self { text: hint.text.clone(), commands: hint.commands.iter().map(Into::into).collect() }
    }
}

impl From<&Remedy> for CommandDto {
    fn from(remedy: &Remedy) -> Self {
        match remedy {
            Remedy::Argv(argv) => Self { argv: Some(argv.clone()), sql: None, server: None },
            Remedy::Sql { server, statement } => {
                Self { argv: None, sql: Some(statement.clone()), server: Some(server.clone()) }
            }
        }
    }
}

impl From<&Change> for ChangeDto {
    fn from(change: &Change) -> Self {
        Self { target: change.target.clone(), verb: change.verb }
    }
}

impl From<&[Problem]> for ErrorDto {
    fn from(problems: &[Problem]) -> Self {
        Self { schema: "pxc-link.io/error/v1", problems: problems.iter().map(Into::into).collect() }
    }
}

impl From<&Problem> for ProblemDto {
    fn from(problem: &Problem) -> Self {
        Self {
            code: problem.code.to_string(),
            message: problem.message.clone(),
            evidence: problem.evidence.clone(),
            hint: problem.hint.as_ref().map(Into::into),
        }
    }
}

impl From<&Plan> for PlanDto {
    fn from(plan: &Plan) -> Self {
        Self {
            schema: "pxc-link.io/plan/v1",
            changes: plan.changes(),
            steps: plan.steps.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Step> for StepDto {
    fn from(step: &Step) -> Self {
        let mut dto = Self {
            kind: step.kind,
            target: step.target.clone(),
            action: "read",
            with: Vec::new(),
            fields: Vec::new(),
            threads: Vec::new(),
            note: step.meaning().map(ToOwned::to_owned),
        };
        match &step.action {
            Action::Create { with } => {
                dto.action = "create";
                dto.with.clone_from(with);
            }
            Action::Update { fields } => {
                dto.action = "change";
                dto.fields = fields.iter().map(Into::into).collect();
            }
            Action::Stop { threads } => {
                dto.action = "stop";
                dto.threads.clone_from(threads);
            }
            Action::Start { threads } => {
                dto.action = "start";
                dto.threads.clone_from(threads);
            }
            Action::Delete => dto.action = "delete",
            Action::Unchanged { note } => {
                dto.action = "unchanged";
                dto.note.clone_from(note);
            }
            Action::Read => {}
        }
        dto
    }
}

impl From<&FieldChange> for FieldDto {
    fn from(change: &FieldChange) -> Self {
        Self { field: change.field.clone(), before: change.before.clone(), after: change.after.clone() }
    }
}

impl StatusesDto {
    /// The document for these links, asked at this time.
    pub fn new(at: Timestamp, links: &[LinkStatus]) -> Self {
        Self { schema: "pxc-link.io/status/v1", at, links: links.iter().map(Into::into).collect() }
    }
}

impl From<&LinkStatus> for StatusDto {
    fn from(status: &LinkStatus) -> Self {
        Self {
            link: status.link.clone(),
            member: status.member.clone(),
            name: status.name.clone(),
            state: status.state,
            lag_seconds: match status.lag {
                Lag::Exactly { seconds } | Lag::AtLeast { seconds } => Some(seconds),
                Lag::Unknown => None,
            },
            lag_is_lower_bound: matches!(status.lag, Lag::AtLeast { .. }),
            missing_transactions: status.missing,
            receiver: status.receiver.clone(),
            applier: status.applier.clone(),
            source_uuid: status.source_uuid.clone(),
            source_member: status.source_member.clone(),
            error: status.error.as_ref().map(Into::into),
        }
    }
}

impl From<&StatusError> for StatusErrorDto {
    fn from(error: &StatusError) -> Self {
        Self { code: error.code.map(|code| code.to_string()), errno: error.errno, text: error.text.clone() }
    }
}

impl From<&Sample> for SampleDto {
    fn from(sample: &Sample) -> Self {
        Self {
            schema: "pxc-link.io/sample/v1",
            at: sample.at,
            status: (&sample.status).into(),
            applied_per_second: sample.applied_per_second,
            note: sample.note.clone(),
        }
    }
}
