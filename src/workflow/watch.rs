//! Watching a link: its state now, samples of it, and waiting until a fresh one has settled.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::{
    gather::{self, Extent},
    session::Session,
    sides::Sides,
};
use crate::{
    domain::{
        applier,
        code::Code,
        desired,
        errno::Cause,
        event::Event,
        facts::{ChannelFacts, Facts, MemberFacts, ServerFacts, ThreadError},
        gtid::GtidSet,
        hint::Hint,
        lag::{self, Mark},
        problem::{Fetched, Problem},
        spec::ReplicationLink,
        status::{Lag, LinkState, LinkStatus, StatusError},
    },
    error::Failure,
    wait::Deadline,
};

/// Between the first two looks while something is waited for; each further pause is twice as long, up to [`LONGEST`].
const EVERY: Duration = Duration::from_millis(125);
/// The longest pause between two looks.
const LONGEST: Duration = Duration::from_secs(1);
/// How long a link that has just started may take until its missing count is known to shrink.
const TREND: Duration = Duration::from_secs(5);
/// Marks kept for the lower bound of the lag.
const MARKS: usize = 512;

/// A link that is looked at again and again; remembers what the source had executed before.
pub struct Watch {
    session: Session,
    sides: Sides,
    marks: Vec<Mark>,
}

/// One look.
#[derive(Debug)]
pub struct Seen {
    /// What was seen.
    pub facts: Facts,
    /// What it means; one entry a member that has the channel, or one for the link.
    pub statuses: Vec<LinkStatus>,
}

impl Watch {
    /// Connects to both sides.
    pub async fn begin(session: Session) -> Self {
        let sides = Sides::connect(&session).await;
        Self { session, sides, marks: Vec::new() }
    }

    /// Looks once. `session` of a watch has the deadline of the whole command; a look has its own, shorter ones.
    pub async fn look(&mut self) -> Seen {
        if self.sides.lack_something() {
            self.sides = Sides::connect(&self.session).await;
        }
        let facts = gather::facts(&self.session, &self.sides, Extent::Link).await;
        let statuses = statuses(&self.session, &facts, &self.marks);
        self.remember(&facts);
        Seen { facts, statuses }
    }

    /// Gives the next looks a deadline of their own.
    pub fn renew(&mut self, deadline: Deadline) {
        self.session.deadline = deadline;
    }

    fn remember(&mut self, facts: &Facts) {
        let Some(executed) = lag::source_executed(facts) else { return };
        let Some(link) = self.session.spec.replication() else { return };
        let Some(at) = carrier(link, facts).map(|(_, server, _)| server.clock) else { return };
        if self.marks.len() == MARKS {
            self.marks.remove(0);
        }
        self.marks.push(Mark { at, executed });
    }
}

/// The states of several links, side by side.
pub async fn states(sessions: Vec<Session>) -> Vec<Seen> {
    join_all(sessions.into_iter().map(|session| async move { Watch::begin(session).await.look().await })).await
}

