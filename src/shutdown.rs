//! Signals: the first asks the work to stop at the next safe point, the second ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Which signal asked for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: exit code 130.
    Interrupt,
    /// SIGTERM: exit code 143.
    Terminate,
}

impl Signal {
    /// 128 and the signal's number, as shells report it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// The request to stop, shared by everything that waits.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    signal: std::sync::Arc<std::sync::OnceLock<Signal>>,
}

impl Shutdown {
    /// Listens for SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// The operating system refuses the handlers.
    pub fn listen() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let listening = shutdown.clone();
        tokio::spawn(async move {
            loop {
                let which = tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                };
                if listening.signal.set(which).is_err() {
                    end_at_once(which);
                }
                listening.token.cancel();
            }
        });
        Ok(shutdown)
    }

    /// The signal that came, if one did.
    pub fn signal(&self) -> Option<Signal> {
        self.signal.get().copied()
    }

    /// Ends when the first signal comes.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Whether a signal came.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }
}

#[expect(clippy::exit, reason = "whoever signals twice wants the process gone, whatever it is doing")]
fn end_at_once(signal: Signal) -> ! {
    std::process::exit(signal.exit_code().into())
}
