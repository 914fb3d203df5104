//! Probes that run in a container of a client's pod: how a name resolves there, and what answers behind a name or an address, asked
//! with what the container has.

pub mod http;
pub mod mysql;
pub mod tcp;

use std::{net::IpAddr, time::Duration};

use tokio::{sync::SetOnce, time::Instant};

use crate::{
    domain::{
        code::Code,
        facts::{ProbeAnswer, ProbeEnd},
        problem::Problem,
    },
    k8s::{
        Cluster, K8sError,
        exec::{Ended, start},
    },
    wait::Deadline,
};

/// What starting a command in a container may take.
const STARTING: Duration = Duration::from_secs(10);
/// What looking a name up may take; a resolver without an answer gives up by itself before.
const RESOLVING: Duration = Duration::from_secs(12);
/// What a program may take beyond its own deadline before the stream to it is given up.
const GRACE: Duration = Duration::from_secs(4);

/// A container of a member's pod.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its cluster.
    pub cluster: &'a Cluster,
    /// The pod.
    pub pod: &'a str,
    /// The application container.
    pub container: &'a str,
}

/// What probes wait for in their containers, started already, before they ask anything: a reading of counters that comes first.
#[derive(Debug, Default)]
pub struct Gate(SetOnce<()>);

impl Gate {
    /// A gate through which everybody goes at once.
    pub fn opened() -> Self {
        Self(SetOnce::new_with(Some(())))
    }

    /// Lets everybody through.
    pub fn open(&self) {
        // Opening it twice changes nothing.
        let _already = self.0.set(());
    }
}

/// What a script waits with for the gate: the line that [`ask`] sends. At the end of its input nobody is there any more.
const GO: &str = "read -r go || exit 1\n";

/// The IPv4 addresses that the container's resolver has for a name, sorted; none when it does not resolve.
///
/// # Errors
/// As [`start`] and what follows it; [`Code::NoProbe`] where the container has no `getent`.
pub async fn resolve(place: Place<'_>, host: &str, gate: &Gate, deadline: Deadline) -> Result<Vec<IpAddr>, Problem> {
    let script = format!("{GO}exec getent ahostsv4 \"$0\" </dev/null");
    let (_, ended) = ask(place, &["sh", "-c", &script, host], "", gate, deadline, RESOLVING).await;
    let Place { pod, container, .. } = place;
    let without = || {
        let message = format!("container {container} of pod {pod} has no `getent` to look the name up with");
        Problem::new(Code::NoProbe, message)
    };
    match ended {
        Ok(ended) => match ended.code {
            0 => Ok(resolved(&ended.out())),
            // getent(1): 2, one or more supplied keys could not be found.
            2 => Ok(Vec::new()),
            127 => Err(without()),
            code => {
                let detail = format!("getent ended with {code}: {}", ended.err());
                Err(failed(place, "resolving the mesh name", detail).into())
            }
        },
        Err(K8sError::Pod { detail, .. }) if no_such_program(&detail) => Err(without()),
        Err(error) => Err(error.into()),
    }
}

/// Starts a command and, once the gate is open, hands it what it waits for: the line of [`GO`], and `stdin`. `limit` counts
/// from then on. Gives the milliseconds that it took, without those at the gate.
async fn ask(
    place: Place<'_>,
    argv: &[&str],
    stdin: &str,
    gate: &Gate,
    deadline: Deadline,
    limit: Duration,
) -> (u64, Result<Ended, K8sError>) {
    let begun = Instant::now();
    let started = start(place.cluster, place.pod, place.container, argv, deadline.at_most(STARTING)).await;
    let starting = begun.elapsed();
    gate.0.wait().await;
    let begun = Instant::now();
    let ended = match started {
        Ok(running) => running.finish(format!("\n{stdin}").as_bytes(), deadline.at_most(limit)).await,
        Err(error) => Err(error),
    };
    let took = starting + begun.elapsed();
    (u64::try_from(took.as_millis()).unwrap_or(u64::MAX), ended)
}

/// What a script of this folder found out: the program that asked, and how that ended.
type Read = fn(&Ended) -> (Option<String>, ProbeEnd);

/// Runs a script whose first argument is how long it may take. Everything that its programs say is an answer and no error.
async fn run(
    place: Place<'_>,
    script: &str,
    seconds: Duration,
    arguments: &[&str],
    gate: &Gate,
    deadline: Deadline,
    read: Read,
) -> Result<(Option<String>, u64, ProbeEnd), K8sError> {
    let seconds = seconds.min(deadline.left().saturating_sub(GRACE)).as_secs().max(1);
    let text = seconds.to_string();
    let script = format!("{GO}exec </dev/null\n{script}");
    let mut argv = vec!["sh", "-c", &script, &text];
    argv.extend(arguments);
    let limit = Duration::from_secs(seconds) + GRACE;
    let (took_ms, ended) = ask(place, &argv, "", gate, deadline, limit).await;
    let (program, end) = match ended {
        Ok(ended) if ended.code == 127 => (None, ProbeEnd::NoClient),
        Ok(ended) => read(&ended),
        Err(K8sError::TimedOut { .. }) => (None, ProbeEnd::TimedOut),
        Err(K8sError::Pod { detail, .. }) if no_such_program(&detail) => (None, ProbeEnd::NoClient),
        Err(error) => return Err(error),
    };
    Ok((program, took_ms, end))
}

fn answer(place: Place<'_>, asked: &str, (program, took_ms, end): (Option<String>, u64, ProbeEnd)) -> ProbeAnswer {
    let program = program.unwrap_or_else(|| "a program".to_owned());
    ProbeAnswer { by: format!("{program} in container {}, {asked}", place.container), took_ms, end }
}

fn failed(place: Place<'_>, what: &str, detail: String) -> K8sError {
    K8sError::Pod {
        target: place.cluster.target(),
        what: format!("{what} in container {} of pod {}", place.container, place.pod),
        pod: (place.cluster.namespace().to_owned(), place.pod.to_owned()),
        detail,
    }
}

fn resolved(out: &str) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> =
        out.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Whether a command could not be run because the container does not have it.
pub(super) fn no_such_program(detail: &str) -> bool {
    detail.contains("executable file not found") || detail.contains("no such file or directory")
}

/// The first characters of what came, on one line, with everything that is no plain text escaped.
fn excerpt(text: &str, most: usize) -> String {
    let mut short: String = text.trim_end().chars().take(most).collect();
    if short.len() < text.trim_end().len() {
        short.push('…');
    }
    short.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_the_resolver_is_kept_once() {
        let out = "240.0.0.7       STREAM a.global\n240.0.0.7       DGRAM\n240.0.0.7       RAW\n";
        assert_eq!(resolved(out), ["240.0.0.7".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn what_came_is_shown_on_one_line_and_cut() {
        assert_eq!(excerpt("220 hello\r\n", 60), "220 hello");
        assert_eq!(excerpt("J\0\0\0\n9.7.0", 60), "J\\u{0}\\u{0}\\u{0}\\n9.7.0");
        assert_eq!(excerpt("abcdef", 3), "abc…");
    }
}
