//! What every workflow is given: the link, the deadline, where events go, and the request to stop.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    domain::{
        code::Code,
        event::Event,
        hint::Hint,
        problem::Problem,
        spec::{LinkSpec, MeshLink},
    },
    error::Failure,
    shutdown::Shutdown,
    wait::Deadline,
};

/// Time that taking something back gets in any case.
const CLEANUP: Duration = Duration::from_secs(10);

/// When taking back or giving back ends: soon, also where the command's time has run out or somebody waits for it to stop.
pub(crate) fn cleanup_deadline() -> Deadline {
    Deadline::after(CLEANUP)
}

/// Why a link has nothing of a mesh.
pub(super) fn no_mesh(spec: &LinkSpec) -> Problem {
    Problem::new(Code::NoMesh, format!("link `{}` goes through no mesh, so it has no mesh objects", spec.name))
        .seen(format!("its replica is a server without Kubernetes, which reaches {} directly", spec.dialled()))
        .hint(Hint::run("see what there is of the link", ["pxc-link", "verify", "--source", &spec.name]))
}

/// Where events go; renderers subscribe here.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Sends every event to a function, which must not block.
    pub fn to(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Tells one event.
    pub fn tell(&self, event: Event) {
        (self.0)(event);
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

/// One run of a command on one link.
#[derive(Debug, Clone)]
pub struct Session {
    /// The link.
    pub spec: LinkSpec,
    /// When the whole command ends.
    pub deadline: Deadline,
    /// Where events go.
    pub events: Events,
    /// The request to stop.
    pub shutdown: Shutdown,
}

impl Session {
    /// The link as one that goes through a mesh.
    ///
    /// # Errors
    /// `NoMesh` where it does not.
    pub(crate) fn mesh(&self) -> Result<MeshLink<'_>, Problem> {
        self.spec.mesh().ok_or_else(|| no_mesh(&self.spec))
    }

    /// Runs one stage: tells when it begins and how it ended. `seen` words the good end.
    ///
    /// # Errors
    /// The stage's own problem.
    pub(crate) async fn stage<T>(
        &self,
        what: impl Into<String>,
        seen: impl FnOnce(&T) -> String,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let (what, begun) = (what.into(), Instant::now());
        self.events.tell(Event::Started { what: what.clone() });
        let result = work.await;
        let took_seconds = begun.elapsed().as_secs_f64();
        match &result {
            Ok(value) => self.events.tell(Event::Done { what, seen: seen(value), took_seconds }),
            Err(problem) => self.events.tell(Event::Failed { what, code: problem.code, took_seconds }),
        }
        result
    }

    /// Tells that something is still waited for; given to `poll_until`.
    pub(crate) fn waiting<'a>(&'a self, what: &'a str) -> impl FnMut(&str, Deadline) + 'a {
        move |seen, deadline| {
            self.events.tell(Event::Waiting {
                what: what.to_owned(),
                seen: seen.to_owned(),
                elapsed_seconds: deadline.elapsed().as_secs_f64(),
                deadline_seconds: deadline.span().as_secs_f64(),
            });
        }
    }

    /// Runs reading work that may be dropped at any moment, until a signal asks to stop.
    ///
    /// # Errors
    /// An interruption, where the signal came first.
    pub(crate) async fn interruptible<T>(&self, during: &str, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.shutdown.requested() => Err(Failure::interrupted(during)),
            done = work => Ok(done),
        }
    }
}
