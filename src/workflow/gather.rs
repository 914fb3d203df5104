//! Gathering: everything the judges need of both sides, fetched side by side; what cannot be had says why.

use std::net::IpAddr;

use futures::future::join_all;
use jiff::Timestamp;

use super::{
    entrance, servers,
    session::Session,
    sides::{Live, SERVER, Sides},
};
use crate::{
    domain::{
        check::Side,
        code::Code,
        facts::{
            ClientFacts, ClientSurroundings, ClusterFacts, Facts, MemberFacts, MemberPlace, MeshFacts, PodFacts,
            PxcFacts, ServerFacts, ServiceFacts, Sidecar, SourceFacts, SourceSurroundings, TlsFilesFacts,
        },
        problem::{Fetched, Problem},
        spec::{Ends, MeshLink, ReplicationSpec, SecretRef, SourceLocation, SourceTarget},
    },
    k8s::{Cluster, access::Named, lease, observe, pods, surroundings},
    mesh::{
        objects,
        probe::{self, tls_files},
    },
    mysql::Depth,
    wait::Deadline,
};

/// How many lines of the log of a sidecar that is not ready are kept.
const LOG_LINES: usize = 5;

/// How much is gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything; the files of the channel's TLS only where they are wanted, as that takes a command in each member's container.
    Whole { files: bool },
    /// Without what surrounds the link and without the servers' tables, which change seldom and take a request a part.
    Link,
}

impl Extent {
    fn depth(self) -> Depth {
        match self {
            Self::Whole { .. } => Depth::Whole,
            Self::Link => Depth::Brief,
        }
    }
}

/// A member whose server was reached, before the server is looked at.
struct Reached {
    pod: PodFacts,
    resolved: Option<Fetched<Vec<IpAddr>>>,
    sidecar_log: Option<Fetched<Vec<String>>>,
    tls_files: Option<Fetched<TlsFilesFacts>>,
    presented: Option<Fetched<Vec<String>>>,
    /// `None` where nobody logs in.
    live: Option<Result<Live, Problem>>,
}

/// Looks at both sides. Never fails: an unreachable part is a fact, too.
pub(crate) async fn facts(session: &Session, sides: &Sides, extent: Extent) -> Facts {
    match &session.spec.ends {
        Ends::Mesh(ends) => in_mesh(session, MeshLink::of(&session.spec, ends), sides, extent).await,
        Ends::Servers(ends) => servers::facts(session, sides, ends, extent.depth()).await,
    }
}

async fn in_mesh(session: &Session, mesh: MeshLink<'_>, sides: &Sides, extent: Extent) -> Facts {
    let at = Timestamp::now();
    let ((entrance, source_members, client_members), source, client) = tokio::join!(
        async {
            let ((entrance, source), client) =
                tokio::join!(reach_source(session, mesh, sides, extent), reach_client(session, mesh, sides, extent));
            // The source's GTID set is read after the replica's: read before it, transactions that arrived meanwhile would look
            // errant.
            let client = look(session, client, extent).await;
            (entrance, look(session, source, extent).await, client)
        },
        around_source(session, mesh, sides, extent),
        around_client(session, sides, extent),
    );
    let services = entrance.services.map(|services| services_with_pods(services, mesh, &source_members).into());
    let source = SourceFacts { pxc: entrance.pxc, services, members: source_members, ..source };
    let client = ClientFacts { members: client_members, ..client };
    Facts { at, source, client, paths: Vec::new(), receiver_login: None, objects: None }
}

/// Looks at the link again and takes over what was seen before of what surrounds it, of the path, and of certificates.
pub(crate) async fn again(session: &Session, sides: &Sides, known: &Facts) -> Facts {
    let mut facts = facts(session, sides, Extent::Link).await;
    facts.source.surroundings.clone_from(&known.source.surroundings);
    facts.client.surroundings.clone_from(&known.client.surroundings);
    facts.paths.clone_from(&known.paths);
    keep_certificates(&mut facts.source.members, &known.source.members);
    keep_certificates(&mut facts.client.members, &known.client.members);
    facts
}

fn keep_certificates(now: &mut Fetched<Vec<MemberFacts>>, before: &Fetched<Vec<MemberFacts>>) {
    let (Fetched::Got(now), Fetched::Got(before)) = (now, before) else { return };
    for one in now {
        if let Some(before) = before.iter().find(|before| before.name() == one.name()) {
            one.tls_files.clone_from(&before.tls_files);
            one.presented.clone_from(&before.presented);
        }
    }
}

type Members = Result<Vec<Reached>, Problem>;

/// The ways into the source; nothing where the configuration gives endpoints only.
#[derive(Default)]
struct Ways {
    pxc: Option<Fetched<PxcFacts>>,
    services: Option<Result<Vec<ServiceFacts>, Problem>>,
}

