//! Setting a link up: facts, plan, agreement, mesh objects, proof of the path, channel, staged start, proof of that too.

use std::{net::Ipv4Addr, time::Instant};

use super::{
    gather, prove,
    session::Session,
    sides::{Live, Sides},
    start,
    undo::Done,
    watch,
};
use crate::{
    domain::{
        channel::desired_channel,
        check::{Check, Outcome, Report, Side},
        code::Code,
        desired,
        event::Event,
        facts::{Facts, MemberFacts},
        hint::Hint,
        judge::{self, ids},
        plan::{self, Action, MeshPreviews, Plan, StepKind},
        problem::{Fetched, Problem},
        spec::{LinkSpec, SourceLocation},
        status::LinkStatus,
    },
    error::Failure,
    k8s::{Cluster, apply, lease},
    mesh::objects,
};

/// What the caller may decide about a setup.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Take over fields that another manager owns.
    pub force_conflicts: bool,
    /// Wait until nothing is missing, not only until the threads are proven to run.
    pub until_caught_up: bool,
}

/// A setup that knows what it would do and has written nothing.
pub struct Planned {
    session: Session,
    sides: Sides,
    options: Options,
    made: Made,
}

/// A plan and what it was made from.
struct Made {
    facts: Facts,
    plan: Plan,
    vip: Ipv4Addr,
    /// The ServiceEntry and the DestinationRule as they are to be.
    objects: [serde_json::Value; 2],
    /// The member that carries the channel.
    member: String,
    warnings: Vec<Check>,
}

/// What a setup that went well has to say.
#[derive(Debug)]
pub struct Finished {
    /// Every check, and what was written.
    pub report: Report,
    /// The link as its member has it now.
    pub status: LinkStatus,
}

/// Looks at both sides and makes the plan. Writes nothing.
///
/// # Errors
/// Everything that stands in the way, judged before anything is written.
pub async fn plan(session: Session, options: Options) -> Result<Planned, Failure> {
    if let SourceLocation::Endpoints(_) = session.spec.source.location {
        return Err(not_by_endpoints(&session.spec).into());
    }
    let sides = Sides::connect(&session).await;
    let made = session.interruptible("while both sides were looked at", make(&session, &sides, options)).await??;
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

    /// Does it. Under the lock facts and plan are made again; where the new plan is not the agreed one, nothing is written.
    ///
    /// # Errors
    /// What went wrong first, with what stands and what was taken back.
    pub async fn execute(self) -> Result<Finished, Failure> {
        if self.made.plan.is_empty() {
            return carry_out(&self.session, &self.sides, self.options, self.made)
                .await
                .map_err(|(failure, _)| failure);
        }
        let cluster = self.sides.cluster(Side::Replica)?.clone();
        let lock =
            lease::acquire(&cluster, &self.session.spec.name, self.session.deadline).await.map_err(Problem::from)?;
        let cleanup = self.session.cleanup_deadline();
        let end = self.locked().await;
        let released = lock.release(cleanup).await.map_err(Problem::from);
        match (end, released) {
            (Ok(finished), Ok(())) => Ok(finished),
            (Ok(_), Err(problem)) => Err(problem.into()),
            (Err(mut failure), released) => {
                failure.problems.extend(released.err());
                Err(failure)
            }
        }
    }

    async fn locked(self) -> Result<Finished, Failure> {
        let Self { session, sides, options, made: agreed } = self;
        let made = make(&session, &sides, options).await?;
        if made.plan != agreed.plan {
            let problem =
                Problem::new(Code::NotApproved, "the clusters changed after the plan was shown; nothing was written")
                    .hint(Hint::run("look at the new plan", ["pxc-link", "setup", "--source", &session.spec.name]));
            return Err(problem.into());
        }
        match carry_out(&session, &sides, options, made).await {
            Ok(finished) => Ok(finished),
            Err((mut failure, done)) => {
                done.take_back(&session, &sides, &mut failure).await;
                Err(failure)
            }
        }
    }
}

