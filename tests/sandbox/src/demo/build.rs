//! Building pxc-link for the demo and for measurements, as a user builds it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use sandbox::prepare::Cancel;
use tokio::process::Command;

use super::{DemoError, doing, go_on, say};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// An empty target directory on a slow machine.
const BUILD_DEADLINE: Duration = Duration::from_hours(1);

/// Builds pxc-link, with these options of cargo too, and returns its executable.
pub(crate) async fn pxc_link(options: &[&str], cancel: &Cancel) -> Result<PathBuf, DemoError> {
    say(["$ cargo build --locked -p pxc-link", &options.join(" ")].join(" ").trim_end())?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "-p", "pxc-link", "--message-format=json-render-diagnostics"]);
    cargo.args(options);
    cargo.current_dir(REPOSITORY).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    // What `cargo run` says of this package would make build scripts run again, here and in the user's next build.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    // `Command::output` would take what cargo says to the user on stderr, too.
    let building = cargo.spawn().map_err(doing("start cargo"))?.wait_with_output();
    let built = tokio::time::timeout(BUILD_DEADLINE, building).await;
    let command = || "cargo build".to_owned();
    let built = built
        .map_err(|_| DemoError::Late { command: command(), deadline: BUILD_DEADLINE })?
        .map_err(doing("wait for cargo"))?;
    go_on(cancel)?;
    if !built.status.success() {
        return Err(DemoError::Ended { command: command(), status: built.status });
    }
    executable(&String::from_utf8_lossy(&built.stdout)).ok_or(DemoError::NoExecutable(REPOSITORY))
}

/// The executable among cargo's messages, a JSON object a line.
fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|message| {
        let is_it = message["reason"] == "compiler-artifact" && message["target"]["name"] == "pxc-link";
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"kube"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"pxc-link"},"executable":"/t/debug/pxc-link"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/pxc-link")));
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
