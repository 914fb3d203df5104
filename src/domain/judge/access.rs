//! Access: can both clusters and all servers be reached, and may this user and these accounts do what is needed?

use super::{
    Asked, ask, certificates, find, ids,
    kubectl::{Kubectl, annotate, with},
    member, members, mesh, named,
};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    facts::{AwaitedContainer, ClusterFacts, Facts, MemberFacts, PodMember, ServerFacts},
    hint::Hint,
    problem::{Fetched, Problem},
    pxc, quote,
    spec::{LinkSpec, MeshLink, ReplicationLink, SourceLocation, SourceTarget},
};

/// The oldest server whose statements this tool writes.
const OLDEST: (u32, u32, u32) = (8, 0, 26);

/// Makes the injected sidecar of a pod a native one, from Istio 1.24 on (release notes of 1.24).
const NATIVE_SIDECAR: &str = "sidecar.istio.io/nativeSidecar";

/// Up to so many missing rules are granted one by one.
const FEW_RULES: usize = 4;

/// Judges what every later stage stands on: clusters, permissions, members, logins, privileges and versions.
pub fn access(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let sides = [Side::Source, spec.client_side()];
    let Some(mesh) = spec.mesh() else {
        let members = sides.into_iter().flat_map(|side| members(facts, side).iter().map(move |one| (side, one)));
        return members.flat_map(|(side, one)| of_server(spec, facts, side, one)).collect();
    };
    let mut checks = clusters(spec, facts);
    for side in sides {
        checks.extend(of_members(mesh, facts, side, &checks));
    }
    checks
}

fn clusters(spec: &LinkSpec, facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    for (side, seen) in
        [(Side::Source, facts.source.cluster.as_ref()), (spec.client_side(), Some(&facts.client.cluster))]
    {
        if let Some(seen) = seen {
            let reachable = reachable(side, seen);
            checks.push(permissions(spec, facts, side, seen, &reachable));
            checks.push(reachable);
        }
    }
    checks.sort_by_key(|check| check.id != ids::CLUSTER_REACHABLE);
    if let Some(source) = &facts.source.cluster {
        checks.push(distinct(source, &facts.client.cluster, spec.client_side(), &checks));
    }
    checks
}

fn reachable(side: Side, seen: &Fetched<ClusterFacts>) -> Check {
    let asked = ask(ids::CLUSTER_REACHABLE, Subject::Cluster(side));
    match seen {
        Fetched::Got(cluster) => asked.passed([
            format!("context {}, {}, {}", cluster.context, cluster.server, cluster.version),
            format!("UID of namespace kube-system: {}", cluster.uid),
        ]),
        Fetched::Failed(problem) => asked.unfetched(problem),
    }
}

fn distinct(source: &Fetched<ClusterFacts>, client: &Fetched<ClusterFacts>, side: Side, checks: &[Check]) -> Check {
    let asked = ask(ids::CLUSTER_DISTINCT, Subject::Link);
    let (Fetched::Got(source), Fetched::Got(client)) = (source, client) else {
        let missing = checks.iter().find(|check| check.id == ids::CLUSTER_REACHABLE && !check.is_good());
        return match missing {
            Some(check) => asked.skipped(check),
            None => asked.passed::<String>([]),
        };
    };
    if source.uid != client.uid {
        return asked.passed([format!("{} is not {}", source.uid, client.uid)]);
    }
    let same = format!(
        "contexts `{}` and `{}` reach the same cluster, so the link would lead back to itself",
        source.context, client.context
    );
    let hint = Hint::run(
        format!(
            "name two different clusters in `source.kubernetes.context` and `{side}.kubernetes.context`; these are the contexts there are"
        ),
        ["kubectl", "config", "get-contexts"],
    );
    asked.failed(
        Problem::new(Code::SameCluster, same)
            .seen(format!("UID of namespace kube-system in both: {}", source.uid))
            .seen(format!("source API {}, {side} API {}", source.server, client.server))
            .hint(hint),
    )
}

fn permissions(spec: &LinkSpec, facts: &Facts, side: Side, seen: &Fetched<ClusterFacts>, reachable: &Check) -> Check {
    let asked = ask(ids::CLUSTER_PERMISSIONS, Subject::Cluster(side));
    let Fetched::Got(cluster) = seen else { return asked.skipped(reachable) };
    let Some(first) = cluster.denied.first() else { return asked.passed(["nothing that is needed is denied"]) };
    let user = cluster.user.as_deref();
    let who = user.map_or_else(|| "the user".to_owned(), |user| format!("`{user}`"));
    let count = cluster.denied.len();
    let mut problem = Problem::new(
        Code::Forbidden,
        format!(
            "{who} of context `{}` lacks {count} permission(s) of the {side} side, first: {first}",
            cluster.context
        ),
    );
    for rule in &cluster.denied {
        problem = problem.seen(format!("denied: {rule}"));
    }
    let Some(kubectl) = Kubectl::of(spec, facts, side) else { return asked.failed(problem) };
    let commands = match user {
        // A few rules are granted one by one; more of them mean that the roles were never bound.
        Some(user) if count <= FEW_RULES => {
            let grants = cluster.denied.iter().flat_map(|rule| rule.grant(user));
            grants.map(|argv| kubectl.line_bare(&argv.iter().map(String::as_str).collect::<Vec<_>>())).collect()
        }
        _ => vec![kubectl.line_bare(&["apply", "-f", &format!("manifests/deploy/{side}/")])],
    };
    asked.failed(
        problem.hint(with(Hint::text("have an administrator of that cluster grant them, then ask again"), commands)),
    )
}

