//! Percona's operator: whether it has a hand on the link's channel, or opens the replica's members again and again.
//!
//! What it does is read from its sources, pkg/controller/pxc/replication.go: `reconcileReplication`, `checkReadonlyStatus`.

use super::super::{
    Asked, ask, ids,
    kubectl::{Kubectl, with},
    pods,
};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    facts::{Facts, OperatorFacts},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// Judges the resource that the replica's members are of; nothing on a link without Kubernetes.
pub(super) fn operator(spec: ReplicationLink<'_>, facts: &Facts) -> Option<Check> {
    spec.mesh()?;
    let asked = ask(ids::OPERATOR, Subject::Cluster(Side::Replica));
    let operators = match &facts.client.surroundings.operators {
        Fetched::Got(operators) => operators,
        Fetched::Failed(problem) => return Some(asked.unknown(problem.clone())),
    };
    let of_members = |operator: &&OperatorFacts| {
        // The labels that the operator gives its pods (pkg/naming/labels.go).
        let label = |key: &str, value: &str| {
            pods(facts, Side::Replica).any(|one| one.pod.labels.get(key).is_some_and(|found| found == value))
        };
        label("app.kubernetes.io/instance", &operator.name) && label("app.kubernetes.io/component", "pxc")
    };
    Some(match operators.iter().find(of_members) {
        None => asked.passed(["no PerconaXtraDBCluster has these members"]),
        Some(operator) => of_resource(spec, facts, operator, asked),
    })
}

fn of_resource(spec: ReplicationLink<'_>, facts: &Facts, operator: &OperatorFacts, asked: Asked) -> Check {
    let (name, channel) = (&operator.name, &spec.replication.channel);
    let listed: Vec<String> =
        operator.channels.iter().map(|channel| format!("{} (isSource: {})", channel.name, channel.is_source)).collect();
    let listed = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
    let problem = |code: Code, message: String, hint: &str| {
        let show = ["get", "perconaxtradbclusters", name, "-o", "jsonpath={.spec.pxc.replicationChannels}"];
        let command = Kubectl::of(&spec, facts, Side::Replica).map(|kubectl| kubectl.line(&show));
        Problem::new(code, message)
            .seen(format!("spec.pxc.replicationChannels of PerconaXtraDBCluster/{name}: {listed}"))
            .hint(with(Hint::text(hint), command))
    };
    let mut replicas = operator.channels.iter().filter(|channel| !channel.is_source);
    if replicas.any(|own| own.name.eq_ignore_ascii_case(channel)) {
        return asked.failed(problem(
            Code::OperatorOwnsChannel,
            format!(
                "channel `{channel}` is in PerconaXtraDBCluster `{name}`, whose operator makes and changes it by itself"
            ),
            "take the channel out of that resource, or give the link another `replication.channel`",
        ));
    }
    if operator.channels.first().is_none_or(|first| first.is_source) {
        return asked.warned(problem(
            Code::OperatorOpensReplica,
            format!("the operator of PerconaXtraDBCluster `{name}` sets read_only to 0 on these members at each reconcile: super_read_only cannot hold there"),
            "keep other writers away by their accounts or a NetworkPolicy; a list of channels that begins with one of this cluster's own would make the operator close the members instead",
        ));
    }
    asked.warned(problem(
        Code::OperatorStopsChannels,
        format!("the operator of PerconaXtraDBCluster `{name}` stops every channel of a member that is the writer no longer, this link's too"),
        "after the writer has moved run setup again, which starts what was stopped",
    ))
}
