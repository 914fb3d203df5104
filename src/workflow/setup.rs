//! Setting a link up: facts, plan, agreement, mesh objects, proof of the path, channel, staged start, proof of that too.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Instant};

use super::{
    carry::Run,
    gather::{self, Extent},
    lock::Lock,
    offers::{self, Taken},
    session::{Session, cleanup_deadline},
    sides::Sides,
    undo::Done,
    wanted::{Wanted, wanted},
};
use crate::{
    domain::{
        baseline,
        channel::Password,
        check::{Check, Outcome, Report},
        code::Code,
        desired,
        event::Event,
        facts::{Facts, MemberFacts},
        hint::Hint,
        judge::{self, ids},
        offered::Offers,
        plan::{self, MeshPreviews, Plan, StepKind},
        problem::{Fetched, Problem},
        spec::{LinkSpec, MeshLink, ReplicationLink, SourceLocation},
        status::LinkStatus,
    },
    error::Failure,
    k8s::{Cluster, apply},
    mesh::objects,
    wait::Deadline,
};

/// What the caller may decide about a setup.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Take over fields that another manager owns.
    pub force_conflicts: bool,
    /// Leave the replication alone: only what the mesh name needs is made and proven.
    pub only_mesh: bool,
    /// Wait until nothing is missing, not only until the threads are proven to run.
    pub until_caught_up: bool,
    /// Whether the configured password is given to a channel that is there already.
    pub password: Password,
    /// What is never done unasked.
    pub offers: Offers,
}

impl Options {
    /// The replication of a link, where it is to be seen to.
    fn replication(self, spec: &LinkSpec) -> Option<ReplicationLink<'_>> {
        spec.replication().filter(|_| !self.only_mesh)
    }
}

/// A setup that knows what it would do and has written nothing.
pub struct Planned {
    session: Session,
    sides: Sides,
    options: Options,
    made: Made,
}

/// A plan and what it was made from.
pub(super) struct Made {
    pub(super) facts: Facts,
    pub(super) plan: Plan,
    /// What is to be in the client's mesh, on a link that goes through one.
    pub(super) in_mesh: Option<InMesh>,
    /// The member that carries the channel, where the link has one.
    pub(super) carrier: Option<String>,
    warnings: Vec<Check>,
}

/// What is to be in the client's mesh.
pub(super) struct InMesh {
    pub(super) vip: Ipv4Addr,
    /// The ServiceEntry and the DestinationRule as they are to be.
    pub(super) objects: [serde_json::Value; 2],
    /// What was asked for beside the link.
    pub(super) taken: Taken,
}

/// What a setup that went well has to say.
#[derive(Debug)]
pub struct Finished {
    /// Every check, and what was written.
    pub report: Report,
    /// The link as its member has it now; `None` where it carries no replication.
    pub status: Option<LinkStatus>,
}

/// Looks at both sides and makes the plan. Writes nothing.
///
/// # Errors
/// Everything that stands in the way, judged before anything is written.
pub async fn plan(session: Session, options: Options) -> Result<Planned, Failure> {
    let endpoints = session.spec.mesh().is_some_and(|mesh| matches!(mesh.source, SourceLocation::Endpoints(_)));
    if endpoints && session.spec.replication().is_some() {
        return Err(not_by_endpoints(&session.spec).into());
    }
    let looking = async {
        let sides = Sides::connect(&session).await;
        let made = make(&session, &sides, options).await?;
        Ok::<_, Failure>((sides, made))
    };
    let (sides, made) = session.interruptible("while both sides were looked at", looking).await??;
    Ok(Planned { session, sides, options, made })
}

/// A wrong server must never get a row applied: without the source's cluster nobody can say which server is the right one.
fn not_by_endpoints(spec: &LinkSpec) -> Problem {
    let message = format!(
        "link `{}` gives the source's addresses only, and setup cannot tell yet which server is meant",
        spec.name
    );
    Problem::new(Code::NotSupportedYet, message)
        .seen("source.endpoints is served by verify, status, monitor and teardown")
        .hint(Hint::text("name the source's Service under `source.kubernetes`"))
}

impl Planned {
    /// What would be done.
    pub fn plan(&self) -> &Plan {
        &self.made.plan
    }

    /// What should be looked at before agreeing.
    pub fn warnings(&self) -> &[Check] {
        &self.made.warnings
    }

