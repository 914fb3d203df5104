//! Who is to blame when a connection through the mesh name fails after the sidecar took it, and what mends it.

use super::{
    super::{
        access::sql_text,
        blame::{self, Lost},
        certificates,
        kubectl::{Kubectl, Owner, owner, with},
        mesh, named,
        peer::{self, Guard},
        pods,
        policy::{self, MutualTls},
        servers,
    },
    Road,
};
use crate::domain::{
    check::Side,
    code::Code,
    facts::{ObjectFacts, ProbeAnswer, ProbeEnd, ServiceFacts, Sidecar},
    hint::{Hint, Remedy},
    problem::{Fetched, Problem},
    spec::{ReplicationLink, Tls},
};

pub(super) fn with_evidence(road: &Road<'_>, answer: &ProbeAnswer, code: Code, message: String) -> Problem {
    let mut problem = Problem::new(code, message);
    problem.evidence = road.evidence(answer);
    problem
}

pub(super) fn source(road: &Road<'_>) -> Option<Kubectl> {
    Kubectl::of(&road.spec, road.facts, Side::Source)
}

/// The endpoints in one phrase, for a message.
pub(super) fn target(road: &Road<'_>) -> String {
    let hosts = road.seen.envoy.got().and_then(|envoy| envoy.hosts.as_deref()).unwrap_or_default();
    match hosts {
        [] => "the endpoint".to_owned(),
        hosts => hosts.iter().map(|host| host.endpoint.to_string()).collect::<Vec<_>>().join(", "),
    }
}

/// Where the source is looked at from its own side.
pub(super) fn look_at_service(road: &Road<'_>) -> Vec<Remedy> {
    let Some(kubectl) = source(road) else { return Vec::new() };
    let services = road.facts.source.services.as_ref().and_then(Fetched::got).into_iter().flatten();
    let look = services.flat_map(|ServiceFacts { name, .. }| {
        [
            kubectl.line(&["get", "service", name, "-o", "wide"]),
            kubectl.line(&["get", "endpointslices", "-l", &format!("kubernetes.io/service-name={name}")]),
        ]
    });
    look.collect()
}

/// The sidecar's connection fails at once.
pub(super) fn refused(road: &Road<'_>, answer: &ProbeAnswer) -> Problem {
    if road.answers_straight() {
        return kept_off(road, answer);
    }
    let what = format!("{} refuses the connection: nothing listens there, or a firewall rejects it", target(road));
    let operator = pods(road.facts, Side::Source).find_map(|one| match owner(one.pod) {
        Owner::Operator(resource) => Some(resource),
        _ => None,
    });
    let mut commands = look_at_service(road);
    if let (Some(resource), Some(kubectl)) = (operator, source(road)) {
        let patch = r#"{"spec":{"haproxy":{"exposePrimary":{"enabled":true,"type":"NodePort"}}}}"#;
        commands.push(kubectl.line(&["patch", "pxc", resource, "--type", "merge", "-p", patch]));
    }
    with_evidence(road, answer, Code::EndpointRefused, what).hint(with(
        Hint::text("see that the source's Service still has that node port and a ready pod behind it, then run setup again to take over its present addresses"),
        commands,
    ))
}

/// The sidecar cannot connect to what answers its own pod. A sidecar that takes a change of its cluster in fails so for a moment
/// (seen on the sandbox).
fn kept_off(road: &Road<'_>, answer: &ProbeAnswer) -> Problem {
    let what = format!(
        "the sidecar of `{}` cannot connect to {}, which answers the same pod past the sidecar",
        road.seen.member,
        target(road)
    );
    let commands = road.kubectl().map(|kubectl| kubectl.line_bare(&["get", "destinationrules", "--all-namespaces"]));
    with_evidence(road, answer, Code::PathBroken, what).hint(with(
        Hint::text("ask again if something has just changed; else look for what only the sidecar meets: TLS that a DestinationRule has it speak, or a firewall rule about user 1337"),
        commands,
    ))
}

