//! Rendering: the link's mesh objects as they are to be, and what applying them would change. Writes nothing.

use serde_json::Value;

use super::{
    gather::{self, Extent},
    offers,
    session::Session,
    setup::Options,
    sides::Sides,
    wanted::{Wanted, wanted},
};
use crate::{
    domain::{
        desired,
        hint::Hint,
        plan::Preview,
        problem::Problem,
        spec::{LinkSpec, MeshLink, SourceLocation},
    },
    error::Failure,
    k8s::apply,
};

/// The keys without which a cluster has to be looked at, as they stand in the configuration.
fn missing_keys(spec: MeshLink<'_>) -> Vec<&'static str> {
    let endpoints = matches!(spec.source, SourceLocation::Kubernetes { .. }).then_some("source.endpoints");
    spec.vip.is_none().then_some("vip").into_iter().chain(endpoints).collect()
}

/// Whether no cluster is looked at: the configuration alone says everything, or the link has no mesh objects.
pub fn is_offline(spec: &LinkSpec) -> bool {
    spec.mesh().is_none_or(|mesh| missing_keys(mesh).is_empty())
}

/// The objects, with what the configuration leaves open read from the clusters that know it.
///
/// # Errors
/// Which keys or contexts it needs.
pub async fn objects(session: &Session) -> Result<[Value; 2], Failure> {
    let looking = async {
        let sides = Sides::without_servers(session, session.mesh()?.vip.is_none()).await;
        Ok(look(session, &sides).await?.objects)
    };
    session.interruptible("while the clusters were looked at", looking).await?
}

/// What the client's cluster would make of each object, by a dry run of its own.
///
/// # Errors
/// As [`objects`], and why the cluster refuses an object: a conflict names the other manager.
pub async fn previews(session: &Session) -> Result<Vec<Preview>, Failure> {
    let looking = async {
        session.mesh()?;
        let sides = Sides::without_servers(session, true).await;
        let cluster = sides.client()?;
        let [entry, rule] = look(session, &sides).await?.objects;
        let writer = offers::writer(session, Options::default());
        let (entry, rule) = tokio::try_join!(
            apply::preview(cluster, &entry, &writer, session.deadline),
            apply::preview(cluster, &rule, &writer, session.deadline),
        )
        .map_err(Problem::from)?;
        Ok(vec![entry, rule])
    };
    session.interruptible("while the objects were compared", looking).await?
}

async fn look(session: &Session, sides: &Sides) -> Result<Wanted, Problem> {
    let spec = session.mesh()?;
    let facts = gather::facts(session, sides, Extent::Link).await;
    wanted(spec, &facts).map_err(|problem| {
        let key = if desired::desired_vip(spec, &facts).is_err() { "vip" } else { "source.endpoints" };
        needs(spec, key, problem)
    })
}

/// Why rendering could not be done, with the keys that would make it independent of the clusters.
fn needs(spec: MeshLink<'_>, key: &str, problem: Problem) -> Problem {
    let keys: Vec<String> = missing_keys(spec).iter().map(|key| format!("`{key}`")).collect();
    let open = format!("`{key}` of link {} is left open in the configuration, so its cluster was asked", spec.name);
    let offline = format!("write {} into link `{}`, then render needs no cluster", keys.join(" and "), spec.name);
    let hint = match problem.hint.clone() {
        Some(hint) => Hint { text: format!("{}; or {offline}", hint.text), ..hint },
        None => Hint::text(offline),
    };
    problem.seen(open).hint(hint)
}
