//! The path up to the greeting: one failure of the field a test, told apart from its neighbours.

use serde_json::json;

use super::{broken, check_of, commands, replica, shown, unread, verdict};
use crate::domain::{
    check::Outcome,
    code::Code,
    facts::{EnvoyFacts, Facts, ProbeAnswer, ProbeEnd, Sidecar},
    judge::{ids, path},
    problem::Fetched,
    sample::{self, endpoints_spec, facts, got, host, ip, object, sources, spec},
};

const WAITING: &str = "ERROR 2013 (HY000): Lost connection to MySQL server at 'waiting for initial communication packet', system error: 110";
const READING: &str =
    "ERROR 2013 (HY000): Lost connection to MySQL server at 'reading initial communication packet', system error: 0";
const LOGIN: &str =
    "ERROR 2013 (HY000): Lost connection to MySQL server at 'reading authorization packet', system error: 104";

const REFUSED: &str = "ERROR 2003 (HY000): Can't connect to MySQL server on '198.18.0.11:31306' (111)";

/// The probe's client ended so.
pub(super) fn error(took_ms: u64, errno: u16, text: &str) -> ProbeAnswer {
    ProbeAnswer {
        by: "mysql client".to_owned(),
        took_ms,
        end: ProbeEnd::Error { errno: Some(errno), text: text.to_owned() },
    }
}

/// The probe from pxc-0 ends so, and the counters of the first endpoint moved so.
pub(super) fn probe(facts: &mut Facts, answer: ProbeAnswer, tried: u64, failed: u64) {
    facts.paths[0].probe = Fetched::Got(answer);
    facts.paths[0].after =
        Fetched::Got(vec![host("198.18.0.11:31306", 4 + tried, failed), host("198.18.0.21:31306", 2, 0)]);
}

/// Every endpoint that is asked straight by pxc-0 ends so.
pub(super) fn straight(facts: &mut Facts, answer: &ProbeAnswer) {
    for direct in &mut facts.paths[0].direct {
        direct.answer = Fetched::Got(answer.clone());
    }
}

fn envoy(facts: &mut Facts) -> &mut EnvoyFacts {
    got(&mut facts.paths[0].envoy)
}

fn meshed_source(facts: &mut Facts) {
    for one in sources(facts) {
        one.pod().sidecar = Sidecar::Present { ready: true };
    }
}

fn policies(facts: &mut Facts) -> &mut Vec<crate::domain::facts::ObjectFacts> {
    got(facts.source.policies.as_mut().unwrap())
}

/// Every check of the path after this one must be skipped because of it; the way past the mesh alone is judged by itself.
fn rest_is_skipped(facts: &Facts, because: crate::domain::check::CheckId) {
    let checks = path(spec().mesh().unwrap(), facts, "pxc-0", 3306);
    let at = checks.iter().position(|check| check.id == because).unwrap();
    for check in checks[at + 1..].iter().filter(|check| check.id != ids::ENDPOINT_DIRECT) {
        let Outcome::Skipped { because: (id, _) } = &check.outcome else { panic!("{check:#?}") };
        assert!(*id == because || checks[at + 1..].iter().any(|other| other.id == *id), "{check:#?}");
    }
}