fn of_members(spec: MeshLink<'_>, facts: &Facts, side: Side, before: &[Check]) -> Vec<Check> {
    let subject = Subject::Cluster(side);
    let asked = ask(ids::MEMBERS_FOUND, subject.clone());
    let list = match side {
        Side::Source => &facts.source.members,
        Side::Replica | Side::Client => &facts.client.members,
    };
    let unreachable = find(before, ids::CLUSTER_REACHABLE, &subject).filter(|check| !check.is_good());
    match (unreachable, list) {
        (Some(check), Fetched::Failed(_)) => vec![asked.skipped(check)],
        (_, Fetched::Failed(problem)) => vec![asked.unfetched(problem)],
        (_, Fetched::Got(found)) if found.is_empty() => {
            // With addresses only there is nobody to ask for members; what follows says what that leaves unknown.
            if side == Side::Source && super::source_is_endpoints(&spec) {
                return Vec::new();
            }
            vec![nobody(spec, facts, side, asked)]
        }
        (_, Fetched::Got(found)) => {
            let names: Vec<&str> = found.iter().map(super::super::facts::MemberFacts::name).collect();
            let mut checks = vec![asked.passed([names.join(", ")])];
            for one in found {
                checks.extend(one.in_pod().map(|one| ready(spec, facts, side, one)));
                checks.extend(of_server(&spec, facts, side, one));
            }
            checks
        }
    }
}

fn nobody(spec: MeshLink<'_>, facts: &Facts, side: Side, asked: Asked) -> Check {
    let selector = match side {
        Side::Replica | Side::Client => spec.client.selector.clone(),
        Side::Source if let SourceLocation::Kubernetes { target: SourceTarget::Pxc(name), .. } = spec.source => {
            pxc::selector(name)
        }
        Side::Source => {
            let labels = facts
                .source
                .service()
                .map(|service| service.selector.iter().map(|(key, value)| format!("{key}={value}")));
            labels.map(|labels| labels.collect::<Vec<_>>().join(",")).unwrap_or_default()
        }
    };
    let Some(kubectl) = Kubectl::of(&spec, facts, side) else {
        return asked.failed(Problem::new(Code::NoPodMatches, format!("the {side} has no members")));
    };
    let namespace = kubectl.namespace().to_owned();
    let hint = with(
        Hint::text(format!("compare the selector with the labels of the pods in namespace `{namespace}`")),
        [kubectl.line(&["get", "pods", "--show-labels"])],
    );
    asked.failed(
        Problem::new(
            Code::NoPodMatches,
            format!("no pod in namespace `{namespace}` of the {side} cluster matches `{selector}`"),
        )
        .seen(format!("selector `{selector}` gave 0 pods"))
        .hint(hint),
    )
}

/// The login at a member's server, and what its account and its version allow.
fn of_server(spec: &LinkSpec, facts: &Facts, side: Side, one: &MemberFacts) -> Vec<Check> {
    let subject = member(side, one);
    let (Some(link), Some(server)) = (spec.replication(), &one.server) else { return Vec::new() };
    let login = ask(ids::SERVER_LOGIN, subject.clone());
    let login = match server {
        Fetched::Got(server) => login.passed([format!(
            "MySQL {} at {}, server_id {}, server_uuid {}",
            server.version, server.hostname, server.server_id, server.server_uuid
        )]),
        Fetched::Failed(problem) if side == Side::Source && problem.code == Code::TlsVerification => {
            login.failed(certificates::explained(link, facts, None, problem.clone()))
        }
        Fetched::Failed(problem) => login.unfetched(problem),
    };
    let privileges = ask(ids::SERVER_PRIVILEGES, subject.clone());
    let version = ask(ids::SERVER_VERSION, subject);
    match server {
        Fetched::Got(server) => {
            let judged =
                [judge_privileges(link, side, one, server, privileges), judge_version(side, one, server, version)];
            std::iter::once(login).chain(judged).collect()
        }
        Fetched::Failed(_) => {
            let judged = [privileges.skipped(&login), version.skipped(&login)];
            std::iter::once(login).chain(judged).collect()
        }
    }
}

