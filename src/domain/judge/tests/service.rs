//! The path to a service that is not MySQL: HTTP and plain ports, and the way past the mesh, of MySQL too.

use serde_json::json;

use super::{broken, check_of, commands, replica, shown, unread, verdict};
use crate::domain::{
    check::{Check, CheckId, Outcome, Side, Subject},
    code::Code,
    facts::{DirectFacts, EnvoyFacts, EnvoyHost, Facts, Moved, PathFacts, ProbeAnswer, ProbeEnd, Sidecar},
    judge::{blocking, ids, judge},
    problem::Fetched,
    sample::{self, endpoint, got, object, sources},
    spec::{LinkSpec, PortSpec, Protocol, ServiceSpec},
};

const HOST: &str = "pxc-source.production.global";
const GONE: &str = "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure";
const CUT: &str = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
const HTTP: u16 = 8080;
const PLAIN: u16 = 9000;

fn spec() -> LinkSpec {
    let port = |number, name: &str, protocol| PortSpec { number, name: name.to_owned(), protocol };
    let ports = vec![port(HTTP, "http", Protocol::Http), port(PLAIN, "tcp-echo", Protocol::Tcp)];
    LinkSpec { service: ServiceSpec::Ports(ports), ..sample::spec() }
}

fn http(status: u16, upstream: bool, body: &str) -> ProbeEnd {
    ProbeEnd::Http { status, upstream, body: body.to_owned() }
}

fn answer(took_ms: u64, end: ProbeEnd) -> ProbeAnswer {
    ProbeAnswer { by: "bash in container pxc".to_owned(), took_ms, end }
}

fn host(node_port: u16, total: u64, failed: u64, requests: u64) -> EnvoyHost {
    EnvoyHost { rq_total: requests, ..sample::host(&format!("198.18.0.11:{node_port}"), total, failed) }
}

fn path(port: u16, node_port: u16, end: &ProbeEnd) -> PathFacts {
    let direct = DirectFacts {
        endpoint: endpoint(&format!("198.18.0.11:{node_port}")),
        answer: Fetched::Got(answer(90, end.clone())),
        moved: Some(Moved { tried: 1, failed: 0, reached: 1 }),
    };
    PathFacts {
        port,
        envoy: Fetched::Got(EnvoyFacts {
            listener_cluster: Some(format!("outbound|{port}||{HOST}")),
            listener_error: None,
            hosts: Some(vec![host(node_port, 4, 0, 4)]),
            catch_all: Some("PassthroughCluster".to_owned()),
        }),
        after: Fetched::Got(vec![host(node_port, 5, 0, 5)]),
        probe: Fetched::Got(answer(100, end.clone())),
        direct: vec![direct],
        ..sample::path("pxc-0")
    }
}

/// One client, both ports answering.
fn facts() -> Facts {
    let mut facts = sample::facts();
    for one in sources(&mut facts) {
        one.server = None;
    }
    sample::replicas(&mut facts).truncate(1);
    sample::replicas(&mut facts)[0].server = None;
    sample::source_service(&mut facts).ports =
        vec![sample::service_port(HTTP, Some(31080)), sample::service_port(PLAIN, Some(31900))];
    got(&mut facts.client.mesh).entries[0].ports =
        vec![sample::named_port(HTTP, "HTTP"), sample::named_port(PLAIN, "TCP")];
    let entry = &mut got(&mut facts.client.mesh).entries[0].endpoints;
    entry.truncate(1);
    entry[0].ports = [("http".to_owned(), 31080), ("tcp-echo".to_owned(), 31900)].into();
    got(facts.source.nodes.as_mut().unwrap()).retain(|node| node.name == "production-0");
    facts.paths = vec![path(HTTP, 31080, &http(200, true, "Hello")), path(PLAIN, 31900, &ProbeEnd::Open)];
    facts
}

fn pod() -> Subject {
    Subject::Member(Side::Client, "pxc-0".to_owned())
}

fn at(port: u16) -> Subject {
    Subject::Port(Side::Client, "pxc-0".to_owned(), port)
}

/// The path to a port: what the name's probe met, how the counters moved, and what came straight.
struct Seen {
    took_ms: u64,
    end: ProbeEnd,
    moved: (u64, u64, u64),
    straight: ProbeEnd,
    past: Option<(u64, u64, u64)>,
}

