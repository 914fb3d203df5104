//! The link's mesh objects as they are to be, for everything that shows, compares or applies them.

use std::net::Ipv4Addr;

use futures::future::try_join_all;
use serde_json::Value;

use super::{session::Session, sides::Sides};
use crate::{
    domain::{
        desired,
        facts::{Facts, OwnObject},
        problem::{Fetched, Problem},
        spec::MeshLink,
    },
    k8s::apply,
    mesh::objects,
};

/// The ServiceEntry and the DestinationRule, with the virtual address in them.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) vip: Ipv4Addr,
    pub(super) objects: [Value; 2],
}

/// Makes them; in version `v1` where no cluster was looked at.
///
/// # Errors
/// Why the virtual address or the endpoints are not known.
pub(super) fn wanted(spec: MeshLink<'_>, facts: &Facts) -> Result<Wanted, Problem> {
    let (vip, _) = desired::desired_vip(spec, facts)?;
    let entrances = desired::desired_entrances(spec, facts)?.used;
    let served = facts.client.cluster.got().map_or(&[][..], |cluster| &cluster.istio_versions);
    let version = objects::version(served).unwrap_or("v1");
    let namespace = &spec.client.cluster.namespace;
    let parameters = objects::Parameters { spec, namespace, vip, entrances: &entrances, version };
    let mut entry = objects::service_entry(&parameters);
    objects::remember(&mut entry, &desired::records(spec, facts));
    Ok(Wanted { vip, objects: [entry, objects::destination_rule(&parameters)] })
}

/// How the objects that are there differ from them; `None` where it is not known what they are to be.
pub(super) async fn compared(session: &Session, sides: &Sides, facts: &Facts) -> Option<Fetched<Vec<OwnObject>>> {
    let wanted = wanted(session.spec.mesh()?, facts).ok()?;
    let cluster = sides.client().ok()?;
    let looks = wanted.objects.iter().map(|object| apply::compared(cluster, object, session.deadline));
    Some(try_join_all(looks).await.into())
}
