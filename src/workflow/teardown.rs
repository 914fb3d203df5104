//! Taking a link away: its channel, its mesh objects, its lock, found by name and label; no data and nothing else.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    beside::Beside,
    gather::{self, Extent},
    lock::Lock,
    promote::{self, Promotion},
    session::{Session, cleanup_deadline},
    sides::{Live, Sides},
};
use crate::{
    domain::{
        channel::{self, Threads},
        check::{Change, Check, Report, Side},
        code::Code,
        desired,
        facts::{Facts, MemberFacts},
        hint::Hint,
        plan::{Action, Plan, Step, StepKind},
        problem::{Fetched, Problem},
        promotion::{self, PromoteOptions, Standing},
        spec::ReplicationLink,
    },
    error::Failure,
    k8s::{apply, lease},
    mesh::objects,
    mysql::Depth,
    wait::{Deadline, Look, poll_until},
};

/// How long what was received may take to be applied before the channel goes.
const DRAIN: Duration = Duration::from_mins(1);
/// Between two looks at it.
const EVERY: Duration = Duration::from_millis(300);

/// What of a link stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The mesh name and all that belongs to it.
    Mesh,
    /// The channel.
    Replication,
}

/// What the caller may decide about a teardown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// What stays; `None` where nothing does.
    pub keep: Option<Keep>,
    /// The replica is promoted, and how.
    pub promote: Option<PromoteOptions>,
}

/// A teardown that knows what it would take away and has written nothing.
pub struct Planned {
    session: Session,
    options: Options,
    sides: Sides,
    plan: Plan,
    left: Vec<Problem>,
}

/// What there is of a link.
struct Seen {
    facts: Facts,
    /// Its mesh objects.
    objects: Vec<serde_json::Value>,
    /// What was made beside it.
    beside: Beside,
    /// Both sides as a promotion sees them, where there is to be one.
    standing: Option<Standing>,
}

/// Looks at the client's side and lists what belongs to the link.
///
/// # Errors
/// The replica's cluster or one of its members cannot be read: a channel there could be overlooked. Why the replica cannot be
/// promoted.
pub async fn plan(session: Session, options: Options) -> Result<Planned, Failure> {
    if options.keep.is_some() {
        session.mesh()?;
    }
    let looking = async {
        let sides = Sides::connect(&session).await;
        let seen = look(&session, &sides, options).await?;
        let plan = Plan { steps: steps(&session, &seen, options)? };
        Ok::<_, Problem>((sides, plan, seen.beside.left))
    };
    let (sides, plan, left) = session.interruptible("while the link was looked at", looking).await??;
    Ok(Planned { session, options, sides, plan, left })
}

async fn look(session: &Session, sides: &Sides, options: Options) -> Result<Seen, Problem> {
    let facts = gather::facts(session, sides, Extent::Link).await;
    let members = match &facts.client.members {
        Fetched::Got(members) => members,
        Fetched::Failed(problem) => return Err(problem.clone()),
    };
    if let Some(problem) = members.iter().find_map(MemberFacts::unread) {
        return Err(problem.clone());
    }
    let (objects, beside) = match session.spec.mesh() {
        Some(_) if options.keep != Some(Keep::Mesh) => in_mesh(session, sides, &facts).await?,
        _ => (Vec::new(), Beside::default()),
    };
    let standing = match options.promote {
        Some(_) => Some(promote::look(session, sides, &facts).await?),
        None => None,
    };
    Ok(Seen { facts, objects, beside, standing })
}

/// The link's mesh objects, and what was made beside them.
async fn in_mesh(session: &Session, sides: &Sides, facts: &Facts) -> Result<(Vec<serde_json::Value>, Beside), Problem> {
    let version = match &facts.client.cluster {
        Fetched::Got(cluster) => objects::version(&cluster.istio_versions).map(ToOwned::to_owned),
        Fetched::Failed(problem) => return Err(problem.clone()),
    };
    let objects = match version {
        Some(version) => apply::inventory(sides.client()?, &session.spec.name, &version, session.deadline).await?,
        None => Vec::new(),
    };
    let beside = Beside::look(session, sides, &objects).await?;
    Ok((objects, beside))
}

