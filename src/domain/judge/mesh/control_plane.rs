//! The client's control plane: are Istio's resources served, which istiod serves the members, is it up, and what is it told to do?

use super::super::{
    ask, ids,
    kubectl::{Kubectl, with},
};
use crate::domain::{
    check::{Check, Subject},
    code::Code,
    facts::{ClusterFacts, Facts, IstiodFacts, MeshConfigFacts, Sidecar},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::MeshLink,
};

/// The label by which pods and namespaces name their revision of istiod.
const REVISION: &str = "istio.io/rev";

/// Judges whether Istio serves there and whether its istiod is ready.
pub(super) fn control_plane(spec: MeshLink<'_>, facts: &Facts) -> Vec<Check> {
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
    if cluster.istio_versions.is_empty() {
        let problem = Problem::new(
            Code::IstioMissing,
            format!("the API of context `{}` does not serve networking.istio.io ServiceEntries", cluster.context),
        )
        .seen(format!("discovery of {} lists no version with that kind", cluster.server))
        .hint(with(
            Hint::text(format!(
                "install Istio in the {}'s cluster, or name the cluster that has it",
                spec.client_side()
            )),
            Kubectl::of(&spec, facts, spec.client_side())
                .map(|kubectl| kubectl.line_bare(&["get", "crd", "serviceentries.networking.istio.io"])),
        ));
        let installed = installed.failed(problem);
        return vec![ready.skipped(&installed), installed];
    }
    let installed = installed.passed([format!("networking.istio.io/{}", cluster.istio_versions.join(", "))]);
    vec![installed, istiod(spec, facts, cluster)]
}

fn istiod(spec: MeshLink<'_>, facts: &Facts, cluster: &ClusterFacts) -> Check {
    let asked = ask(ids::ISTIOD_READY, Subject::Cluster(spec.client_side()));
    let all = &cluster.istiods;
    let shown = |problem: Problem| all.iter().fold(problem, |problem, one| problem.seen(describe(one)));
    let serving: Vec<&IstiodFacts> = match revision(facts) {
        Some(revision) => all.iter().filter(|one| one.revision == revision).collect(),
        None => all.iter().collect(),
    };
    let unseen = |what: String| {
        let problem = shown(Problem::new(Code::ControlPlaneUnseen, what));
        let commands = Kubectl::of(&spec, facts, spec.client_side()).map(|kubectl| {
            kubectl.line_in("istio-system", &["get", "deployments", "-l", "app=istiod", "--show-labels"])
        });
        problem.hint(with(
            Hint::text(
                "look at the control plane where it runs; the proof of the path shows whether it serves the members",
            ),
            commands,
        ))
    };
    if serving.is_empty() {
        let what = match revision(facts) {
            Some(revision) if !all.is_empty() => {
                format!(
                    "the members belong to revision `{revision}` of istiod, and no Deployment in istio-system is of that one"
                )
            }
            _ => {
                "there is no istiod Deployment in istio-system: the control plane is elsewhere and cannot be looked at"
                    .to_owned()
            }
        };
        return asked.unknown(unseen(what));
    }
    let down: Vec<&IstiodFacts> = serving.iter().copied().filter(|one| one.ready == 0).collect();
    if down.is_empty() {
        return asked.passed(serving.into_iter().map(describe));
    }
    if down.len() < serving.len() {
        return asked.unknown(unseen(
            "there are several revisions of istiod, not all of them are up, and nothing says which one serves the members".to_owned(),
        ));
    }
    asked.failed(
        shown(Problem::new(
            Code::IstiodDown,
            format!("no pod of istiod is ready in the cluster of context `{}`", cluster.context),
        ))
        .hint(with(
            Hint::text(
                "bring istiod back first: without it objects are rejected by its webhook and sidecars learn nothing",
            ),
            Kubectl::of(&spec, facts, spec.client_side()).into_iter().flat_map(|kubectl| {
                let deployment = format!("deployment/{}", down[0].name);
                let line = |arguments: &[&str]| kubectl.line_in("istio-system", arguments);
                let status = line(&["rollout", "status", &deployment, "--timeout=5m"]);
                if down[0].wanted == 0 {
                    vec![line(&["scale", &deployment, "--replicas=1"]), status]
                } else {
                    vec![
                        line(&["get", "pods", "-l", "app=istiod"]),
                        line(&["describe", "deployment", &down[0].name]),
                        line(&["rollout", "restart", &deployment]),
                        status,
                    ]
                }
            }),
        )),
    )
}

fn describe(one: &IstiodFacts) -> String {
    let IstiodFacts { name, revision, ready, wanted } = one;
    format!("Deployment istio-system/{name} of revision {revision} has {ready} ready pod(s) of {wanted} wanted")
}

/// The revision of istiod that serves the members: the one their sidecars were made by, else the one their namespace asks for.
fn revision(facts: &Facts) -> Option<&str> {
    let pods = facts.client.pods().map(|one| one.pod);
    let mut injected = pods.filter(|pod| matches!(pod.sidecar, Sidecar::Present { .. }));
    let of_pods = injected.find_map(|pod| pod.labels.get(REVISION));
    let of_namespace = || {
        let labels = facts.client.surroundings.namespace.got()?;
        // With both labels the revision is passed over.
        labels.get(REVISION).filter(|_| !labels.contains_key("istio-injection"))
    };
    of_pods.or_else(of_namespace).map(String::as_str)
}

/// The mesh configuration that holds for the members.
///
/// # Errors
/// Why it could not be read, or which of several it is cannot be told.
pub(super) fn config_of(facts: &Facts) -> Result<&MeshConfigFacts, Problem> {
    let configs = match &facts.client.surroundings.mesh_configs {
        Fetched::Got(configs) => configs,
        Fetched::Failed(problem) => return Err(problem.clone()),
    };
    let found = match (configs.as_slice(), revision(facts)) {
        (several, Some(revision)) if several.iter().any(|one| one.revision == revision) => {
            several.iter().find(|one| one.revision == revision)
        }
        ([only], None) => Some(only),
        _ => None,
    };
    found.ok_or_else(|| {
        let revisions: Vec<&str> = configs.iter().map(|one| one.revision.as_str()).collect();
        let seen = if revisions.is_empty() { "none".to_owned() } else { revisions.join(", ") };
        Problem::new(Code::ControlPlaneUnseen, "which mesh configuration holds for the members cannot be told")
            .seen(format!("ConfigMaps with a mesh configuration in istio-system, by revision: {seen}"))
            .seen(format!("revision of the members: {}", revision(facts).unwrap_or("not said")))
    })
}