/// The endpoint is silent while it is dialled.
pub(super) fn silent(road: &Road<'_>, answer: &ProbeAnswer) -> Problem {
    if let Some(mut policy) = road.one.and_then(|one| mesh::closing_policy(road.spec, road.facts, one)) {
        policy.message = format!("{} does not answer: {}", target(road), policy.message);
        policy.evidence.splice(0..0, road.evidence(answer));
        return policy;
    }
    if road.answers_straight() {
        return kept_off(road, answer);
    }
    let what = format!("{} does not answer: packets are dropped on the way", target(road));
    let port = road.seen.envoy.got().and_then(|envoy| envoy.hosts.as_ref()?.first().map(|host| host.endpoint.port));
    let text = match port {
        Some(port) => format!("Open TCP port {port} of the source's nodes for the nodes of the replica's cluster (firewall, security group, route, egress NetworkPolicy)"),
        None => "Open the way from the replica's nodes to the source's (firewall, security group, route, egress NetworkPolicy)".to_owned(),
    };
    let mut commands: Vec<Remedy> =
        source(road).map(|kubectl| kubectl.line_bare(&["get", "nodes", "-o", "wide"])).into_iter().collect();
    commands.extend(road.kubectl().map(|kubectl| kubectl.line(&["get", "networkpolicies"])));
    with_evidence(road, answer, Code::EndpointSilent, what).hint(with(Hint::text(text), commands))
}

/// The sidecar never dialled.
pub(super) fn not_dialled(road: &Road<'_>, answer: &ProbeAnswer) -> Problem {
    let pod = &road.seen.member;
    let what = match &answer.end {
        ProbeEnd::Http { .. } | ProbeEnd::Spoke { .. } => format!(
            "something answers the client in `{pod}`, and the sidecar dialled no endpoint meanwhile: the connection passed it by"
        ),
        _ => format!(
            "the client in `{pod}` failed, and the sidecar dialled no endpoint meanwhile: the connection passed it by"
        ),
    };
    let commands = road.kubectl().map(|kubectl| kubectl.line(&["get", "pod", pod, "-o", "yaml"]));
    with_evidence(road, answer, Code::NotIntercepted, what).hint(with(
        Hint::text("look for `traffic.sidecar.istio.io/…` annotations, `hostNetwork: true` or a process that runs as user 1337: each keeps traffic from the sidecar"),
        commands,
    ))
}

/// What happened between the sidecar and the endpoint was not seen.
pub(super) fn unseen(road: &Road<'_>, answer: &ProbeAnswer) -> Problem {
    let why = [road.seen.envoy.failed(), road.seen.after.failed()].into_iter().flatten().next();
    let why = why.map_or("they were not read", |problem| problem.message.as_str());
    let what = format!(
        "the client in `{}` got no answer, and without Envoy's counters nobody can say where it stopped: {why}",
        road.seen.member
    );
    with_evidence(road, answer, Code::PathBroken, what)
        .hint(Hint::text("make Envoy's admin port readable (port-forward to the pod), then ask again"))
}

/// The connection was taken and then nothing came.
pub(super) fn no_greeting(road: &Road<'_>, answer: &ProbeAnswer) -> Problem {
    if let Some(own) = road.own_endpoint() {
        return itself(road, &own);
    }
    let guards = peer::guards(road.spec, road.facts, road.seen.port);
    if let Some(guard) = guards.iter().find(|guard| guard.mode == MutualTls::Strict) {
        return hang(road, answer, guard);
    }
    if let Some(guard) = guards.iter().find(|guard| guard.mode == MutualTls::Permissive) {
        return hang(road, answer, guard);
    }
    let what = if road.facts.source.members.got().is_none_or(Vec::is_empty) {
        format!(
            "{} takes the connection and sends no greeting; the source's pods cannot be seen from here",
            target(road)
        )
    } else {
        format!("{} takes the connection and sends no greeting, and no sidecar of the source holds it up", target(road))
    };
    let mut problem = with_evidence(road, answer, Code::EndpointSilent, what);
    for guard in &guards {
        problem = problem.seen(format!(
            "sidecar of source {}: {} on port {}",
            guard.member.pod.name,
            guard.mode.name(),
            peer::source_port(road.spec, road.facts, road.seen.port)
        ));
    }
    problem.hint(with(
        Hint::text("see whether mysqld answers on its own side, whether the port is MySQL's, and whether a sidecar or proxy there waits for the client to speak first"),
        look_at_service(road),
    ))
}