/// The ways into the source, and its members.
async fn reach_source(session: &Session, mesh: MeshLink<'_>, sides: &Sides, extent: Extent) -> (Ways, Members) {
    let SourceLocation::Kubernetes { cluster: at, target, .. } = mesh.source else {
        return (Ways::default(), Ok(Vec::new()));
    };
    let cluster = match sides.cluster(Side::Source) {
        Ok(cluster) => cluster,
        Err(problem) => return (Ways { pxc: None, services: Some(Err(problem.clone())) }, Err(problem)),
    };
    let entrance = entrance::entrance(session, cluster, at, target).await;
    let members = match &entrance.members {
        Ok(selector) => members(session, sides, cluster, Side::Source, selector, extent).await,
        Err(problem) => Err(problem.clone()),
    };
    (Ways { pxc: entrance.pxc, services: Some(entrance.services) }, members)
}

async fn reach_client(session: &Session, mesh: MeshLink<'_>, sides: &Sides, extent: Extent) -> Members {
    let (cluster, side) = (sides.client()?, session.spec.client_side());
    members(session, sides, cluster, side, &mesh.client.selector, extent).await
}

/// Everything of the source but the ways into it and its members.
async fn around_source(session: &Session, mesh: MeshLink<'_>, sides: &Sides, extent: Extent) -> SourceFacts {
    let none = |problem: Option<&Problem>| SourceFacts {
        cluster: problem.map(|problem| Fetched::Failed(problem.clone())),
        pxc: None,
        services: None,
        nodes: problem.map(|problem| Fetched::Failed(problem.clone())),
        members: Fetched::Got(Vec::new()),
        policies: problem.map(|problem| Fetched::Failed(problem.clone())),
        surroundings: problem.map(SourceSurroundings::unread),
    };
    if matches!(mesh.source, SourceLocation::Endpoints(_)) {
        return none(None);
    }
    let cluster = match sides.cluster(Side::Source) {
        Ok(cluster) => cluster,
        Err(problem) => return none(Some(&problem)),
    };
    let deadline = session.deadline.at_most(SERVER);
    let objects = named_in(session, Side::Source);
    let (facts, nodes, policies, surroundings) = tokio::join!(
        observe::cluster_facts(cluster, Side::Source, &objects, deadline),
        observe::nodes(cluster, deadline),
        observe::policies(cluster, deadline),
        async {
            match extent {
                Extent::Whole { .. } => surroundings::source(cluster, deadline).await,
                Extent::Link => SourceSurroundings::unread(&not_looked_at()),
            }
        },
    );
    SourceFacts {
        cluster: Some(facts.into()),
        nodes: Some(nodes.into()),
        policies: Some(policies.into()),
        surroundings: Some(surroundings),
        ..none(None)
    }
}

/// Everything of the client's side but its members.
async fn around_client(session: &Session, sides: &Sides, extent: Extent) -> ClientFacts {
    let cluster = match sides.client() {
        Ok(cluster) => cluster,
        Err(problem) => return ClientFacts::unread(&problem),
    };
    let deadline = session.deadline.at_most(SERVER);
    let objects = named_in(session, session.spec.client_side());
    let (facts, lease) = tokio::join!(
        observe::cluster_facts(cluster, session.spec.client_side(), &objects, deadline),
        lease::facts(cluster, &session.spec.name, deadline),
    );
    let facts: Fetched<ClusterFacts> = facts.into();
    let istiods = facts.got().map_or(&[][..], |facts| &facts.istiods);
    let (mesh, surroundings) = tokio::join!(mesh(cluster, &facts, deadline), async {
        match extent {
            Extent::Whole { .. } => surroundings::client(cluster, istiods, deadline).await,
            Extent::Link => ClientSurroundings::unread(&not_looked_at()),
        }
    });
    ClientFacts { cluster: facts, members: Fetched::Got(Vec::new()), mesh, surroundings, lease: lease.into() }
}

fn not_looked_at() -> Problem {
    Problem::new(Code::Internal, "what surrounds the link was not looked at this time")
}

/// What a member's resolver says of the mesh name, where its sidecar will not be the one to answer.
async fn resolved(session: &Session, sides: &Sides, pod: &PodFacts) -> Option<Fetched<Vec<IpAddr>>> {
    if pod.sidecar == Sidecar::Absent || pod.dns_capture == Some(true) {
        return None;
    }
    let mesh = session.spec.mesh()?;
    let asked = async { probe::resolve(sides.place(mesh, &pod.name)?, &session.spec.host, session.deadline).await };
    Some(asked.await.into())
}

/// The last words of a sidecar that is not ready.
async fn sidecar_log(session: &Session, cluster: &Cluster, pod: &PodFacts) -> Option<Fetched<Vec<String>>> {
    if pod.sidecar != (Sidecar::Present { ready: false }) {
        return None;
    }
    Some(pods::proxy_log(cluster, &pod.name, LOG_LINES, session.deadline.at_most(SERVER)).await.into())
}

