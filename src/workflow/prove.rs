//! Proving the path: from every pod of the client to every port, through the name, with an answer of the service behind it.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use tokio::sync::OnceCell;

use super::{session::Session, sides::Sides};
use crate::{
    domain::{
        code::Code,
        desired,
        facts::{EnvoyHost, Facts, PathFacts, PodFacts, Sidecar},
        problem::{Fetched, Problem},
        spec::{Endpoint, MeshLink, PortSpec, Protocol, ReplicationSpec},
    },
    k8s::Cluster,
    mesh::{
        envoy::{self, Target},
        objects::{self, Destination},
        path::{PathParameters, Question, View, gather_path},
        probe::mysql::Login,
    },
    wait::{Look, poll_until},
};

/// How long a change of mesh objects may take to reach a sidecar; istiod debounces for a tenth of a second and pushes at once.
pub(super) const AFTER_A_CHANGE: Duration = Duration::from_secs(20);
/// The same where nothing was changed: only a sidecar that has just started is waited for.
pub(super) const UNCHANGED: Duration = Duration::from_secs(5);
/// How long a path may say what [`may_settle`], from its first walk after a change on.
pub(super) const SETTLING: Duration = Duration::from_secs(5);
/// Between two looks at a sidecar.
pub(super) const EVERY: Duration = Duration::from_millis(100);
/// What connecting to a sidecar may take.
const READING: Duration = Duration::from_secs(10);

/// Whether a path may end so while a sidecar takes a change in: it closes connections to a cluster that it makes anew, as another
/// DestinationRule has it do (seen on the sandbox), and what the probe saw then is of no lasting state.
pub(super) fn may_settle(code: Code) -> bool {
    [Code::NotIntercepted, Code::PathBroken, Code::NoEndpoints].contains(&code)
}

/// From where to where the path is walked.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The client's pods.
    pods: Vec<PodFacts>,
    /// Where the mesh name is to lead.
    to: Destination,
}

impl Way {
    /// As the facts say that it has to be.
    pub(super) fn wanted(spec: MeshLink<'_>, facts: &Facts, vip: Ipv4Addr) -> Self {
        let endpoints = |port: &PortSpec| desired::desired_endpoints(spec, facts, port.number).unwrap_or_default();
        let ports = spec.ports().into_iter().map(|port| {
            let endpoints = endpoints(&port);
            (port, endpoints)
        });
        let to = Destination { vip, ports: ports.collect() };
        Self { pods: facts.client.pods().map(|member| member.pod.clone()).collect(), to }
    }

    /// As the link's own ServiceEntry says that it is.
    pub(super) fn described(spec: MeshLink<'_>, entry: &serde_json::Value, pods: Vec<PodFacts>) -> Option<Self> {
        Some(Self { pods, to: objects::described(spec, entry)? })
    }

    /// Whether it is the same way for the same pods, whatever else became of them.
    pub(super) fn is(&self, other: &Self) -> bool {
        let pods = |way: &Self| way.pods.iter().map(|pod| pod.uid.clone()).collect::<BTreeSet<_>>();
        self.to == other.to && pods(self) == pods(other)
    }
}

/// Walks the path from every pod to every port, side by side. Never fails: what went wrong is in the facts.
pub(super) async fn paths(session: &Session, sides: &Sides, way: &Way, patience: Duration) -> Vec<PathFacts> {
    if sides.client().is_err() {
        return Vec::new();
    }
    let one = |pod: &'_ PodFacts| {
        let pod = pod.clone();
        async move {
            let sidecar = OnceCell::new();
            let ports = way.to.ports.iter().map(|(port, endpoints)| {
                let target =
                    Target { host: &session.spec.host, vip: way.to.vip, port: port.number, protocol: port.protocol };
                walk(session, sides, &pod, &sidecar, target, endpoints, patience)
            });
            join_all(ports).await
        }
    };
    join_all(way.pods.iter().map(one)).await.into_iter().flatten().collect()
}

