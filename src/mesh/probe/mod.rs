//! Probes that run in a container of a client's pod: how a name resolves there, and what answers behind a name or an address, asked
//! with what the container has.

pub mod http;
pub mod mysql;
mod shell;
pub mod tcp;
pub mod tls_files;

use std::{iter, net::IpAddr, time::Duration};

use tokio::sync::SetOnce;

pub use self::shell::Shells;
use self::shell::{Command, Ended, OUTPUT, Went};
use crate::{
    domain::{
        code::Code,
        facts::{ProbeAnswer, ProbeEnd},
        problem::Problem,
    },
    k8s::{Cluster, K8sError},
    wait::Deadline,
};

/// What looking a name up may take; a resolver without an answer gives up by itself before.
const RESOLVING: Duration = Duration::from_secs(12);
const LOOKUP: &str = "looking the mesh name up";
/// What a program may take beyond its own deadline before the stream to it is given up.
const GRACE: Duration = Duration::from_secs(4);

/// A container of a member's pod.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Its cluster.
    pub cluster: &'a Cluster,
    /// The shells of the run.
    pub shells: &'a Shells,
    /// The pod.
    pub pod: &'a str,
    /// The application container.
    pub container: &'a str,
}

impl Place<'_> {
    /// What is done there, as a phrase.
    fn doing(&self, what: &str) -> String {
        format!("{what} in container {} of pod {}", self.container, self.pod)
    }

    /// That it went wrong, and not by its own end.
    fn broken(&self, what: &str, detail: String) -> K8sError {
        let pod = (self.cluster.namespace().to_owned(), self.pod.to_owned());
        K8sError::Pod { target: self.cluster.target(), what: self.doing(what), pod, detail }
    }
}

/// What probes wait for, their shell started already, before they ask anything: a reading of counters that comes first.
#[derive(Debug, Default)]
pub struct Gate(SetOnce<()>);

impl Gate {
    /// A gate through which everybody goes at once.
    fn opened() -> Self {
        Self(SetOnce::new_with(Some(())))
    }

    async fn wait(&self) {
        self.0.wait().await;
    }

    /// Lets everybody through.
    pub fn open(&self) {
        // Opening it twice changes nothing.
        let _already = self.0.set(());
    }
}

/// One question to what is behind a name or an address, and how its answer is read.
pub struct Probe {
    command: Command,
    /// What asks, where the answer does not say it.
    program: &'static str,
    /// What is asked, for people.
    asked: String,
    read: Read,
}

/// The program that asked, where it says what it is, and how that ended.
type Read = Box<dyn Fn(&Ended) -> (Option<String>, ProbeEnd) + Send + Sync>;

impl Probe {
    /// A script of this folder, whose first argument is how many seconds it may take.
    fn script(
        script: &str,
        longest: Duration,
        (host, port): (&str, u16),
        asked: String,
        read: fn(&Ended) -> (Option<String>, ProbeEnd),
        deadline: Deadline,
    ) -> Self {
        let seconds = longest.min(deadline.left().saturating_sub(GRACE)).as_secs().max(1);
        let argv = ["sh", "-c", script, &seconds.to_string(), host, &port.to_string()].map(ToOwned::to_owned).to_vec();
        let limit = Duration::from_secs(seconds) + GRACE;
        Self {
            command: Command { argv, stdin: None, most: OUTPUT, limit, what: asked.clone() },
            program: "a program",
            asked,
            read: Box::new(read),
        }
    }

    /// Everything that its program says is an answer and no error.
    fn answer(&self, place: Place<'_>, went: Went) -> Result<ProbeAnswer, K8sError> {
        let (program, end) = match went.ended {
            Ok(Ended { code: 127, .. }) => (None, ProbeEnd::NoClient),
            Ok(ended) => (self.read)(&ended),
            Err(K8sError::TimedOut { .. }) => (None, ProbeEnd::TimedOut),
            Err(K8sError::Pod { detail, .. }) if no_such_program(&detail) => (None, ProbeEnd::NoClient),
            Err(error) => return Err(error),
        };
        let program = program.as_deref().unwrap_or(self.program);
        let by = format!("{program} in container {}, {}", place.container, self.asked);
        Ok(ProbeAnswer { by, took_ms: went.took_ms, end })
    }
}

/// What came of asking from one container.
pub struct Answers {
    /// The IPv4 addresses that the container's resolver has for the name, sorted; none when it does not resolve. The problem is
    /// [`Code::NoProbe`] where the container has no `getent`.
    pub resolved: Result<Vec<IpAddr>, Problem>,
    /// Those of the probes, in their order. The errors are those of [`start`](crate::k8s::exec::start) and what follows it.
    pub probes: Vec<Result<ProbeAnswer, K8sError>>,
}

/// Looks a name up and asks everything else, side by side in one container.
pub async fn ask(place: Place<'_>, name: &str, probes: &[Probe], gate: &Gate, deadline: Deadline) -> Answers {
    let argv = ["getent", "ahostsv4", name].map(ToOwned::to_owned).to_vec();
    let lookup = Command { argv, stdin: None, most: OUTPUT, limit: RESOLVING, what: LOOKUP.to_owned() };
    let commands: Vec<&Command> = iter::once(&lookup).chain(probes.iter().map(|probe| &probe.command)).collect();
    let mut went = shell::run(place, &commands, gate, deadline).await.into_iter();
    let resolved = addresses(place, went.next().expect("every command has an end").ended);
    let probes = probes.iter().zip(went).map(|(probe, went)| probe.answer(place, went)).collect();
    Answers { resolved, probes }
}

/// The IPv4 addresses that the container's resolver has for a name, as in [`Answers`].
///
/// # Errors
/// As in [`Answers`].
pub async fn resolve(place: Place<'_>, name: &str, deadline: Deadline) -> Result<Vec<IpAddr>, Problem> {
    ask(place, name, &[], &Gate::opened(), deadline).await.resolved
}

fn addresses(place: Place<'_>, ended: Result<Ended, K8sError>) -> Result<Vec<IpAddr>, Problem> {
    let Place { pod, container, .. } = place;
    let without = || {
        let message =
            format!("container {container} of pod {pod} has no `getent`, or no `od`, to look the name up with");
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
                Err(place.broken(LOOKUP, detail).into())
            }
        },
        Err(K8sError::Pod { detail, .. }) if no_such_program(&detail) => Err(without()),
        Err(error) => Err(error.into()),
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
fn no_such_program(detail: &str) -> bool {
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
