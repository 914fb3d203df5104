//! The one way this package waits.

use std::time::{Duration, Instant};

use super::WorldError;

/// What is awaited, how long, and where to look when it does not come.
pub(crate) struct Wait {
    pub what: String,
    pub deadline: Duration,
    pub look: String,
}

/// Pause between two looks.
const EVERY: Duration = Duration::from_millis(150);

impl Wait {
    /// Looks until `probe` gives a value. `Err` says what was seen instead.
    pub(crate) async fn until<T>(self, mut probe: impl AsyncFnMut() -> Result<T, String>) -> Result<T, WorldError> {
        let end = Instant::now() + self.deadline;
        let mut last = String::from("no answer");
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, probe()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(seen)) => last = seen,
                Err(_) => {}
            }
            if Instant::now() + EVERY >= end {
                return Err(WorldError::Late { what: self.what, seen: last, deadline: self.deadline, look: self.look });
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
