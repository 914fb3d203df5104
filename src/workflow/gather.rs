//! Gathering: everything the judges need of both sides, fetched side by side; what cannot be had says why.

use futures::future::join_all;
use jiff::Timestamp;

use super::{
    entrance,
    session::Session,
    sides::{Live, SERVER, Sides},
};
use crate::{
    domain::{
        check::Side,
        facts::{
            BackendFacts, ClientFacts, ClusterFacts, Facts, MemberFacts, MeshFacts, PodFacts, ServerFacts,
            ServiceFacts, SourceFacts,
        },
        problem::{Fetched, Problem},
        spec::{SecretRef, SourceLocation, SourceTarget},
    },
    k8s::{Cluster, access::Named, lease, observe, pods},
    mesh::objects,
    wait::Deadline,
};

/// A member whose server was reached, before the server is looked at.
struct Reached {
    pod: PodFacts,
    /// `None` where nobody logs in.
    live: Option<Result<Live, Problem>>,
}

/// Looks at both sides. Never fails: an unreachable part is a fact, too.
pub(crate) async fn facts(session: &Session, sides: &Sides) -> Facts {
    let at = Timestamp::now();
    let (source, client) = tokio::join!(reach_source(session, sides), reach_client(session, sides));
    let (mut source, source_members) = source;
    let (mut client, client_members) = client;
    // The source's GTID set is read after the replica's: read before it, transactions that arrived meanwhile would look errant.
    client.members = look(session, client_members).await;
    source.members = look(session, source_members).await;
    Facts { at, source, client, paths: Vec::new() }
}

type Members = Result<Vec<Reached>, Problem>;

async fn reach_source(session: &Session, sides: &Sides) -> (SourceFacts, Members) {
    let SourceLocation::Kubernetes { cluster: at, target, .. } = &session.spec.source else {
        let none = SourceFacts {
            cluster: None,
            pxc: None,
            services: None,
            nodes: None,
            members: Fetched::Got(Vec::new()),
            policies: None,
        };
        return (none, Ok(Vec::new()));
    };
    let cluster = match sides.cluster(Side::Source) {
        Ok(cluster) => cluster,
        Err(problem) => {
            let none = SourceFacts {
                cluster: Some(Fetched::Failed(problem.clone())),
                pxc: None,
                services: Some(Fetched::Failed(problem.clone())),
                nodes: Some(Fetched::Failed(problem.clone())),
                members: Fetched::Failed(problem.clone()),
                policies: Some(Fetched::Failed(problem.clone())),
            };
            return (none, Err(problem));
        }
    };
    let deadline = session.deadline.at_most(SERVER);
    let objects = named_in(session, Side::Source);
    let ((entrance, members), facts, nodes, policies) = tokio::join!(
        async {
            let entrance = entrance::entrance(session, cluster, at, target).await;
            let members = match &entrance.members {
                Ok(selector) => members(session, sides, cluster, Side::Source, selector).await,
                Err(problem) => Err(problem.clone()),
            };
            (entrance, members)
        },
        observe::cluster_facts(cluster, Side::Source, &objects, deadline),
        observe::nodes(cluster, deadline),
        observe::policies(cluster, deadline),
    );
    let facts = SourceFacts {
        cluster: Some(facts.into()),
        pxc: entrance.pxc,
        services: Some(services_with_pods(entrance.services, target, &members).into()),
        nodes: Some(nodes.into()),
        members: Fetched::Got(Vec::new()),
        policies: Some(policies.into()),
    };
    (facts, members)
}

async fn reach_client(session: &Session, sides: &Sides) -> (ClientFacts, Members) {
    let side = session.spec.client_side();
    let cluster = match sides.client() {
        Ok(cluster) => cluster,
        Err(problem) => {
            let none = ClientFacts {
                cluster: Fetched::Failed(problem.clone()),
                members: Fetched::Failed(problem.clone()),
                mesh: Fetched::Failed(problem.clone()),
                lease: Fetched::Failed(problem.clone()),
            };
            return (none, Err(problem));
        }
    };
    let deadline = session.deadline.at_most(SERVER);
    let objects = named_in(session, side);
    let (members, facts, lease) = tokio::join!(
        members(session, sides, cluster, side, &session.spec.client.selector),
        observe::cluster_facts(cluster, side, &objects, deadline),
        lease::facts(cluster, &session.spec.name, deadline),
    );
    let facts: Fetched<ClusterFacts> = facts.into();
    let mesh = mesh(cluster, &facts, deadline).await;
    let facts = ClientFacts { cluster: facts, members: Fetched::Got(Vec::new()), mesh, lease: lease.into() };
    (facts, members)
}

async fn members(session: &Session, sides: &Sides, cluster: &Cluster, side: Side, selector: &str) -> Members {
    let pods = pods::pods(cluster, selector, session.deadline.at_most(SERVER)).await.map_err(Problem::from)?;
    let reach = |pod: PodFacts| async {
        let live = if sides.have_logins() { Some(sides.open(side, &pod.name, session.deadline).await) } else { None };
        Reached { pod, live }
    };
    Ok(join_all(pods.into_iter().map(reach)).await)
}

async fn look(session: &Session, members: Members) -> Fetched<Vec<MemberFacts>> {
    let look = |member: Reached| async {
        let server: Option<Result<ServerFacts, Problem>> = match member.live {
            Some(Ok(mut live)) => {
                let server = live.observe(session.deadline).await;
                live.close(session.deadline).await;
                Some(server)
            }
            Some(Err(problem)) => Some(Err(problem)),
            None => None,
        };
        MemberFacts { pod: member.pod, server: server.map(Into::into) }
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
    let resource = match &session.spec.source {
        SourceLocation::Kubernetes { target: SourceTarget::Pxc(name), .. } if side == Side::Source => {
            Some(Named::Pxc(name.clone()))
        }
        _ => None,
    };
    secrets.chain(resource).collect()
}

/// A Service that was named selects the members, whose pods are known already.
fn services_with_pods(
    services: Result<Vec<ServiceFacts>, Problem>,
    target: &SourceTarget,
    members: &Members,
) -> Result<Vec<ServiceFacts>, Problem> {
    let mut services = services?;
    if matches!(target, SourceTarget::Service(_)) {
        let backends = |members: &Vec<Reached>| members.iter().map(|member| BackendFacts::from(&member.pod)).collect();
        for service in &mut services {
            service.backends = members.as_ref().map(backends).map_err(Clone::clone).into();
        }
    }
    Ok(services)
}
