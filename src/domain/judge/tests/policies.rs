//! AuthorizationPolicies as the source's sidecars evaluate them, PeerAuthentications that are void, NetworkPolicies of both sides.

use serde_json::{Value, json};

use super::{
    broken, check_of, commands,
    path::{probe, straight},
    replica, shown, source, unread, verdict,
};
use crate::domain::{
    check::{Side, Subject},
    code::Code,
    facts::{Facts, ObjectFacts, ProbeAnswer, ProbeEnd, Sidecar},
    judge::ids,
    problem::Fetched,
    sample::{endpoints_spec, facts, got, object, sources, spec},
    spec::{PortSpec, Protocol, ServiceSpec},
};

const SOURCE: Subject = Subject::Cluster(Side::Source);

fn guarded(policies: Vec<ObjectFacts>) -> Facts {
    let mut facts = facts();
    for one in sources(&mut facts) {
        one.pod().sidecar = Sidecar::Present { ready: true };
    }
    facts.source.policies = Some(Fetched::Got(policies));
    facts
}

fn policy(name: &str, spec: Value) -> ObjectFacts {
    object("AuthorizationPolicy", "pxc", name, "2026-11-20T00:00:00Z", spec)
}

fn decided(policies: Vec<ObjectFacts>) -> (&'static str, Option<Code>) {
    verdict(&check_of(&spec(), &guarded(policies), ids::SOURCE_AUTHORIZATION, &SOURCE))
}

const ALLOWED: (&str, Option<Code>) = ("passed", None);
const DENIED: (&str, Option<Code>) = ("failed", Some(Code::AuthorizationDenied));
const UNCERTAIN: (&str, Option<Code>) = ("warned", Some(Code::AuthorizationUncertain));

