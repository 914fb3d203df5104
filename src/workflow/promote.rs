//! Promoting the replica at the end of a link: the source is closed to writes, what it has arrives, then the replica is opened.

use std::time::Duration;

use futures::future::join_all;

use super::{
    gather::{self, Extent},
    session::{Session, cleanup_deadline},
    sides::{SERVER, Sides},
};
use crate::{
    domain::{
        check::{Change, Check, Side},
        code::Code,
        desired,
        event::Event,
        facts::{Facts, MemberFacts},
        grants::{self, Grant},
        gtid::GtidSet,
        hint::Hint,
        judge::promotion::{self as judged, Promoted},
        lag,
        problem::{Fetched, Problem},
        promotion::{self, EventName, NewSource, OldSource, PromoteOptions, Standing, WriteState},
        spec::ReplicationLink,
    },
    mysql::Depth,
    wait::{Look, poll_until},
};

/// How long a forced promotion waits for what the source has: a link that works brings it in seconds.
const FORCED: Duration = Duration::from_secs(20);
/// Between two looks at it.
const EVERY: Duration = Duration::from_millis(300);

/// Looks at both sides as a promotion needs it.
///
/// # Errors
/// A member of the replica cannot be read.
pub(super) async fn look(session: &Session, sides: &Sides, facts: &Facts) -> Result<Standing, Problem> {
    let names = |members: &Fetched<Vec<MemberFacts>>| -> Vec<String> {
        members.got().into_iter().flatten().map(|member| member.name().to_owned()).collect()
    };
    let (sources, replicas) = (names(&facts.source.members), names(&facts.client.members));
    let unread = |name: &str| {
        let members = facts.source.members.got().into_iter().flatten();
        members.filter(|member| member.name() == name).find_map(MemberFacts::unread).cloned()
    };
    let source = |member: String| async {
        // One that did not answer a moment ago is not waited for again: every second counts.
        if let Some(problem) = unread(&member) {
            return OldSource { member, state: Fetched::Failed(problem) };
        }
        let state = async {
            let mut live = sides.open_judged(Side::Source, &member, facts, session.deadline).await?;
            let deadline = session.deadline.at_most(SERVER);
            let lacks = live.lacks_to_promote(deadline).await?.iter().map(Grant::phrase).collect();
            let seen = (live.server.write_state(deadline).await?, lacks);
            live.close(session.deadline).await;
            Ok::<_, Problem>(seen)
        };
        OldSource { state: state.await.into(), member }
    };
    let replica = |member: String| async {
        let mut live = sides.open_judged(Side::Replica, &member, facts, session.deadline).await?;
        let deadline = session.deadline.at_most(SERVER);
        let lacks = live.lacks_to_promote(deadline).await?;
        let needed = lacks.iter().filter(|grant| ![grants::EVENT, grants::DEFINER].contains(grant));
        let seen = NewSource {
            state: live.server.write_state(deadline).await?,
            lacks: needed.map(Grant::phrase).collect(),
            closed_again: live.server.closed_again(deadline).await?,
            events: live.server.disabled_events(deadline).await?,
            sees_all_events: !lacks.contains(&grants::EVENT),
            member,
        };
        live.close(session.deadline).await;
        Ok::<_, Problem>(seen)
    };
    let (sources, replicas) =
        tokio::join!(join_all(sources.into_iter().map(source)), join_all(replicas.into_iter().map(replica)));
    Ok(Standing { sources, replicas: replicas.into_iter().collect::<Result<_, _>>()? })
}

/// What a change is called that closed a member of the source.
fn closed_title(member: &str) -> String {
    format!("writes on source {member}")
}

/// A promotion under way.
pub(super) struct Promotion<'a> {
    session: &'a Session,
    sides: &'a Sides,
    link: ReplicationLink<'a>,
    facts: &'a Facts,
    standing: &'a Standing,
    options: PromoteOptions,
    /// The members of the source that this run closed, as they were.
    closed: Vec<(String, WriteState)>,
    /// The events that this run enabled.
    enabled: Vec<EventName>,
}

impl<'a> Promotion<'a> {
    pub(super) fn new(
        session: &'a Session,
        sides: &'a Sides,
        link: ReplicationLink<'a>,
        facts: &'a Facts,
        standing: &'a Standing,
        options: PromoteOptions,
    ) -> Self {
        Self { session, sides, link, facts, standing, options, closed: Vec::new(), enabled: Vec::new() }
    }

    /// Closes the source and waits for what it has.
    ///
    /// # Errors
    /// A member that cannot be closed, or what does not arrive in time, unless it is to go on all the same.
    pub(super) async fn begin(&mut self, changes: &mut Vec<Change>) -> Result<(), Problem> {
        for one in &self.standing.sources {
            let Fetched::Got((state, lacks)) = &one.state else { continue };
            if state.super_read_only || !lacks.is_empty() {
                continue;
            }
            // Noted before it is tried: a statement without an answer may have been carried out.
            self.closed.push((one.member.clone(), *state));
            match self.close(&one.member).await {
                Ok(()) => {
                    changes.push(Change { target: closed_title(&one.member), verb: "closed" });
                }
                Err(problem) if self.options.force => {
                    self.closed.pop();
                    self.warn(&format!("source {} is closed", one.member), &problem);
                }
                Err(problem) => return Err(problem),
            }
        }
        match self.catch_up().await {
            Err(problem) if self.options.force && problem.code != Code::Interrupted => {
                self.warn("what the source has arrives", &problem);
                Ok(())
            }
            end => end,
        }
    }

