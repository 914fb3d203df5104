//! What the ways into the source offer now, against what was written and what is left out.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::{broken, check_of, commands, shown, unread, verdict};
use crate::domain::{
    check::{Side, Subject},
    code::Code,
    facts::{IngressFacts, PxcFacts},
    judge::ids,
    problem::Fetched,
    range,
    sample::{self, facts, got, service_port, source_service, spec, unlinked},
    spec::{LinkSpec, SourceLocation, SourceTarget, WayIn},
};

const SOURCE: Subject = Subject::Cluster(Side::Source);

fn kubernetes(spec: &mut LinkSpec) -> (&mut SourceTarget, &mut crate::domain::spec::EntranceSpec) {
    match &mut sample::mesh(spec).source {
        SourceLocation::Kubernetes { target, entrance, .. } => (target, entrance),
        SourceLocation::Endpoints(endpoints) => panic!("{endpoints:?}"),
    }
}

#[test]
fn nodes_that_came_and_went_are_found_and_mended_by_setup() {
    let setup = "pxc-link setup --source production";
    let current = |change: fn(&mut crate::domain::facts::Facts), verdict| {
        let check = broken(ids::ENDPOINTS_CURRENT, &Subject::Link, verdict, |_, facts| change(facts));
        assert_eq!(commands(&check), [setup]);
        check.problem().unwrap().clone()
    };
    let stale = Code::EndpointsStale;
    let problem = current(|facts| drop(got(facts.source.nodes.as_mut().unwrap()).remove(0)), ("warned", stale));
    assert_eq!(problem.evidence, ["not the source's any more: 198.18.0.21:31306"]);
    let problem = current(|facts| drop(got(&mut facts.client.mesh).entries[0].endpoints.remove(0)), ("warned", stale));
    assert_eq!(problem.evidence, ["not in the ServiceEntry: 198.18.0.11:31306"]);
    let problem =
        current(|facts| source_service(facts).ports = vec![service_port(3306, Some(31307))], ("failed", stale));
    assert!(problem.message.contains("port of the source's Service changed"), "{problem:?}");
    let problem = current(
        |facts| {
            for endpoint in &mut got(&mut facts.client.mesh).entries[0].endpoints {
                endpoint.address = format!("9{}", endpoint.address);
            }
        },
        ("failed", stale),
    );
    assert!(problem.message.contains("any more") || problem.evidence.len() == 2, "{problem:?}");
}

#[test]
fn endpoints_that_cannot_be_compared_are_not_called_current() {
    assert_eq!(verdict(&check_of(&spec(), &facts(), ids::ENDPOINTS_CURRENT, &Subject::Link)), ("passed", None));
    broken(ids::ENDPOINTS_CURRENT, &Subject::Link, ("unknown", Code::ApiTimedOut), |_, facts| {
        facts.client.mesh = unread(Code::ApiTimedOut);
    });
    let mut facts = facts();
    facts.source.services = Some(unread(Code::ApiTimedOut));
    let check = check_of(&spec(), &facts, ids::ENDPOINTS_CURRENT, &Subject::Link);
    assert_eq!(verdict(&check), ("skipped", None), "{}", shown(&check));
    let unlinked = check_of(&spec(), &unlinked(), ids::ENDPOINTS_CURRENT, &Subject::Link);
    assert_eq!(verdict(&unlinked), ("skipped", None), "what is not there is said once, by entry.exported");
}

proptest! {
    #[test]
    fn an_address_is_called_free_exactly_when_nothing_else_holds_it(
        others in prop::collection::vec((any::<u32>(), 0_u8..=32, any::<bool>()), 0..12),
    ) {
        let mut facts = facts();
        let mut holds = false;
        for (bits, length, near) in others {
            // Ranges from all over seldom hold one address; half of them are taken round it.
            let bits = if near { sample::VIP.parse::<Ipv4Addr>().unwrap().to_bits() ^ (bits & 0xff) } else { bits };
            let held = format!("{}/{length}", Ipv4Addr::from(bits));
            holds |= range::contains(&held, sample::VIP.parse::<Ipv4Addr>().unwrap());
            got(&mut facts.client.mesh).entries.push(sample::other_entry("shop", "x.global", &held));
        }
        let (outcome, code) = verdict(&check_of(&spec(), &facts, ids::VIP_FREE, &Subject::Link));
        prop_assert_eq!((outcome == "failed", code.is_some()), (holds, holds));
    }
}

#[test]
fn what_the_limit_cuts_off_is_counted() {
    let check = broken(ids::ENDPOINTS_KNOWN, &SOURCE, ("warned", Code::EndpointsLeftOut), |spec, _| {
        kubernetes(spec).1.limit = 1;
    });
    let problem = check.problem().unwrap();
    assert!(problem.message.contains("uses 1") && problem.message.contains("leaves 1 out"), "{problem:?}");
    assert_eq!(problem.evidence, ["used: 198.18.0.11:31306"]);
    assert!(problem.hint.as_ref().unwrap().text.contains("maxEndpoints: 2"));
}

#[test]
fn a_balancer_with_a_name_only_is_said() {
    let check = broken(ids::ENDPOINTS_KNOWN, &SOURCE, ("failed", Code::NoEntranceAddress), |_, facts| {
        let service = source_service(facts);
        service.kind = "LoadBalancer".to_owned();
        service.ingress = vec![IngressFacts { ip: None, hostname: Some("lb.example".to_owned()) }];
    });
    assert!(check.problem().unwrap().message.contains("lb.example"));
}

#[test]
fn a_way_that_is_configured_and_not_offered_is_said() {
    let service = Subject::Object(Side::Source, "Service/pxc".to_owned());
    let check = broken(ids::SERVICE_EXPOSED, &service, ("failed", Code::SourceServiceUnusable), |spec, _| {
        kubernetes(spec).1.way = Some(WayIn::LoadBalancer);
    });
    assert!(check.problem().unwrap().evidence.contains(&"source.kubernetes.entry: loadBalancer".to_owned()));
}

#[test]
fn an_operator_is_told_to_expose_what_it_runs() {
    let resource = Subject::Object(Side::Source, "PerconaXtraDBCluster/cluster1".to_owned());
    for (haproxy, proxysql, patch) in [
        (true, false, r#"{"spec":{"haproxy":{"exposePrimary":{"enabled":true,"type":"NodePort"}}}}"#),
        (false, true, r#"{"spec":{"proxysql":{"expose":{"enabled":true,"type":"NodePort"}}}}"#),
        (false, false, r#"{"spec":{"pxc":{"expose":{"enabled":true,"type":"NodePort"}}}}"#),
    ] {
        let (mut spec, mut facts) = (spec(), facts());
        *kubernetes(&mut spec).0 = SourceTarget::Pxc("cluster1".to_owned());
        let kind = |on: bool| on.then(|| "ClusterIP".to_owned());
        facts.source.pxc = Some(Fetched::Got(PxcFacts {
            name: "cluster1".to_owned(),
            size: 3,
            haproxy: kind(haproxy),
            proxysql: kind(proxysql),
            pods: None,
        }));
        facts.source.services = Some(Fetched::Got(Vec::new()));
        let check = check_of(&spec, &facts, ids::SERVICE_EXPOSED, &resource);
        assert_eq!(verdict(&check), ("failed", Some(Code::SourceServiceUnusable)), "{}", shown(&check));
        let command = format!("kubectl --context production -n pxc patch pxc cluster1 --type merge -p '{patch}'");
        assert_eq!(commands(&check), [command]);
    }
}