fn steps(session: &Session, seen: &Seen, options: Options) -> Result<Vec<Step>, Problem> {
    let Seen { facts, objects, beside, standing } = seen;
    let ending = session.spec.replication().filter(|_| options.keep != Some(Keep::Replication));
    let (before, after) = match (ending, standing, options.promote) {
        (Some(link), Some(standing), Some(options)) => {
            (promotion::before(link, facts, standing, options)?, promotion::after(standing, options))
        }
        _ => (Vec::new(), Vec::new()),
    };
    let channels = ending.into_iter().flat_map(|link| {
        let name = &link.replication.channel;
        desired::carriers(link, facts).into_iter().map(move |member| Step {
            kind: StepKind::Channel,
            target: format!("channel {name} on {}", member.name()),
            action: Action::Delete,
        })
    });
    let objects = objects.iter().map(|object| {
        let target = apply::title(object);
        let kind = if target.starts_with("ServiceEntry") { StepKind::ServiceEntry } else { StepKind::DestinationRule };
        Step { kind, target, action: Action::Delete }
    });
    let lease = facts.client.lease.got().and_then(Option::as_ref).map(|_| Step {
        kind: StepKind::Lease,
        target: format!("Lease/{}", lease::name(&session.spec.name)),
        action: Action::Delete,
    });
    let steps = before.into_iter().chain(channels).chain(after);
    Ok(steps.chain(beside.steps()).chain(objects).chain(lease).collect())
}

impl Planned {
    /// What would be taken away; empty where nothing of the link is left.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What stays as it is, and how it is undone.
    pub fn left(&self) -> &[Problem] {
        &self.left
    }

    /// Takes it away until `deadline`, as setup does it: channels first, so that no receiver loses its path while it works. Under
    /// the lock the link is looked at again; where there is something else to take away than was agreed to, nothing is.
    ///
    /// # Errors
    /// What went wrong first, with what was done until then as standing changes.
    pub async fn execute(self, deadline: Deadline) -> Result<Report, Failure> {
        let Self { session, options, sides, plan: agreed, .. } = self;
        let session = Session { deadline, ..session };
        let lock = Lock::take(&session, &sides).await?;
        let mut gone: Vec<Change> = Vec::new();
        let end = locked(&session, &sides, options, &agreed, &lock, &mut gone).await;
        // Deleting the lock is the last step of a teardown; after a failure it is only given back.
        let cleanup = cleanup_deadline();
        let released = if end.is_ok() { lock.delete(cleanup).await } else { lock.release(cleanup).await };
        let problems: Vec<Problem> = end.as_ref().err().cloned().into_iter().chain(released.err()).collect();
        match end {
            Ok((at, checks)) if problems.is_empty() => {
                Ok(Report { link: session.spec.name.clone(), at, checks, changes: gone })
            }
            _ => Err(Failure { problems, stands: gone, taken_back: Vec::new() }),
        }
    }
}

async fn locked(
    session: &Session,
    sides: &Sides,
    options: Options,
    agreed: &Plan,
    lock: &Lock,
    gone: &mut Vec<Change>,
) -> Result<(Timestamp, Vec<Check>), Problem> {
    let seen = look(session, sides, options).await?;
    let lockless =
        |plan: &Plan| plan.steps.iter().filter(|step| step.kind != StepKind::Lease).cloned().collect::<Vec<_>>();
    let now = Plan { steps: steps(session, &seen, options)? };
    if lockless(&now) != lockless(agreed) {
        return Err(Problem::new(
            Code::NotApproved,
            "the link changed after the plan was shown; nothing was taken away",
        )
        .hint(Hint::run("look at the new plan", ["pxc-link", "teardown", "--source", &session.spec.name])));
    }
    let Seen { facts, objects, beside, standing } = &seen;
    let step = Steps { session, sides, facts, lock };
    let mut checks = Vec::new();
    if let Some(link) = session.spec.replication().filter(|_| options.keep != Some(Keep::Replication)) {
        match (standing, options.promote) {
            (Some(standing), Some(options)) => {
                let promotion = Promotion::new(session, sides, link, facts, standing, options);
                checks = step.promote(link, promotion, gone).await?;
            }
            _ => step.end_channels(link, gone).await?,
        }
    }
    step.may_go_on().await?;
    beside.take_away(session, sides, gone).await?;
    for object in objects {
        step.may_go_on().await?;
        let target = apply::title(object);
        let said = |there: &bool| if *there { "deleted" } else { "was gone" }.to_owned();
        let delete = async { Ok(apply::delete(sides.client()?, object, session.deadline).await?) };
        if session.stage(target.clone(), said, delete).await? {
            gone.push(Change { target, verb: "deleted" });
        }
    }
    Ok((facts.at, checks))
}

