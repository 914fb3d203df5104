//! Gathering: everything the judges need of both sides, fetched side by side; what cannot be had says why.

use futures::future::join_all;
use jiff::Timestamp;

use super::{
    session::Session,
    sides::{Live, SERVER, Sides},
};
use crate::{
    domain::{
        check::Side,
        code::Code,
        facts::{ClientFacts, ClusterFacts, Facts, MemberFacts, MeshFacts, PodFacts, ServerFacts, SourceFacts},
        hint::Hint,
        problem::{Fetched, Problem},
        spec::{SecretRef, SourceLocation},
    },
    k8s::{Cluster, lease, observe, pods},
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
    let SourceLocation::Kubernetes { service: name, .. } = &session.spec.source else {
        let none = SourceFacts {
            cluster: None,
            service: None,
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
                service: Some(Fetched::Failed(problem.clone())),
                nodes: Some(Fetched::Failed(problem.clone())),
                members: Fetched::Failed(problem.clone()),
                policies: Some(Fetched::Failed(problem.clone())),
            };
            return (none, Err(problem));
        }
    };
    let deadline = session.deadline.at_most(SERVER);
    let secrets = secrets_of(session, Side::Source);
    let ((service, members), facts, nodes, policies) = tokio::join!(
        async {
            let service = observe::service(cluster, name, deadline).await.map_err(Problem::from);
            let service = service.and_then(|service| service.ok_or_else(|| no_service(session, name)));
            let members = match &service {
                Ok(service) if service.selector.is_empty() => Err(no_selector(session, name)),
                Ok(service) => {
                    let selector: Vec<String> =
                        service.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    members(session, sides, cluster, Side::Source, &selector.join(",")).await
                }
                Err(problem) => Err(problem.clone()),
            };
            (service, members)
        },
        observe::cluster_facts(cluster, Side::Source, &secrets, deadline),
        observe::nodes(cluster, deadline),
        observe::policies(cluster, deadline),
    );
    let facts = SourceFacts {
        cluster: Some(facts.into()),
        service: Some(service.into()),
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
    let secrets = secrets_of(session, side);
    let (members, facts, lease) = tokio::join!(
        members(session, sides, cluster, side, &session.spec.client.selector),
        observe::cluster_facts(cluster, side, &secrets, deadline),
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

/// Secrets that a side's accounts refer to, for the review of permissions.
fn secrets_of(session: &Session, side: Side) -> Vec<String> {
    let Some(link) = session.spec.replication() else { return Vec::new() };
    let accounts = match side {
        Side::Source => vec![link.replication.source_account.as_ref()],
        Side::Replica | Side::Client => vec![Some(&link.replication.replica_account), Some(&link.replication.account)],
    };
    let named = accounts.into_iter().flatten().filter_map(|account| match &account.password {
        SecretRef::Secret { name, .. } => Some(name.clone()),
        SecretRef::Env(_) | SecretRef::File(_) => None,
    });
    named.collect()
}

/// Without a selector every pod of the namespace would be taken for a member and be sent the account's password.
fn no_selector(session: &Session, name: &str) -> Problem {
    let message = format!("Service `{name}` of the source selects no pods, so its members are not known");
    Problem::new(Code::SourceServiceUnusable, message).seen("spec.selector is empty").hint(Hint::text(format!(
        "name a Service of link `{}` that selects the members' pods under `source.kubernetes.service`",
        session.spec.name
    )))
}

fn no_service(session: &Session, name: &str) -> Problem {
    let SourceLocation::Kubernetes { cluster, .. } = &session.spec.source else {
        return Problem::new(Code::SourceServiceUnusable, format!("there is no Service `{name}`"));
    };
    let context = cluster.context.as_deref().unwrap_or_default();
    let message = format!("there is no Service `{name}` in namespace {} of the source", cluster.namespace);
    let mut argv = vec!["kubectl", "-n", &cluster.namespace, "get", "services"];
    if !context.is_empty() {
        argv.splice(1..1, ["--context", context]);
    }
    let mut hint =
        Hint::text("put the name of the Service that selects the source's members into `source.kubernetes.service`");
    hint.commands.push(crate::domain::hint::Remedy::Argv(argv.into_iter().map(ToOwned::to_owned).collect()));
    Problem::new(Code::SourceServiceUnusable, message).hint(hint)
}
