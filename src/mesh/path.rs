//! The path from one of the client's pods to one port of the mesh name, gathered: name, sidecar, endpoints, and probes between two
//! readings of the sidecar's counters, through the name and straight to the endpoints.

use std::time::Duration;

use futures::future::join_all;

use super::{
    envoy::{self, Target},
    probe::{self, Place, http, mysql, mysql::Login, tcp},
};
use crate::{
    domain::{
        code::Code,
        facts::{DirectFacts, EnvoyHost, Moved, PathFacts, PodFacts, ProbeAnswer, Sidecar},
        problem::{Fetched, Problem},
        spec::{Endpoint, Tls},
    },
    k8s::{Cluster, K8sError},
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

/// Gathers the path from one pod. What cannot be seen is a failed fetch; nothing is judged here. The name is asked once, and so are
/// the first endpoints, side by side: a connection to an endpoint's own address is none of the mesh name's and moves none of its
/// counters.
pub async fn gather_path(
    cluster: &Cluster,
    member: &PodFacts,
    container: &str,
    parameters: &PathParameters<'_>,
    deadline: Deadline,
) -> PathFacts {
    let PathParameters { target, endpoints, question } = *parameters;
    let Target { host, port, .. } = target;
    let pod = member.name.as_str();
    let place = Place { cluster, pod, container };
    let sidecar = member.sidecar != Sidecar::Absent;
    let absent = || Problem::new(Code::NoSidecar, format!("pod {pod} has no sidecar to ask"));
    let reading = deadline.at_most(READING);
    let counters = || async {
        if !sidecar {
            return Fetched::Failed(absent());
        }
        envoy::counters(cluster, pod, target, deadline.at_most(READING)).await.into()
    };
    let (resolved, name_table, envoy) = tokio::join!(
        async {
            match probe::resolve(place, host, reading).await {
                Err(K8sError::Pod { detail, .. }) if probe::no_such_program(&detail) => {
                    let message =
                        format!("container {container} of pod {pod} has no `getent` to look the name up with");
                    Fetched::Failed(Problem::new(Code::NoProbe, message))
                }
                other => other.into(),
            }
        },
        async {
            if !sidecar {
                return Fetched::Failed(absent());
            }
            envoy::name_table(cluster, pod, host, reading).await.into()
        },
        async {
            if !sidecar {
                return Fetched::Failed(absent());
            }
            envoy::facts(cluster, pod, target, reading).await.into()
        },
    );
    let before = counters().await;
    let straight = endpoints.iter().take(STRAIGHT);
    let (probe, straight) = tokio::join!(
        through(place, target, question, deadline),
        join_all(straight.map(|endpoint| past(place, *endpoint, question, deadline))),
    );
    let after = counters().await;
    let direct = straight
        .into_iter()
        .map(|(endpoint, answer)| DirectFacts {
            endpoint,
            answer: answer.into(),
            moved: moved(&before, &after, endpoint),
        })
        .collect();
    let after = match after {
        Fetched::Got(counters) => Fetched::Got(counters.hosts.unwrap_or_default()),
        Fetched::Failed(problem) => Fetched::Failed(problem),
    };
    PathFacts { member: pod.to_owned(), port, resolved, name_table, envoy, after, probe: probe.into(), direct }
}

/// Asks through the mesh name.
async fn through(
    place: Place<'_>,
    Target { host, port, .. }: Target<'_>,
    question: Question<'_>,
    deadline: Deadline,
) -> Result<ProbeAnswer, K8sError> {
    match question {
        Question::Query { login, tls } => mysql::query(place, host, port, login, tls, deadline).await,
        Question::Request => http::get(place, host, port, deadline).await,
        Question::Connection => tcp::listen(place, host, port, deadline).await,
    }
}

/// Asks an endpoint's own address. The Host header of a request is that address too: a sidecar that takes HTTP apart would find
/// the mesh name by it again.
async fn past(
    place: Place<'_>,
    endpoint: Endpoint,
    question: Question<'_>,
    deadline: Deadline,
) -> (Endpoint, Result<ProbeAnswer, K8sError>) {
    let host = endpoint.address.to_string();
    let answer = match question {
        Question::Query { login, tls } => mysql::direct(place, endpoint, login, tls, deadline).await,
        Question::Request => http::get(place, &host, endpoint.port, deadline).await,
        Question::Connection => tcp::listen(place, &host, endpoint.port, deadline).await,
    };
    (endpoint, answer)
}

/// How the counters of an address moved that was connected to past the mesh.
fn moved(before: &Fetched<envoy::Counters>, after: &Fetched<envoy::Counters>, endpoint: Endpoint) -> Option<Moved> {
    let (before, after) = before.got().zip(after.got())?;
    let known = |hosts: &[EnvoyHost]| hosts.iter().find(|host| host.endpoint == endpoint).cloned();
    let after = known(&after.past)?;
    Some(Moved::between(known(&before.past).as_ref(), &after))
}
