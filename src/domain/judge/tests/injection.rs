//! Members without a sidecar, each with its own cause and cure; and members whose sidecar does not answer names.

use super::{broken, check_of, commands, replica, shown, unread, verdict};
use crate::domain::{
    check::{Check, Side, Subject},
    code::Code,
    facts::{Facts, Sidecar},
    judge::{blocking, ids, judge},
    problem::Fetched,
    sample::{self, facts, got, ip, replicas, spec},
};

fn namespace(facts: &mut Facts, labels: &[(&str, &str)]) {
    *got(&mut facts.client.surroundings.namespace) =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
}

/// The second member without a sidecar, in a namespace of these labels.
fn absent(labels: &[(&str, &str)], change: impl Fn(&mut crate::domain::facts::PodFacts)) -> Check {
    let mut facts = facts();
    namespace(&mut facts, labels);
    let pod = replicas(&mut facts)[1].pod();
    pod.sidecar = Sidecar::Absent;
    change(pod);
    check_of(&spec(), &facts, ids::SIDECAR_PRESENT, &replica(1))
}

#[test]
fn a_pod_that_is_older_than_its_namespaces_label_is_made_anew_and_no_label_is_touched() {
    for labels in [("istio-injection", "enabled"), ("istio.io/rev", "1-31")] {
        let check = absent(&[labels], |_| {});
        assert_eq!(verdict(&check), ("failed", Some(Code::OlderThanInjection)), "{labels:?}");
        assert!(commands(&check)[0].ends_with("rollout restart statefulset/pxc"), "{:?}", commands(&check));
        assert!(shown(&check).contains(&format!("{}={}", labels.0, labels.1)), "{}", shown(&check));
    }
    let check = absent(&[], |pod| drop(pod.labels.insert("sidecar.istio.io/inject".into(), "true".into())));
    assert_eq!(verdict(&check), ("failed", Some(Code::OlderThanInjection)));
}

#[test]
fn a_namespace_that_is_not_injected_is_labelled_first() {
    for labels in [&[][..], &[("istio-injection", "disabled")]] {
        let check = absent(labels, |_| {});
        assert_eq!(verdict(&check), ("failed", Some(Code::NoSidecar)));
        assert!(commands(&check)[0].contains("label namespace pxc 'istio-injection=enabled' --overwrite"));
    }
    let mut facts = facts();
    facts.client.surroundings.namespace = unread(Code::Forbidden);
    replicas(&mut facts)[1].pod().sidecar = Sidecar::Absent;
    let check = check_of(&spec(), &facts, ids::SIDECAR_PRESENT, &replica(1));
    assert_eq!(verdict(&check), ("failed", Some(Code::NoSidecar)), "without the labels the cause stays general");
}

#[test]
fn of_two_labels_the_one_that_wins_is_taken_off() {
    let both = [("istio-injection", "disabled"), ("istio.io/rev", "default")];
    let check = absent(&both, |_| {});
    assert_eq!(verdict(&check), ("failed", Some(Code::TwoInjectionLabels)));
    assert_eq!(
        commands(&check)[..2],
        [
            "kubectl --context dr label namespace pxc istio-injection-",
            "kubectl --context dr -n pxc rollout restart statefulset/pxc"
        ]
    );
    let namespace_subject = Subject::Object(Side::Replica, "Namespace/pxc".to_owned());
    let check = broken(ids::INJECTION_LABELS, &namespace_subject, ("warned", Code::TwoInjectionLabels), |_, facts| {
        namespace(facts, &[("istio-injection", "enabled"), ("istio.io/rev", "default")]);
    });
    assert_eq!(commands(&check), ["kubectl --context dr label namespace pxc istio.io/rev-"]);
    broken(ids::INJECTION_LABELS, &namespace_subject, ("unknown", Code::Forbidden), |_, facts| {
        facts.client.surroundings.namespace = unread(Code::Forbidden);
    });
}

