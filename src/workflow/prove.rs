//! Proving the path: from every pod of the client to every port, through the name, with an answer of the service behind it.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use futures::future::join_all;

use super::{session::Session, sides::Sides};
use crate::{
    domain::{
        desired,
        facts::{EnvoyHost, Facts, PathFacts, PodFacts, Sidecar},
        problem::{Fetched, Problem},
        spec::{Endpoint, PortSpec, Protocol, ReplicationSpec},
    },
    k8s::Cluster,
    mesh::{
        envoy::{self, Target},
        path::{PathParameters, Question, gather_path},
        probe::mysql::Login,
    },
    wait::{Look, poll_until},
};

/// How long a change of mesh objects may take to reach a sidecar; istiod debounces for a tenth of a second and pushes at once.
pub(super) const AFTER_A_CHANGE: Duration = Duration::from_secs(20);
/// The same where nothing was changed: only a sidecar that has just started is waited for.
pub(super) const UNCHANGED: Duration = Duration::from_secs(5);
/// Between two looks at a sidecar.
const EVERY: Duration = Duration::from_millis(300);
/// One path with its probes.
const PROBE: Duration = Duration::from_secs(30);

/// Walks the path from every member that has a pod to every port, side by side. Never fails: what went wrong is in the facts.
pub(super) async fn paths(
    session: &Session,
    sides: &Sides,
    facts: &Facts,
    vip: Ipv4Addr,
    patience: Duration,
) -> Vec<PathFacts> {
    let (Some(members), Ok(cluster)) = (facts.client.members.got(), sides.client()) else { return Vec::new() };
    let ports = session.spec.ports();
    let one = |pod: PodFacts, port: &PortSpec| {
        let endpoints = desired::desired_endpoints(&session.spec, facts, port.number).unwrap_or_default();
        let target = Target { host: &session.spec.host, vip, port: port.number, protocol: port.protocol };
        async move {
            let question = match question(session, sides, target.protocol) {
                Ok(question) => question,
                Err(problem) => return unasked(&pod, target.port, &problem),
            };
            let parameters = PathParameters { target, endpoints: &endpoints, question };
            settle(session, cluster, &pod, &parameters, patience).await;
            let container = &session.spec.client.container;
            gather_path(cluster, &pod, container, &parameters, session.deadline.at_most(PROBE)).await
        }
    };
    let all = members.iter().flat_map(|member| ports.iter().map(|port| one(member.pod.clone(), port)));
    join_all(all).await
}

/// How a port is asked for an answer.
fn question<'a>(session: &'a Session, sides: &'a Sides, protocol: Protocol) -> Result<Question<'a>, Problem> {
    match (session.spec.replication(), protocol) {
        (Some(link), _) => {
            let ReplicationSpec { account, tls, .. } = link.replication;
            let login = Login { user: &account.user, password: sides.replication_password()? };
            Ok(Question::Query { login, tls })
        }
        (None, Protocol::Http) => Ok(Question::Request),
        (None, Protocol::Tcp) => Ok(Question::Connection),
    }
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
    let target = parameters.target;
    let what = format!("the sidecar of {} to know {}:{}", pod.name, target.host, target.port);
    let look = || async {
        let envoy = envoy::facts(cluster, &pod.name, target, session.deadline).await.map_err(Problem::from)?;
        let seen = match (&envoy.listener_cluster, &envoy.hosts) {
            (None, _) => format!("no listener {}:{}", target.vip, target.port),
            (_, None) => "no cluster for the name".to_owned(),
            (_, Some(hosts)) if hosts.is_empty() => "no endpoints".to_owned(),
            (_, Some(hosts)) if !same(hosts, parameters.endpoints) => {
                let shown: Vec<String> = hosts.iter().map(|host| host.endpoint.to_string()).collect();
                format!("endpoints {} of before", shown.join(", "))
            }
            _ if pod.dns_capture == Some(true) => {
                let names = envoy::name_table(cluster, &pod.name, target.host, session.deadline)
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
        direct: Vec::new(),
    }
}
