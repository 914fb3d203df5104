//! The staged start of a channel: receiver first, then proof of whom it is attached to, only then the applier.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{session::Session, sides::Live};
use crate::{
    domain::{
        applier,
        channel::Threads,
        check::Side,
        code::Code,
        errno::Cause,
        facts::{ChannelFacts, Facts, ThreadError, ThreadState},
        hint::Hint,
        judge, lag,
        problem::Problem,
        spec::ReplicationLink,
    },
    error::Failure,
    wait::{Look, poll_until},
};

/// How long the receiver may take: a login through the path, two attempts of the server at the most.
const RECEIVER: Duration = Duration::from_secs(30);
/// How long the applier may take to begin.
const APPLIER: Duration = Duration::from_secs(10);
/// An applier can stop on its first event: until it has applied what was missing, it is looked at for this long.
const STEADY: Duration = Duration::from_millis(1500);
/// Seconds that the clocks of this machine and of the server may differ.
const CLOCKS: i64 = 2;
/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);

/// What the agreed plan lets a staged start do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    /// Threads may be started.
    pub(super) start: bool,
    /// The channel was made by this run, so that whatever it shows of a source is new.
    pub(super) fresh: bool,
    /// The applier is off until it is known whom the receiver is attached to.
    pub(super) holds_applier: bool,
}

/// Starts what does not run yet, as far as it was agreed to. `note` is asked before every write whether it may be done, and
/// is told what it is.
///
/// # Errors
/// `NotApproved` where a thread was stopped after the plan was made; `ReceiverNotConnecting` or what the receiver's error
/// means, `UnknownSource` (the receiver is stopped again, nothing was applied), `ApplierStopped`.
pub(super) async fn staged(
    session: &Session,
    link: ReplicationLink<'_>,
    live: &mut Live,
    member: &str,
    facts: &Facts,
    agreed: Agreed,
    mut note: impl AsyncFnMut(&'static str, &'static str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let channel = &link.replication.channel;
    let before = look(session, link, live).await?;
    let starts_receiver = before.receiver.is_off();
    if starts_receiver {
        agreed.to_start(link, member, "receiver")?;
        if agreed.holds_applier && !before.applier.is_off() {
            // Whatever the receiver brings must wait until it is known whom it came from.
            note("applier", "stopped").await?;
            live.server.stop(channel, Threads::Applier, session.deadline).await?;
        }
        note("receiver", "started").await?;
        live.server.start_receiver(channel, session.deadline).await.map_err(Problem::from)?;
    }
    if !before.receiver.is_on() {
        // The server may show the UUID of an earlier attachment until it has asked for the present one.
        let heard_before = if starts_receiver && !agreed.fresh { before.last_heard } else { None };
        let wait = Attachment { must_be_heard: starts_receiver && !agreed.fresh, heard_before };
        let connecting = async {
            let connected = connected(session, link, live, member, wait).await;
            connected.map_err(|problem| judge::explained(link, facts, Some(member), problem))
        };
        session.stage(format!("receiver on {member} connects"), attached_to, connecting).await?;
    }
    let now = look(session, link, live).await?;
    if starts_receiver {
        known_source(session, link, live, member, facts, &now).await?;
    }
    if now.applier.is_off() {
        agreed.to_start(link, member, "applier")?;
        note("applier", "started").await?;
        live.server.start_applier(channel, session.deadline).await.map_err(Problem::from)?;
    }
    Ok(session
        .stage(
            format!("applier on {member} runs"),
            |()| "no error".to_owned(),
            applying(session, link, live, member, facts),
        )
        .await?)
}

impl Agreed {
    fn to_start(self, link: ReplicationLink<'_>, member: &str, thread: &str) -> Result<(), Problem> {
        if self.start {
            return Ok(());
        }
        let channel = &link.replication.channel;
        let message = format!("the {thread} of channel `{channel}` on {member} was stopped after the plan was made");
        Err(Problem::new(Code::NotApproved, message)
            .seen("it was not started again: somebody else works on this channel")
            .hint(Hint::run("look at the new plan", ["pxc-link", "setup", "--source", &link.name, "--dry-run"])))
    }
}

/// What shows that a receiver is attached now and not only was.
struct Attachment {
    must_be_heard: bool,
    heard_before: Option<Timestamp>,
}

impl Attachment {
    fn is_shown_by(&self, channel: &ChannelFacts) -> bool {
        let heard = !self.must_be_heard || channel.receiver_reads() || channel.last_heard > self.heard_before;
        channel.receiver.is_on() && channel.source_uuid.is_some() && heard
    }
}

fn attached_to(channel: &ChannelFacts) -> String {
    format!("attached to {}", channel.source_uuid.as_deref().unwrap_or("a server that gave no UUID"))
}

async fn look(session: &Session, link: ReplicationLink<'_>, live: &mut Live) -> Result<ChannelFacts, Problem> {
    let name = &link.replication.channel;
    let channels = live.server.channels(session.deadline).await?;
    channels.into_iter().find(|channel| channel.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        Problem::new(Code::NoChannel, format!("channel `{name}` is gone from the server"))
            .hint(Hint::text("somebody else works on this replica: find out who, then run setup again"))
    })
}

