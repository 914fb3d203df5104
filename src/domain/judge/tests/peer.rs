//! Whether the source's sidecars take plain connections, and what takes a port out of mutual TLS.

use serde_json::{Value, json};

use crate::domain::{
    check::{Check, Outcome},
    code::Code,
    facts::{Facts, Sidecar},
    judge::{
        ids, mesh_preflight,
        peer::{exemptions, own_name},
    },
    sample::{facts, got, object, sources, spec, unlinked},
    spec::{PortSpec, Protocol, ServiceSpec},
};

/// A first setup against a source whose pods have sidecars, with policies there.
fn guarded(policies: Vec<(&str, &str, &str, Value)>) -> Facts {
    let mut facts = unlinked();
    for one in sources(&mut facts) {
        one.pod().sidecar = Sidecar::Present { ready: true };
    }
    let objects = policies.into_iter().enumerate().map(|(day, (kind, namespace, name, spec))| {
        object(kind, namespace, name, &format!("2026-11-{:02}T00:00:00Z", day + 1), spec)
    });
    *got(facts.source.policies.as_mut().unwrap()) = objects.collect();
    facts
}

fn judged(facts: &Facts) -> Vec<Check> {
    mesh_preflight(spec().mesh().unwrap(), facts).into_iter().filter(|check| check.id == ids::PEER_PLAIN).collect()
}

fn codes(facts: &Facts) -> Vec<Option<Code>> {
    let code = |check: &Check| match &check.outcome {
        Outcome::Failed(problem) => Some(problem.code),
        Outcome::Passed => None,
        other => panic!("{other:?}"),
    };
    judged(facts).iter().map(code).collect()
}

#[test]
fn a_sidecar_that_waits_is_found_before_anything_is_written() {
    assert_eq!(codes(&unlinked()), [None; 2], "no sidecar, nobody waits");
    assert_eq!(codes(&guarded(vec![])), [Some(Code::PermissiveHang); 2]);
    let strict = guarded(vec![("PeerAuthentication", "pxc", "all", json!({"mtls": {"mode": "STRICT"}}))]);
    assert_eq!(codes(&strict), [Some(Code::StrictHang); 2]);
    let hint = judged(&strict)[0].problem().and_then(|problem| problem.hint.clone()).unwrap();
    assert!(hint.text.contains("--disable-source-mtls"), "{hint:?}");
    let plain = guarded(vec![("PeerAuthentication", "pxc", "all", json!({"mtls": {"mode": "DISABLE"}}))]);
    assert_eq!(codes(&plain), [None; 2]);
}

#[test]
fn what_gets_through_is_not_called_stopped() {
    let mut linked = facts();
    for one in sources(&mut linked) {
        one.pod().sidecar = Sidecar::Present { ready: true };
    }
    assert_eq!(codes(&linked), [None; 2], "its channel is connected and its path proven");
    let mut first = guarded(vec![]);
    first.paths = facts().paths;
    assert_eq!(codes(&first), [None; 2], "its path is proven");
}

#[test]
fn a_port_left_to_the_pod_is_not_guarded() {
    let mut facts = guarded(vec![]);
    for one in sources(&mut facts) {
        let key = "traffic.sidecar.istio.io/excludeInboundPorts".to_owned();
        one.pod().annotations.insert(key, "4444, 3306".to_owned());
    }
    assert_eq!(codes(&facts), [None; 2]);
}

#[test]
fn the_policy_that_decides_is_changed_and_else_one_is_made() {
    let made = exemptions(spec().mesh().unwrap(), &guarded(vec![])).unwrap();
    assert_eq!(made.len(), 1, "one for both members: {made:?}");
    assert_eq!((made[0].existing.as_deref(), made[0].selector["app"].as_str()), (None, "pxc"));
    assert_eq!((&made[0].ports, &made[0].changed), (&[3306].into(), &[(3306, None)].into()));

    let own = json!({"selector": {"matchLabels": {"app": "pxc"}}, "mtls": {"mode": "STRICT"}});
    let policies = vec![
        ("PeerAuthentication", "pxc", "all", json!({"mtls": {"mode": "STRICT"}})),
        ("PeerAuthentication", "pxc", "old", own.clone()),
        ("PeerAuthentication", "pxc", "young", own),
    ];
    let changed = exemptions(spec().mesh().unwrap(), &guarded(policies)).unwrap();
    assert_eq!(changed.iter().map(|one| one.existing.as_deref()).collect::<Vec<_>>(), [Some("old")]);

    let plain = json!({"mtls": {"mode": "DISABLE"}});
    assert_eq!(
        exemptions(spec().mesh().unwrap(), &guarded(vec![("PeerAuthentication", "pxc", "all", plain)])).unwrap(),
        []
    );
}

