//! Deadlines and polling: the only way in which this program waits for something.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

use crate::domain::{
    code::{Code, Exit},
    problem::Problem,
};

/// A moment after which waiting ends.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    begun: Instant,
    at: Instant,
}

impl Deadline {
    /// A deadline so far from now.
    pub fn after(span: Duration) -> Self {
        let begun = Instant::now();
        Self { begun, at: begun + span }
    }

    /// The sooner of this one and one so far from now.
    #[must_use]
    pub fn at_most(self, span: Duration) -> Self {
        let other = Self::after(span);
        if other.at < self.at { other } else { Self { begun: other.begun, at: self.at } }
    }

    /// What is left; zero once it has passed.
    pub fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Time since it was set.
    pub fn elapsed(self) -> Duration {
        self.begun.elapsed()
    }

    /// The whole span from when it was set.
    pub fn span(self) -> Duration {
        self.at.saturating_duration_since(self.begun)
    }

    /// Runs a future until the deadline at most.
    ///
    /// # Errors
    /// `Elapsed` when the deadline passes first; the future is dropped.
    pub async fn bound<F: Future>(self, future: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout_at(self.at, future).await.map_err(|_| Elapsed { span: self.span() })
    }
}

/// A deadline passed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no answer within {:.1} s", span.as_secs_f64())]
pub struct Elapsed {
    /// How long was waited.
    pub span: Duration,
}

/// One look of [`poll_until`].
#[derive(Debug)]
pub enum Look<T> {
    /// It is there.
    Ready(T),
    /// Not yet; what was seen instead.
    NotYet(String),
}

/// Looks again and again until something is there. `waiting` is told what was seen after every look that was in vain.
///
/// # Errors
/// The probe's own problem ends it at once; at the deadline a problem with [`Code::TimedOut`] and what was seen last.
pub async fn poll_until<T, F, Fut>(
    what: &str,
    deadline: Deadline,
    every: Duration,
    mut waiting: impl FnMut(&str, Deadline),
    mut probe: F,
) -> Result<T, Problem>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Look<T>, Problem>>,
{
    let mut last = None;
    loop {
        match deadline.bound(probe()).await {
            Ok(Ok(Look::Ready(value))) => return Ok(value),
            Ok(Ok(Look::NotYet(seen))) => {
                waiting(&seen, deadline);
                last = Some(seen);
            }
            // A probe that the deadline cut says less than what was seen before.
            Ok(Err(problem))
                if deadline.left().is_zero() && problem.code.exit() == Exit::TimedOut && last.is_some() => {}
            Ok(Err(problem)) => return Err(problem),
            Err(_) => {}
        }
        if deadline.left().is_zero() {
            let (waited, last) = (deadline.span().as_secs_f64(), last.unwrap_or_else(|| "nothing yet".to_owned()));
            return Err(
                Problem::new(Code::TimedOut, format!("{what} did not come about within {waited:.0} s")).seen(last)
            );
        }
        tokio::time::sleep(every.min(deadline.left())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn gives_up_at_the_deadline_and_says_what_it_saw_last() {
        let mut looks = 0;
        let result: Result<(), _> = poll_until(
            "the listener",
            Deadline::after(Duration::from_secs(2)),
            Duration::from_millis(500),
            |_, _| looks += 1,
            || async { Ok(Look::NotYet("no listener".into())) },
        )
        .await;
        let problem = result.unwrap_err();
        assert_eq!((problem.code, problem.evidence[0].as_str(), looks), (Code::TimedOut, "no listener", 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_last_look_that_was_cut_does_not_hide_what_was_seen() {
        let deadline = Deadline::after(Duration::from_secs(1));
        let mut looks = 0;
        let look = || {
            looks += 1;
            let first = looks == 1;
            async move {
                if first {
                    return Ok(Look::NotYet("1 of 2".into()));
                }
                // As a request does that has the same deadline.
                tokio::time::sleep(deadline.left()).await;
                Err(Problem::new(Code::ApiTimedOut, "cut"))
            }
        };
        let result: Result<(), _> = poll_until("two", deadline, Duration::from_millis(100), |_, _| (), look).await;
        let problem = result.unwrap_err();
        assert_eq!((problem.code, problem.evidence[0].as_str()), (Code::TimedOut, "1 of 2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_ends_with_the_deadline() {
        let hang = || std::future::pending::<Result<Look<()>, Problem>>();
        let problem =
            poll_until("x", Deadline::after(Duration::from_secs(1)), Duration::from_millis(100), |_, _| (), hang).await;
        assert_eq!(problem.unwrap_err().code, Code::TimedOut);
    }
}