#[test]
fn a_name_that_does_not_resolve_is_traced_to_who_should_answer() {
    let me = &replica(0);
    let silent = |facts: &mut Facts| got(&mut facts.paths[0].resolved).clear();

    let check = broken(ids::NAME_RESOLVES, me, ("failed", Code::NameUnresolved), |_, facts| {
        silent(facts);
        facts.paths[0].name_table = Fetched::Got(None);
        sample::replicas(facts)[0].pod().dns_capture = Some(false);
    });
    assert!(shown(&check).contains("DNS capture is off"), "{}", shown(&check));
    let argv = shell_words::split(&commands(&check)[0]).unwrap();
    assert_eq!(argv[..8].join(" "), "kubectl --context dr -n pxc patch statefulset pxc");
    let patch: serde_json::Value = serde_json::from_str(argv.last().unwrap()).unwrap();
    let config = patch.pointer("/spec/template/metadata/annotations/proxy.istio.io~1config").unwrap();
    let config: serde_json::Value = serde_json::from_str(config.as_str().unwrap()).unwrap();
    assert_eq!(config, json!({"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}}));

    let check = broken(ids::NAME_RESOLVES, me, ("failed", Code::NotInNameTable), |_, facts| {
        silent(facts);
        facts.paths[0].name_table = Fetched::Got(Some(Vec::new()));
    });
    assert!(commands(&check)[0].ends_with("get serviceentry -o yaml"));

    let check = broken(ids::NAME_RESOLVES, me, ("failed", Code::NameUnresolved), |_, facts| silent(facts));
    assert!(shown(&check).contains("does not get its answer"), "{}", shown(&check));

    broken(ids::NAME_RESOLVES, me, ("unknown", Code::ExecFailed), |_, facts| {
        facts.paths[0].resolved = unread(Code::ExecFailed);
    });
}

#[test]
fn a_certificate_that_is_the_replicas_own_leads_back_to_itself() {
    let text = "ERROR 2026 (HY000): SSL connection error: error:0A000086:SSL routines::certificate verify failed";
    let refused = |facts: &mut Facts, uuid: &str| {
        probe(facts, error(80, 2026, text), 1, 0);
        let end = ProbeEnd::Answered { server_uuid: uuid.into(), hostname: "pxc-0".into(), seen_as: "repl@x".into() };
        straight(facts, &ProbeAnswer { by: "mysql client".into(), took_ms: 9, end });
    };
    let me = &replica(0);
    let itself = ("failed", Code::SelfConnection);
    broken(ids::PATH_QUERY, me, itself, |_, facts| refused(facts, sample::REPLICA[0]));
    let foreign = ("failed", Code::TlsVerification);
    broken(ids::PATH_QUERY, me, foreign, |_, facts| refused(facts, sample::SOURCE[0]));
}

#[test]
fn a_name_that_resolves_elsewhere_is_not_tried() {
    for addresses in [vec!["93.184.216.34"], vec!["240.0.0.9"], vec![sample::VIP, "240.0.0.9"]] {
        let check = broken(ids::NAME_RESOLVES, &replica(0), ("failed", Code::NameElsewhere), |_, facts| {
            facts.paths[0].resolved = Fetched::Got(addresses.iter().map(|address| ip(address)).collect());
            probe(facts, error(100, 2003, "ERROR 2003 (HY000): Can't connect to MySQL server on 'h:3306' (111)"), 0, 0);
        });
        assert!(shown(&check).contains(&addresses.join(", ")));
    }
}

#[test]
fn the_listener_must_lead_to_the_mesh_name() {
    let me = &replica(0);
    broken(ids::ENVOY_LISTENER, me, ("failed", Code::NoListener), |_, facts| envoy(facts).listener_cluster = None);
    let check = broken(ids::ENVOY_LISTENER, me, ("failed", Code::NoListener), |_, facts| {
        envoy(facts).listener_error = Some("duplicate listener 240.0.0.7_3306".to_owned());
    });
    assert!(shown(&check).contains("duplicate listener"));
    broken(ids::ENVOY_LISTENER, me, ("failed", Code::VipInUse), |_, facts| {
        envoy(facts).listener_cluster = Some("outbound|3306||db.other.global".to_owned());
    });
    broken(ids::ENVOY_LISTENER, me, ("unknown", Code::ApiTimedOut), |_, facts| {
        facts.paths[0].envoy = unread(Code::ApiTimedOut);
    });
}

#[test]
fn the_endpoints_must_be_the_sources() {
    let me = &replica(0);
    for hosts in [None, Some(Vec::new()), Some(vec![host("198.18.0.99:31306", 0, 0)])] {
        broken(ids::ENVOY_ENDPOINTS, me, ("failed", Code::NoEndpoints), |_, facts| {
            envoy(facts).hosts.clone_from(&hosts);
        });
    }
    let check = broken(ids::ENVOY_ENDPOINTS, me, ("failed", Code::NoEndpoints), |_, facts| {
        for host in envoy(facts).hosts.as_mut().unwrap() {
            host.ejected = true;
        }
    });
    assert!(shown(&check).contains("ejected every endpoint"));
    broken(ids::ENVOY_ENDPOINTS, me, ("warned", Code::NoEndpoints), |_, facts| {
        envoy(facts).hosts.as_mut().unwrap().pop();
    });
}

#[test]
fn a_refusal_is_told_from_silence_by_its_speed() {
    let me = &replica(0);
    let refused = broken(ids::ENDPOINT_ACCEPTS, me, ("failed", Code::EndpointRefused), |_, facts| {
        probe(facts, error(90, 2013, READING), 1, 1);
        straight(facts, &error(40, 2003, REFUSED));
    });
    let text = shown(&refused);
    assert!(text.contains("cx_total +1, cx_connect_fail +1") && text.contains("198.18.0.11:31306"), "{text}");
    assert!(commands(&refused)[0].starts_with("kubectl --context production -n pxc get service pxc"));

    let silent = broken(ids::ENDPOINT_ACCEPTS, me, ("failed", Code::EndpointSilent), |_, facts| {
        probe(facts, error(5_050, 2013, READING), 1, 1);
        straight(facts, &error(8_000, 2003, WAITING));
    });
    assert!(silent.problem().unwrap().hint.as_ref().unwrap().text.contains("TCP port 31306"));
    broken(ids::ENDPOINT_ACCEPTS, me, ("failed", Code::EndpointSilent), |_, facts| {
        probe(facts, ProbeAnswer { by: "mysql client".into(), took_ms: 8_000, end: ProbeEnd::TimedOut }, 1, 1);
        straight(facts, &error(8_000, 2003, WAITING));
    });
    // What the endpoint itself says wins over the time the probe through the mesh took.
    broken(ids::ENDPOINT_ACCEPTS, me, ("failed", Code::EndpointRefused), |_, facts| {
        probe(facts, error(2_500, 2013, READING), 1, 1);
        straight(facts, &error(40, 2003, REFUSED));
    });
    // It answers past the sidecar, so that nothing of the network refuses.
    let kept_off = broken(ids::ENDPOINT_ACCEPTS, me, ("failed", Code::PathBroken), |_, facts| {
        probe(facts, error(90, 2013, READING), 1, 1);
    });
    broken(ids::ENDPOINT_ACCEPTS, me, ("failed", Code::PathBroken), |_, facts| {
        probe(facts, error(5_050, 2013, READING), 1, 1);
    });
    assert!(shown(&kept_off).contains("which answers the same pod past the sidecar"), "{kept_off:?}");
    let mut facts = facts();
    probe(&mut facts, error(90, 2013, READING), 1, 1);
    rest_is_skipped(&facts, ids::ENDPOINT_ACCEPTS);
}

#[test]
fn a_connection_that_the_sidecar_never_dialled_passed_it_by() {
    broken(ids::ENDPOINT_ACCEPTS, &replica(0), ("failed", Code::NotIntercepted), |_, facts| {
        probe(facts, error(5_000, 2003, "ERROR 2003 (HY000): Can't connect to MySQL server on 'h:3306' (110)"), 0, 0);
    });
}

#[test]
fn without_counters_nobody_is_blamed() {
    let check = broken(ids::ENDPOINT_ACCEPTS, &replica(0), ("unknown", Code::PathBroken), |_, facts| {
        probe(facts, error(5_000, 2013, WAITING), 1, 0);
        facts.paths[0].after = unread(Code::ApiTimedOut);
    });
    assert!(shown(&check).contains("it was tried and it failed"));
}

#[test]
fn counters_that_began_anew_are_all_of_this_probe() {
    broken(ids::GREETING_ARRIVES, &replica(0), ("failed", Code::PermissiveHang), |_, facts| {
        meshed_source(facts);
        facts.paths[0].probe = Fetched::Got(error(5_020, 2013, WAITING));
        facts.paths[0].after = Fetched::Got(vec![host("198.18.0.11:31306", 1, 0), host("198.18.0.21:31306", 2, 0)]);
    });
}

#[test]
fn a_permissive_sidecar_at_the_source_is_named() {
    let check = broken(ids::GREETING_ARRIVES, &replica(0), ("failed", Code::PermissiveHang), |_, facts| {
        meshed_source(facts);
        probe(facts, error(5_020, 2013, WAITING), 1, 0);
    });
    assert!(shown(&check).contains("cx_total +1, cx_connect_fail +0"), "{}", shown(&check));
    let argv = shell_words::split(&commands(&check)[0]).unwrap();
    assert_eq!(argv[..2], ["sh", "-c"]);
    assert_eq!(
        argv[2],
        "echo \"{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: pxc-link-production, namespace: pxc}, \
         spec: {selector: {matchLabels: {app: pxc}}, portLevelMtls: {3306: {mode: DISABLE}}}}\" \
         | kubectl --context production apply -f -"
    );
    let mut facts = facts();
    meshed_source(&mut facts);
    probe(&mut facts, error(5_020, 2013, WAITING), 1, 0);
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::ENDPOINT_ACCEPTS, &replica(0))), ("passed", None));
    rest_is_skipped(&facts, ids::GREETING_ARRIVES);
}

