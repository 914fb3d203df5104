//! Proving the path: from every replica member, through the name, with an authenticated query.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use futures::future::join_all;

use super::{session::Session, sides::Sides};
use crate::{
    domain::{
        desired,
        facts::{EnvoyHost, Facts, PathFacts, PodFacts, Sidecar},
        problem::{Fetched, Problem},
        spec::Endpoint,
    },
    k8s::Cluster,
    mesh::{
        envoy,
        path::{PathParameters, gather_path},
        probe::Login,
    },
    wait::{Look, poll_until},
};

/// How long a change of mesh objects may take to reach a sidecar; istiod debounces for a tenth of a second and pushes at once.
pub(super) const AFTER_A_CHANGE: Duration = Duration::from_secs(20);
/// The same where nothing was changed: only a sidecar that has just started is waited for.
pub(super) const UNCHANGED: Duration = Duration::from_secs(5);
/// Between two looks at a sidecar.
const EVERY: Duration = Duration::from_millis(300);
/// One path with its probe and, where that fails, the direct one.
const PROBE: Duration = Duration::from_secs(30);

/// Walks the path from every member that has a pod, side by side. Never fails: what went wrong is in the facts.
pub(super) async fn paths(
    session: &Session,
    sides: &Sides,
    facts: &Facts,
    vip: Ipv4Addr,
    patience: Duration,
) -> Vec<PathFacts> {
    let (Some(members), Ok(cluster), Some(link)) =
        (facts.client.members.got(), sides.client(), session.spec.replication())
    else {
        return Vec::new();
    };
    let password = sides.replication_password();
    let endpoints = desired::desired_endpoints(&session.spec, facts, link.replication.port).unwrap_or_default();
    let endpoints = endpoints.as_slice();
    let one = |pod: &PodFacts| {
        let pod = pod.clone();
        let password = password.clone();
        async move {
            let password = match password {
                Ok(password) => password,
                Err(problem) => return unasked(&pod, link.replication.port, &problem),
            };
            let parameters = PathParameters {
                host: &session.spec.host,
                vip,
                port: link.replication.port,
                endpoints,
                login: Login { user: &link.replication.account.user, password },
                tls: &link.replication.tls,
            };
            settle(session, cluster, &pod, &parameters, patience).await;
            let container = &session.spec.client.container;
            gather_path(cluster, &pod, container, &parameters, session.deadline.at_most(PROBE)).await
        }
    };
    join_all(members.iter().map(|member| one(&member.pod))).await
}

/// Waits until the member's sidecar has taken the link in, as far as it ever will; the judges say what is missing.
async fn settle(
    session: &Session,
    cluster: &Cluster,
    pod: &PodFacts,
    parameters: &PathParameters<'_>,
    patience: Duration,
) {
    if pod.sidecar == Sidecar::Absent {
        return;
    }
    let what = format!("the sidecar of {} to know {}", pod.name, parameters.host);
    let look = || async {
        let envoy =
            envoy::facts(cluster, &pod.name, parameters.vip, parameters.port, parameters.host, session.deadline)
                .await
                .map_err(Problem::from)?;
        let seen = match (&envoy.listener_cluster, &envoy.hosts) {
            (None, _) => format!("no listener {}:{}", parameters.vip, parameters.port),
            (_, None) => "no cluster for the name".to_owned(),
            (_, Some(hosts)) if hosts.is_empty() => "no endpoints".to_owned(),
            (_, Some(hosts)) if !same(hosts, parameters.endpoints) => {
                let shown: Vec<String> = hosts.iter().map(|host| host.endpoint.to_string()).collect();
                format!("endpoints {} of before", shown.join(", "))
            }
            _ if pod.dns_capture == Some(true) => {
                let names = envoy::name_table(cluster, &pod.name, parameters.host, session.deadline)
                    .await
                    .map_err(Problem::from)?;
                match names {
                    Some(addresses) if addresses.is_empty() => "no such name in its name table".to_owned(),
                    _ => return Ok(Look::Ready(())),
                }
            }
            _ => return Ok(Look::Ready(())),
        };
        Ok(Look::NotYet(seen))
    };
    let deadline = session.deadline.at_most(patience);
    // Its end decides nothing: the path is walked and judged in any case.
    let _ = poll_until(&what, deadline, EVERY, session.waiting(&what), look).await;
}

/// Whether a sidecar has exactly the endpoints the link has; a link whose endpoints are not known has any.
fn same(hosts: &[EnvoyHost], wanted: &[Endpoint]) -> bool {
    let have: BTreeSet<Endpoint> = hosts.iter().map(|host| host.endpoint).collect();
    wanted.is_empty() || have == wanted.iter().copied().collect()
}

fn unasked(pod: &PodFacts, port: u16, problem: &Problem) -> PathFacts {
    PathFacts {
        member: pod.name.clone(),
        port,
        resolved: Fetched::Failed(problem.clone()),
        name_table: Fetched::Failed(problem.clone()),
        envoy: Fetched::Failed(problem.clone()),
        after: Fetched::Failed(problem.clone()),
        probe: Fetched::Failed(problem.clone()),
        direct: None,
    }
}