#[test]
fn ports_that_are_plain_already_stay_so_when_another_is_added() {
    let mut spec = spec();
    let port = |number: u16, name: &str| PortSpec { number, name: name.to_owned(), protocol: Protocol::Tcp };
    spec.service = ServiceSpec::Ports(vec![port(3306, "tcp-mysql"), port(33060, "tcp-mysqlx")]);
    let policy = |name: &str, ports: Value| {
        let spec =
            json!({"selector": {"matchLabels": {"app": "pxc"}}, "mtls": {"mode": "STRICT"}, "portLevelMtls": ports});
        ("PeerAuthentication", "pxc", name.to_owned(), spec)
    };
    for name in [own_name(spec.mesh().unwrap()), "somebody".to_owned()] {
        let (kind, namespace, name, one) = policy(&name, json!({"3306": {"mode": "DISABLE"}}));
        let found = exemptions(spec.mesh().unwrap(), &guarded(vec![(kind, namespace, &name, one)])).unwrap();
        assert_eq!(found.len(), 1, "one apply says all of a policy's ports: {found:?}");
        assert_eq!(found[0].ports, [3306, 33060].into(), "{name}");
        assert_eq!(found[0].changed, [(33060, None)].into(), "{name}");
    }
    let both = json!({"3306": {"mode": "DISABLE"}, "33060": {"mode": "DISABLE"}});
    let (kind, namespace, name, one) = policy("somebody", both);
    assert_eq!(
        exemptions(spec.mesh().unwrap(), &guarded(vec![(kind, namespace, &name, one)])).unwrap(),
        [],
        "nothing to do"
    );
}

#[test]
fn an_authorization_by_identity_keeps_mutual_tls() {
    let from = |source: Value| json!([{"from": [{"source": source}]}]);
    let refused = [
        ("ALLOW", from(json!({"principals": ["cluster.local/ns/app/sa/app"]}))),
        ("DENY", from(json!({"notNamespaces": ["app"]}))),
        ("CUSTOM", from(json!({"serviceAccounts": ["app/app"]}))),
        ("ALLOW", json!([{"when": [{"key": "source.principal", "values": ["x"]}]}])),
        (
            "ALLOW",
            json!([
                {"to": [{"operation": {"ports": ["8080"]}}]},
                {"to": [{"operation": {"ports": ["3306"]}}], "from": [{"source": {"principals": ["x"]}}]},
            ]),
        ),
    ];
    for (action, rules) in refused {
        let policy = ("AuthorizationPolicy", "pxc", "who", json!({"action": action, "rules": rules}));
        let problem = exemptions(spec().mesh().unwrap(), &guarded(vec![policy])).unwrap_err();
        assert_eq!(problem.code, Code::IdentityNeeded, "{action} {rules}");
        assert!(problem.evidence[1].starts_with("rule "), "{problem:?}");
    }
    let harmless = [
        ("AUDIT", from(json!({"principals": ["x"]}))),
        ("ALLOW", from(json!({"ipBlocks": ["198.18.0.0/15"]}))),
        ("ALLOW", json!([{"from": [{"source": {"principals": ["x"]}}]}, {"to": [{"operation": {"ports": ["3306"]}}]}])),
        ("ALLOW", json!([{"to": [{"operation": {"ports": ["8080"]}}], "from": [{"source": {"principals": ["x"]}}]}])),
        ("DENY", json!([{"to": [{"operation": {"notPorts": ["3306"]}}], "from": [{"source": {"principals": ["x"]}}]}])),
        ("ALLOW", json!([{"when": [{"key": "source.ip", "values": ["198.18.0.1"]}]}])),
    ];
    for (action, rules) in harmless {
        let policy = ("AuthorizationPolicy", "pxc", "who", json!({"action": action, "rules": rules}));
        assert!(exemptions(spec().mesh().unwrap(), &guarded(vec![policy])).is_ok(), "{action} {rules}");
    }
    let elsewhere = json!({"selector": {"matchLabels": {"app": "web"}}, "rules": from(json!({"principals": ["x"]}))});
    assert!(
        exemptions(spec().mesh().unwrap(), &guarded(vec![("AuthorizationPolicy", "pxc", "web", elsewhere)])).is_ok()
    );
}