#[test]
fn a_strict_sidecar_hangs_alike_and_is_told_apart_by_its_policy() {
    let strict = json!({"mtls": {"mode": "STRICT"}});
    let check = broken(ids::GREETING_ARRIVES, &replica(0), ("failed", Code::StrictHang), |_, facts| {
        meshed_source(facts);
        policies(facts).push(object(
            "PeerAuthentication",
            "istio-system",
            "default",
            "2026-11-01T00:00:00Z",
            strict.clone(),
        ));
        probe(facts, ProbeAnswer { by: "mysql client".into(), took_ms: 8_000, end: ProbeEnd::TimedOut }, 1, 0);
    });
    assert!(shown(&check).contains("PeerAuthentication istio-system/default for the whole mesh"), "{}", shown(&check));
    assert_eq!(shell_words::split(&commands(&check)[0]).unwrap()[0], "sh");
}

#[test]
fn an_older_policy_of_the_workload_is_patched_because_a_second_would_be_void() {
    let own = json!({"selector": {"matchLabels": {"app": "pxc"}}, "mtls": {"mode": "STRICT"}});
    let check = broken(ids::GREETING_ARRIVES, &replica(0), ("failed", Code::StrictHang), |_, facts| {
        meshed_source(facts);
        policies(facts).push(object("PeerAuthentication", "pxc", "database", "2026-11-01T00:00:00Z", own.clone()));
        probe(facts, error(5_020, 2013, WAITING), 1, 0);
    });
    assert_eq!(
        commands(&check),
        [
            r#"kubectl --context production -n pxc patch peerauthentication database --type merge -p '{"spec":{"portLevelMtls":{"3306":{"mode":"DISABLE"}}}}'"#
        ]
    );
}

