//! What a run has written so far, and taking back what must not be left behind when it fails before the channel.

use super::{
    beside,
    session::{Session, cleanup_deadline},
    sides::Sides,
};
use crate::{
    domain::{
        channel::Threads,
        check::{Change, Side},
        event::Event,
        problem::Problem,
    },
    error::Failure,
    k8s::apply,
};

/// What this run wrote, in order.
#[derive(Debug, Default)]
pub(super) struct Done {
    changes: Vec<Change>,
    /// What did not exist before, and how it is taken away.
    made: Vec<(String, Made)>,
    /// What stays changed outside the link, and how it is undone.
    left: Vec<Problem>,
    /// Something of the link was written that stays: a channel, or a change of something that existed.
    lasting: bool,
}

/// A moment of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    changes: usize,
    lasting: bool,
}

/// Something that a run made and can take away.
#[derive(Debug)]
enum Made {
    /// An object in the cluster of a side.
    Object(Side, serde_json::Value),
    /// The stub in CoreDNS's configuration.
    Stub,
    /// A channel on a member, from which nothing was applied yet.
    Channel {
        /// The channel.
        name: String,
        /// The member.
        member: String,
    },
    /// A part of something else that was made, gone with it.
    Part,
}

impl Done {
    /// Nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What was written.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.changes.clone()
    }

    /// This moment, for [`Done::back_to`].
    pub(super) fn mark(&self) -> Mark {
        Mark { changes: self.changes.len(), lasting: self.lasting }
    }

    /// Whether anything was changed since.
    pub(super) fn since(&self, mark: Mark) -> bool {
        self.changes.len() > mark.changes
    }

    /// Everything that was changed since is as it was again.
    pub(super) fn back_to(&mut self, mark: Mark) {
        self.changes.truncate(mark.changes);
        self.lasting = mark.lasting;
    }

    /// An object was made.
    pub(super) fn created(&mut self, side: Side, target: &str, object: &serde_json::Value) {
        self.changes.push(Change { target: target.to_owned(), verb: "created" });
        self.made.push((target.to_owned(), Made::Object(side, object.clone())));
    }

    /// A stub was put into CoreDNS's configuration.
    pub(super) fn created_stub(&mut self, target: &str) {
        self.changes.push(Change { target: target.to_owned(), verb: "created" });
        self.made.push((target.to_owned(), Made::Stub));
    }

    /// Something outside the link was changed, which stays whatever becomes of the link.
    pub(super) fn changed_beside(&mut self, target: &str, verb: &'static str) {
        self.changes.push(Change { target: target.to_owned(), verb });
    }

    /// How something outside the link that was changed is undone, for a run that ends without a link.
    pub(super) fn left(&mut self, problem: Problem) {
        self.left.push(problem);
    }

    /// A channel was made.
    pub(super) fn created_channel(&mut self, target: &str) {
        self.changes.push(Change { target: target.to_owned(), verb: "created" });
        self.lasting = true;
    }

    /// A channel was made whose receiver is the first to show that there is a way to the source. Until its applier starts it is
    /// worth as little as a path that was never proven.
    pub(super) fn created_unproven_channel(&mut self, target: &str, name: &str, member: &str) {
        self.changes.push(Change { target: target.to_owned(), verb: "created" });
        self.made.push((target.to_owned(), Made::Channel { name: name.to_owned(), member: member.to_owned() }));
    }

    /// Something that existed was changed.
    pub(super) fn changed(&mut self, target: &str) {
        self.changes.push(Change { target: target.to_owned(), verb: "changed" });
        self.lasting = true;
    }

    /// A copy of the channel was stopped, to be taken away.
    pub(super) fn stopped(&mut self, target: &str) {
        self.changes.push(Change { target: target.to_owned(), verb: "stopped" });
        self.lasting = true;
    }

    /// The copy that was stopped last was taken away from its member.
    pub(super) fn fenced(&mut self) {
        if let Some(copy) = self.changes.last_mut() {
            copy.verb = "deleted";
        }
    }

    /// A thread was started or stopped.
    pub(super) fn thread(&mut self, verb: &'static str, thread: &str, channel: &str, member: &str) {
        let target = format!("{thread} of channel {channel} on {member}");
        let unproven = self.made.iter().any(|(_, made)| matches!(made, Made::Channel { .. }));
        if unproven && thread == "receiver" {
            self.made.push((target.clone(), Made::Part));
        } else {
            self.lasting = true;
        }
        self.changes.push(Change { target, verb });
    }

    /// Takes away what this run made, unless something that lasts was built on it; tells the failure what was and what stands.
    ///
    /// A path that was never proven is worth nothing, and its objects would answer the name for whoever asks next.
    pub(super) async fn take_back(self, session: &Session, sides: &Sides, failure: &mut Failure) {
        if self.lasting {
            failure.stands = self.changes;
            return;
        }
        failure.problems.extend(self.left);
        let made = |change: &Change| self.made.iter().any(|(target, _)| *target == change.target);
        failure.stands = self.changes.iter().filter(|change| !made(change)).cloned().collect();
        for (target, made) in self.made.into_iter().rev() {
            let taken = match made {
                Made::Object(side, object) => match sides.cluster(side) {
                    Ok(cluster) => apply::delete(cluster, &object, cleanup_deadline()).await.map_err(Problem::from),
                    Err(problem) => Err(problem),
                },
                Made::Stub => beside::take_stub_out(session, sides, cleanup_deadline()).await,
                Made::Channel { name, member } => take_channel_back(sides, &name, &member).await,
                Made::Part => Ok(false),
            };
            match taken {
                // It was tried and never came to be.
                Ok(false) => {}
                Ok(true) => {
                    session.events.tell(Event::TakenBack { what: target.clone() });
                    failure.taken_back.push(Change { target, verb: "taken back" });
                }
                Err(problem) => {
                    failure.stands.push(Change { target, verb: "created" });
                    failure.problems.push(problem);
                }
            }
        }
    }
}

/// Deletes a channel that this run made and whose applier never ran: what its relay logs hold, the source has.
async fn take_channel_back(sides: &Sides, name: &str, member: &str) -> Result<bool, Problem> {
    let deadline = cleanup_deadline();
    let mut live = sides.open(Side::Replica, member, deadline).await?;
    live.server.stop(name, Threads::Both, deadline).await?;
    live.server.reset_all(name, deadline).await?;
    live.close(deadline).await;
    Ok(true)
}