/// Looks until a started link has settled: at once when nothing is missing, else after a few looks, with an estimate of the
/// time left. With `until_caught_up` it goes on until nothing is missing.
///
/// # Errors
/// `TimedOut` when the deadline comes first.
pub(super) async fn settled(
    session: &Session,
    link: ReplicationLink<'_>,
    sides: &Sides,
    known: Facts,
    until_caught_up: bool,
) -> Result<(Facts, LinkStatus), Failure> {
    let what = if until_caught_up { "nothing is missing on the replica" } else { "rows arrive" };
    session.events.tell(Event::Started { what: what.to_owned() });
    let begun = Instant::now();
    let mut first: Option<(Instant, u128)> = None;
    // Against a source that is written to all the time nothing would ever be missing for long: what it had at the first look
    // is what the replica must have.
    let mut target: Option<GtidSet> = None;
    let mut marks = Vec::new();
    let mut pause = EVERY;
    loop {
        let facts = gather::again(session, sides, &known).await;
        let status = statuses(session, &facts, &marks).into_iter().next();
        let status = status.unwrap_or_else(|| unknown(session, None, LinkState::Unknown));
        if let (Some(executed), Some((_, server, _))) = (lag::source_executed(&facts), carrier(link, &facts)) {
            marks.push(Mark { at: server.clock, executed });
        }
        let left = status.missing.map(|missing| {
            let (at, before) = *first.get_or_insert((Instant::now(), missing));
            estimate(before, missing, at.elapsed())
        });
        let seen = told(&status, left.flatten());
        if target.is_none() {
            target = lag::source_executed(&facts);
        }
        let runs = matches!(status.state, LinkState::Replicating | LinkState::CatchingUp);
        let has_all = target
            .as_ref()
            .zip(carrier(link, &facts))
            .is_some_and(|(target, (_, server, _))| target.is_subset_of(&server.gtid_executed));
        let caught_up = runs && has_all;
        let broken = matches!(status.state, LinkState::Broken | LinkState::Stopped | LinkState::NotConfigured);
        let enough = !until_caught_up && begun.elapsed() >= TREND;
        if caught_up || broken || enough {
            session.events.tell(ended(what.to_owned(), &status, seen, begun.elapsed()));
            return Ok((facts, status));
        }
        if session.deadline.left().is_zero() {
            let problem = Problem::new(Code::TimedOut, "the replica runs but has not caught up in time")
                .seen(seen)
                .hint(Hint::run("watch it", ["pxc-link", "monitor", "--source", &session.spec.name]));
            return Err(problem.into());
        }
        session.events.tell(Event::Waiting {
            what: what.to_owned(),
            seen,
            elapsed_seconds: begun.elapsed().as_secs_f64(),
            deadline_seconds: session.deadline.span().as_secs_f64(),
        });
        session
            .interruptible("while rows were waited for", tokio::time::sleep(pause.min(session.deadline.left())))
            .await?;
        pause = LONGEST.min(pause * 2);
    }
}

/// How the wait for rows ended; what is wrong is judged, and said, after it.
fn ended(what: String, status: &LinkStatus, seen: String, took: Duration) -> Event {
    let took_seconds = took.as_secs_f64();
    let code = status.error.as_ref().and_then(|error| error.code);
    match status.state {
        LinkState::Stopped => Event::Failed { what, code: code.unwrap_or(Code::ReceiverStopped), took_seconds },
        LinkState::Broken => Event::Failed { what, code: code.unwrap_or(Code::UnknownSource), took_seconds },
        LinkState::NotConfigured => Event::Failed { what, code: code.unwrap_or(Code::NoChannel), took_seconds },
        _ if status.missing.is_none() => Event::Warned { what, code: Code::LagUnknown, seen },
        _ => Event::Done { what, seen, took_seconds },
    }
}

/// Seconds until nothing is missing at the rate seen so far; `None` while it does not shrink.
fn estimate(before: u128, now: u128, over: Duration) -> Option<f64> {
    let gained = before.checked_sub(now).filter(|gained| *gained > 0)?;
    #[expect(clippy::cast_precision_loss, reason = "an estimate in seconds")]
    let (gained, now) = (gained as f64, now as f64);
    Some(now / gained * over.as_secs_f64())
}

fn told(status: &LinkStatus, left: Option<f64>) -> String {
    match (status.missing, left) {
        (Some(0), _) => "0 transactions missing".to_owned(),
        (Some(missing), Some(seconds)) => format!("{missing} transactions missing, about {seconds:.0} s left"),
        (Some(missing), None) => format!("{missing} transactions missing, time left not known yet"),
        (None, _) => "what is missing cannot be told: the source was not read".to_owned(),
    }
}

/// The member that carries the channel, with its server and the channel.
fn carrier<'a>(
    link: ReplicationLink<'_>,
    facts: &'a Facts,
) -> Option<(&'a MemberFacts, &'a ServerFacts, &'a ChannelFacts)> {
    let member = desired::carriers(link, facts).into_iter().next()?;
    let server = member.server()?;
    let name = &link.replication.channel;
    let channel = server.channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name))?;
    Some((member, server, channel))
}

fn statuses(session: &Session, facts: &Facts, marks: &[Mark]) -> Vec<LinkStatus> {
    let Some(link) = session.spec.replication() else { return vec![of_service(session, facts)] };
    let carriers = desired::carriers(link, facts);
    if !carriers.is_empty() {
        return carriers.into_iter().map(|member| of_member(session, link, facts, member, marks)).collect();
    }
    let unread = match &facts.client.members {
        Fetched::Failed(problem) => Some((None, problem)),
        Fetched::Got(members) => {
            members.iter().find_map(|member| Some((Some(member.name().to_owned()), member.unread()?)))
        }
    };
    vec![match unread {
        Some((member, problem)) => LinkStatus {
            error: Some(StatusError { code: Some(problem.code), errno: 0, text: problem.message.clone() }),
            ..unknown(session, member, LinkState::Unknown)
        },
        None => unknown(session, None, LinkState::NotConfigured),
    }]
}