#[test]
fn a_connection_without_identity_is_judged_as_the_sidecar_judges_bytes() {
    let allow = |rule: Value| policy("allow", json!({"rules": [rule]}));
    let deny = |rule: Value| policy("deny", json!({"action": "DENY", "rules": [rule]}));
    let from = |source: Value| json!({"from": [{"source": source}]});
    let to = |operation: Value| json!({"to": [{"operation": operation}]});
    let when = |key: &str, values: Value| json!({"when": [{"key": key, "values": values}]});
    for (policies, wanted) in [
        (vec![], ALLOWED),
        // ALLOW: nothing without a rule, everything with an empty one.
        (vec![policy("nothing", json!({}))], DENIED),
        (vec![policy("nothing", json!({"action": "ALLOW", "rules": []}))], DENIED),
        (vec![allow(json!({}))], ALLOWED),
        (vec![allow(to(json!({"ports": ["3306"]})))], ALLOWED),
        (vec![allow(to(json!({"ports": ["33060", "8080"]})))], DENIED),
        (vec![allow(to(json!({"notPorts": ["3306"]})))], DENIED),
        (vec![allow(to(json!({"notPorts": ["8080"]})))], ALLOWED),
        (vec![allow(when("destination.port", json!(["3306"])))], ALLOWED),
        // Whoever has no identity is none of those named, and is all but those named.
        (vec![allow(from(json!({"principals": ["*"]})))], DENIED),
        (vec![allow(from(json!({"namespaces": ["pxc"]})))], DENIED),
        (vec![allow(from(json!({"notPrincipals": ["cluster.local/ns/shop/sa/web"]})))], ALLOWED),
        (vec![allow(when("source.principal", json!(["*"])))], DENIED),
        (vec![allow(when("connection.sni", json!(["pxc"])))], DENIED),
        // What only HTTP has takes the whole ALLOW rule away.
        (vec![allow(to(json!({"ports": ["3306"], "methods": ["GET"]})))], DENIED),
        (vec![allow(when("request.headers[x]", json!(["y"])))], DENIED),
        // One that allows is enough.
        (vec![policy("nothing", json!({})), allow(to(json!({"ports": ["3306"]})))], ALLOWED),
        // DENY comes first; what only HTTP has is passed over in it, which makes it wider.
        (vec![deny(json!({})), allow(json!({}))], DENIED),
        (vec![policy("deny", json!({"action": "DENY"}))], ALLOWED),
        (vec![deny(to(json!({"ports": ["3306"]})))], DENIED),
        (vec![deny(to(json!({"ports": ["8080"]})))], ALLOWED),
        (vec![deny(to(json!({"ports": ["3306"], "paths": ["/admin"]})))], DENIED),
        (vec![deny(from(json!({"principals": ["cluster.local/ns/shop/sa/web"]})))], ALLOWED),
        (vec![deny(from(json!({"notPrincipals": ["cluster.local/ns/pxc/sa/default"]})))], DENIED),
        // Addresses: all that are known, or only perhaps.
        (vec![allow(from(json!({"ipBlocks": ["0.0.0.0/0"]})))], ALLOWED),
        (vec![allow(from(json!({"ipBlocks": ["198.18.0.0/24"]})))], ALLOWED),
        (vec![allow(from(json!({"ipBlocks": ["198.18.0.11"]})))], UNCERTAIN),
        (vec![allow(from(json!({"ipBlocks": ["10.0.0.0/8"]})))], UNCERTAIN),
        (vec![deny(from(json!({"notIpBlocks": ["10.0.0.0/8"]})))], UNCERTAIN),
        // Others decide, or nobody does.
        (vec![policy("ext", json!({"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]}))], UNCERTAIN),
        (
            vec![policy(
                "ext",
                json!({"action": "CUSTOM", "provider": {"name": "x"}, "rules": [to(json!({"ports": ["80"]}))]}),
            )],
            ALLOWED,
        ),
        (vec![policy("audit", json!({"action": "AUDIT", "rules": [{}]}))], ALLOWED),
        (vec![ObjectFacts { dry_run: true, ..deny(json!({})) }], ALLOWED),
        // Not about these pods.
        (
            vec![policy("web", json!({"selector": {"matchLabels": {"app": "web"}}, "action": "DENY", "rules": [{}]}))],
            ALLOWED,
        ),
        (
            vec![object(
                "AuthorizationPolicy",
                "shop",
                "deny",
                "2026-11-20T00:00:00Z",
                json!({"action": "DENY", "rules": [{}]}),
            )],
            ALLOWED,
        ),
        (
            vec![object(
                "AuthorizationPolicy",
                "istio-system",
                "deny",
                "2026-11-20T00:00:00Z",
                json!({"action": "DENY", "rules": [{}]}),
            )],
            DENIED,
        ),
    ] {
        assert_eq!(decided(policies.clone()), wanted, "{policies:#?}");
    }
}

#[test]
fn http_is_judged_by_what_a_request_says_and_so_not_yet() {
    let mut link = spec();
    link.service =
        ServiceSpec::Ports(vec![PortSpec { number: 3306, name: "http".to_owned(), protocol: Protocol::Http }]);
    let rule = json!({"to": [{"operation": {"paths": ["/health"]}}]});
    let facts = guarded(vec![policy("paths", json!({"rules": [rule]}))]);
    assert_eq!(verdict(&check_of(&link, &facts, ids::SOURCE_AUTHORIZATION, &SOURCE)), UNCERTAIN);
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::SOURCE_AUTHORIZATION, &SOURCE)), DENIED);
}

#[test]
fn a_denial_names_the_policy_and_an_allow_is_widened_by_the_port() {
    let rule = json!({"from": [{"source": {"principals": ["cluster.local/ns/pxc/sa/default"]}}]});
    let check =
        check_of(&spec(), &guarded(vec![policy("mine", json!({"rules": [rule]}))]), ids::SOURCE_AUTHORIZATION, &SOURCE);
    assert!(shown(&check).contains("AuthorizationPolicy `pxc/mine`"), "{}", shown(&check));
    assert_eq!(
        commands(&check),
        [
            "kubectl --context production -n pxc patch authorizationpolicies.security.istio.io mine --type json -p '[{\"op\":\"add\",\"path\":\"/spec/rules/-\",\"value\":{\"to\":[{\"operation\":{\"ports\":[\"3306\"]}}]}}]'"
        ]
    );
    let check = check_of(&spec(), &guarded(vec![policy("none", json!({}))]), ids::SOURCE_AUTHORIZATION, &SOURCE);
    assert!(commands(&check)[0].contains(r#""path":"/spec/rules","value":[{"#), "{:?}", commands(&check));
}

#[test]
fn only_sidecars_that_take_the_port_judge_and_one_of_several_is_a_warning() {
    let all = || policy("deny", json!({"action": "DENY", "rules": [{}]}));
    let mut facts = guarded(vec![all()]);
    sources(&mut facts)[0]
        .pod()
        .annotations
        .insert("traffic.sidecar.istio.io/excludeInboundPorts".to_owned(), "4444, 3306".to_owned());
    let at = |facts: &Facts| verdict(&check_of(&spec(), facts, ids::SOURCE_AUTHORIZATION, &SOURCE));
    assert_eq!(at(&facts), DENIED, "the other member's sidecar still does");
    sources(&mut facts)[1].pod().sidecar = Sidecar::Absent;
    assert_eq!(at(&facts), ALLOWED);
    let mut facts = guarded(vec![policy(
        "one",
        json!({"selector": {"matchLabels": {"role": "first"}}, "action": "DENY", "rules": [{}]}),
    )]);
    sources(&mut facts)[0].pod().labels.insert("role".to_owned(), "first".to_owned());
    assert_eq!(at(&facts), ("warned", Some(Code::AuthorizationDenied)));
    facts.source.policies = Some(unread(Code::Forbidden));
    assert_eq!(at(&facts), ("unknown", Some(Code::Forbidden)));
}

#[test]
fn on_the_way_out_only_a_waypoint_judges() {
    let client = Subject::Cluster(Side::Replica);
    let mut facts = facts();
    let around = got(&mut facts.client.surroundings.authorizations);
    around.push(policy("inbound", json!({"action": "DENY", "rules": [{}]})));
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::CLIENT_AUTHORIZATION, &client)), ALLOWED);
    broken(ids::CLIENT_AUTHORIZATION, &client, ("warned", Code::AuthorizationUncertain), |_, facts| {
        let target = json!({"group": "networking.istio.io", "kind": "ServiceEntry", "name": "pxc-source-production"});
        got(&mut facts.client.surroundings.authorizations).push(policy("waypoint", json!({"targetRefs": [target]})));
    });
}

#[test]
fn a_younger_peer_authentication_is_void_and_the_older_one_is_named() {
    let peer = |name: &str, day: u8, mode: &str, port: &str| {
        let spec = json!({"selector": {"matchLabels": {"app": "pxc"}}, "mtls": {"mode": mode}, "portLevelMtls": {"3306": {"mode": port}}});
        object("PeerAuthentication", "pxc", name, &format!("2026-11-{day:02}T00:00:00Z"), spec)
    };
    let at = |policies: Vec<ObjectFacts>| check_of(&spec(), &guarded(policies), ids::SOURCE_PEERS, &SOURCE);
    let check = at(vec![peer("old", 1, "STRICT", "UNSET"), peer("new", 2, "UNSET", "DISABLE")]);
    assert_eq!(verdict(&check), ("warned", Some(Code::PeerAuthenticationVoid)));
    assert!(
        shown(&check).contains("`pxc/new` does nothing") && shown(&check).contains("`old` is older"),
        "{}",
        shown(&check)
    );
    assert!(commands(&check)[0].contains("patch peerauthentications.security.istio.io old"), "{:?}", commands(&check));
    for fine in [
        vec![],
        vec![peer("old", 1, "STRICT", "UNSET")],
        vec![peer("old", 1, "UNSET", "DISABLE"), peer("new", 2, "STRICT", "UNSET")],
        vec![peer("old", 1, "STRICT", "UNSET"), peer("new", 2, "UNSET", "STRICT")],
    ] {
        assert_eq!(verdict(&at(fine.clone())), ("passed", None), "{fine:#?}");
    }
}

fn network(name: &str, spec: Value) -> ObjectFacts {
    object("NetworkPolicy", "pxc", name, "2026-11-20T00:00:00Z", spec)
}

#[test]
fn a_member_that_may_connect_to_no_endpoint_is_warned_of() {
    let at = |policies: Vec<Value>| {
        let mut facts = facts();
        let policies = policies.into_iter().enumerate().map(|(number, spec)| network(&format!("p{number}"), spec));
        facts.client.surroundings.network_policies = Fetched::Got(policies.collect());
        check_of(&spec(), &facts, ids::EGRESS_OPEN, &replica(0))
    };
    let egress = |rules: Value| json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": rules});
    let to = |cidr: &str| json!({"to": [{"ipBlock": {"cidr": cidr}}]});
    for (open, policies) in [
        (true, vec![]),
        (true, vec![json!({"podSelector": {}, "policyTypes": ["Ingress"]})]),
        (true, vec![json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"]})]),
        (false, vec![egress(json!([]))]),
        (true, vec![egress(json!([{}]))]),
        (true, vec![egress(json!([to("198.18.0.0/24")]))]),
        (false, vec![egress(json!([to("198.18.0.11/32")]))]),
        (true, vec![egress(json!([to("198.18.0.11/32")])), egress(json!([to("198.18.0.21/32")]))]),
        (false, vec![egress(json!([{"to": [{"ipBlock": {"cidr": "198.18.0.0/24", "except": ["198.18.0.21/32"]}}]}]))]),
        (false, vec![egress(json!([{"to": [{"podSelector": {}}, {"namespaceSelector": {}}]}]))]),
        (false, vec![egress(json!([{"ports": [{"port": 3306}]}]))]),
        (true, vec![egress(json!([{"ports": [{"port": 30000, "endPort": 32767}]}]))]),
        (false, vec![egress(json!([{"ports": [{"port": 31306, "protocol": "UDP"}]}]))]),
        // Without policyTypes a rule of egress is what makes it about egress.
        (false, vec![json!({"podSelector": {}, "egress": []})]),
        (true, vec![json!({"podSelector": {}, "ingress": []})]),
    ] {
        let wanted = if open { ("passed", None) } else { ("warned", Some(Code::EgressPolicy)) };
        assert_eq!(verdict(&at(policies.clone())), wanted, "{policies:#?}");
    }
    let check = at(vec![egress(json!([]))]);
    assert!(shown(&check).contains("NetworkPolicy `pxc/p0`"), "{}", shown(&check));
    assert_eq!(
        commands(&check),
        [
            "kubectl --context dr -n pxc patch networkpolicy p0 --type json -p '[{\"op\":\"add\",\"path\":\"/spec/egress\",\"value\":[{\"ports\":[{\"port\":31306,\"protocol\":\"TCP\"}],\"to\":[{\"ipBlock\":{\"cidr\":\"198.18.0.11/32\"}},{\"ipBlock\":{\"cidr\":\"198.18.0.21/32\"}}]}]}]'"
        ]
    );
    let check = at(vec![egress(json!([to("10.0.0.0/8")]))]);
    assert!(commands(&check)[0].contains(r#""path":"/spec/egress/-""#), "{:?}", commands(&check));
}

#[test]
fn a_source_that_nobody_outside_may_connect_to_is_warned_of() {
    let at = |policy: Value| {
        let mut facts = facts();
        facts.source.surroundings.as_mut().unwrap().network_policies = Fetched::Got(vec![network("lock", policy)]);
        check_of(&spec(), &facts, ids::INGRESS_OPEN, &source(0))
    };
    let ingress = |rules: Value| json!({"podSelector": {"matchLabels": {"app": "pxc"}}, "policyTypes": ["Ingress"], "ingress": rules});
    for (open, policy) in [
        (false, ingress(json!([]))),
        (false, ingress(json!([{"from": [{"podSelector": {}}]}]))),
        (false, ingress(json!([{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]))),
        (true, ingress(json!([{"from": [{"ipBlock": {"cidr": "198.18.0.11/32"}}]}]))),
        (true, ingress(json!([{"from": [{"ipBlock": {"cidr": "198.18.0.12/32"}}]}]))),
        (true, ingress(json!([{"ports": [{"port": 3306}]}]))),
        (true, ingress(json!([{"ports": [{"port": "mysql"}]}]))),
        (false, ingress(json!([{"ports": [{"port": 33060}]}]))),
    ] {
        let wanted = if open { ("passed", None) } else { ("warned", Some(Code::IngressPolicy)) };
        assert_eq!(verdict(&at(policy.clone())), wanted, "{policy:#?}");
    }
    let check = at(ingress(json!([])));
    assert!(commands(&check)[0].contains("-n pxc patch networkpolicy lock"), "{:?}", commands(&check));
    assert!(shown(&check).contains("cannot be seen in the API"), "{}", shown(&check));
}

#[test]
fn what_may_not_be_read_is_unknown_and_of_a_source_out_of_sight_nothing_is_said() {
    broken(ids::EGRESS_OPEN, &replica(0), ("unknown", Code::Forbidden), |_, facts| {
        facts.client.surroundings.network_policies = unread(Code::Forbidden);
    });
    broken(ids::INGRESS_OPEN, &source(0), ("unknown", Code::Forbidden), |_, facts| {
        facts.source.surroundings.as_mut().unwrap().network_policies = unread(Code::Forbidden);
    });
    let mut facts = facts();
    facts.source.cluster = None;
    facts.source.policies = None;
    facts.source.surroundings = None;
    facts.source.members = Fetched::Got(Vec::new());
    let checks = crate::domain::judge::judge(&endpoints_spec(), &facts);
    let about = [ids::INGRESS_OPEN, ids::SOURCE_AUTHORIZATION, ids::SOURCE_PEERS];
    assert!(!checks.iter().any(|check| about.contains(&check.id)));
}

#[test]
fn an_endpoint_that_is_silent_behind_a_policy_is_blamed_on_the_policy() {
    let mut facts = facts();
    let silent = ProbeAnswer { by: "mysql client".into(), took_ms: 8_000, end: ProbeEnd::TimedOut };
    straight(&mut facts, &silent);
    probe(&mut facts, silent, 1, 1);
    let accepts = |facts: &Facts| check_of(&spec(), facts, ids::ENDPOINT_ACCEPTS, &replica(0));
    assert_eq!(verdict(&accepts(&facts)), ("failed", Some(Code::EndpointSilent)));
    let closed = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": []});
    facts.client.surroundings.network_policies = Fetched::Got(vec![network("closed", closed)]);
    let check = accepts(&facts);
    assert_eq!(verdict(&check), ("failed", Some(Code::EgressPolicy)));
    assert!(shown(&check).contains("cx_total +1"), "{check:#?}");
    facts.client.surroundings.network_policies = Fetched::Got(Vec::new());
    let closed = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []});
    facts.source.surroundings.as_mut().unwrap().network_policies = Fetched::Got(vec![network("closed", closed)]);
    assert_eq!(verdict(&accepts(&facts)), ("failed", Some(Code::IngressPolicy)));
}