/// A connection to the sidecar of a pod, for all ports of the link.
async fn open(session: &Session, cluster: &Cluster, pod: &PodFacts) -> Result<envoy::Sidecar, Problem> {
    if pod.sidecar == Sidecar::Absent {
        return Err(Problem::new(Code::NoSidecar, format!("pod {} has no sidecar to ask", pod.name)));
    }
    Ok(envoy::Sidecar::open(cluster, &pod.name, session.deadline.at_most(READING)).await?)
}

/// The path from one pod to one port; `sidecar` is the connection that all ports of the pod share.
async fn walk(
    session: &Session,
    sides: &Sides,
    pod: &PodFacts,
    sidecar: &OnceCell<Result<envoy::Sidecar, Problem>>,
    target: Target<'_>,
    endpoints: &[Endpoint],
    patience: Duration,
) -> PathFacts {
    let place = session.mesh().and_then(|mesh| sides.place(mesh, &pod.name));
    let (place, question) = match (place, question(session, sides, target.protocol)) {
        (Ok(place), Ok(question)) => (place, question),
        (Err(problem), _) | (_, Err(problem)) => return unasked(pod, target.port, &problem),
    };
    let parameters = PathParameters { target, endpoints, question };
    let view = async {
        match sidecar.get_or_init(|| open(session, place.cluster, pod)).await {
            Ok(sidecar) => Ok(settled(session, sidecar, pod, &parameters, patience).await),
            Err(problem) => Err(problem.clone()),
        }
    };
    gather_path(place, view, &parameters, session.deadline).await
}

/// How a port is asked for an answer.
fn question<'a>(session: &'a Session, sides: &'a Sides, protocol: Protocol) -> Result<Question<'a>, Problem> {
    match (session.spec.replication(), protocol) {
        (Some(link), _) => {
            let ReplicationSpec { account, tls, client_certificate, .. } = link.replication;
            let certificate = client_certificate.as_ref();
            let login = Login { user: &account.user, password: sides.replication_password()?, certificate };
            Ok(Question::Query { login, tls })
        }
        (None, Protocol::Http) => Ok(Question::Request),
        (None, Protocol::Tcp) => Ok(Question::Connection),
    }
}

/// The pod's sidecar once it has taken the link in, or as far as it has when patience ends; the judges say what is missing.
async fn settled<'a>(
    session: &Session,
    sidecar: &'a envoy::Sidecar,
    pod: &PodFacts,
    parameters: &PathParameters<'_>,
    patience: Duration,
) -> View<'a> {
    let target = parameters.target;
    let what = format!("the sidecar of {} to know {}:{}", pod.name, target.host, target.port);
    let last = Mutex::new(None);
    let look = || async {
        let view = View::read(sidecar, target, session.deadline).await;
        let lacks = lacks(&view, pod, parameters);
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
        Ok(lacks.map_or(Look::Ready(()), Look::NotYet))
    };
    let deadline = session.deadline.at_most(patience);
    // Its end decides nothing: the path is walked and judged in any case.
    let _ = poll_until(&what, deadline, EVERY, session.waiting(&what), look).await;
    match last.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(view) => view,
        None => View::read(sidecar, target, session.deadline).await,
    }
}

/// What a sidecar still lacks of the link, if more of it can be hoped for.
fn lacks(view: &View<'_>, pod: &PodFacts, parameters: &PathParameters<'_>) -> Option<String> {
    let (envoy, _) = view.envoy.got()?;
    let target = parameters.target;
    match (&envoy.listener_cluster, &envoy.hosts) {
        (None, _) => Some(format!("no listener {}:{}", target.vip, target.port)),
        (_, None) => Some("no cluster for the name".to_owned()),
        (_, Some(hosts)) if hosts.is_empty() => Some("no endpoints".to_owned()),
        (_, Some(hosts)) if !same(hosts, parameters.endpoints) => {
            let shown: Vec<String> = hosts.iter().map(|host| host.endpoint.to_string()).collect();
            Some(format!("endpoints {} of before", shown.join(", ")))
        }
        _ => {
            let unnamed = view.name_table.got()?.as_ref().is_some_and(Vec::is_empty);
            (pod.dns_capture == Some(true) && unnamed).then(|| "no such name in its name table".to_owned())
        }
    }
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
