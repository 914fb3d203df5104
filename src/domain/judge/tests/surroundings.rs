//! What surrounds the link in the client's mesh: visibility, rules, names and ports of others, Services of both clusters.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{blocking, broken, check_of, commands, replica, shown, unread, verdict};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    facts::{Facts, NamedPort, NamedRule, NamedService, OwnObject},
    judge::{ids, judge},
    problem::Fetched,
    sample::{self, facts, got, mesh_config, named_port, object, other_entry, replicas, spec},
};

fn namespace() -> Subject {
    Subject::Object(Side::Replica, "Namespace/pxc".to_owned())
}

fn configured(settings: Value) -> Facts {
    let mut facts = facts();
    facts.client.surroundings.mesh_configs = Fetched::Got(vec![mesh_config(settings)]);
    facts
}

#[test]
fn a_namespace_that_no_discovery_selector_selects_is_labelled() {
    let at = |settings: Value| check_of(&spec(), &configured(settings), ids::NAMESPACE_DISCOVERED, &namespace());
    let select = |label: &str| json!({"discoverySelectors": [{"matchLabels": {label: "enabled"}}]});
    assert_eq!(verdict(&at(json!({"discoverySelectors": []}))), ("passed", None));
    assert_eq!(verdict(&at(select("istio-injection"))), ("passed", None));
    let check = at(select("mesh"));
    assert_eq!(verdict(&check), ("failed", Some(Code::NamespaceUndiscovered)));
    assert_eq!(commands(&check), ["kubectl --context dr label namespace pxc 'mesh=enabled' --overwrite"]);
    assert!(shown(&check).contains("istio-injection=enabled"), "{}", shown(&check));
}

#[test]
fn entries_that_the_mesh_hides_are_found_and_only_where_sidecars_heed_it() {
    let at = |visibility: Value| {
        verdict(&check_of(
            &spec(),
            &configured(json!({"serviceEntryVisibility": visibility})),
            ids::ENTRIES_ADMITTED,
            &namespace(),
        ))
    };
    let hidden = ("failed", Some(Code::EntriesHidden));
    let rule = |label: &str| json!([{"namespaceSelector": {"matchLabels": {label: "enabled"}}}]);
    assert_eq!(at(json!({"defaultVisibility": "NONE"})), ("passed", None), "ambient only");
    assert_eq!(at(json!({"applyToSidecars": true, "defaultVisibility": "NONE"})), hidden);
    assert_eq!(at(json!({"applyToSidecars": true, "defaultVisibility": "NAMESPACE"})), ("passed", None));
    let policies = |label: &str| json!([{"visibility": "NAMESPACE", "matchingRules": rule(label)}]);
    let with = |label: &str| json!({"applyToSidecars": true, "defaultVisibility": "NONE", "policies": policies(label)});
    assert_eq!(at(with("istio-injection")), ("passed", None));
    assert_eq!(at(with("other")), hidden);
    let all = json!({"applyToSidecars": true, "policies": [{"visibility": "NONE", "matchingRules": []}]});
    assert_eq!(at(all), hidden, "a policy without rules is about everybody");
}

#[test]
fn which_configuration_holds_must_be_known() {
    let mut facts = facts();
    let one =
        |revision: &str| crate::domain::facts::MeshConfigFacts { revision: revision.to_owned(), settings: json!({}) };
    facts.client.surroundings.mesh_configs = Fetched::Got(vec![one("1-30"), one("1-31")]);
    let at = |facts: &Facts| verdict(&check_of(&spec(), facts, ids::NAMESPACE_DISCOVERED, &namespace()));
    assert_eq!(at(&facts), ("unknown", Some(Code::ControlPlaneUnseen)));
    for one in replicas(&mut facts) {
        one.pod().labels.insert("istio.io/rev".to_owned(), "1-31".to_owned());
    }
    assert_eq!(at(&facts), ("passed", None));
    facts.client.surroundings.mesh_configs = unread(Code::Forbidden);
    assert_eq!(at(&facts), ("unknown", Some(Code::Forbidden)));
    assert_eq!(blocking(&judge(&spec(), &facts)), None, "what only advises stops nothing");
}

