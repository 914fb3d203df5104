//! Istio, the way in, name and address, sidecars; and the policies of the source's mesh.

use std::collections::BTreeMap;

use serde_json::json;

use super::{blocking, broken, check_of, commands, replica, shown, unread, verdict};
use crate::domain::{
    check::{Side, Subject},
    code::Code,
    facts::{MeshFacts, ObjectFacts, Sidecar},
    judge::{MutualTls, ids, mutual_tls},
    problem::Fetched,
    sample::{
        self, endpoints_spec, facts, got, object, other_entry, replicas, service_port, source_service, sources, spec,
    },
};

const DR: Subject = Subject::Cluster(Side::Replica);

fn service() -> Subject {
    Subject::Object(Side::Source, "Service/pxc".to_owned())
}

#[test]
fn without_istio_or_istiod_nothing_can_be_applied() {
    let check = broken(ids::MESH_INSTALLED, &DR, ("failed", Code::IstioMissing), |_, facts| {
        got(&mut facts.client.cluster).istio_versions.clear();
    });
    assert_eq!(commands(&check), ["kubectl --context dr get crd serviceentries.networking.istio.io"]);
    let check = broken(ids::ISTIOD_READY, &DR, ("failed", Code::IstiodDown), |_, facts| {
        got(&mut facts.client.cluster).istiods[0].ready = 0;
    });
    assert!(
        commands(&check).contains(&"kubectl --context dr -n istio-system rollout restart deployment/istiod".to_owned())
    );
}

#[test]
fn of_several_control_planes_the_members_own_one_counts_and_none_is_no_failure() {
    let at = |istiods: &[(&str, u32)], revision: Option<&str>| {
        let mut facts = facts();
        got(&mut facts.client.cluster).istiods =
            istiods.iter().map(|(revision, ready)| sample::istiod(revision, *ready)).collect();
        for one in replicas(&mut facts) {
            one.pod().labels.extend(revision.map(|revision| ("istio.io/rev".to_owned(), revision.to_owned())));
        }
        let check = check_of(&spec(), &facts, ids::ISTIOD_READY, &DR);
        assert!(blocking(std::slice::from_ref(&check)).is_none_or(|check| verdict(check).0 == "failed"));
        verdict(&check)
    };
    let unseen = ("unknown", Some(Code::ControlPlaneUnseen));
    let down = ("failed", Some(Code::IstiodDown));
    assert_eq!(at(&[], None), unseen, "an external control plane");
    assert_eq!(at(&[("1-30", 1), ("1-31", 1)], None), ("passed", None));
    assert_eq!(at(&[("1-30", 0), ("1-31", 1)], None), unseen);
    assert_eq!(at(&[("1-30", 0), ("1-31", 0)], None), down);
    assert_eq!(at(&[("1-30", 0), ("1-31", 1)], Some("1-31")), ("passed", None));
    assert_eq!(at(&[("1-30", 0), ("1-31", 1)], Some("1-30")), down);
    assert_eq!(at(&[("1-30", 1)], Some("1-31")), unseen);
}