    /// Does it until `deadline`, which may be a later one than the plan's: what a person takes to agree is not the command's.
    /// Under the lock facts and plan are made again; where the new plan is not the agreed one, nothing is written.
    ///
    /// # Errors
    /// What went wrong first, with what stands and what was taken back.
    pub async fn execute(mut self, deadline: Deadline) -> Result<Finished, Failure> {
        self.session.deadline = deadline;
        if self.made.plan.is_empty() {
            let Self { session, sides, options, made } = self;
            let mut done = Done::default();
            let run = Run { session: &session, sides: &sides, options, lock: None };
            return run.stages(made, &mut done).await;
        }
        let lock = Lock::take(&self.session, &self.sides).await?;
        let end = self.locked(&lock).await;
        let released = lock.release(cleanup_deadline()).await;
        match (end, released) {
            (Ok(finished), Ok(())) => Ok(finished),
            (Ok(finished), Err(problem)) => {
                Err(Failure { problems: vec![problem], stands: finished.report.changes, taken_back: Vec::new() })
            }
            (Err(mut failure), released) => {
                failure.problems.extend(released.err());
                Err(failure)
            }
        }
    }

    async fn locked(self, lock: &Lock) -> Result<Finished, Failure> {
        let Self { session, sides, options, made: agreed } = self;
        let made = make(&session, &sides, options).await?;
        if !made.plan.writes_the_same(&agreed.plan) {
            return Err(changed_since(&session, "; nothing was written").into());
        }
        let mut done = Done::default();
        let run = Run { session: &session, sides: &sides, options, lock: Some(lock) };
        let end = async {
            let restarts = made.in_mesh.as_ref().is_some_and(|mesh| !mesh.taken.restarts.is_empty());
            let made = if restarts { run.anew(made, &mut done).await? } else { made };
            run.stages(made, &mut done).await
        };
        match end.await {
            Ok(finished) => Ok(finished),
            // Whoever has the lock now may build on what this run made.
            Err(failure) if lock.check().await.is_err() => Err(Failure { stands: done.changes(), ..failure }),
            Err(mut failure) => {
                done.take_back(&session, &sides, &mut failure).await;
                Err(failure)
            }
        }
    }
}

fn changed_since(session: &Session, written: &str) -> Problem {
    Problem::new(Code::NotApproved, format!("the link changed after the plan was shown{written}"))
        .hint(Hint::run("look at the new plan", ["pxc-link", "setup", "--source", &session.spec.name]))
}

impl Run<'_> {
    /// Makes the members anew, and then facts and plan: pods and servers are others now, and threads may have to be started.
    async fn anew(&self, made: Made, done: &mut Done) -> Result<Made, Failure> {
        let restarts = made.in_mesh.as_ref().map_or(&[][..], |mesh| &mesh.taken.restarts);
        self.restart_members(restarts, done).await?;
        let again = make(self.session, self.sides, self.options).await?;
        let lasting = |plan: &Plan| Plan {
            steps: plan
                .steps
                .iter()
                .filter(|step| ![StepKind::RestartMembers, StepKind::Start].contains(&step.kind))
                .cloned()
                .collect(),
        };
        if lasting(&again.plan).writes_the_same(&lasting(&made.plan)) {
            return Ok(again);
        }
        Err(changed_since(self.session, ": the members are back, and more is to be done than was agreed to").into())
    }
}

/// Facts, judgement of what stands in the way, and the plan.
async fn make(session: &Session, sides: &Sides, options: Options) -> Result<Made, Failure> {
    let spec = &session.spec;
    if options.only_mesh || options.offers != Offers::default() {
        session.mesh()?;
    }
    let mut facts = look(session, sides).await;
    let read = offers::read(session, sides, options.offers, &mut facts).await;
    if spec.replication().is_some() {
        sides.replication_password()?;
    }
    let mut checks = judge::access(spec, &facts);
    if let Some(mesh) = spec.mesh() {
        checks.extend(judge::mesh_preflight(mesh, &facts));
    }
    let replication = options.replication(spec);
    if let Some(link) = replication {
        checks.extend(judge::receiver_login(link, &facts));
        checks.extend(judge::prerequisites(link, &facts));
        checks.extend(judge::channel_preflight(link, &facts));
    }
    let checks = offers::unmended(checks, options.offers);
    refuse(&checks)?;
    if options.password == Password::Anew {
        proven_password(spec, &facts)?;
    }
    let (plan, in_mesh) = match spec.mesh() {
        Some(mesh) => {
            let (previews, in_mesh) = settle(session, mesh, sides, options, &facts, read?).await?;
            (
                plan::plan(replication, &facts, Some(&previews), options.password)?.with(&in_mesh.taken.offered),
                Some(in_mesh),
            )
        }
        None => (plan::plan(replication, &facts, None, options.password)?, None),
    };
    let carrier = match replication {
        Some(link) => Some(desired::pick_member(link, &facts)?.name().to_owned()),
        None => None,
    };
    let warnings = checks.into_iter().filter(Check::advises).collect();
    Ok(Made { facts, plan, in_mesh, carrier, warnings })
}