fn sidecar(namespace: &str, name: &str, spec: Value) -> crate::domain::facts::ObjectFacts {
    object("Sidecar", namespace, name, "2026-11-20T00:00:00Z", spec)
}

fn imported(sidecars: Vec<crate::domain::facts::ObjectFacts>) -> Check {
    let mut facts = facts();
    facts.client.surroundings.sidecars = Fetched::Got(sidecars);
    check_of(&spec(), &facts, ids::ENTRY_IMPORTED, &replica(0))
}

fn hosts(hosts: &[&str]) -> Value {
    json!({"egress": [{ "hosts": hosts }]})
}

#[test]
fn a_sidecar_resource_imports_the_name_or_hides_it() {
    for (spec, visible) in [
        (json!({}), true),
        (hosts(&["./*"]), true),
        (hosts(&["*/*"]), true),
        (hosts(&["pxc/*"]), true),
        (hosts(&["./pxc-source.production.global"]), true),
        (hosts(&["*/*.global"]), true),
        (hosts(&["istio-system/*"]), false),
        (hosts(&["shop/pxc-source.production.global"]), false),
        (hosts(&["./*.svc.cluster.local", "istio-system/*"]), false),
        (hosts(&["~/*"]), false),
        (hosts(&["*/*", "~./*.global"]), false),
        (json!({"egress": [{"port": {"number": 3306}, "hosts": ["./*"]}]}), true),
        (json!({"egress": [{"port": {"number": 80}, "hosts": ["./*"]}]}), false),
    ] {
        let wanted = if visible { ("passed", None) } else { ("failed", Some(Code::SidecarHides)) };
        assert_eq!(verdict(&imported(vec![sidecar("pxc", "default", spec.clone())])), wanted, "{spec}");
    }
}

#[test]
fn the_one_sidecar_resource_that_holds_is_judged() {
    let closed = || hosts(&["istio-system/*"]);
    let selecting = |label: &str, mut spec: Value| {
        spec["workloadSelector"] = json!({"labels": {"app": label}});
        spec
    };
    let verdict_of = |sidecars| verdict(&imported(sidecars)).0;
    assert_eq!(verdict_of(vec![sidecar("istio-system", "mesh", closed())]), "failed");
    assert_eq!(verdict_of(vec![sidecar("istio-system", "mesh", selecting("pxc", closed()))]), "passed");
    assert_eq!(
        verdict_of(vec![sidecar("istio-system", "mesh", closed()), sidecar("pxc", "ns", hosts(&["./*"]))]),
        "passed"
    );
    assert_eq!(
        verdict_of(vec![sidecar("pxc", "ns", closed()), sidecar("pxc", "own", selecting("pxc", hosts(&["./*"])))]),
        "passed"
    );
    assert_eq!(
        verdict_of(vec![sidecar("pxc", "ns", hosts(&["./*"])), sidecar("pxc", "own", selecting("pxc", closed()))]),
        "failed"
    );
    assert_eq!(verdict_of(vec![sidecar("pxc", "own", selecting("web", closed()))]), "passed");
    assert_eq!(verdict_of(vec![sidecar("pxc", "old", hosts(&["./*"])), sidecar("pxc", "young", closed())]), "passed");
}

