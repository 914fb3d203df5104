//! The path from one of the client's pods to one port of the mesh name, gathered: name, sidecar, endpoints, and probes between two
//! readings of the sidecar's counters, through the name and straight to the endpoints.

use std::{iter, net::IpAddr, time::Duration};

use super::{
    envoy::{Counters, Sidecar, Target},
    probe::{self, Answers, Gate, Place, Probe, http, mysql, mysql::Login, tcp},
};
use crate::{
    domain::{
        facts::{DirectFacts, EnvoyFacts, EnvoyHost, Moved, PathFacts},
        problem::{Fetched, Problem},
        spec::{Endpoint, Tls},
    },
    wait::Deadline,
};

/// What one reading of a sidecar or of a resolver may take.
const READING: Duration = Duration::from_secs(10);
/// The most endpoints that are asked straight, the first ones: a check of a network needs no more.
const STRAIGHT: usize = 4;

/// How a port is asked for an answer.
#[derive(Clone, Copy)]
pub enum Question<'a> {
    /// An authenticated MySQL query.
    Query {
        /// The receiver's account.
        login: Login<'a>,
        /// The channel's TLS.
        tls: &'a Tls,
    },
    /// An HTTP request.
    Request,
    /// A connection that says nothing.
    Connection,
}

/// What a path is gathered for.
#[derive(Clone, Copy)]
pub struct PathParameters<'a> {
    /// The port of the mesh name.
    pub target: Target<'a>,
    /// Where the mesh is to send its connections.
    pub endpoints: &'a [Endpoint],
    /// How it is asked.
    pub question: Question<'a>,
}

/// What a sidecar had before anything was asked of the mesh name; to be asked again afterwards.
pub struct View<'a> {
    /// The sidecar.
    pub sidecar: &'a Sidecar,
    /// Its name table.
    pub name_table: Fetched<Option<Vec<IpAddr>>>,
    /// Its listener, cluster and endpoints, with the counters of that moment.
    pub envoy: Fetched<(EnvoyFacts, Counters)>,
}

impl<'a> View<'a> {
    /// Reads it.
    pub async fn read(sidecar: &'a Sidecar, target: Target<'_>, deadline: Deadline) -> Self {
        let deadline = deadline.at_most(READING);
        let (name_table, envoy) =
            tokio::join!(sidecar.name_table(target.host, deadline), sidecar.facts(target, deadline));
        Self { sidecar, name_table: name_table.into(), envoy: envoy.into() }
    }
}

/// Gathers the path from one pod, whose sidecar is viewed before anything is asked: the shell of the probes is started meanwhile.
/// What cannot be seen is a failed fetch; nothing is judged here. The name is asked once, and so are the first endpoints, side by
/// side: a connection to an endpoint's own address is none of the mesh name's and moves none of its counters.
pub async fn gather_path(
    place: Place<'_>,
    view: impl Future<Output = Result<View<'_>, Problem>>,
    parameters: &PathParameters<'_>,
    deadline: Deadline,
) -> PathFacts {
    let PathParameters { target, endpoints, question } = *parameters;
    let straight = &endpoints[..endpoints.len().min(STRAIGHT)];
    let probes: Vec<Probe> = iter::once(through(target, question, deadline))
        .chain(straight.iter().map(|endpoint| past(*endpoint, question, deadline)))
        .collect();
    let gate = Gate::default();
    let view = async {
        let view = view.await;
        gate.open();
        view
    };
    let (view, Answers { resolved, probes }) =
        tokio::join!(view, probe::ask(place, target.host, &probes, &gate, deadline));
    let (name_table, envoy, before, after) = match view {
        Ok(View { sidecar, name_table, envoy }) => {
            let after = sidecar.counters(target, deadline.at_most(READING)).await.into();
            let (envoy, before) = match envoy {
                Fetched::Got((envoy, counters)) => (Fetched::Got(envoy), Fetched::Got(counters)),
                Fetched::Failed(problem) => (Fetched::Failed(problem.clone()), Fetched::Failed(problem)),
            };
            (name_table, envoy, before, after)
        }
        Err(problem) => (
            Fetched::Failed(problem.clone()),
            Fetched::Failed(problem.clone()),
            Fetched::Failed(problem.clone()),
            Fetched::Failed(problem),
        ),
    };
    let mut probes = probes.into_iter().map(Fetched::from);
    let probe = probes.next().expect("every probe has an answer");
    let direct = straight
        .iter()
        .zip(probes)
        .map(|(endpoint, answer)| DirectFacts { endpoint: *endpoint, answer, moved: moved(&before, &after, *endpoint) })
        .collect();
    let after = match after {
        Fetched::Got(counters) => Fetched::Got(counters.hosts.unwrap_or_default()),
        Fetched::Failed(problem) => Fetched::Failed(problem),
    };
    PathFacts {
        member: place.pod.to_owned(),
        port: target.port,
        resolved: resolved.into(),
        name_table,
        envoy,
        after,
        probe,
        direct,
    }
}

/// Asks through the mesh name.
fn through(Target { host, port, .. }: Target<'_>, question: Question<'_>, deadline: Deadline) -> Probe {
    match question {
        Question::Query { login, tls } => mysql::query(host, port, login, tls, deadline),
        Question::Request => http::get(host, port, deadline),
        Question::Connection => tcp::listen(host, port, deadline),
    }
}

/// Asks an endpoint's own address. The Host header of a request is that address too: a sidecar that takes HTTP apart would find
/// the mesh name by it again.
fn past(endpoint: Endpoint, question: Question<'_>, deadline: Deadline) -> Probe {
    let host = endpoint.address.to_string();
    match question {
        Question::Query { login, tls } => mysql::direct(endpoint, login, tls, deadline),
        Question::Request => http::get(&host, endpoint.port, deadline),
        Question::Connection => tcp::listen(&host, endpoint.port, deadline),
    }
}

/// How the counters of an address moved that was connected to past the mesh.
fn moved(before: &Fetched<Counters>, after: &Fetched<Counters>, endpoint: Endpoint) -> Option<Moved> {
    let (before, after) = before.got().zip(after.got())?;
    let known = |hosts: &[EnvoyHost]| hosts.iter().find(|host| host.endpoint == endpoint).cloned();
    let after = known(&after.past)?;
    Some(Moved::between(known(&before.past).as_ref(), &after))
}