/// A password takes the place of one that works only if it works, too. On a link through a mesh the proof of the path shows it, which
/// comes before the channel; without a mesh this machine's own login does.
fn proven_password(spec: &LinkSpec, facts: &Facts) -> Result<(), Problem> {
    let link = spec.replication().ok_or_else(|| {
        Problem::new(Code::NoReplication, format!("link `{}` carries no replication: there is no password", spec.name))
            .hint(Hint::text("leave `--rotate-password` out, or name a link that replicates with `--source`"))
    })?;
    let Some(Fetched::Failed(problem)) = &facts.receiver_login else { return Ok(()) };
    let user = &link.replication.account.user;
    let message =
        format!("the configured password of `{user}` does not log in at the source, so the channel keeps its own");
    let code = if problem.code == Code::AccessDenied { Code::ReplicationAccessDenied } else { problem.code };
    Err(Problem { code, message, ..problem.clone().seen(problem.message.clone()) })
}

/// What is to be in the client's mesh, and what its API server would make of it.
async fn settle(
    session: &Session,
    mesh: MeshLink<'_>,
    sides: &Sides,
    options: Options,
    facts: &Facts,
    read: offers::Read,
) -> Result<(MeshPreviews, InMesh), Problem> {
    let Wanted { vip, mut objects } = wanted(mesh, facts)?;
    let taken = read.settle(session, mesh, sides, options, facts, vip).await?;
    objects::remember(&mut objects[0], &taken.records);
    if let Some(own) = mesh.replication().and_then(|_| baseline::to_record(&mesh, facts)) {
        objects::remember(&mut objects[0], &BTreeMap::from([(baseline::RECORD.to_owned(), own)]));
    }
    let cluster = sides.client()?;
    let (service_entry, destination_rule) = tokio::try_join!(
        preview(cluster, &objects[0], options, session),
        preview(cluster, &objects[1], options, session),
    )?;
    Ok((MeshPreviews { service_entry, destination_rule }, InMesh { vip, objects, taken }))
}

/// Facts of both sides. What they mean is judged later; a side of which no member answered is only not called a success.
async fn look(session: &Session, sides: &Sides) -> Facts {
    let (what, begun) = ("both sides answer".to_owned(), Instant::now());
    session.events.tell(Event::Started { what: what.clone() });
    let facts = gather::facts(session, sides, Extent::Whole { files: true }).await;
    let took_seconds = begun.elapsed().as_secs_f64();
    let (source, client) = (&facts.source.members, &facts.client.members);
    session.events.tell(if let Some(code) = silent(source).or(silent(client)) {
        Event::Failed { what, code, took_seconds }
    } else {
        let seen =
            format!("{} of the source, {} of the {}", answering(source), answering(client), session.spec.client_side());
        Event::Done { what, seen, took_seconds }
    });
    facts
}

/// Why no member of a side answered, if none did.
fn silent(members: &Fetched<Vec<MemberFacts>>) -> Option<Code> {
    match members {
        Fetched::Failed(problem) => Some(problem.code),
        Fetched::Got(members) if members.is_empty() => Some(Code::NoPodMatches),
        Fetched::Got(members) if members.iter().any(answers) => None,
        Fetched::Got(members) => members.iter().find_map(MemberFacts::unread).map(|problem| problem.code),
    }
}

/// Its server does or, where nobody asks for one, its pod is ready.
fn answers(one: &MemberFacts) -> bool {
    one.server().is_some() || one.server.is_none() && one.is_ready()
}

fn answering(members: &Fetched<Vec<MemberFacts>>) -> String {
    let members = members.got().map_or(&[][..], Vec::as_slice);
    let plural = if members.len() == 1 { "" } else { "s" };
    let answering = members.iter().filter(|one| answers(one)).count();
    format!("{answering} of {} member{plural}", members.len())
}

/// The check that stops a setup first, then every other that failed.
pub(super) fn refuse(checks: &[Check]) -> Result<(), Failure> {
    let Some(first) = judge::blocking(checks) else { return Ok(()) };
    let same_cluster = checks.iter().find(|check| check.id == ids::CLUSTER_DISTINCT && !check.is_good());
    if let Some(problem) = same_cluster.and_then(Check::problem) {
        // Everything else that is wrong then is wrong because of it.
        return Err(problem.clone().into());
    }
    let failed = checks.iter().filter(|check| matches!(check.outcome, Outcome::Failed(_)));
    let mut problems: Vec<Problem> = Vec::new();
    for problem in std::iter::once(first).chain(failed).filter_map(Check::problem) {
        if !problems.contains(problem) {
            problems.push(problem.clone());
        }
    }
    Err(Failure::of(problems))
}

async fn preview(
    cluster: &Cluster,
    object: &serde_json::Value,
    options: Options,
    session: &Session,
) -> Result<plan::Preview, Problem> {
    Ok(apply::preview(cluster, object, &offers::writer(session, options), session.deadline).await?)
}
