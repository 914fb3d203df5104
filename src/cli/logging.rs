//! Log lines on standard error: off but for warnings, never mixed with results or progress.

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterFn, LevelFilter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::args::{Global, LogForm};
use crate::ui::printer::Printer;

/// Libraries that log what they carry (frames, headers, bodies), and with it standard input of commands: passwords.
const CARRIERS: [&str; 8] =
    ["tungstenite", "tokio_tungstenite", "hyper", "hyper_util", "h2", "tower", "rustls", "mysql_async"];

/// Starts logging for the rest of the process.
pub(super) fn start(global: &Global, printer: &Printer) {
    let chosen = match global.verbose {
        // A request that fails is said by whoever made it, with what to do; kube's own connections, which a proxy takes, log each as
        // an error, those too that are tried again.
        0 => "warn,kube_client::client::builder=off",
        1 => "warn,kube_client::client::builder=off,pxc_link=debug",
        2 => "info,pxc_link=debug,kube=debug,tower_http=debug",
        _ => "debug,pxc_link=trace,kube=debug,tower_http=debug",
    };
    let filter = match std::env::var("PXC_LINK_LOG") {
        Ok(own) if !own.is_empty() => {
            EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).parse_lossy(own)
        }
        _ => EnvFilter::new(chosen),
    };
    let safe = FilterFn::new(may_be_shown);
    let registry = tracing_subscriber::registry();
    // Through the printer, so that a line does not break into the status line.
    let printer = printer.clone();
    let lines = tracing_subscriber::fmt::layer().with_writer(move || printer.log_writer());
    // A second start (only in tests of this crate) keeps the first.
    let _ = match global.log_format {
        LogForm::Text => registry.with(lines.with_ansi(false).with_filter(filter).with_filter(safe)).try_init(),
        LogForm::Json => registry.with(lines.json().with_filter(filter).with_filter(safe)).try_init(),
    };
}

/// What shows the whole body of an answer it cannot read; that of a Secret, too.
const BODIES: &str = "kube_client::client";

/// Whether an event can hold no payload: whatever `PXC_LINK_LOG` says, carriers show nothing below a warning.
fn may_be_shown(metadata: &Metadata<'_>) -> bool {
    if metadata.target() == BODIES {
        return false;
    }
    let root = metadata.target().split("::").next().unwrap_or_default();
    !CARRIERS.contains(&root) || *metadata.level() <= Level::WARN
}