#[test]
fn policies_that_could_not_be_read_are_said_to_be_assumed() {
    let check = broken(ids::GREETING_ARRIVES, &replica(0), ("failed", Code::PermissiveHang), |_, facts| {
        meshed_source(facts);
        facts.source.policies = Some(unread(Code::Forbidden));
        probe(facts, error(5_020, 2013, WAITING), 1, 0);
    });
    assert!(shown(&check).contains("PeerAuthentications were not read"));
}

#[test]
fn a_hang_without_a_sidecar_to_blame_is_a_silent_endpoint() {
    let me = &replica(0);
    let disabled = json!({"selector": {"matchLabels": {"app": "pxc"}}, "portLevelMtls": {"3306": {"mode": "DISABLE"}}});
    let breaks: [&dyn Fn(&mut Facts); 4] = [
        &|_| {},
        &|facts| {
            meshed_source(facts);
            policies(facts).push(object("PeerAuthentication", "pxc", "mine", "2026-11-01T00:00:00Z", disabled.clone()));
        },
        &|facts| {
            meshed_source(facts);
            for one in sources(facts) {
                one.pod()
                    .annotations
                    .insert("traffic.sidecar.istio.io/excludeInboundPorts".to_owned(), "4444, 3306".to_owned());
            }
        },
        &|facts| facts.source.members = unread(Code::ApiUnreachable),
    ];
    for break_it in breaks {
        broken(ids::GREETING_ARRIVES, me, ("failed", Code::EndpointSilent), |_, facts| {
            break_it(facts);
            probe(facts, error(5_020, 2013, WAITING), 1, 0);
        });
    }
}

