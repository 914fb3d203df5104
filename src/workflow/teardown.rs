//! Taking a link away: its channel, its mesh objects, its lock, found by name and label; no data and nothing else.

use std::time::Duration;

use super::{gather, session::Session, sides::Sides};
use crate::{
    domain::{
        check::{Change, Report, Side},
        code::Code,
        desired,
        facts::{Facts, ServerFacts},
        hint::Hint,
        plan::{Action, Plan, Step, StepKind},
        problem::{Fetched, Problem},
    },
    error::Failure,
    k8s::{apply, lease},
    mesh::objects,
    wait::{Look, poll_until},
};

/// How long what was received may take to be applied before the channel goes.
const DRAIN: Duration = Duration::from_mins(1);
/// Between two looks at it.
const EVERY: Duration = Duration::from_millis(300);

/// A teardown that knows what it would take away and has written nothing.
pub struct Planned {
    session: Session,
    sides: Sides,
    facts: Facts,
    objects: Vec<serde_json::Value>,
    plan: Plan,
}

/// Looks at the replica's side and lists what belongs to the link.
///
/// # Errors
/// The replica's cluster or one of its members cannot be read: a channel there could be overlooked.
pub async fn plan(session: Session) -> Result<Planned, Failure> {
    let sides = Sides::connect(&session).await;
    let (facts, objects) = session.interruptible("while the link was looked at", look(&session, &sides)).await??;
    let plan = Plan { steps: steps(&session, &facts, &objects) };
    Ok(Planned { session, sides, facts, objects, plan })
}

async fn look(session: &Session, sides: &Sides) -> Result<(Facts, Vec<serde_json::Value>), Problem> {
    let cluster = sides.cluster(Side::Replica)?;
    let facts = gather::facts(session, sides).await;
    let members = match &facts.replica.members {
        Fetched::Got(members) => members,
        Fetched::Failed(problem) => return Err(problem.clone()),
    };
    if let Some(problem) = members.iter().find_map(|member| member.server.failed()) {
        return Err(problem.clone());
    }
    let version = match &facts.replica.cluster {
        Fetched::Got(cluster) => objects::version(&cluster.istio_versions).map(ToOwned::to_owned),
        Fetched::Failed(problem) => return Err(problem.clone()),
    };
    let objects = match version {
        Some(version) => apply::inventory(cluster, &session.spec.name, &version, session.deadline).await?,
        None => Vec::new(),
    };
    Ok((facts, objects))
}

fn steps(session: &Session, facts: &Facts, objects: &[serde_json::Value]) -> Vec<Step> {
    let name = &session.spec.replication.channel;
    let channels = desired::carriers(&session.spec, facts).into_iter().map(|member| Step {
        kind: StepKind::Channel,
        target: format!("channel {name} on {}", member.pod.name),
        action: Action::Delete,
    });
    let objects = objects.iter().map(|object| {
        let target = apply::title(object);
        let kind = if target.starts_with("ServiceEntry") { StepKind::ServiceEntry } else { StepKind::DestinationRule };
        Step { kind, target, action: Action::Delete }
    });
    let lease = facts.replica.lease.got().and_then(Option::as_ref).map(|_| Step {
        kind: StepKind::Lease,
        target: format!("Lease/{}", lease::name(&session.spec.name)),
        action: Action::Delete,
    });
    channels.chain(objects).chain(lease).collect()
}