fn unknown(session: &Session, member: Option<String>, state: LinkState) -> LinkStatus {
    LinkStatus {
        link: session.spec.name.clone(),
        member,
        name: None,
        state,
        lag: Lag::Unknown,
        missing: None,
        receiver: None,
        applier: None,
        source_uuid: None,
        source_member: None,
        error: None,
    }
}

/// A link without replication is its mesh objects.
fn of_service(session: &Session, facts: &Facts) -> LinkStatus {
    let spec = &session.spec;
    let ports: Vec<String> = spec.ports().iter().map(|port| port.number.to_string()).collect();
    let (state, error) = match &facts.client.mesh {
        Fetched::Failed(problem) => (
            LinkState::Unknown,
            Some(StatusError { code: Some(problem.code), errno: 0, text: problem.message.clone() }),
        ),
        Fetched::Got(mesh)
            if mesh.entries.iter().any(|entry| spec.mesh().is_some_and(|mesh| desired::is_own(mesh, entry))) =>
        {
            (LinkState::Linked, None)
        }
        Fetched::Got(_) => (LinkState::NotConfigured, None),
    };
    LinkStatus { name: Some(format!("{}:{}", spec.host, ports.join(","))), error, ..unknown(session, None, state) }
}

fn of_member(
    session: &Session,
    link: ReplicationLink<'_>,
    facts: &Facts,
    member: &MemberFacts,
    marks: &[Mark],
) -> LinkStatus {
    let name = &link.replication.channel;
    let base = unknown(session, Some(member.name().to_owned()), LinkState::Unknown);
    let found = member.server().and_then(|server| {
        Some((server, server.channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name))?))
    });
    let Some((server, channel)) = found else { return base };
    let executed = lag::source_executed(facts);
    let missing = executed.as_ref().map(|source| lag::missing(source, server).count());
    let source_member =
        facts.source.members.got().into_iter().flatten().find(|source| {
            source.server().is_some_and(|server| Some(&server.server_uuid) == channel.source_uuid.as_ref())
        });
    let stranger = executed.is_some() && channel.source_uuid.is_some() && source_member.is_none();
    let of_receiver = channel.receiver.error.as_ref().map(|error| {
        let code = Cause::of(Some(error.errno), &error.text).receiver_code();
        worded(code, error)
    });
    let of_applier = || channel.applier.error.as_ref().map(|error| worded(Some(applier::code(error)), error));
    let error = of_receiver.or_else(of_applier);
    let state = if (channel.receiver.is_off() || channel.applier.is_off()) && error.is_some() || stranger {
        LinkState::Broken
    } else if channel.receiver.is_off() || channel.applier.is_off() {
        LinkState::Stopped
    } else if !channel.receiver.is_on() {
        LinkState::Connecting
    } else if channel.last_heard.is_some() && !lag::is_live(server, channel) {
        // A channel that has just started has heard nothing yet; one that had and does not any more lost its source.
        LinkState::Silent
    } else if missing.is_some_and(|missing| missing > 0) {
        LinkState::CatchingUp
    } else {
        LinkState::Replicating
    };
    LinkStatus {
        state,
        lag: lag::lag(server, channel, executed.as_ref(), marks),
        missing,
        receiver: Some(channel.receiver.state.clone()),
        applier: Some(channel.applier.state.clone()),
        source_uuid: channel.source_uuid.clone(),
        source_member: source_member.map(|source| source.name().to_owned()),
        error,
        ..base
    }
}

fn worded(code: Option<Code>, error: &ThreadError) -> StatusError {
    StatusError { code, errno: error.errno, text: error.text.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_told_only_while_the_count_shrinks() {
        assert_eq!(estimate(100, 50, Duration::from_secs(2)), Some(2.0));
        assert_eq!(estimate(100, 100, Duration::from_secs(2)), None);
        assert_eq!(estimate(100, 120, Duration::from_secs(2)), None);
    }
}
