//! The lock of a link while it is written to: a Lease beside the replica's pods, or a named lock of the replica's server.

use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{
    session::{Session, cleanup_deadline},
    sides::{Live, Sides},
};
use crate::{
    domain::{check::Side, code::Code, event::Event, hint::Hint, problem::Problem, spec::LinkSpec},
    error::Failure,
    k8s::lease::{self, Attempt, Held},
    mysql::Answer,
    wait::Deadline,
};

/// A lock that is held until it is given back, or until this process ends.
pub(super) enum Lock {
    /// In the replica's cluster.
    Lease(Held),
    /// On the replica's server.
    Session(Box<SessionLock>),
    /// The replica's server gives none; that was told.
    Nowhere,
}

/// A named lock, and the session that has it.
pub(super) struct SessionLock {
    link: LinkSpec,
    channel: String,
    live: Mutex<Live>,
    deadline: Deadline,
}

impl Lock {
    /// Takes the link's lock where the link lives.
    ///
    /// # Errors
    /// `LinkLocked` when another run has it, and whatever asking for it can fail with.
    pub(super) async fn take(session: &Session, sides: &Sides) -> Result<Self, Failure> {
        let spec = &session.spec;
        if spec.mesh().is_some() {
            return Self::lease(session, sides).await;
        }
        let Some(link) = spec.replication() else { return Ok(Self::Nowhere) };
        let channel = link.replication.channel.clone();
        let mut live = sides.open(Side::Replica, "", session.deadline).await?;
        match live.server.take_lock(&channel, session.deadline).await.map_err(Problem::from)? {
            Answer::Taken => {
                let lock =
                    SessionLock { link: spec.clone(), channel, live: Mutex::new(live), deadline: session.deadline };
                Ok(Self::Session(Box::new(lock)))
            }
            Answer::Held(by) => Err(Problem::new(
                Code::LinkLocked,
                format!(
                    "another run works on this link: it has the lock of channel `{channel}` on the replica's server"
                ),
            )
            .seen(by)
            .hint(Hint::text("wait until it has ended; the server frees the lock as soon as that session ends"))
            .into()),
            Answer::Denied(why) => {
                let seen = format!("the replica's server gives no lock ({why}): nothing keeps a second run away");
                session.events.tell(Event::Warned { what: "lock".to_owned(), code: Code::NoLock, seen });
                live.close(session.deadline).await;
                Ok(Self::Nowhere)
            }
        }
    }

    /// Takes the Lease; one whose holder seems to have died is watched first, which is told.
    async fn lease(session: &Session, sides: &Sides) -> Result<Self, Failure> {
        let (cluster, link, deadline) = (sides.client()?, session.spec.name.as_str(), session.deadline);
        let acquire = async |watched| lease::acquire(cluster, link, watched, deadline).await.map_err(Problem::from);
        let (holder, version, age_seconds) = match acquire(None).await? {
            Attempt::Taken(held) => return Ok(Self::Lease(held)),
            Attempt::Expired { holder, version, age_seconds } => (holder, version, age_seconds),
        };
        let seconds = lease::DURATION.as_secs();
        let what = format!(
            "lock of {holder}, renewed {age_seconds} s ago by this clock: watched for {seconds} s, then taken over"
        );
        let watch = async {
            session.interruptible("while the lock was watched", sleep(lease::DURATION)).await?;
            match acquire(Some(&version)).await? {
                Attempt::Taken(held) => Ok(held),
                Attempt::Expired { holder, .. } => {
                    Err(Problem::new(Code::LinkLocked, "another run works on this link: its lock is renewed")
                        .seen(format!("holder {holder}, whose clock is not this one's"))
                        .hint(Hint::text("wait until that run has ended"))
                        .into())
                }
            }
        };
        let begun = Instant::now();
        session.events.tell(Event::Started { what: what.clone() });
        let taken: Result<Held, Failure> = watch.await;
        let took_seconds = begun.elapsed().as_secs_f64();
        session.events.tell(match &taken {
            Ok(_) => Event::Done { what, seen: String::new(), took_seconds },
            Err(failure) => {
                let code = failure.problems.first().map_or(Code::Internal, |problem| problem.code);
                Event::Failed { what, code, took_seconds }
            }
        });
        taken.map(Self::Lease)
    }

    /// Whether the lock is still this run's; asked before every step that writes.
    ///
    /// # Errors
    /// `LinkLocked` when it was lost.
    pub(super) async fn check(&self) -> Result<(), Problem> {
        match self {
            Self::Lease(held) => Ok(held.check()?),
            Self::Session(lock) => lock.check().await,
            Self::Nowhere => Ok(()),
        }
    }

    /// Gives it back.
    ///
    /// # Errors
    /// Whatever giving it back can fail with.
    pub(super) async fn release(self, deadline: Deadline) -> Result<(), Problem> {
        match self {
            Self::Lease(held) => Ok(held.release(deadline).await?),
            other => other.leave(deadline).await,
        }
    }

    /// Gives it back at the end of a link, with whatever it is made of.
    ///
    /// # Errors
    /// As [`Lock::release`].
    pub(super) async fn delete(self, deadline: Deadline) -> Result<(), Problem> {
        match self {
            Self::Lease(held) => Ok(held.delete(deadline).await?),
            other => other.leave(deadline).await,
        }
    }

    /// A named lock goes with its session.
    async fn leave(self, deadline: Deadline) -> Result<(), Problem> {
        if let Self::Session(lock) = self {
            lock.live.into_inner().close(deadline).await;
        }
        Ok(())
    }
}

impl SessionLock {
    async fn check(&self) -> Result<(), Problem> {
        let mut live = self.live.lock().await;
        // A run whose time is over asks, too, before it takes anything back.
        let deadline = if self.deadline.left().is_zero() { cleanup_deadline() } else { self.deadline };
        let why = match live.server.has_lock(&self.channel, deadline).await {
            Ok(true) => return Ok(()),
            Ok(false) => "its session is there and does not have it".to_owned(),
            Err(error) => error.to_string(),
        };
        let status = ["pxc-link", "status", "--source", &self.link.name];
        let message = format!("the lock of channel `{}` on the replica's server was lost", self.channel);
        Err(Problem::new(Code::LinkLocked, message)
            .seen(why)
            .hint(Hint::run("see what state the link is in; nothing more was written", status)))
    }
}