/// A sidecar of the source waits for what never comes.
pub(super) fn hang(road: &Road<'_>, answer: &ProbeAnswer, guard: &Guard<'_>) -> Problem {
    let mut problem = peer::waits(road.spec, road.facts, road.seen.port, guard);
    problem.evidence.splice(0..0, road.evidence(answer));
    problem
}

/// The connection was closed before or during the login, at once.
pub(super) fn closed(road: &Road<'_>, answer: &ProbeAnswer) -> Problem {
    let what = format!("{} takes the connection and closes it without a word of MySQL", target(road));
    with_evidence(road, answer, Code::PathBroken, what).hint(with(
        Hint::text("something between the sidecar and mysqld ends the connection: a proxy without a server behind it, a wrong port, or a mysqld that just stops"),
        look_at_service(road),
    ))
}

/// The endpoint leads back to the replica.
pub(super) fn itself(road: &Road<'_>, seen: &str) -> Problem {
    Problem::new(
        Code::SelfConnection,
        format!("`{}` leads from `{}` back to the replica itself", road.spec.host, road.seen.member),
    )
    .seen(seen)
    .seen(format!("endpoints: {}", target(road)))
    .hint(with(
        Hint::text("correct `source.endpoints` or the source's context, so that the endpoints are the source's, and run setup again; nothing was replicated"),
        road.kubectl()
            .into_iter()
            .flat_map(|kubectl| [kubectl.line(&["get", "serviceentry", "-o", "yaml"]), kubectl.line_bare(&["get", "nodes", "-o", "wide"])]),
    ))
}

/// The greeting came and the login failed.
pub(super) fn login(
    road: &Road<'_>,
    link: ReplicationLink<'_>,
    answer: &ProbeAnswer,
    errno: Option<u16>,
    text: &str,
) -> Problem {
    let account = &link.replication.account;
    let host = &road.spec.host;
    let denying = denying(road);
    let visible = road.facts.source.members.got().is_some_and(|members| !members.is_empty());
    let lost = blame::lost(errno, text) == Lost::AtLogin;
    if (lost && (!denying.is_empty() || !visible)) || (blame::cut_in_tls(errno, text) && !denying.is_empty()) {
        return denied(road, answer, &denying);
    }
    let code = blame::login_code(errno, text);
    // The replica's own certificate does not name the source: whom the endpoint leads to is the reason, not the certificate.
    if code == Code::TlsVerification
        && let Some(uuid) = straight_to(road)
        && let Some((one, _)) = servers(road.facts, Side::Replica).find(|(_, server)| server.server_uuid == uuid)
    {
        return itself(road, &format!("straight to the endpoint answers {uuid}, {}", named(Side::Replica, one)))
            .seen(text.trim());
    }
    let server = servers(road.facts, Side::Source)
        .next()
        .map_or_else(|| "the source".to_owned(), |(one, _)| named(Side::Source, one));
    let (what, hint) = match code {
        Code::ReplicationAccessDenied | Code::AddressRefused | Code::AccountClosed | Code::PluginMissing | Code::ReplicationNotGranted => (
            format!("the source refuses the replication account `{}` through `{host}`", account.user),
            Hint::text(format!(
                "the password is {}; the account's host part must cover the address in the error, which is a node's of the source and not a pod's of the replica",
                account.password
            ))
            .sql(server, format!("SELECT user, host, plugin, account_locked, password_expired FROM mysql.user WHERE user = {}", sql_text(&account.user))),
        ),
        Code::TlsRequired => (
            "the source demands TLS, and the channel's is disabled".to_owned(),
            Hint::text("set `replication.tls.mode: verify-identity` with the CA file on the members"),
        ),
        Code::PublicKeyNeeded => (
            format!("the source's password exchange for `{}` needs TLS or the server's public key", account.user),
            Hint::text("set `replication.tls.mode: verify-identity`; without TLS the channel gets GET_SOURCE_PUBLIC_KEY=1 by this tool"),
        ),
        Code::CaFileMissing => (
            format!("the CA file `{}` cannot be used in `{}`", link.replication.tls.ca().unwrap_or("(none)"), road.seen.member),
            with(
                Hint::text("the path is one in the member's container, where mysqld reads it: mount it there or correct `replication.tls.ca`"),
                road.kubectl().zip(link.replication.tls.ca()).map(|(kubectl, ca)| {
                    kubectl.line(&["exec", &road.seen.member, "-c", &road.spec.client.container, "--", "ls", "-l", ca])
                }),
            ),
        ),
        Code::TlsVerification => (tls_words(road, link), tls_hint(road, link)),
        Code::ServerFull => (
            "the source takes no more connections".to_owned(),
            Hint::text("free connections or raise the limit")
                .sql(server, "SHOW GLOBAL VARIABLES LIKE 'max_connections'"),
        ),
        Code::PathBroken => (
            format!("the login through `{host}` was cut off in a way not known here"),
            with(Hint::text("the source's error log says whether mysqld saw the login"), look_at_service(road)),
        ),
        _ => (
            format!("the source answers the login through `{host}` with an error"),
            Hint::text("the error is the server's own words"),
        ),
    };
    let problem = with_evidence(road, answer, code, what).hint(hint);
    certificates::explained(link, road.facts, Some(&road.seen.member), problem)
}