/// Facts, judgement of what stands in the way, and the plan.
async fn make(session: &Session, sides: &Sides, options: Options) -> Result<Made, Failure> {
    let spec = &session.spec;
    let facts = look(session, sides).await;
    sides.replication_password()?;
    let mut checks = judge::access(spec, &facts);
    checks.extend(judge::mesh_preflight(spec, &facts));
    checks.extend(judge::prerequisites(spec, &facts));
    checks.extend(judge::channel_preflight(spec, &facts));
    refuse(&checks)?;
    let cluster = sides.cluster(Side::Replica)?;
    let (vip, _) = desired::desired_vip(spec, &facts)?;
    let endpoints = desired::desired_endpoints(spec, &facts)?;
    let served = facts.replica.cluster.got().map_or(&[][..], |cluster| &cluster.istio_versions);
    let version = objects::version(served).unwrap_or("v1");
    let parameters = objects::Parameters {
        link: &spec.name,
        namespace: cluster.namespace(),
        host: &spec.host,
        vip,
        port: spec.port,
        endpoints: &endpoints,
        version,
    };
    let objects = [objects::service_entry(&parameters), objects::destination_rule(&parameters)];
    let (service_entry, destination_rule) = tokio::try_join!(
        preview(cluster, &objects[0], options, session),
        preview(cluster, &objects[1], options, session),
    )?;
    let plan = plan::plan(spec, &facts, &MeshPreviews { service_entry, destination_rule })?;
    let member = desired::pick_member(spec, &facts)?.pod.name.clone();
    let warnings = checks.into_iter().filter(|check| matches!(check.outcome, Outcome::Warned(_))).collect();
    Ok(Made { facts, plan, vip, objects, member, warnings })
}

/// Facts of both sides. What they mean is judged later; a side of which no member answered is only not called a success.
async fn look(session: &Session, sides: &Sides) -> Facts {
    let (what, begun) = ("both sides answer".to_owned(), Instant::now());
    session.events.tell(Event::Started { what: what.clone() });
    let facts = gather::facts(session, sides).await;
    let took_seconds = begun.elapsed().as_secs_f64();
    let (source, replica) = (&facts.source.members, &facts.replica.members);
    session.events.tell(if let Some(code) = silent(source).or(silent(replica)) {
        Event::Failed { what, code, took_seconds }
    } else {
        let seen = format!("{} of the source, {} of the replica", answering(source), answering(replica));
        Event::Done { what, seen, took_seconds }
    });
    facts
}

/// Why no member of a side answered, if none did.
fn silent(members: &Fetched<Vec<MemberFacts>>) -> Option<Code> {
    match members {
        Fetched::Failed(problem) => Some(problem.code),
        Fetched::Got(members) if members.is_empty() => Some(Code::NoPodMatches),
        Fetched::Got(members) if members.iter().any(|one| one.server.got().is_some()) => None,
        Fetched::Got(members) => members.iter().find_map(|one| one.server.failed()).map(|problem| problem.code),
    }
}

fn answering(members: &Fetched<Vec<MemberFacts>>) -> String {
    let members = members.got().map_or(&[][..], Vec::as_slice);
    let plural = if members.len() == 1 { "" } else { "s" };
    let answering = members.iter().filter(|one| one.server.got().is_some()).count();
    format!("{answering} of {} member{plural}", members.len())
}

/// The check that stops a setup first, then every other that failed.
fn refuse(checks: &[Check]) -> Result<(), Failure> {
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
    Ok(apply::preview(cluster, object, options.force_conflicts, session.deadline).await?)
}

/// Carries the plan out, stage by stage. On failure says what it had written until then.
async fn carry_out(
    session: &Session,
    sides: &Sides,
    options: Options,
    made: Made,
) -> Result<Finished, (Failure, Done)> {
    let mut done = Done::default();
    match stages(session, sides, options, made, &mut done).await {
        Ok(finished) => Ok(finished),
        Err(failure) => Err((failure, done)),
    }
}

async fn stages(
    session: &Session,
    sides: &Sides,
    options: Options,
    made: Made,
    done: &mut Done,
) -> Result<Finished, Failure> {
    let Made { mut facts, plan, vip, objects, member, .. } = made;
    apply_objects(session, sides, options, &plan, &objects, done).await?;
    prove_path(session, sides, &mut facts, vip, done).await?;
    stop_here(session, "after the path was proven")?;
    let mut live = sides.open(Side::Replica, &member, session.deadline).await?;
    configure(session, sides, &mut live, &plan, &member, done).await?;
    start::staged(session, &mut live, &member, &facts, |thread| {
        done.started(thread, &session.spec.replication.channel, &member);
    })
    .await?;
    drop(live);
    let (facts, status) = watch::settled(session, sides, facts.paths, options.until_caught_up).await?;
    let checks = judge::judge(&session.spec, &facts);
    refuse(&checks)?;
    let report = Report { link: session.spec.name.clone(), at: facts.at, checks, changes: done.changes() };
    Ok(Finished { report, status })
}