#[test]
fn a_closed_mesh_is_told_apart_and_the_hint_imports_the_name() {
    let check = imported(vec![sidecar("pxc", "default", hosts(&["istio-system/*"]))]);
    assert_eq!(
        commands(&check),
        [
            "kubectl --context dr -n pxc patch sidecars.networking.istio.io default --type json -p '[{\"op\":\"add\",\"path\":\"/spec/egress/0/hosts/-\",\"value\":\"./pxc-source.production.global\"}]'"
        ]
    );
    let mut spec_closed = hosts(&["istio-system/*"]);
    spec_closed["outboundTrafficPolicy"] = json!({"mode": "REGISTRY_ONLY"});
    assert_eq!(verdict(&imported(vec![sidecar("pxc", "default", spec_closed)])), ("failed", Some(Code::BlackHole)));
    let mut facts = configured(json!({"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}));
    let at = |facts: &Facts| verdict(&check_of(&spec(), facts, ids::ENTRY_IMPORTED, &replica(0)));
    assert_eq!(at(&facts), ("passed", None), "a closed mesh that knows the name lets it through");
    facts.client.surroundings.sidecars = Fetched::Got(vec![sidecar("istio-system", "mesh", hosts(&["~/*"]))]);
    assert_eq!(at(&facts), ("failed", Some(Code::BlackHole)));
    let mut open = hosts(&["~/*"]);
    open["outboundTrafficPolicy"] = json!({"mode": "ALLOW_ANY"});
    facts.client.surroundings.sidecars = Fetched::Got(vec![sidecar("pxc", "open", open)]);
    assert_eq!(at(&facts), ("failed", Some(Code::SidecarHides)), "the Sidecar's own policy comes first");
}

#[test]
fn the_links_own_entry_must_be_where_the_members_see_it() {
    let check = broken(ids::ENTRY_EXPORTED, &Subject::Link, ("failed", Code::EntryElsewhere), |_, facts| {
        got(&mut facts.client.mesh).entries[0].export_to = vec!["shop".to_owned()];
    });
    assert_eq!(commands(&check), ["pxc-link setup --source production"]);
    assert!(shown(&check).contains("spec.exportTo: shop"));
    let check = broken(ids::ENTRY_EXPORTED, &Subject::Link, ("failed", Code::EntryElsewhere), |_, facts| {
        let entry = &mut got(&mut facts.client.mesh).entries[0];
        (entry.namespace, entry.link) = ("shop".to_owned(), None);
    });
    assert!(shown(&check).contains("shop/pxc-source-production has hosts pxc-source.production.global, exported to ."));
    for export_to in [vec![], vec!["*".to_owned()], vec!["shop".to_owned(), "pxc".to_owned()]] {
        let mut facts = facts();
        got(&mut facts.client.mesh).entries[0].export_to = export_to;
        assert_eq!(verdict(&check_of(&spec(), &facts, ids::ENTRY_EXPORTED, &Subject::Link)), ("passed", None));
    }
    let before = crate::domain::judge::mesh_preflight(spec().mesh().unwrap(), &sample::unlinked());
    assert!(!before.iter().any(|check| check.id == ids::ENTRY_EXPORTED), "a setup makes it and does not ask for it");
}

#[test]
fn an_entry_that_is_not_there_fails_one_check_and_not_two() {
    let both = |facts: &Facts| {
        [ids::MESH_OBJECTS, ids::ENTRY_EXPORTED, ids::ENDPOINTS_CURRENT]
            .map(|id| verdict(&check_of(&spec(), facts, id, &Subject::Link)))
    };
    let mut facts = sample::unlinked();
    facts.objects = Some(Fetched::Got(vec![OwnObject {
        kind: "ServiceEntry".into(),
        name: "pxc-source-production".into(),
        present: false,
        shared: false,
        changed: Vec::new(),
        added: Vec::new(),
    }]));
    let skipped = ("skipped", None);
    assert_eq!(both(&facts), [("failed", Some(Code::ObjectsChanged)), skipped, skipped]);
    let mut elsewhere = got(&mut sample::facts().client.mesh).entries[0].clone();
    (elsewhere.namespace, elsewhere.link) = ("shop".to_owned(), None);
    got(&mut facts.client.mesh).entries.push(elsewhere);
    assert_eq!(both(&facts), [skipped, ("failed", Some(Code::EntryElsewhere)), skipped]);
}

fn rule(name: &str, host: &str, day: u8) -> NamedRule {
    NamedRule {
        namespace: "pxc".to_owned(),
        name: name.to_owned(),
        created: Some(format!("2026-11-{day:02}T00:00:00Z").parse().unwrap()),
        host: host.to_owned(),
        export_to: vec![".".to_owned()],
        selector: None,
        tls: None,
        has_policy: true,
        link: None,
    }
}

#[test]
fn the_rule_that_istio_takes_is_the_one_that_is_judged() {
    const HOST: &str = "pxc-source.production.global";
    let own =
        || NamedRule { link: Some("production".to_owned()), tls: Some("DISABLE".to_owned()), ..rule("own", HOST, 10) };
    let at = |rules: Vec<NamedRule>| {
        let mut facts = facts();
        facts.client.surroundings.rules = Fetched::Got(rules);
        verdict(&check_of(&spec(), &facts, ids::RULE_HOLDS, &Subject::Link))
    };
    let public = |rule: NamedRule| NamedRule { export_to: Vec::new(), ..rule };
    let (fine, warned) = (("passed", None), ("warned", Some(Code::RuleOverridden)));
    for (rules, wanted) in [
        (vec![], fine),
        (vec![own()], fine),
        // The same exportTo: the oldest rule's policy holds.
        (vec![rule("old", HOST, 1), own()], warned),
        (vec![rule("old", HOST, 1)], warned),
        (vec![own(), rule("young", HOST, 20)], fine),
        (vec![NamedRule { has_policy: false, ..rule("old", HOST, 1) }, own()], fine),
        // Another exportTo: the youngest does.
        (vec![public(rule("old", HOST, 1)), own()], fine),
        (vec![public(rule("old", HOST, 1))], fine),
        (vec![own(), public(rule("young", HOST, 20))], warned),
        // Wildcards and other namespaces come after.
        (vec![rule("wild", "*.global", 1), rule("all", "*", 1), own()], fine),
        (vec![NamedRule { namespace: "istio-system".to_owned(), ..rule("old", HOST, 1) }, own()], fine),
        // One that selects the pods comes first.
        (
            vec![
                own(),
                NamedRule {
                    selector: Some(BTreeMap::from([("app".to_owned(), "pxc".to_owned())])),
                    ..rule("young", HOST, 20)
                },
            ],
            warned,
        ),
        (
            vec![
                own(),
                NamedRule {
                    selector: Some(BTreeMap::from([("app".to_owned(), "web".to_owned())])),
                    ..rule("young", HOST, 20)
                },
            ],
            fine,
        ),
        // TLS that MySQL's port does not expect breaks the link.
        (
            vec![NamedRule { tls: Some("ISTIO_MUTUAL".to_owned()), ..rule("old", HOST, 1) }, own()],
            ("failed", Some(Code::RuleOverridden)),
        ),
        (vec![NamedRule { tls: Some("DISABLE".to_owned()), ..rule("old", HOST, 1) }, own()], warned),
    ] {
        assert_eq!(at(rules.clone()), wanted, "{rules:#?}");
    }
    let check = broken(ids::RULE_HOLDS, &Subject::Link, ("warned", Code::RuleOverridden), |_, facts| {
        got(&mut facts.client.surroundings.rules).push(rule("old", HOST, 1));
    });
    assert_eq!(commands(&check), ["kubectl --context dr -n pxc delete destinationrules.networking.istio.io old"]);
}

fn service(namespace: &str, name: &str, ports: &[(u16, &str, &str)]) -> NamedService {
    let port = |&(number, name, protocol): &(u16, &str, &str)| NamedPort {
        number,
        name: name.to_owned(),
        protocol: protocol.to_owned(),
    };
    NamedService { namespace: namespace.to_owned(), name: name.to_owned(), ports: ports.iter().map(port).collect() }
}

#[test]
fn a_service_of_the_links_name_comes_before_it() {
    for (host, wanted) in [
        ("pxc.pxc.svc.cluster.local", "failed"),
        ("PXC.pxc.svc", "failed"),
        ("pxc.pxc", "failed"),
        ("pxc.shop.svc.cluster.local", "passed"),
        ("pxc.pxc.global", "passed"),
    ] {
        let mut facts = facts();
        got(&mut facts.client.surroundings.services).push(service("pxc", "pxc", &[]));
        let mut link = spec();
        link.host = host.to_owned();
        let check = check_of(&link, &facts, ids::HOST_NO_SERVICE, &Subject::Link);
        assert_eq!(verdict(&check).0, wanted, "{host}");
        facts.client.surroundings.services = unread(Code::Forbidden);
        let unread = verdict(&check_of(&link, &facts, ids::HOST_NO_SERVICE, &Subject::Link)).0;
        assert_eq!(unread, if host.contains("global") { "passed" } else { "unknown" }, "{host}");
    }
}

#[test]
fn who_takes_the_port_on_every_address_is_named() {
    let none = |namespace: &str, protocol: &str, number: u16| {
        let mut entry = other_entry(namespace, "db.other.global", "");
        entry.addresses.clear();
        entry.ports = vec![named_port(number, protocol)];
        entry
    };
    for (entry, warned) in [
        (none("shop", "TCP", 3306), true),
        (none("shop", "", 3306), true),
        (none("shop", "TCP", 3307), false),
        (none("shop", "HTTP", 3306), false),
    ] {
        let mut facts = facts();
        got(&mut facts.client.mesh).entries.push(entry.clone());
        let check = check_of(&spec(), &facts, ids::PORT_UNSHARED, &Subject::Link);
        let wanted = if warned { ("warned", Some(Code::PortShared)) } else { ("passed", None) };
        assert_eq!(verdict(&check), wanted, "{entry:?}");
        got(&mut facts.client.mesh).entries.last_mut().unwrap().export_to = vec![".".to_owned()];
        assert_eq!(verdict(&check_of(&spec(), &facts, ids::PORT_UNSHARED, &Subject::Link)).0, "passed");
    }
    for (port, warned) in [
        ((3306, "http-mysql", ""), true),
        ((3306, "mysql", "http"), true),
        ((3306, "http", "tcp"), false),
        ((3306, "mysql", ""), false),
        ((8080, "http", ""), false),
    ] {
        let mut facts = facts();
        got(&mut facts.client.surroundings.services).push(service("shop", "web", &[port]));
        let check = check_of(&spec(), &facts, ids::PORT_UNSHARED, &Subject::Link);
        assert_eq!(verdict(&check).0, if warned { "warned" } else { "passed" }, "{port:?}");
    }
}

#[test]
fn services_that_two_joined_meshes_take_for_one_are_named() {
    let dr = Subject::Cluster(Side::Replica);
    let join = |facts: &mut Facts| {
        facts.client.surroundings.remote_clusters = Fetched::Got(vec!["production".to_owned()]);
        got(&mut facts.client.surroundings.services).push(service("pxc", "pxc", &[]));
        got(&mut facts.client.surroundings.services).push(service("pxc", "only-here", &[]));
        facts.source.surroundings.as_mut().unwrap().services = Fetched::Got(vec![service("pxc", "pxc", &[])]);
    };
    let check = broken(ids::SERVICES_SEPARATE, &dr, ("warned", Code::ServicesMerged), |_, facts| join(facts));
    assert!(shown(&check).contains("pxc.pxc.svc.cluster.local") && !shown(&check).contains("only-here"));
    let at = |change: fn(&mut Facts)| {
        let mut facts = facts();
        join(&mut facts);
        change(&mut facts);
        verdict(&check_of(&spec(), &facts, ids::SERVICES_SEPARATE, &dr))
    };
    assert_eq!(at(|facts| got(&mut facts.client.surroundings.remote_clusters).clear()), ("passed", None));
    assert_eq!(
        at(|facts| {
            let local = json!({"serviceSettings": [{"settings": {"clusterLocal": true}, "hosts": ["*.pxc.svc.cluster.local"]}]});
            got(&mut facts.client.surroundings.mesh_configs)[0].settings = local;
        }),
        ("passed", None)
    );
    assert_eq!(
        at(|facts| facts.client.surroundings.remote_clusters = unread(Code::Forbidden)),
        ("unknown", Some(Code::Forbidden))
    );
    assert_eq!(
        at(|facts| facts.source.surroundings.as_mut().unwrap().services = unread(Code::Forbidden)),
        ("unknown", Some(Code::Forbidden))
    );
}

#[test]
fn with_the_clients_api_gone_what_surrounds_the_link_points_there() {
    let mut facts = facts();
    let problem = super::problem(Code::ApiUnreachable);
    facts.client.cluster = Fetched::Failed(problem.clone());
    facts.client.mesh = Fetched::Failed(problem.clone());
    facts.client.surroundings = crate::domain::facts::ClientSurroundings::unread(&problem);
    let checks = judge(&spec(), &facts);
    for id in
        [ids::RULE_HOLDS, ids::NAMESPACE_DISCOVERED, ids::PORT_UNSHARED, ids::CLIENT_AUTHORIZATION, ids::ENTRY_EXPORTED]
    {
        let check = checks.iter().find(|check| check.id == id).unwrap();
        assert_eq!(verdict(check).0, "skipped", "{id}");
    }
}