/// Waits until the receiver is on and says whom it is attached to. A refused login is retried by the server for ever, so its
/// error ends the wait.
async fn connected(
    session: &Session,
    link: ReplicationLink<'_>,
    live: &mut Live,
    member: &str,
    attachment: Attachment,
) -> Result<ChannelFacts, Problem> {
    let begun = Timestamp::now();
    let what = format!("the receiver on {member}");
    let cell = tokio::sync::Mutex::new(live);
    let looked = poll_until(&what, session.deadline.at_most(RECEIVER), EVERY, session.waiting(&what), || async {
        let channel = look(session, link, &mut **cell.lock().await).await?;
        if attachment.is_shown_by(&channel) {
            return Ok(Look::Ready(channel));
        }
        // An error from before this run began says nothing of the next attempt, which the server makes by itself. Nor does one
        // of the network, while the receiver goes on trying.
        let new = |error: &ThreadError| error.at.is_none_or(|at| at.duration_since(begun).as_secs() >= -CLOCKS);
        let decides = |error: &ThreadError| {
            channel.receiver.is_off() || Cause::of(Some(error.errno), &error.text).receiver_code().is_some()
        };
        match &channel.receiver.error {
            Some(error) if new(error) && decides(error) => Err(receiver_problem(link, member, &channel.receiver)),
            Some(error) => Ok(Look::NotYet(format!("{}: {}", channel.receiver.state, error.text))),
            None => Ok(Look::NotYet(format!("{}, no error", channel.receiver.state))),
        }
    });
    looked.await.map_err(|problem| match problem.code {
        Code::TimedOut => {
            let mut late = receiver_problem(link, member, &ThreadState { state: "CONNECTING".into(), error: None });
            late.evidence.extend(problem.evidence);
            late
        }
        _ => problem,
    })
}

fn receiver_problem(link: ReplicationLink<'_>, member: &str, receiver: &ThreadState) -> Problem {
    let channel = &link.replication.channel;
    let look_at_the_path =
        || Hint::run("prove the path again, step by step", ["pxc-link", "verify", "--source", &link.name]);
    match &receiver.error {
        None => Problem::new(
            Code::ReceiverNotConnecting,
            format!("the receiver of channel `{channel}` on {member} did not connect to {}", link.host),
        )
        .seen(format!("state {}, no error", receiver.state))
        .hint(look_at_the_path()),
        Some(error) => {
            let cause = Cause::of(Some(error.errno), &error.text);
            let code = cause.receiver_code().unwrap_or(if receiver.is_off() {
                Code::ReceiverStopped
            } else {
                Code::ReceiverNotConnecting
            });
            let problem = Problem::new(
                code,
                format!("the receiver of channel `{channel}` on {member} shows error {}", error.errno),
            )
            .seen(error.text.clone());
            // The receiver's account lives on the source: what mends it is run there.
            problem.hint(
                cause.receiver_hint("the source", &link.replication.account.user).unwrap_or_else(look_at_the_path),
            )
        }
    }
}

/// Design: a wrong server never gets one row applied. Stops the receiver again where it is attached to one.
async fn known_source(
    session: &Session,
    link: ReplicationLink<'_>,
    live: &mut Live,
    member: &str,
    facts: &Facts,
    channel: &ChannelFacts,
) -> Result<(), Problem> {
    let uuid = channel.source_uuid.clone().unwrap_or_default();
    let of = |side: Side| {
        let members = match side {
            Side::Source => &facts.source.members,
            Side::Replica | Side::Client => &facts.client.members,
        };
        let uuids = members.got().into_iter().flatten().filter_map(|member| Some(member.server()?.server_uuid.clone()));
        uuids.collect::<Vec<String>>()
    };
    let (sources, replicas) = (of(Side::Source), of(Side::Replica));
    if !replicas.contains(&uuid) && sources.contains(&uuid) {
        return Ok(());
    }
    live.server.stop(&link.replication.channel, Threads::Receiver, session.deadline).await?;
    let whose =
        if replicas.contains(&uuid) { "a member of the replica itself" } else { "no known member of the source" };
    Err(Problem::new(
        Code::UnknownSource,
        format!("the receiver on {member} reached {uuid}, {whose}; it was stopped again"),
    )
    .seen(format!("members of the source: {}", sources.join(", ")))
    .seen(if channel.applier.is_off() {
        "nothing of it was applied: the applier was off"
    } else {
        "the applier ran meanwhile, as the channel's address is what it was: see what it applied"
    })
    .hint(Hint::run("find out where the name leads", ["pxc-link", "verify", "--source", &session.spec.name])))
}

/// Waits until the applier runs and is known not to stop on its first event: it has applied all that the source had before it was
/// started, or it runs for a while.
async fn applying(
    session: &Session,
    link: ReplicationLink<'_>,
    live: &mut Live,
    member: &str,
    facts: &Facts,
) -> Result<(), Problem> {
    let what = format!("the applier on {member}");
    let source = lag::source_executed(facts);
    let cell = tokio::sync::Mutex::new(live);
    let since = Mutex::new(None);
    let running = || async {
        let live = &mut **cell.lock().await;
        let channel = look(session, link, live).await?;
        if let Some(error) = &channel.applier.error {
            let code = applier::code(error);
            return Err(Problem::new(code, format!("the applier on {member} stopped with error {}", error.errno))
                .seen(error.text.clone())
                .hint(
                    Hint::run(
                        "read what the code means before anything is changed",
                        ["pxc-link", "explain", &code.to_string()],
                    )
                    .then(["pxc-link", "verify", "--source", &link.name]),
                ));
        }
        if !channel.applier.is_on() {
            return Ok(Look::NotYet(channel.applier.state));
        }
        let since = *since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        if since.elapsed() >= STEADY {
            return Ok(Look::Ready(()));
        }
        let executed = live.server.executed(session.deadline).await?;
        let to_apply = source.as_ref().map(|source| source.union(&channel.received).subtract(&executed));
        Ok(match to_apply {
            Some(none) if none.is_empty() => Look::Ready(()),
            Some(some) => Look::NotYet(format!("{} transactions to apply", some.count())),
            None => Look::NotYet("no error so far".to_owned()),
        })
    };
    poll_until(&what, session.deadline.at_most(APPLIER), EVERY, session.waiting(&what), running).await
}
