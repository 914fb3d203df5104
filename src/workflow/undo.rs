//! What a run has written so far, and taking back what must not be left behind when it fails before the channel.

use super::{
    session::{Session, cleanup_deadline},
    sides::Sides,
};
use crate::{
    domain::{check::Change, event::Event, problem::Problem},
    error::Failure,
    k8s::apply,
};

/// What this run wrote, in order.
#[derive(Debug, Default)]
pub(super) struct Done {
    changes: Vec<Change>,
    /// Objects that did not exist before.
    objects: Vec<(String, serde_json::Value)>,
    /// Something was written that stays: a channel, or a change of something that existed.
    lasting: bool,
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

    /// An object was made.
    pub(super) fn created(&mut self, target: &str, object: &serde_json::Value) {
        self.changes.push(Change { target: target.to_owned(), verb: "created" });
        self.objects.push((target.to_owned(), object.clone()));
    }

    /// A channel was made.
    pub(super) fn created_channel(&mut self, target: &str) {
        self.changes.push(Change { target: target.to_owned(), verb: "created" });
        self.lasting = true;
    }

    /// Something that existed was changed.
    pub(super) fn changed(&mut self, target: &str) {
        self.changes.push(Change { target: target.to_owned(), verb: "changed" });
        self.lasting = true;
    }

    /// A thread was started or stopped.
    pub(super) fn thread(&mut self, verb: &'static str, thread: &str, channel: &str, member: &str) {
        self.changes.push(Change { target: format!("{thread} of channel {channel} on {member}"), verb });
        self.lasting = true;
    }

    /// Deletes the mesh objects that this run made, unless something that lasts was built on them; tells the failure which.
    ///
    /// A path that was never proven is worth nothing, and its objects would answer the name for whoever asks next.
    pub(super) async fn take_back(self, session: &Session, sides: &Sides, failure: &mut Failure) {
        if self.lasting {
            failure.stands = self.changes;
            return;
        }
        let Ok(cluster) = sides.client() else { return };
        for (target, object) in self.objects.into_iter().rev() {
            match apply::delete(cluster, &object, cleanup_deadline()).await {
                // It was tried and never came to be.
                Ok(false) => {}
                Ok(true) => {
                    session.events.tell(Event::TakenBack { what: target.clone() });
                    failure.taken_back.push(Change { target, verb: "taken back" });
                }
                Err(error) => {
                    failure.stands.push(Change { target, verb: "created" });
                    failure.problems.push(Problem::from(error));
                }
            }
        }
    }
}
