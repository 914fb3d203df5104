//! The ways into the source, gathered: an operator's resource, the Services, and the pods behind them.

use futures::future::join_all;

use super::{session::Session, sides::SERVER};
use crate::{
    domain::{
        code::Code,
        facts::{BackendFacts, PxcFacts, ServiceFacts},
        hint::{Hint, Remedy},
        problem::{Fetched, Problem},
        pxc,
        spec::{ClusterRef, SourceTarget},
    },
    k8s::{Cluster, pods, services},
};

/// What was found of the ways into the source, and which pods its members are.
pub(super) struct Entrance {
    pub(super) pxc: Option<Fetched<PxcFacts>>,
    pub(super) services: Result<Vec<ServiceFacts>, Problem>,
    /// The label selector of the members' pods.
    pub(super) members: Result<String, Problem>,
}

/// Looks at what the configuration names.
pub(super) async fn entrance(session: &Session, cluster: &Cluster, at: &ClusterRef, target: &SourceTarget) -> Entrance {
    let deadline = session.deadline.at_most(SERVER);
    match target {
        SourceTarget::Service(name) => {
            let service = services::service(cluster, name, deadline).await.map_err(Problem::from);
            let service = service.and_then(|service| service.ok_or_else(|| no_service(at, name)));
            let members = match &service {
                // Without a selector every pod of the namespace would be taken for a member and be sent the account's password.
                Ok(service) if service.selector.is_empty() => Err(no_selector(session, name)),
                Ok(service) => Ok(selector(service)),
                Err(problem) => Err(problem.clone()),
            };
            Entrance { pxc: None, services: service.map(|service| vec![service]), members }
        }
        SourceTarget::Pxc(name) => {
            let found = services::pxc(cluster, name, deadline).await.map_err(Problem::from);
            let found = found.and_then(|resource| resource.ok_or_else(|| no_resource(at, name)));
            let services = match &found {
                Ok(resource) => of_resource(session, cluster, resource).await,
                Err(problem) => Err(problem.clone()),
            };
            Entrance { pxc: Some(found.into()), services, members: Ok(pxc::selector(name)) }
        }
    }
}

/// Those of the resource's Services that exist, each with its pods.
async fn of_resource(session: &Session, cluster: &Cluster, resource: &PxcFacts) -> Result<Vec<ServiceFacts>, Problem> {
    let deadline = session.deadline.at_most(SERVER);
    let read = |name: String| async move {
        let Some(mut service) = services::service(cluster, &name, deadline).await? else { return Ok(None) };
        let pods = pods::pods(cluster, &selector(&service), deadline).await;
        service.backends = pods.map(|pods| pods.iter().map(BackendFacts::from).collect()).into();
        Ok(Some(service))
    };
    let found = join_all(resource.services().into_iter().flatten().map(read)).await;
    found.into_iter().filter_map(Result::transpose).collect()
}

fn selector(service: &ServiceFacts) -> String {
    let labels: Vec<String> = service.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(",")
}

fn no_selector(session: &Session, name: &str) -> Problem {
    let message = format!("Service `{name}` of the source selects no pods, so its members are not known");
    Problem::new(Code::SourceServiceUnusable, message).seen("spec.selector is empty").hint(Hint::text(format!(
        "name a Service of link `{}` that selects the members' pods under `source.kubernetes.service`",
        session.spec.name
    )))
}

fn no_service(at: &ClusterRef, name: &str) -> Problem {
    let message = format!("there is no Service `{name}` in namespace {} of the source", at.namespace);
    let hint = "put the name of the Service that selects the source's members into `source.kubernetes.service`";
    Problem::new(Code::SourceServiceUnusable, message).hint(list(at, hint, "services"))
}

fn no_resource(at: &ClusterRef, name: &str) -> Problem {
    let message = format!("there is no PerconaXtraDBCluster `{name}` in namespace {} of the source", at.namespace);
    let hint = "put the name of the operator's resource into `source.kubernetes.pxc`, or name a Service instead";
    Problem::new(Code::SourceServiceUnusable, message).hint(list(at, hint, "perconaxtradbclusters"))
}

fn list(at: &ClusterRef, text: &str, what: &str) -> Hint {
    let mut argv = vec!["kubectl", "-n", &at.namespace, "get", what];
    if let Some(context) = &at.context {
        argv.splice(1..1, ["--context", context]);
    }
    let mut hint = Hint::text(text);
    hint.commands.push(Remedy::Argv(argv.into_iter().map(ToOwned::to_owned).collect()));
    hint
}