    async fn close(&self, member: &str) -> Result<(), Problem> {
        let session = self.session;
        let work = async {
            let mut live = self.sides.open_judged(Side::Source, member, self.facts, session.deadline).await?;
            let closed = live.server.close_to_writes(session.deadline.at_most(SERVER * 2)).await;
            live.close(session.deadline).await;
            Ok(closed?)
        };
        session.stage(format!("source {member} is closed to writes"), |()| "super_read_only ON".to_owned(), work).await
    }

    fn warn(&self, what: &str, problem: &Problem) {
        let seen = problem.message.clone();
        self.session.events.tell(Event::Warned { what: what.to_owned(), code: problem.code, seen });
    }

    /// Waits until the member with the channel has executed what the source had when it was closed.
    async fn catch_up(&self) -> Result<(), Problem> {
        let session = self.session;
        let Some(carrier) = desired::carriers(self.link, self.facts).first().map(|member| member.name()) else {
            return Ok(());
        };
        let closed = gather::facts(session, self.sides, Extent::Link).await;
        let Some(target) = promotion::arriving(self.link, &closed) else {
            let text = "the source was not read after it was closed, so nobody knows what still has to arrive";
            return Err(Problem::new(Code::NotArrived, text));
        };
        let deadline = if self.options.force { session.deadline.at_most(FORCED) } else { session.deadline };
        let what = "what the source has arrives";
        let mut live = self.sides.open_judged(Side::Replica, carrier, self.facts, session.deadline).await?;
        let cell = tokio::sync::Mutex::new(&mut live);
        let look = || async {
            let server = cell.lock().await.observe(Depth::Brief, session.deadline).await?;
            let missing = lag::missing(&target, &server);
            Ok(match missing.count() {
                0 => Look::Ready(server.gtid_executed),
                count => Look::NotYet(format!("{count} transaction(s) missing: {missing}")),
            })
        };
        let arrived = |_: &GtidSet| format!("all {} transactions", target.count());
        let waiting = session.stage(what, arrived, poll_until(what, deadline, EVERY, session.waiting(what), look));
        let end = session.interruptible("while the source's transactions arrived", waiting).await;
        live.close(session.deadline).await;
        match end {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(problem)) if problem.code == Code::TimedOut => {
                let message = "not everything that the source has arrived in time";
                let late = problem.evidence.into_iter().fold(Problem::new(Code::NotArrived, message), Problem::seen);
                let text = "see what the applier is at; `--timeout` gives it longer";
                Err(late.hint(Hint::run(text, ["pxc-link", "verify", "--source", &self.link.name])))
            }
            Ok(Err(problem)) => Err(problem),
            Err(interrupted) => Err(interrupted.problems.into_iter().next().unwrap_or_else(|| {
                Problem::new(Code::Interrupted, "interrupted while the source's transactions arrived")
            })),
        }
    }

    /// Opens the source again after a promotion that did not come about.
    pub(super) async fn take_back(&self, changes: &mut Vec<Change>) {
        for (member, before) in &self.closed {
            let deadline = cleanup_deadline();
            let work = async {
                let mut live = self.sides.open_judged(Side::Source, member, self.facts, deadline).await?;
                let opened = live.server.reopen(*before, deadline).await;
                live.close(deadline).await;
                Ok(opened?)
            };
            let what = format!("source {member} is opened again");
            if self.session.stage(what, |()| "as it was".to_owned(), work).await.is_ok() {
                changes.retain(|change| change.target != closed_title(member));
            }
        }
    }

    /// Opens the replica, and enables its events where that is wanted. An event that cannot be enabled is told of and stops nothing.
    ///
    /// # Errors
    /// A member that cannot be opened; nothing is taken back then.
    pub(super) async fn open(&mut self, changes: &mut Vec<Change>) -> Result<(), Problem> {
        let session = self.session;
        for one in &self.standing.replicas {
            let work = async {
                let mut live = self.sides.open_judged(Side::Replica, &one.member, self.facts, session.deadline).await?;
                let opened = live.server.open_to_writes(session.deadline.at_most(SERVER)).await;
                live.close(session.deadline).await;
                Ok(opened?)
            };
            let what = format!("replica {} takes writes", one.member);
            session.stage(what, |()| "read_only OFF".to_owned(), work).await?;
            changes.push(Change { target: format!("writes on replica {}", one.member), verb: "opened" });
        }
        for (member, event) in promotion::events(self.standing).filter(|_| self.options.enable_events) {
            let target = format!("event {}", event.quoted());
            let work = async {
                let mut live = self.sides.open_judged(Side::Replica, member, self.facts, session.deadline).await?;
                let enabled = live.server.enable_event(event, session.deadline.at_most(SERVER)).await;
                live.close(session.deadline).await;
                Ok(enabled?)
            };
            match session.stage(format!("{target} runs"), |()| "enabled".to_owned(), work).await {
                Ok(()) => {
                    changes.push(Change { target, verb: "enabled" });
                    self.enabled.push(event.clone());
                }
                Err(problem) => self.warn(&target, &problem),
            }
        }
        Ok(())
    }

    /// What is to be known now.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let facts = gather::facts(self.session, self.sides, Extent::Link).await;
        let already =
            self.standing.sources.iter().filter(|one| one.state.got().is_some_and(|(state, _)| state.super_read_only));
        let closed: Vec<String> =
            already.map(|one| one.member.clone()).chain(self.closed.iter().map(|(member, _)| member.clone())).collect();
        let promoted = Promoted { standing: self.standing, closed: &closed, facts: &facts, enabled: &self.enabled };
        judged::checks(self.link, promoted)
    }
}