fn seen(facts: &mut Facts, port: u16, seen: Seen) {
    let path = facts.paths.iter_mut().find(|path| path.port == port).unwrap();
    let (tried, failed, reached) = seen.moved;
    path.probe = Fetched::Got(answer(seen.took_ms, seen.end));
    let node_port = path.direct[0].endpoint.port;
    path.after = Fetched::Got(vec![host(node_port, 4 + tried, failed, 4 + reached)]);
    path.direct[0].answer = Fetched::Got(answer(seen.took_ms, seen.straight));
    path.direct[0].moved = seen.past.map(|(tried, failed, reached)| Moved { tried, failed, reached });
}

fn judged(facts: &Facts, id: CheckId, port: u16) -> Check {
    check_of(&spec(), facts, id, &at(port))
}

fn verdicts(facts: &Facts, port: u16) -> [(&'static str, Option<Code>); 3] {
    [ids::ENDPOINT_ACCEPTS, ids::SERVICE_ANSWERS, ids::ENDPOINT_DIRECT].map(|id| verdict(&judged(facts, id, port)))
}

const PASSED: (&str, Option<Code>) = ("passed", None);
const SKIPPED: (&str, Option<Code>) = ("skipped", None);

#[test]
fn two_ports_that_answer_pass_and_what_is_of_the_pod_is_judged_once() {
    let checks = judge(&spec(), &facts());
    for check in &checks {
        assert_eq!(check.outcome, Outcome::Passed, "{check:#?}");
    }
    let count = |id| checks.iter().filter(|check| check.id == id).count();
    assert_eq!((count(ids::NAME_RESOLVES), count(ids::NAME_TABLE), count(ids::SERVICE_ANSWERS)), (1, 1, 2));
    assert_eq!(count(ids::PATH_QUERY) + count(ids::CHANNEL_UNIQUE) + count(ids::GTID_MODE), 0);
    let plain = judged(&facts(), ids::SERVICE_ANSWERS, PLAIN);
    assert!(plain.evidence[0].contains("an endpoint took the connection"), "what is proven is said: {plain:#?}");
}

#[test]
fn every_status_of_the_service_itself_is_an_answer() {
    for status in [200, 301, 404, 418, 500, 503] {
        let mut facts = facts();
        let end = http(status, true, "closed for today");
        seen(&mut facts, HTTP, Seen { took_ms: 80, end: end.clone(), moved: (0, 0, 1), straight: end, past: None });
        assert_eq!(verdicts(&facts, HTTP), [PASSED; 3], "{status}");
    }
    // A mesh that takes the header away leaves the counters.
    let mut facts = facts();
    let end = http(503, false, "closed for today");
    seen(&mut facts, HTTP, Seen { took_ms: 80, end: end.clone(), moved: (1, 0, 1), straight: end, past: None });
    assert_eq!(verdicts(&facts, HTTP), [PASSED; 3]);
}

#[test]
fn a_503_of_the_sidecar_is_none() {
    let mut refused = facts();
    let end = http(503, false, GONE);
    let moved = (3, 3, 0);
    seen(
        &mut refused,
        HTTP,
        Seen { took_ms: 160, end: end.clone(), moved, straight: ProbeEnd::Closed, past: Some((1, 1, 0)) },
    );
    assert_eq!(verdicts(&refused, HTTP), [("failed", Some(Code::EndpointRefused)), SKIPPED, SKIPPED]);
    let text = shown(&judged(&refused, ids::ENDPOINT_ACCEPTS, HTTP));
    assert!(
        text.contains("cx_connect_fail +3, rq_total +0") && text.contains("straight to the endpoint 198.18.0.11:31080"),
        "{text}"
    );
    let mut silent = facts();
    seen(&mut silent, HTTP, Seen { took_ms: 15_200, end, moved, straight: ProbeEnd::TimedOut, past: Some((1, 1, 0)) });
    assert_eq!(verdicts(&silent, HTTP), [("failed", Some(Code::EndpointSilent)), SKIPPED, SKIPPED]);
    let mut nobody = facts();
    let end = http(503, false, "no healthy upstream");
    let straight = http(200, false, "Hello");
    seen(&mut nobody, HTTP, Seen { took_ms: 20, end, moved: (0, 0, 0), straight, past: None });
    assert_eq!(verdicts(&nobody, HTTP), [("failed", Some(Code::NotIntercepted)), SKIPPED, PASSED]);
}

#[test]
fn an_answer_that_the_sidecar_did_not_ask_for_is_somebody_elses() {
    let mut facts = facts();
    let end = http(200, false, "a public page");
    seen(
        &mut facts,
        HTTP,
        Seen { took_ms: 80, end, moved: (0, 0, 0), straight: ProbeEnd::TimedOut, past: Some((1, 0, 0)) },
    );
    assert_eq!(verdicts(&facts, HTTP), [("failed", Some(Code::NotIntercepted)), SKIPPED, SKIPPED]);
    assert!(shown(&judged(&facts, ids::ENDPOINT_ACCEPTS, HTTP)).contains("something answers the client"));
}

#[test]
fn what_the_sources_side_says_in_the_services_place_is_told_apart() {
    for (end, code) in [
        (http(503, true, GONE), Code::AnotherProxy),
        (http(403, true, "RBAC: access denied"), Code::AuthorizationDenied),
        (http(503, false, CUT), Code::NoAnswer),
        (ProbeEnd::TimedOut, Code::NoAnswer),
    ] {
        let mut facts = facts();
        let straight = ProbeEnd::TimedOut;
        seen(&mut facts, HTTP, Seen { took_ms: 90, end, moved: (1, 0, 1), straight, past: Some((1, 0, 1)) });
        assert_eq!(verdicts(&facts, HTTP), [PASSED, ("failed", Some(code)), SKIPPED]);
    }
    let mut facts = facts();
    sources(&mut facts)[0].pod().sidecar = Sidecar::Present { ready: true };
    let strict =
        object("PeerAuthentication", "pxc", "strict", "2026-11-01T00:00:00Z", json!({"mtls": {"mode": "STRICT"}}));
    got(facts.source.policies.as_mut().unwrap()).push(strict);
    let straight = ProbeEnd::Closed;
    seen(
        &mut facts,
        HTTP,
        Seen { took_ms: 90, end: http(503, false, CUT), moved: (1, 0, 1), straight, past: Some((1, 0, 1)) },
    );
    assert_eq!(verdicts(&facts, HTTP), [PASSED, ("failed", Some(Code::StrictHang)), SKIPPED]);
    assert!(commands(&judged(&facts, ids::SERVICE_ANSWERS, HTTP))[0].contains("8080: {mode: DISABLE}"));
}

#[test]
fn a_plain_port_is_reached_when_envoy_counts_a_connection_that_stands() {
    let plain = |end: ProbeEnd, took_ms, moved, past| {
        let mut facts = facts();
        seen(&mut facts, PLAIN, Seen { took_ms, end: end.clone(), moved, straight: end, past: Some(past) });
        verdicts(&facts, PLAIN)
    };
    let spoke = || ProbeEnd::Spoke { first: "220 hello".to_owned() };
    assert_eq!(plain(spoke(), 90, (1, 0, 1), (1, 0, 1)), [PASSED; 3]);
    assert_eq!(plain(ProbeEnd::Open, 3_100, (1, 0, 1), (1, 0, 1)), [PASSED; 3]);
    let failed = |code| ("failed", Some(code));
    // Still being dialled: the client sees the same silence.
    assert_eq!(plain(ProbeEnd::Open, 3_100, (1, 0, 0), (1, 0, 0)), [failed(Code::EndpointSilent), SKIPPED, SKIPPED]);
    assert_eq!(plain(ProbeEnd::Closed, 40, (1, 1, 0), (1, 1, 0)), [failed(Code::EndpointRefused), SKIPPED, SKIPPED]);
    assert_eq!(plain(ProbeEnd::Closed, 3_000, (1, 1, 0), (1, 1, 0)), [failed(Code::EndpointSilent), SKIPPED, SKIPPED]);
    assert_eq!(plain(ProbeEnd::Closed, 40, (1, 0, 1), (1, 0, 1)), [PASSED, failed(Code::NoAnswer), SKIPPED]);
    assert_eq!(plain(spoke(), 90, (0, 0, 0), (1, 0, 1)), [failed(Code::NotIntercepted), SKIPPED, PASSED]);
    assert_eq!(plain(ProbeEnd::Open, 3_100, (0, 0, 0), (1, 0, 1)), [failed(Code::NotIntercepted), SKIPPED, PASSED]);
}

#[test]
fn silence_before_a_sidecar_of_the_source_may_be_a_hang() {
    let mut facts = facts();
    sources(&mut facts)[0].pod().sidecar = Sidecar::Present { ready: true };
    assert_eq!(verdict(&judged(&facts, ids::SERVICE_ANSWERS, PLAIN)), ("warned", Some(Code::PermissiveHang)));
    assert_eq!(verdict(&judged(&facts, ids::SERVICE_ANSWERS, HTTP)), PASSED);
    assert_eq!(blocking(&judge(&spec(), &facts)), None, "a client-first service works all the same");
    let strict =
        object("PeerAuthentication", "pxc", "strict", "2026-11-01T00:00:00Z", json!({"mtls": {"mode": "STRICT"}}));
    got(facts.source.policies.as_mut().unwrap()).push(strict);
    assert_eq!(verdict(&judged(&facts, ids::SERVICE_ANSWERS, PLAIN)), ("failed", Some(Code::StrictHang)));
}

#[test]
fn without_a_program_or_counters_nothing_is_proven() {
    let mut none = facts();
    let end = ProbeEnd::NoClient;
    seen(&mut none, HTTP, Seen { took_ms: 20, end: end.clone(), moved: (0, 0, 0), straight: end, past: None });
    assert_eq!(verdicts(&none, HTTP), [SKIPPED, ("unknown", Some(Code::NoProbe)), SKIPPED]);
    assert!(shown(&judged(&none, ids::SERVICE_ANSWERS, HTTP)).contains("container `pxc` of `pxc-0`"));
    // Nor has it `getent`: that is the same gap, told once.
    none.paths[0].resolved = unread(Code::NoProbe);
    assert_eq!(verdict(&check_of(&spec(), &none, ids::NAME_RESOLVES, &pod())), SKIPPED);
    assert_eq!(blocking(&judge(&spec(), &none)).map(|check| check.id), Some(ids::SERVICE_ANSWERS));
    let mut busybox = facts();
    busybox.paths[0].resolved = unread(Code::NoProbe);
    assert_eq!(blocking(&judge(&spec(), &busybox)), None, "what answers the probe through the name has resolved it");
    let mut blind = facts();
    blind.paths[1].after = unread(Code::ApiTimedOut);
    assert_eq!(verdict(&judged(&blind, ids::ENDPOINT_ACCEPTS, PLAIN)), ("unknown", Some(Code::PathBroken)));
    blind.paths[0].after = unread(Code::ApiTimedOut);
    assert_eq!(
        verdict(&judged(&blind, ids::SERVICE_ANSWERS, HTTP)),
        PASSED,
        "what came from behind the sidecar proves itself"
    );
}

#[test]
fn the_way_past_the_mesh_tells_the_mesh_from_the_network() {
    let me = replica(0);
    let end = |end: ProbeEnd| Fetched::Got(ProbeAnswer { by: "mysql client".to_owned(), took_ms: 60, end });
    let refusal = ProbeEnd::Error {
        errno: Some(2003),
        text: "ERROR 2003 (HY000): Can't connect to MySQL server on 'x' (111)".into(),
    };
    let direct = |facts: &Facts| check_of(&sample::spec(), facts, ids::ENDPOINT_DIRECT, &me);

    // The name works, one endpoint of two does not.
    let dead = broken(ids::ENDPOINT_DIRECT, &me, ("warned", Code::EndpointDead), |_, facts| {
        facts.paths[0].direct[1].answer = end(refusal.clone());
    });
    assert!(
        shown(&dead).contains("1 of 2 endpoints") && shown(&dead).contains("198.18.0.21:31306"),
        "{}",
        shown(&dead)
    );

    // The mesh forbids it and the name works: as somebody wants it.
    let mut only = sample::facts();
    got(&mut only.paths[0].envoy).catch_all = Some("BlackHoleCluster".to_owned());
    let cut = ProbeEnd::Error { errno: Some(2013), text: "ERROR 2013 (HY000): Lost connection to MySQL server at 'reading initial communication packet', system error: 0".into() };
    for one in &mut only.paths[0].direct {
        one.answer = end(cut.clone());
    }
    let check = direct(&only);
    assert_eq!(verdict(&check), PASSED);
    assert!(check.evidence[0].contains("REGISTRY_ONLY"));
    // … and the name does not work: it tells nothing.
    got(&mut only.paths[0].resolved).clear();
    only.paths[0].probe = end(cut);
    assert_eq!(verdict(&direct(&only)), SKIPPED);

    // The name fails before any connection: works directly, but not by name.
    let mut unnamed = sample::facts();
    got(&mut unnamed.paths[0].resolved).clear();
    unnamed.paths[0].probe =
        end(ProbeEnd::Error { errno: Some(2005), text: "ERROR 2005 (HY000): Unknown MySQL server host".into() });
    let check = direct(&unnamed);
    assert_eq!(verdict(&check), PASSED);
    assert!(check.evidence[0].contains("not the network"), "{check:#?}");
    // Neither way.
    for one in &mut unnamed.paths[0].direct {
        one.answer = end(refusal.clone());
    }
    assert_eq!(verdict(&direct(&unnamed)), ("failed", Some(Code::EndpointRefused)));
}