/// What every step of a teardown needs.
struct Steps<'a> {
    session: &'a Session,
    sides: &'a Sides,
    facts: &'a Facts,
    lock: &'a Lock,
}

impl Steps<'_> {
    /// Between steps a signal is heeded and the lock looked at.
    async fn may_go_on(&self) -> Result<(), Problem> {
        if self.session.shutdown.is_requested() {
            let message =
                "interrupted between two steps; teardown goes on when it is run again, setup starts the link again";
            return Err(Problem::new(Code::Interrupted, message));
        }
        self.lock.check().await
    }

    /// The old source is open again where this fails before the replica takes writes.
    async fn promote(
        &self,
        link: ReplicationLink<'_>,
        mut promotion: Promotion<'_>,
        gone: &mut Vec<Change>,
    ) -> Result<Vec<Check>, Problem> {
        let ended = async {
            self.may_go_on().await?;
            promotion.begin(gone).await?;
            self.end_channels(link, gone).await?;
            self.may_go_on().await
        };
        if let Err(problem) = ended.await {
            promotion.take_back(gone).await;
            return Err(problem);
        }
        promotion.open(gone).await?;
        Ok(promotion.checks().await)
    }

    async fn end_channels(&self, link: ReplicationLink<'_>, gone: &mut Vec<Change>) -> Result<(), Problem> {
        for member in desired::carriers(link, self.facts) {
            self.may_go_on().await?;
            self.end_channel(link, member.name(), gone).await?;
        }
        Ok(())
    }

    /// Stops the receiver, lets the applier finish what was received, then deletes the channel with its relay logs.
    async fn end_channel(
        &self,
        link: ReplicationLink<'_>,
        member: &str,
        gone: &mut Vec<Change>,
    ) -> Result<(), Problem> {
        let session = self.session;
        let name = &link.replication.channel;
        let target = format!("channel {name} on {member}");
        let mut live = self.sides.open_judged(Side::Replica, member, self.facts, session.deadline).await?;
        let begun = gone.len();
        let work = async {
            gone.push(Change { target: format!("receiver of {target}"), verb: "stopped" });
            live.server.stop(name, Threads::Receiver, session.deadline).await?;
            self.drained(link, &mut live, member).await?;
            self.may_go_on().await?;
            live.server.stop(name, Threads::Both, session.deadline).await?;
            live.server.reset_all(name, session.deadline).await?;
            Ok(())
        };
        session.stage(target.clone(), |()| "stopped and deleted".to_owned(), work).await?;
        gone.truncate(begun);
        gone.push(Change { target, verb: "deleted" });
        Ok(())
    }

    /// Waits until what was received is applied, or is no loss because the source still has it.
    async fn drained(&self, link: ReplicationLink<'_>, live: &mut Live, member: &str) -> Result<(), Problem> {
        let session = self.session;
        let name = &link.replication.channel;
        let what = format!("what {member} received is applied");
        let cell = tokio::sync::Mutex::new(live);
        let look = || async {
            let server = cell.lock().await.observe(Depth::Brief, session.deadline).await?;
            let channel = server.channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name));
            let Some(channel) = channel else { return Ok(Look::Ready(())) };
            let waiting = channel.received.subtract(&server.gtid_executed);
            if waiting.is_empty() || channel::can_be_fetched_again(self.facts, &server.gtid_executed, &waiting) {
                return Ok(Look::Ready(()));
            }
            let seen = format!("{} transactions received and not applied: {waiting}", waiting.count());
            if channel.applier.is_on() {
                return Ok(Look::NotYet(seen));
            }
            let message =
                format!("the applier on {member} is off, and its relay logs hold the only copy of what was received");
            let setup = ["pxc-link", "setup", "--source", &session.spec.name];
            Err(Problem::new(Code::ApplierStopped, message)
                .seen(seen)
                .hint(Hint::run("start the link again and let the applier finish, or let the source answer", setup)))
        };
        let waiting = poll_until(&what, session.deadline.at_most(DRAIN), EVERY, session.waiting(&what), look);
        match session.interruptible("while the applier finished", waiting).await {
            Ok(drained) => drained,
            Err(interrupted) => Err(interrupted
                .problems
                .into_iter()
                .next()
                .unwrap_or_else(|| Problem::new(Code::Interrupted, "interrupted while the applier finished"))),
        }
    }
}