fn ready(spec: MeshLink<'_>, facts: &Facts, side: Side, one: PodMember<'_>) -> Check {
    let asked = ask(ids::MEMBER_READY, member(side, &one));
    if one.pod.ready {
        return asked.passed(one.pod.node.iter().map(|node| format!("on node {node}")));
    }
    // The sidecar's own check says more of a pod that waits for nothing else.
    if side == spec.client_side()
        && one.pod.awaited.iter().all(waits_for_sidecar)
        && let Some(cause) = mesh::sidecar_verdict(spec, facts, one)
        && cause.problem().is_some_and(|problem| problem.code == Code::SidecarNotReady)
    {
        return asked.skipped(&cause);
    }
    let others = members(facts, side).iter().filter(|other| other.is_ready()).count();
    let mut problem = Problem::new(
        Code::MemberNotReady,
        format!("pod `{}` of the {side} is not ready; {others} of {} are", one.name(), members(facts, side).len()),
    )
    .seen("condition Ready is not True".to_owned());
    for awaited in &one.pod.awaited {
        problem = problem.seen(format!("container {}: {}", awaited.name, awaited.state));
    }
    let early = one.pod.awaited.iter().find(|awaited| awaited.before_sidecar);
    if let Some(early) = early {
        problem = problem.seen(format!(
            "{} has to end before the sidecar starts: until then the pod reaches nothing through the mesh",
            early.name
        ));
    }
    if let Some(kubectl) = Kubectl::of(&spec, facts, side) {
        let native = early.map_or_else(Vec::new, |_| annotate(&kubectl, one, NATIVE_SIDECAR, Some("true")));
        let text = if native.is_empty() {
            "its events and the log of its last start say why"
        } else {
            "its events and log say why; if it waits for the mesh, make the sidecar a native one, which starts first"
        };
        let mut commands = vec![kubectl.line(&["describe", "pod", &one.pod.name])];
        let logs = one.pod.awaited.iter().filter(|awaited| awaited.has_run);
        commands.extend(logs.map(|awaited| kubectl.line(&["logs", &one.pod.name, "-c", &awaited.name, "--tail=50"])));
        problem = problem.hint(with(Hint::text(text), commands.into_iter().chain(native)));
    }
    if others > 0 { asked.warned(problem) } else { asked.failed(problem) }
}

/// Whether a container is the sidecar or prepares it (`istio-init`, `istio-validation`), or starts when the sidecar is there.
fn waits_for_sidecar(awaited: &AwaitedContainer) -> bool {
    awaited.name.starts_with("istio-") || awaited.waits_for_init
}

fn judge_privileges(
    link: ReplicationLink<'_>,
    side: Side,
    one: &MemberFacts,
    server: &ServerFacts,
    asked: Asked,
) -> Check {
    if server.missing_privileges.is_empty() {
        return asked.passed(["every privilege that is needed"]);
    }
    let user = sql_account(link, side);
    let mut problem = Problem::new(
        Code::PrivilegeMissing,
        format!("account `{user}` on {} lacks {}", named(side, one), server.missing_privileges.join(", ")),
    );
    let mut hint = Hint::text(
        "grant them as an account that may; the host part `%` is the usual one, `SELECT user, host FROM mysql.user` shows yours",
    );
    for privilege in &server.missing_privileges {
        let scope = if privilege.to_ascii_uppercase().contains(" ON ") { "" } else { " ON *.*" };
        hint = hint.sql(named(side, one), format!("GRANT {privilege}{scope} TO {}@'%'", sql_text(user)));
        problem = problem.seen(format!("not granted: {privilege}{scope}"));
    }
    asked.failed(problem.hint(hint))
}

/// The account that reads the servers of a side.
pub(super) fn sql_account(link: ReplicationLink<'_>, side: Side) -> &str {
    let replication = link.replication;
    match side {
        Side::Source => &replication.source_account.as_ref().unwrap_or(&replication.account).user,
        Side::Replica | Side::Client => &replication.replica_account.user,
    }
}

/// A string literal for a statement that a person will run; empty for what cannot be written as one.
pub(super) fn sql_text(text: &str) -> String {
    quote::literal(text).map(|quoted| quoted.to_string()).unwrap_or_default()
}

fn judge_version(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let Some(version) = parse_version(&server.version) else {
        return asked.unknown(Problem::new(
            Code::VersionTooOld,
            format!("the version of {} is not of a form known here: `{}`", named(side, one), server.version),
        ));
    };
    if version >= OLDEST && !server.version.to_ascii_lowercase().contains("mariadb") {
        return asked.passed([server.version.clone()]);
    }
    asked.failed(
        Problem::new(
            Code::VersionTooOld,
            format!(
                "{} runs {}, and links need MySQL, Percona Server or PXC 8.0.26 or later",
                named(side, one),
                server.version
            ),
        )
        .seen(format!("@@version is {}", server.version))
        .hint(Hint::text("upgrade the server, the replica side before the source side")),
    )
}

/// The numbers at the start of `@@version`: `8.0.36-28.1` is 8.0.36.
pub(super) fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut parts = numbers.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}