/// The files of the channel's TLS on a member, where it names any.
async fn tls_files(session: &Session, sides: &Sides, pod: &PodFacts, extent: Extent) -> Option<Fetched<TlsFilesFacts>> {
    let (link, mesh) = session.spec.replication().zip(session.spec.mesh())?;
    let ReplicationSpec { tls, client_certificate, .. } = link.replication;
    if extent != (Extent::Whole { files: true }) || !link.replication.has_tls_files() {
        return None;
    }
    let client = client_certificate.as_ref();
    let looked = async { tls_files::tls_files(sides.place(mesh, &pod.name)?, tls, client, session.deadline).await };
    Some(looked.await.into())
}

async fn members(
    session: &Session,
    sides: &Sides,
    cluster: &Cluster,
    side: Side,
    selector: &str,
    extent: Extent,
) -> Members {
    let pods = pods::pods(cluster, selector, session.deadline.at_most(SERVER)).await.map_err(Problem::from)?;
    let reach = |pod: PodFacts| async {
        let (live, (resolved, sidecar_log, tls_files), presented) = tokio::join!(
            async {
                if sides.have_logins() { Some(sides.open(side, &pod.name, session.deadline).await) } else { None }
            },
            async {
                if side == Side::Source || extent == Extent::Link {
                    return (None, None, None);
                }
                tokio::join!(
                    resolved(session, sides, &pod),
                    sidecar_log(session, cluster, &pod),
                    tls_files(session, sides, &pod, extent)
                )
            },
            async {
                if side != Side::Source || extent == Extent::Link || !session.spec.compares_certificates() {
                    return None;
                }
                Some(sides.presented(&pod.name, session.deadline.at_most(SERVER)).await.into())
            },
        );
        Reached { pod, resolved, sidecar_log, tls_files, presented, live }
    };
    Ok(join_all(pods.into_iter().map(reach)).await)
}

async fn look(session: &Session, members: Members, extent: Extent) -> Fetched<Vec<MemberFacts>> {
    let depth = extent.depth();
    let look = |member: Reached| async {
        let server: Option<Result<ServerFacts, Problem>> = match member.live {
            Some(Ok(mut live)) => {
                let server = live.observe(depth, session.deadline).await;
                live.close(session.deadline).await;
                Some(server)
            }
            Some(Err(problem)) => Some(Err(problem)),
            None => None,
        };
        let Reached { pod, resolved, sidecar_log, tls_files, presented, .. } = member;
        let place = MemberPlace::Pod(Box::new(pod));
        MemberFacts { place, server: server.map(Into::into), resolved, sidecar_log, tls_files, presented }
    };
    match members {
        Ok(members) => Fetched::Got(join_all(members.into_iter().map(look)).await),
        Err(problem) => Fetched::Failed(problem),
    }
}

/// The ServiceEntries of the client's cluster, in the version it serves; none where Istio is not there.
async fn mesh(cluster: &Cluster, facts: &Fetched<ClusterFacts>, deadline: Deadline) -> Fetched<MeshFacts> {
    match facts {
        Fetched::Failed(problem) => Fetched::Failed(problem.clone()),
        Fetched::Got(facts) => match objects::version(&facts.istio_versions) {
            None => Fetched::Got(MeshFacts { entries: Vec::new() }),
            Some(version) => {
                observe::entries(cluster, version, deadline).await.map(|entries| MeshFacts { entries }).into()
            }
        },
    }
}

/// What a side's configuration names besides Services, for the review of permissions.
fn named_in(session: &Session, side: Side) -> Vec<Named> {
    let accounts = session.spec.replication().map_or_else(Vec::new, |link| match side {
        Side::Source => vec![link.replication.source_account.as_ref()],
        Side::Replica | Side::Client => vec![Some(&link.replication.replica_account), Some(&link.replication.account)],
    });
    let secrets = accounts.into_iter().flatten().filter_map(|account| match &account.password {
        SecretRef::Secret { name, .. } => Some(Named::Secret(name.clone())),
        SecretRef::Env(_) | SecretRef::File(_) => None,
    });
    let resource = session.spec.mesh().and_then(|mesh| match mesh.source {
        SourceLocation::Kubernetes { target: SourceTarget::Pxc(name), .. } if side == Side::Source => {
            Some(Named::Pxc(name.clone()))
        }
        _ => None,
    });
    secrets.chain(resource).collect()
}

/// A Service that was named selects the members, whose pods are known already.
fn services_with_pods(
    services: Result<Vec<ServiceFacts>, Problem>,
    mesh: MeshLink<'_>,
    members: &Fetched<Vec<MemberFacts>>,
) -> Result<Vec<ServiceFacts>, Problem> {
    let mut services = services?;
    if let SourceLocation::Kubernetes { target: SourceTarget::Service(_), .. } = mesh.source {
        for service in &mut services {
            service.backends = match members {
                Fetched::Got(members) => Fetched::Got(
                    members.iter().filter_map(MemberFacts::in_pod).map(|member| member.pod.into()).collect(),
                ),
                Fetched::Failed(problem) => Fetched::Failed(problem.clone()),
            };
        }
    }
    Ok(services)
}