#[test]
fn a_service_without_a_node_port_is_exposed_as_its_owner_wants_it() {
    let close = |facts: &mut crate::domain::facts::Facts| {
        let service = source_service(facts);
        service.kind = "ClusterIP".to_owned();
        service.ports = vec![service_port(3306, None)];
    };
    let check =
        broken(ids::SERVICE_EXPOSED, &service(), ("failed", Code::SourceServiceUnusable), |_, facts| close(facts));
    assert_eq!(
        commands(&check),
        [r#"kubectl --context production -n pxc patch service pxc --type merge -p '{"spec":{"type":"NodePort"}}'"#]
    );
    let check = broken(ids::SERVICE_EXPOSED, &service(), ("failed", Code::SourceServiceUnusable), |_, facts| {
        close(facts);
        sources(facts)[0].pod().owner = Some("PerconaXtraDBCluster/cluster1".to_owned());
    });
    assert!(commands(&check)[0].contains("patch pxc cluster1"), "{:?}", commands(&check));
    broken(ids::SERVICE_EXPOSED, &service(), ("failed", Code::SourceServiceUnusable), |_, facts| {
        source_service(facts).ports = vec![service_port(33060, Some(31000)), service_port(8404, Some(31001))];
    });
    broken(ids::SERVICE_EXPOSED, &service(), ("failed", Code::SourceServiceUnusable), |_, facts| {
        facts.source.services = Some(unread(Code::SourceServiceUnusable));
    });
    broken(ids::SERVICE_EXPOSED, &service(), ("unknown", Code::ApiTimedOut), |_, facts| {
        facts.source.services = Some(unread(Code::ApiTimedOut));
    });
}

#[test]
fn without_a_node_there_is_no_way_in() {
    let check =
        broken(ids::ENDPOINTS_KNOWN, &Subject::Cluster(Side::Source), ("failed", Code::NoNodeAddress), |_, facts| {
            for node in got(facts.source.nodes.as_mut().unwrap()) {
                node.ready = false;
            }
        });
    assert!(shown(&check).contains("node production-0: not ready, InternalIP 198.18.0.11"), "{}", shown(&check));
    let mut facts = facts();
    facts.source.cluster = None;
    let check = check_of(&endpoints_spec(), &facts, ids::ENDPOINTS_KNOWN, &Subject::Cluster(Side::Source));
    assert_eq!(check.evidence, ["198.18.0.11:31306, as configured", "198.18.0.21:31306, as configured"]);
}

#[test]
fn an_address_in_use_is_refused_and_a_free_one_proposed() {
    for (namespace, address) in [("pxc", sample::VIP), ("shop", sample::VIP), ("shop", "240.0.0.0/24")] {
        let check = broken(ids::VIP_FREE, &Subject::Link, ("failed", Code::VipInUse), |_, facts| {
            got(&mut facts.client.mesh).entries.push(other_entry(namespace, "db.other.global", address));
        });
        let hint = &check.problem().unwrap().hint.as_ref().unwrap().text;
        let proposed = hint.split("`vip: ").nth(1).unwrap().trim_end_matches('`');
        assert_eq!(crate::domain::vip::check(proposed.parse().unwrap()), Ok(()), "{hint}");
    }
    broken(ids::VIP_FREE, &Subject::Link, ("failed", Code::VipInUse), |_, facts| {
        got(&mut facts.client.cluster).in_use.ranges.push(sample::used("240.0.0.0/16", "podCIDR of node n"));
    });
    let check = broken(ids::VIP_FREE, &Subject::Link, ("failed", Code::VipInUse), |spec, facts| {
        sample::mesh(spec).vip = None;
        facts.client.mesh = Fetched::Got(MeshFacts { entries: Vec::new() });
        got(&mut facts.client.cluster).in_use.ranges.push(sample::used("240.0.0.0/4", "podCIDR of node n"));
    });
    assert!(check.problem().unwrap().message.contains("nothing of 240.0.0.0/4"));
    broken(ids::VIP_FREE, &Subject::Link, ("unknown", Code::ApiTimedOut), |_, facts| {
        facts.client.mesh = unread(Code::ApiTimedOut);
    });
    let mut facts = facts();
    got(&mut facts.client.mesh).entries.push(other_entry("shop", "db.other.global", "240.0.0.8"));
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::VIP_FREE, &Subject::Link)), ("passed", None));
}

#[test]
fn the_name_may_be_defined_once_in_the_members_namespace() {
    let host = "PXC-source.production.global";
    let check = broken(ids::HOST_FREE, &Subject::Link, ("failed", Code::HostInUse), |_, facts| {
        got(&mut facts.client.mesh).entries.push(other_entry("pxc", host, "240.0.0.9"));
    });
    assert_eq!(commands(&check)[1], "kubectl --context dr -n pxc delete serviceentry other");
    for host in [host, "*.production.global"] {
        broken(ids::HOST_FREE, &Subject::Link, ("warned", Code::HostInUse), |_, facts| {
            got(&mut facts.client.mesh).entries.push(other_entry("shop", host, "240.0.0.9"));
        });
    }
    broken(ids::HOST_FREE, &Subject::Link, ("unknown", Code::ApiTimedOut), |_, facts| {
        facts.client.mesh = unread(Code::ApiTimedOut);
    });
    let mut facts = facts();
    got(&mut facts.client.mesh).entries.push(other_entry("pxc", "*.staging.global", "240.0.0.9"));
    got(&mut facts.client.mesh).entries.push(other_entry("pxc", "*.production", "240.0.0.10"));
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::HOST_FREE, &Subject::Link)), ("passed", None));
}