#[test]
fn a_connection_closed_at_once_is_no_hang() {
    broken(ids::GREETING_ARRIVES, &replica(0), ("failed", Code::PathBroken), |_, facts| {
        meshed_source(facts);
        probe(facts, error(60, 2013, READING), 1, 0);
    });
}

#[test]
fn a_hang_at_the_replicas_own_node_leads_back_to_itself() {
    let own = |facts: &mut Facts| {
        envoy(facts).hosts = Some(vec![host("198.18.0.12:31306", 0, 0)]);
        facts.paths[0].probe = Fetched::Got(error(5_020, 2013, WAITING));
        facts.paths[0].after = Fetched::Got(vec![host("198.18.0.12:31306", 1, 0)]);
    };
    let (mut spec, mut facts) = (endpoints_spec(), facts());
    sample::mesh(&mut spec).source =
        crate::domain::spec::SourceLocation::Endpoints(vec![sample::endpoint("198.18.0.12:31306")]);
    facts.source.cluster = None;
    sources(&mut facts).clear();
    own(&mut facts);
    let check = check_of(&spec, &facts, ids::GREETING_ARRIVES, &replica(0));
    assert_eq!(verdict(&check), ("failed", Some(Code::SelfConnection)));
    assert!(shown(&check).contains("endpoint 198.18.0.12:31306 is the node of replica pxc-0"), "{}", shown(&check));
}

#[test]
fn authorization_lets_the_greeting_through_and_cuts_the_login() {
    let me = &replica(0);
    let deny = json!({"selector": {"matchLabels": {"app": "pxc"}}, "action": "ALLOW", "rules": [{"from": [{"source": {"principals": ["x"]}}]}]});
    let denying = |facts: &mut Facts| {
        meshed_source(facts);
        policies(facts).push(object("AuthorizationPolicy", "pxc", "only-x", "2026-11-01T00:00:00Z", deny.clone()));
        policies(facts).push(object("AuthorizationPolicy", "shop", "not-here", "2026-11-01T00:00:00Z", json!({})));
    };
    let check = broken(ids::PATH_QUERY, me, ("failed", Code::AuthorizationDenied), |_, facts| {
        denying(facts);
        probe(facts, error(80, 2013, LOGIN), 1, 0);
    });
    assert!(
        shown(&check).contains("AuthorizationPolicy pxc/only-x for app=pxc: action ALLOW with 1 rule(s)"),
        "{}",
        shown(&check)
    );
    assert!(!shown(&check).contains("not-here"));
    assert_eq!(commands(&check), ["kubectl --context production -n pxc get authorizationpolicy only-x -o yaml"]);
    // With TLS the first bytes of the client are its TLS request, so the cut shows in the handshake.
    broken(ids::PATH_QUERY, me, ("failed", Code::AuthorizationDenied), |_, facts| {
        denying(facts);
        probe(
            facts,
            error(
                80,
                2026,
                "ERROR 2026 (HY000): SSL connection error: error:0A000126:SSL routines::unexpected eof while reading",
            ),
            1,
            0,
        );
    });
    // Without a policy the mesh is not to blame.
    broken(ids::PATH_QUERY, me, ("failed", Code::PathBroken), |_, facts| {
        meshed_source(facts);
        probe(facts, error(80, 2013, LOGIN), 1, 0);
    });
    let mut facts = facts();
    denying(&mut facts);
    probe(&mut facts, error(80, 2013, LOGIN), 1, 0);
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::GREETING_ARRIVES, me)), ("passed", None));
}
