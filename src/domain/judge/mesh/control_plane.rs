//! The replica's control plane: are Istio's resources served, and is istiod there to take them and to pass them on?

use super::super::{
    ask, ids,
    kubectl::{Kubectl, with},
};
use crate::domain::{
    check::{Check, Subject},
    code::Code,
    facts::Facts,
    hint::Hint,
    problem::{Fetched, Problem},
    spec::LinkSpec,
};

/// Judges whether Istio serves there and whether its istiod is ready.
pub(super) fn control_plane(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let subject = Subject::Cluster(spec.client_side());
    let installed = ask(ids::MESH_INSTALLED, subject.clone());
    let ready = ask(ids::ISTIOD_READY, subject.clone());
    let cluster = match &facts.client.cluster {
        Fetched::Got(cluster) => cluster,
        Fetched::Failed(problem) => {
            let installed = ask(ids::CLUSTER_REACHABLE, subject.clone()).unfetched(problem);
            let because = |id| ask(id, subject.clone()).skipped(&installed);
            return vec![because(ids::MESH_INSTALLED), because(ids::ISTIOD_READY)];
        }
    };
    let kubectl = Kubectl::of(spec, facts, spec.client_side());
    let lines = |arguments: &[&[&str]]| -> Vec<_> {
        kubectl.iter().flat_map(|kubectl| arguments.iter().map(|line| kubectl.line_in("istio-system", line))).collect()
    };
    if cluster.istio_versions.is_empty() {
        let problem = Problem::new(
            Code::IstioMissing,
            format!("the API of context `{}` does not serve networking.istio.io ServiceEntries", cluster.context),
        )
        .seen(format!("discovery of {} lists no version with that kind", cluster.server))
        .hint(with(
            Hint::text("install Istio in the replica's cluster, or name the cluster that has it"),
            kubectl.iter().map(|kubectl| kubectl.line_bare(&["get", "crd", "serviceentries.networking.istio.io"])),
        ));
        let installed = installed.failed(problem);
        return vec![ready.skipped(&installed), installed];
    }
    let installed = installed.passed([format!("networking.istio.io/{}", cluster.istio_versions.join(", "))]);
    let ready = match cluster.istiod_ready {
        None => ready.passed(["no istiod Deployment in istio-system: the control plane is elsewhere"]),
        Some(0) => ready.failed(
            Problem::new(
                Code::IstiodDown,
                format!("no pod of istiod is ready in the cluster of context `{}`", cluster.context),
            )
            .seen(match cluster.istiod_wanted {
                Some(wanted) => format!("Deployment istio-system/istiod has 0 ready pods of {wanted} wanted"),
                None => "Deployment istio-system/istiod has 0 ready pods".to_owned(),
            })
            .hint(with(
                Hint::text("bring istiod back first: without it objects are rejected by its webhook and sidecars learn nothing"),
                lines(match cluster.istiod_wanted {
                    Some(0) => &[
                        &["scale", "deployment/istiod", "--replicas=1"],
                        &["rollout", "status", "deployment/istiod", "--timeout=5m"],
                    ],
                    _ => &[
                        &["get", "pods", "-l", "app=istiod"],
                        &["describe", "deployment", "istiod"],
                        &["rollout", "restart", "deployment/istiod"],
                        &["rollout", "status", "deployment/istiod", "--timeout=5m"],
                    ],
                }),
            )),
        ),
        Some(count) => ready.passed([format!("{count} ready pod(s)")]),
    };
    vec![installed, ready]
}