/// Between steps a signal is heeded; a step itself is never cut.
fn stop_here(session: &Session, during: &str) -> Result<(), Failure> {
    if session.shutdown.is_requested() { Err(Failure::interrupted(during)) } else { Ok(()) }
}

async fn apply_objects(
    session: &Session,
    sides: &Sides,
    options: Options,
    plan: &Plan,
    objects: &[serde_json::Value; 2],
    done: &mut Done,
) -> Result<(), Failure> {
    let cluster = sides.cluster(Side::Replica)?;
    for (kind, object) in [StepKind::ServiceEntry, StepKind::DestinationRule].into_iter().zip(objects) {
        let Some(step) = plan.steps.iter().find(|step| step.kind == kind && step.action.writes()) else { continue };
        session
            .stage(step.target.clone(), |_| "applied".to_owned(), async {
                Ok(apply::apply(cluster, object, options.force_conflicts, session.deadline).await?)
            })
            .await?;
        match step.action {
            Action::Create { .. } => done.created(&step.target, object),
            _ => done.changed(&step.target),
        }
        stop_here(session, "after a mesh object was applied")?;
    }
    Ok(())
}

async fn prove_path(
    session: &Session,
    sides: &Sides,
    facts: &mut Facts,
    vip: Ipv4Addr,
    done: &Done,
) -> Result<(), Failure> {
    let patience = if done.is_empty() { prove::UNCHANGED } else { prove::AFTER_A_CHANGE };
    let members: Vec<String> =
        facts.replica.members.got().into_iter().flatten().map(|member| member.pod.name.clone()).collect();
    let proof = async {
        let paths = prove::paths(session, sides, facts, vip, patience).await;
        let walked = Facts { paths, ..facts.clone() };
        let checks: Vec<Check> =
            members.iter().flat_map(|member| judge::path(&session.spec, &walked, member)).collect();
        match judge::blocking(&checks).and_then(Check::problem) {
            Some(problem) => Err(problem.clone()),
            None => Ok(walked),
        }
    };
    let seen = |walked: &Facts| {
        let answers = walked.paths.iter().filter_map(|path| match &path.probe.got()?.end {
            crate::domain::facts::ProbeEnd::Answered { hostname, server_uuid, .. } => {
                Some(format!("{hostname} ({server_uuid})"))
            }
            _ => None,
        });
        format!("answered by {}", answers.collect::<Vec<_>>().join(", "))
    };
    let what = format!("path from {} to {}:{}", members.join(", "), session.spec.host, session.spec.port);
    *facts = session.interruptible("while the path was proven", session.stage(what, seen, proof)).await??;
    Ok(())
}

async fn configure(
    session: &Session,
    sides: &Sides,
    live: &mut Live,
    plan: &Plan,
    member: &str,
    done: &mut Done,
) -> Result<(), Failure> {
    let Some(step) = plan.steps.iter().find(|step| step.kind == StepKind::Channel && step.action.writes()) else {
        return Ok(());
    };
    let name = &session.spec.replication.channel;
    let wanted = desired_channel(&session.spec);
    let password = sides.replication_password()?;
    let creates = matches!(step.action, Action::Create { .. });
    session
        .stage(step.target.clone(), |()| "configured and read back".to_owned(), async {
            if !creates {
                live.server.stop(name, session.deadline).await?;
            }
            live.server.change_source(name, &wanted, password, session.deadline).await?;
            let channels = live.server.channels(session.deadline).await?;
            let have = channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name));
            let differences = have.map(|have| crate::domain::channel::channel_differences(&have.settings, &wanted));
            match differences {
                Some(differences) if differences.is_empty() => Ok(()),
                other => Err(Problem::new(
                    Code::ChannelDiffers,
                    format!("channel `{name}` on {member} does not read back as it was set"),
                )
                .seen(format!("{other:?}"))),
            }
        })
        .await?;
    if creates {
        done.created_channel(&step.target);
    } else {
        done.changed(&step.target);
    }
    Ok(())
}