#[test]
fn a_member_that_opted_out_is_opted_in_where_it_opted_out() {
    for (label, map) in [(true, "labels"), (false, "annotations")] {
        let mut facts = facts();
        let pod = replicas(&mut facts)[1].pod();
        pod.sidecar = Sidecar::Absent;
        let opted = if label { &mut pod.labels } else { &mut pod.annotations };
        opted.insert("sidecar.istio.io/inject".to_owned(), "false".to_owned());
        let check = check_of(&spec(), &facts, ids::SIDECAR_PRESENT, &replica(1));
        assert!(shown(&check).contains("sidecar.istio.io/inject: false"));
        let patch =
            format!(r#"{{"spec":{{"template":{{"metadata":{{"{map}":{{"sidecar.istio.io/inject":null}}}}}}}}}}"#);
        assert!(commands(&check)[0].ends_with(&format!("patch statefulset pxc --type merge -p '{patch}'")), "{map}");
    }
}

#[test]
fn an_istiod_scaled_to_nothing_is_scaled_up_again() {
    let mut facts = facts();
    let cluster = got(&mut facts.client.cluster);
    (cluster.istiods[0].ready, cluster.istiods[0].wanted) = (0, 0);
    let check = check_of(&spec(), &facts, ids::ISTIOD_READY, &DR);
    assert_eq!(verdict(&check), ("failed", Some(Code::IstiodDown)));
    assert!(commands(&check)[0].ends_with("scale deployment/istiod '--replicas=1'"), "{:?}", commands(&check));
}

#[test]
fn a_member_without_a_sidecar_stops_its_path_and_no_other() {
    let mut facts = facts();
    let pod = replicas(&mut facts)[1].pod();
    pod.sidecar = Sidecar::Absent;
    got(&mut facts.client.surroundings.namespace).clear();
    let check = check_of(&spec(), &facts, ids::SIDECAR_PRESENT, &replica(1));
    assert_eq!(verdict(&check), ("failed", Some(Code::NoSidecar)));
    assert_eq!(
        commands(&check),
        [
            "kubectl --context dr label namespace pxc 'istio-injection=enabled' --overwrite",
            "kubectl --context dr -n pxc rollout restart statefulset/pxc",
            "kubectl --context dr -n pxc rollout status statefulset/pxc '--timeout=10m'",
        ]
    );
    for id in [
        ids::SIDECAR_INTERCEPTS,
        ids::DNS_CAPTURED,
        ids::NAME_RESOLVES,
        ids::ENVOY_LISTENER,
        ids::PATH_QUERY,
        ids::PATH_SERVER,
    ] {
        assert_eq!(verdict(&check_of(&spec(), &facts, id, &replica(1))).0, "skipped", "{id}");
        assert_eq!(verdict(&check_of(&spec(), &facts, id, &replica(0))).0, "passed", "{id}");
    }
}

#[test]
fn a_sidecar_that_is_not_ready_is_no_missing_sidecar() {
    let check = broken(ids::SIDECAR_PRESENT, &replica(0), ("failed", Code::SidecarNotReady), |_, facts| {
        let one = &mut replicas(facts)[0];
        one.pod().sidecar = Sidecar::Present { ready: false };
        one.pod().proxy_state = Some("running and not ready".to_owned());
        one.sidecar_log =
            Some(Fetched::Got(vec!["warn\tca\tx509: certificate signed by unknown authority".to_owned()]));
    });
    assert!(shown(&check).contains("running and not ready") && shown(&check).contains("x509"), "{}", shown(&check));
    assert!(commands(&check).last().unwrap().contains("rollout status statefulset/pxc"), "{:?}", commands(&check));
    let check = broken(ids::SIDECAR_PRESENT, &replica(0), ("failed", Code::SidecarNotReady), |_, facts| {
        let one = &mut replicas(facts)[0];
        one.pod().sidecar = Sidecar::Present { ready: false };
        let own = r#"{"discoveryAddress":"nowhere:15012","concurrency":2}"#;
        one.pod().annotations.insert("proxy.istio.io/config".to_owned(), own.to_owned());
    });
    assert!(shown(&check).contains("discoveryAddress nowhere:15012"));
    assert!(commands(&check)[0].contains(r#""proxy.istio.io/config":"{\"concurrency\":2}""#), "{:?}", commands(&check));
}

#[test]
fn annotations_that_keep_traffic_from_the_sidecar_are_found_and_trimmed() {
    const PREFIX: &str = "traffic.sidecar.istio.io/";
    for (key, value, better) in [
        ("excludeOutboundPorts", "4444,3306,4567", Some("4444,4567")),
        ("excludeOutboundPorts", "3306", None),
        ("excludeOutboundIPRanges", "10.0.0.0/8, 240.0.0.0/4", Some("10.0.0.0/8")),
        ("includeOutboundIPRanges", "10.0.0.0/8", Some("10.0.0.0/8,240.0.0.0/4")),
    ] {
        let check = broken(ids::SIDECAR_INTERCEPTS, &replica(0), ("failed", Code::NotIntercepted), |_, facts| {
            replicas(facts)[0].pod().annotations.insert(format!("{PREFIX}{key}"), value.to_owned());
        });
        let argv = shell_words::split(&commands(&check)[0]).unwrap();
        let patch: serde_json::Value = serde_json::from_str(argv.last().unwrap()).unwrap();
        assert_eq!(
            patch,
            json!({"spec": {"template": {"metadata": {"annotations": {format!("{PREFIX}{key}"): better}}}}})
        );
    }
    for (key, value) in [
        ("excludeOutboundPorts", "33060,4444"),
        ("excludeOutboundIPRanges", "10.0.0.0/8"),
        ("includeOutboundIPRanges", "*"),
        ("includeOutboundIPRanges", "240.0.0.0/4"),
    ] {
        let mut facts = facts();
        replicas(&mut facts)[0].pod().annotations.insert(format!("{PREFIX}{key}"), value.to_owned());
        let check = check_of(&spec(), &facts, ids::SIDECAR_INTERCEPTS, &replica(0));
        assert_eq!(verdict(&check), ("passed", None), "{key}: {value}");
    }
}

fn peer(namespace: &str, name: &str, day: u8, spec: serde_json::Value) -> ObjectFacts {
    object("PeerAuthentication", namespace, name, &format!("2026-11-{day:02}T00:00:00Z"), spec)
}

#[test]
fn the_mode_of_a_port_is_composed_as_istiod_does() {
    use MutualTls::{Disabled, Permissive, Strict};
    let labels = BTreeMap::from([("app".to_owned(), "pxc".to_owned())]);
    let mtls = |mode: &str| json!({"mtls": {"mode": mode}});
    let own = |mode: &str, port: &str| json!({"selector": {"matchLabels": {"app": "pxc"}}, "mtls": {"mode": mode}, "portLevelMtls": {"3306": {"mode": port}}});
    let other = json!({"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"}});
    for (policies, wanted) in [
        (vec![], Permissive),
        (vec![peer("istio-system", "mesh", 1, mtls("STRICT"))], Strict),
        (vec![peer("istio-system", "mesh", 1, mtls("STRICT")), peer("pxc", "ns", 2, mtls("PERMISSIVE"))], Permissive),
        (vec![peer("istio-system", "mesh", 1, mtls("STRICT")), peer("pxc", "ns", 2, mtls("UNSET"))], Strict),
        (vec![peer("pxc", "ns", 2, mtls("STRICT")), peer("pxc", "own", 3, own("UNSET", "DISABLE"))], Disabled),
        (vec![peer("pxc", "ns", 2, mtls("STRICT")), peer("pxc", "own", 3, own("PERMISSIVE", "UNSET"))], Permissive),
        // The oldest of a level alone counts, whatever the order of the list.
        (vec![peer("pxc", "young", 5, own("UNSET", "DISABLE")), peer("pxc", "old", 4, own("STRICT", "UNSET"))], Strict),
        (vec![peer("pxc", "young", 5, mtls("STRICT")), peer("pxc", "old", 4, mtls("DISABLE"))], Disabled),
        // Other namespaces, other pods and selectors in the root namespace say nothing here.
        (vec![peer("shop", "ns", 1, mtls("STRICT")), peer("pxc", "web", 2, other)], Permissive),
        (vec![peer("istio-system", "own", 1, own("STRICT", "STRICT"))], Permissive),
    ] {
        assert_eq!(mutual_tls(&policies, "pxc", &labels, 3306).0, wanted, "{policies:#?}");
    }
    let port = vec![peer("pxc", "own", 3, own("STRICT", "DISABLE"))];
    assert_eq!(mutual_tls(&port, "pxc", &labels, 33060).0, Strict);
    let root = vec![peer("istio-system", "own", 1, own("STRICT", "STRICT"))];
    assert_eq!(mutual_tls(&root, "istio-system", &labels, 3306).0, Permissive);
}