/// The server that answered the direct probe.
fn straight_to<'a>(road: &Road<'a>) -> Option<&'a str> {
    road.seen.direct.iter().find_map(|direct| match &direct.answer.got()?.end {
        ProbeEnd::Answered { server_uuid, .. } => Some(server_uuid.as_str()),
        _ => None,
    })
}

fn tls_words(road: &Road<'_>, link: ReplicationLink<'_>) -> String {
    match &link.replication.tls {
        Tls::VerifyIdentity { .. } => {
            format!("the source's certificate does not come from the CA or does not name `{}`", road.spec.host)
        }
        Tls::VerifyCa { .. } => "the source's certificate does not come from the CA".to_owned(),
        Tls::Required | Tls::Disabled => "the source and the client agree on no TLS".to_owned(),
    }
}

fn tls_hint(road: &Road<'_>, link: ReplicationLink<'_>) -> Hint {
    let hint = Hint::text(format!(
        "the certificate must be signed by the CA in `{}`, be valid now, and have `{}` among its subject alternative names; reissue it, or correct the CA file",
        link.replication.tls.ca().unwrap_or("(no CA)"),
        road.spec.host
    ));
    let server = servers(road.facts, Side::Source).next().map(|(one, _)| named(Side::Source, one));
    match server {
        Some(server) => hint.sql(server, "SELECT variable_name, variable_value FROM performance_schema.global_variables WHERE variable_name IN ('ssl_ca', 'ssl_cert', 'tls_version')"),
        None => hint,
    }
}

/// AuthorizationPolicies that speak of source pods with a sidecar.
pub(super) fn denying<'a>(road: &Road<'a>) -> Vec<&'a ObjectFacts> {
    let policies = road.facts.source.policies.as_ref().and_then(Fetched::got).map_or(&[][..], Vec::as_slice);
    let mut found: Vec<&ObjectFacts> = Vec::new();
    for one in pods(road.facts, Side::Source).filter(|one| matches!(one.pod.sidecar, Sidecar::Present { .. })) {
        for policy in policy::authorizations(policies, peer::source_namespace(road.spec), &one.pod.labels) {
            if !found.iter().any(|known| std::ptr::eq(*known, policy)) {
                found.push(policy);
            }
        }
    }
    found
}

pub(super) fn denied(road: &Road<'_>, answer: &ProbeAnswer, denying: &[&ObjectFacts]) -> Problem {
    let what = match &answer.end {
        ProbeEnd::Http { .. } => "the source's sidecar denies the request".to_owned(),
        _ => "the greeting arrives and the login is cut off: the source's sidecar judges the first bytes of the client and denies them".to_owned(),
    };
    let mut problem = with_evidence(road, answer, Code::AuthorizationDenied, what);
    for policy in denying {
        problem = problem.seen(policy::describe(policy));
    }
    let commands: Vec<Remedy> = source(road)
        .into_iter()
        .flat_map(|kubectl| {
            denying
                .iter()
                .map(|policy| {
                    kubectl.line_in(&policy.namespace, &["get", "authorizationpolicy", &policy.name, "-o", "yaml"])
                })
                .collect::<Vec<_>>()
        })
        .collect();
    problem.hint(with(
        Hint::text(format!(
            "let an ALLOW rule cover port {} for connections without a mesh identity (by `ports`, and `ipBlocks` if need be), or take the pods out of the policy",
            peer::source_port(road.spec, road.facts, road.seen.port)
        )),
        commands,
    ))
}