#[test]
fn the_nodes_network_and_ambient_mode_are_causes_of_their_own() {
    let check = absent(&[("istio-injection", "enabled")], |pod| pod.host_network = true);
    assert_eq!(verdict(&check), ("failed", Some(Code::HostNetwork)));
    assert!(commands(&check)[0].contains(r#"{"spec":{"template":{"spec":{"hostNetwork":null}}}}"#));
    let check = absent(&[], |pod| {
        pod.annotations.insert("ambient.istio.io/redirection".to_owned(), "enabled".to_owned());
    });
    assert_eq!(verdict(&check), ("unknown", Some(Code::AmbientMember)), "not seen is not failed");
    assert_eq!(blocking(&[check]).map(|check| check.id), Some(ids::SIDECAR_PRESENT), "and nothing is set up unseen");
}

#[test]
fn a_deployments_pods_are_made_anew_by_the_deployment() {
    let check = absent(&[("istio-injection", "enabled")], |pod| {
        pod.owner = Some("ReplicaSet/client-6d4cf56db6".to_owned());
        pod.labels.insert("pod-template-hash".to_owned(), "6d4cf56db6".to_owned());
    });
    assert!(commands(&check)[0].ends_with("rollout restart deployment/client"), "{:?}", commands(&check));
}

#[test]
fn an_application_that_runs_as_the_sidecars_user_goes_past_it() {
    let check = broken(ids::SIDECAR_INTERCEPTS, &replica(0), ("failed", Code::ProxyUser), |_, facts| {
        replicas(facts)[0].pod().proxy_users = vec!["pxc".to_owned()];
    });
    assert!(shown(&check).contains("1337"));
    let mut facts = facts();
    replicas(&mut facts)[0].pod().proxy_users = vec!["exporter".to_owned()];
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::SIDECAR_INTERCEPTS, &replica(0))), ("passed", None));
}

/// The facts before a setup in which the first member's sidecar does not answer names.
fn uncaptured(resolved: Option<&[&str]>) -> Facts {
    let mut facts = facts();
    facts.paths.clear();
    let one = &mut replicas(&mut facts)[0];
    one.pod().dns_capture = Some(false);
    one.resolved = resolved.map(|list| Fetched::Got(list.iter().map(|address| ip(address)).collect()));
    facts
}

fn captured(facts: &Facts) -> Check {
    check_of(&spec(), facts, ids::DNS_CAPTURED, &replica(0))
}

#[test]
fn without_capture_the_name_must_have_been_answered_by_somebody_else() {
    let own = |facts: &mut Facts, value: &str| {
        let text = format!(r#"{{"proxyMetadata":{{"ISTIO_META_DNS_CAPTURE":"{value}"}}}}"#);
        replicas(facts)[0].pod().annotations.insert("proxy.istio.io/config".to_owned(), text);
    };
    let mut off = uncaptured(Some(&[]));
    own(&mut off, "false");
    let check = captured(&off);
    assert_eq!(verdict(&check), ("failed", Some(Code::NameUnresolved)));
    assert!(shown(&check).contains("ISTIO_META_DNS_CAPTURE in istio-proxy of `pxc-0`: not true"), "{}", shown(&check));
    assert_eq!(commands(&check), ["pxc-link setup --source production --dns restart-members"]);
    assert_eq!(blocking(&[check]).map(|check| check.id), Some(ids::DNS_CAPTURED), "nothing is applied on top of that");

    let stub = uncaptured(Some(&[sample::VIP]));
    assert_eq!(verdict(&captured(&stub)), ("passed", None), "a stub answers");
    let mut public = uncaptured(Some(&["203.0.113.9"]));
    own(&mut public, "false");
    assert_eq!(verdict(&captured(&public)), ("failed", Some(Code::NameElsewhere)));
    let mut silent = uncaptured(None);
    replicas(&mut silent)[0].resolved = Some(unread(Code::ExecFailed));
    assert_eq!(verdict(&captured(&silent)), ("unknown", Some(Code::ExecFailed)));
}

#[test]
fn a_pod_that_is_older_than_the_meshs_capture_is_only_made_anew() {
    let check = captured(&uncaptured(Some(&[])));
    assert_eq!(verdict(&check), ("failed", Some(Code::CaptureOutdated)));
    assert!(commands(&check)[0].ends_with("rollout restart statefulset/pxc"), "{:?}", commands(&check));
    let mut unset = uncaptured(Some(&[]));
    got(&mut unset.client.surroundings.mesh_configs)[0].settings = serde_json::json!({});
    assert_eq!(verdict(&captured(&unset)), ("failed", Some(Code::NameUnresolved)));
    let mut unreadable = uncaptured(Some(&[]));
    unreadable.client.surroundings.mesh_configs = unread(Code::Forbidden);
    assert_eq!(verdict(&captured(&unreadable)), ("failed", Some(Code::NameUnresolved)));
}

#[test]
fn a_name_that_was_seen_to_resolve_needs_no_capture() {
    let mut facts = facts();
    replicas(&mut facts)[0].pod().dns_capture = Some(false);
    assert_eq!(verdict(&captured(&facts)), ("passed", None));
    got(&mut facts.paths[0].resolved).clear();
    assert_eq!(verdict(&captured(&facts)).0, "failed");
    assert!(judge(&spec(), &facts).iter().filter(|check| check.id == ids::DNS_CAPTURED).count() == 2, "one a member");
}
