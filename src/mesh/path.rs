//! The path from one replica member, gathered: name, sidecar, endpoints, and an authenticated query between two readings of the
//! sidecar's counters.

use std::{net::Ipv4Addr, time::Duration};

use super::{
    envoy,
    probe::{self, Login, Place},
};
use crate::{
    domain::{
        code::Code,
        facts::{PathFacts, PodFacts, ProbeAnswer, ProbeEnd, Sidecar},
        problem::{Fetched, Problem},
        spec::{Endpoint, Tls},
    },
    k8s::Cluster,
    wait::Deadline,
};

/// What one reading of a sidecar or of a resolver may take.
const READING: Duration = Duration::from_secs(10);

/// What a path is gathered for.
#[derive(Clone, Copy)]
pub struct PathParameters<'a> {
    /// The mesh name.
    pub host: &'a str,
    /// Its virtual address.
    pub vip: Ipv4Addr,
    /// The port at the mesh name.
    pub port: u16,
    /// The link's endpoints; the first is asked directly where the mesh name got no answer.
    pub endpoints: &'a [Endpoint],
    /// The receiver's account.
    pub login: Login<'a>,
    /// The channel's TLS.
    pub tls: &'a Tls,
}

/// Gathers the path from one member. What cannot be seen is a failed fetch; nothing is judged here. One login is made through the
/// name, and one more straight to an endpoint where the first got no answer from a server.
pub async fn gather_path(
    cluster: &Cluster,
    member: &PodFacts,
    container: &str,
    parameters: &PathParameters<'_>,
    deadline: Deadline,
) -> PathFacts {
    let PathParameters { host, vip, port, endpoints, login, tls } = *parameters;
    let pod = member.name.as_str();
    let place = Place { cluster, pod, container };
    let sidecar = member.sidecar != Sidecar::Absent;
    let absent = || Problem::new(Code::NoSidecar, format!("pod {pod} has no sidecar to ask"));
    let reading = deadline.at_most(READING);
    let (resolved, name_table, envoy) = tokio::join!(
        async { probe::resolve(place, host, reading).await.into() },
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
            envoy::facts(cluster, pod, vip, port, host, reading).await.into()
        },
    );
    let probe: Fetched<ProbeAnswer> = probe::query(place, host, port, login, tls, deadline).await.into();
    let after = if sidecar {
        let hosts = envoy::hosts(cluster, pod, port, host, deadline.at_most(READING)).await;
        hosts.map(Option::unwrap_or_default).into()
    } else {
        Fetched::Failed(absent())
    };
    let direct = match (&probe, endpoints.first()) {
        (Fetched::Got(answer), Some(&endpoint)) if unanswered(&answer.end) => {
            Some(probe::direct(place, endpoint, login, tls, deadline).await.into())
        }
        _ => None,
    };
    PathFacts { member: pod.to_owned(), port, resolved, name_table, envoy, after, probe, direct }
}

/// No server spoke: the client gave up, or named an error of its own (2000 to 2999), not one of a server.
fn unanswered(end: &ProbeEnd) -> bool {
    match end {
        ProbeEnd::TimedOut => true,
        ProbeEnd::Error { errno, .. } => errno.is_none_or(|errno| (2000..3000).contains(&errno)),
        ProbeEnd::Answered { .. } | ProbeEnd::NoClient => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_silent_path_is_tried_around() {
        let error = |errno| ProbeEnd::Error { errno, text: String::new() };
        assert!(unanswered(&ProbeEnd::TimedOut) && unanswered(&error(Some(2013))) && unanswered(&error(None)));
        assert!(!unanswered(&error(Some(1045))) && !unanswered(&ProbeEnd::NoClient));
    }
}
