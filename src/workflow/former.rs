//! A channel as it was before a run changed it, and giving it that back where its receiver does not connect with what it has now: a
//! setup that fails leaves a running channel running.

use std::time::Duration;

use secrecy::SecretString;

use super::{
    carry::may_drop_relay_logs,
    session::{Session, cleanup_deadline},
    sides::{Live, Sides},
};
use crate::{
    domain::{
        channel::{Restart, Threads},
        check::{Change, Side},
        code::Code,
        event::Event,
        facts::{ChannelFacts, Facts},
        problem::Problem,
    },
    error::Failure,
    wait::{Deadline, Look, poll_until},
};

/// How long the receiver may take to connect with its former settings, which is told and changes nothing.
const CONNECTS: Duration = Duration::from_secs(5);
/// Between two looks at it.
const EVERY: Duration = Duration::from_millis(200);

/// A channel before it was changed.
pub(super) struct Former<'a> {
    channel: &'a ChannelFacts,
    restart: &'a Restart,
    /// `None` where it stays, or the server tells it to nobody like this.
    password: Option<SecretString>,
}

impl<'a> Former<'a> {
    /// What is known of it now.
    pub(super) async fn of(
        live: &mut Live,
        channel: &'a ChannelFacts,
        restart: &'a Restart,
        deadline: Deadline,
    ) -> Self {
        let password = if restart.changes_password() {
            // An account with the least privileges may not read it.
            live.server.channel_password(&channel.name, deadline).await.unwrap_or_default()
        } else {
            None
        };
        Self { channel, restart, password }
    }

    /// Gives the channel back what it had, unless its receiver is connected. Whether everything is as it was; the failure is told.
    ///
    /// Where the receiver reached an unknown server by the address it had before, it stays stopped: nothing that could be put back
    /// leads elsewhere.
    pub(super) async fn put_back(
        self,
        session: &Session,
        sides: &Sides,
        (member, facts): (&str, &Facts),
        failure: &mut Failure,
    ) -> bool {
        let code = failure.problems.first().map(|problem| problem.code);
        if code == Some(Code::UnknownSource) && !self.restart.moves {
            return false;
        }
        let told = match self.tried(sides, (member, facts), code, cleanup_deadline()).await {
            Ok(None) => return false,
            Ok(Some(connected)) => connected,
            Err(problem) => {
                failure.problems.push(problem);
                return false;
            }
        };
        let target = format!("settings of channel {} on {member}", self.channel.name);
        session.events.tell(Event::TakenBack { what: target.clone() });
        failure.taken_back.push(Change { target, verb: "taken back" });
        let has_former_password = !self.restart.changes_password() || self.password.is_some();
        if let Some(first) = failure.problems.first_mut() {
            first.evidence.push(told);
            if !has_former_password {
                first.evidence.push(format!(
                    "its former password could not be read from mysql.slave_master_info; the configured one stays, and after it is corrected `pxc-link setup --source {} --rotate-password` gives that to the channel",
                    session.spec.name
                ));
            }
        }
        has_former_password
    }

    /// Puts it back and says how the receiver fares; `None` where there was no need, or nothing to put back.
    async fn tried(
        &self,
        sides: &Sides,
        (member, facts): (&str, &Facts),
        code: Option<Code>,
        deadline: Deadline,
    ) -> Result<Option<String>, Problem> {
        let (name, was) = (&self.channel.name, self.channel);
        let before = self.restart.before(&was.settings, self.password.is_some());
        // The session of before is gone where the time ran out during a statement.
        let mut live = sides.open_judged(Side::Replica, member, facts, deadline).await?;
        let now = find(&mut live, name, deadline).await?;
        let works = now.as_ref().is_none_or(|now| now.receiver.is_on());
        if before.is_empty() || works {
            live.close(deadline).await;
            return Ok(None);
        }
        live.server.stop(name, Threads::Receiver, deadline).await?;
        let mut applies = now.is_some_and(|now| !now.applier.is_off());
        // With one thread running the server keeps the relay logs. What an unknown server sent, or may have sent, must not be applied.
        let known = code != Some(Code::UnknownSource) && !self.restart.holds_applier;
        if !applies && !was.applier.is_off() && known {
            live.server.start_applier(name, deadline).await?;
            applies = true;
        }
        if !applies {
            may_drop_relay_logs(facts, name, member)?;
        }
        live.server.change_source(name, &before, self.password.as_ref(), deadline).await?;
        if !applies && !was.applier.is_off() {
            live.server.start_applier(name, deadline).await?;
        }
        if was.receiver.is_off() {
            live.close(deadline).await;
            return Ok(Some("its former settings were put back; its receiver was off before, too".to_owned()));
        }
        live.server.start_receiver(name, deadline).await?;
        let what = "the receiver with its former settings";
        let cell = tokio::sync::Mutex::new(live);
        let connected = poll_until(
            what,
            deadline.at_most(CONNECTS),
            EVERY,
            |_, _| (),
            || async {
                let now = find(&mut *cell.lock().await, name, deadline).await?;
                let error = now.as_ref().and_then(|now| now.receiver.error.as_ref()).map(|error| error.text.clone());
                Ok(match now {
                    Some(now) if now.receiver.is_on() => Look::Ready(()),
                    _ => Look::NotYet(error.unwrap_or_else(|| "no error yet".to_owned())),
                })
            },
        );
        let connected = connected.await;
        cell.into_inner().close(deadline).await;
        Ok(Some(match connected {
            Ok(()) => "its former settings were put back, and the receiver is connected again".to_owned(),
            Err(problem) => {
                let seen = problem.evidence.join("; ");
                format!("its former settings were put back, and the receiver does not connect with them either: {seen}")
            }
        }))
    }
}

async fn find(live: &mut Live, name: &str, deadline: Deadline) -> Result<Option<ChannelFacts>, Problem> {
    let channels = live.server.channels(deadline).await?;
    Ok(channels.into_iter().find(|channel| channel.name.eq_ignore_ascii_case(name)))
}