impl Planned {
    /// What would be taken away; empty where nothing of the link is left.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Takes it away: channels first, so that no receiver loses its path while it works.
    ///
    /// # Errors
    /// What went wrong first, with what was taken away until then as standing changes.
    pub async fn execute(self) -> Result<Report, Failure> {
        let Self { session, sides, facts, objects, .. } = self;
        let cluster = sides.cluster(Side::Replica)?.clone();
        let lock = lease::acquire(&cluster, &session.spec.name, session.deadline).await.map_err(Problem::from)?;
        let mut gone: Vec<Change> = Vec::new();
        let end = take_away(&session, &sides, &facts, &objects, &mut gone).await;
        let cleanup = session.cleanup_deadline();
        // Deleting the lock is the last step of a teardown; after a failure it is only given back.
        let released = if end.is_ok() { lock.delete(cleanup).await } else { lock.release(cleanup).await };
        let released = released.map_err(Problem::from);
        match (end, released) {
            (Ok(()), Ok(())) => {
                Ok(Report { link: session.spec.name.clone(), at: facts.at, checks: Vec::new(), changes: gone })
            }
            (Ok(()), Err(problem)) | (Err(problem), Ok(())) => {
                Err(Failure { problems: vec![problem], stands: gone, taken_back: Vec::new() })
            }
            (Err(first), Err(second)) => {
                Err(Failure { problems: vec![first, second], stands: gone, taken_back: Vec::new() })
            }
        }
    }
}

async fn take_away(
    session: &Session,
    sides: &Sides,
    facts: &Facts,
    objects: &[serde_json::Value],
    gone: &mut Vec<Change>,
) -> Result<(), Problem> {
    let cluster = sides.cluster(Side::Replica)?;
    for member in desired::carriers(&session.spec, facts) {
        let target = format!("channel {} on {}", session.spec.replication.channel, member.pod.name);
        session
            .stage(
                target.clone(),
                |()| "stopped and deleted".to_owned(),
                end_channel(session, sides, facts, &member.pod.name),
            )
            .await?;
        gone.push(Change { target, verb: "deleted" });
    }
    for object in objects {
        let target = apply::title(object);
        let deleted = session
            .stage(target.clone(), |there: &bool| if *there { "deleted" } else { "was gone" }.to_owned(), async {
                Ok(apply::delete(cluster, object, session.deadline).await?)
            })
            .await?;
        if deleted {
            gone.push(Change { target, verb: "deleted" });
        }
    }
    Ok(())
}

/// Stops the receiver, lets the applier finish what was received, then deletes the channel with its relay logs.
async fn end_channel(session: &Session, sides: &Sides, facts: &Facts, member: &str) -> Result<(), Problem> {
    let name = &session.spec.replication.channel;
    let mut live = sides.open(Side::Replica, member, session.deadline).await?;
    live.server.stop_receiver(name, session.deadline).await?;
    let what = format!("what {member} received is applied");
    let cell = tokio::sync::Mutex::new(&mut live);
    let drained = poll_until(&what, session.deadline.at_most(DRAIN), EVERY, session.waiting(&what), || async {
        let mut live = cell.lock().await;
        let server = live.observe(session.deadline).await?;
        let channel = server.channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name));
        let Some(channel) = channel else { return Ok(Look::Ready(())) };
        let waiting = channel.received.subtract(&server.gtid_executed);
        if waiting.is_empty() || can_be_fetched_again(facts, &server) {
            return Ok(Look::Ready(()));
        }
        let seen = format!("{} transactions received and not applied: {waiting}", waiting.count());
        if channel.applier.is_on() {
            return Ok(Look::NotYet(seen));
        }
        Err(Problem::new(
            Code::ApplierStopped,
            format!("the applier on {member} is off, and its relay logs hold the only copy of what was received"),
        )
        .seen(seen)
        .hint(Hint::run(
            "let the applier finish, or let the source answer, then try again",
            ["pxc-link", "status", "--source", &session.spec.name],
        )))
    });
    drained.await?;
    live.server.stop(name, session.deadline).await?;
    live.server.reset_all(name, session.deadline).await?;
    Ok(())
}

/// Relay logs may go where the source answers now and has purged nothing that is missing here.
fn can_be_fetched_again(facts: &Facts, replica: &ServerFacts) -> bool {
    let mut sources =
        facts.source.members.got().into_iter().flatten().filter_map(|member| member.server.got()).peekable();
    sources.peek().is_some() && sources.all(|source| source.gtid_purged.is_subset_of(&replica.gtid_executed))
}
