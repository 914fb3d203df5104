//! Clusters, permissions, members, logins, privileges and versions.

use super::{broken, check_of, commands, replica, shown, source, unread, verdict};
use crate::domain::{
    check::{Side, Subject},
    code::Code,
    facts::{AwaitedContainer, DeniedRule, Sidecar},
    judge::ids,
    sample::{self, endpoints_spec, facts, got, replicas, sources, spec},
};

#[test]
fn an_api_that_refuses_failed_and_one_that_is_silent_is_unknown() {
    let subject = Subject::Cluster(Side::Replica);
    for (code, word) in [
        (Code::CredentialsRejected, "failed"),
        (Code::NoSuchContext, "failed"),
        (Code::ApiUnreachable, "unknown"),
        (Code::ApiTimedOut, "unknown"),
    ] {
        broken(ids::CLUSTER_REACHABLE, &subject, (word, code), |_, facts| facts.client.cluster = unread(code));
    }
}

#[test]
fn the_same_cluster_twice_is_refused() {
    let check = broken(ids::CLUSTER_DISTINCT, &Subject::Link, ("failed", Code::SameCluster), |_, facts| {
        got(&mut facts.client.cluster).uid = "uid-of-production".to_owned();
    });
    assert!(shown(&check).contains("`production` and `dr`"), "{}", shown(&check));
}

#[test]
fn a_missing_permission_is_named_in_the_words_of_rbac() {
    let rule = |group: &str, resource: &str, namespace: Option<&str>| DeniedRule {
        verb: "create".to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.map(ToOwned::to_owned),
        name: None,
    };
    let denied = [rule("", "pods/exec", Some("pxc")), rule("networking.istio.io", "serviceentries", None)];
    let judged = |denied: Vec<DeniedRule>, user: Option<&str>| {
        let wanted = ("failed", Code::Forbidden);
        broken(ids::CLUSTER_PERMISSIONS, &Subject::Cluster(Side::Replica), wanted, |_, facts| {
            got(&mut facts.client.cluster).denied.clone_from(&denied);
            got(&mut facts.client.cluster).user = user.map(ToOwned::to_owned);
        })
    };
    let check = judged(denied.to_vec(), Some("pxc-link"));
    for rule in &denied {
        assert!(shown(&check).contains(&format!("denied: {rule}")), "{}", shown(&check));
    }
    assert_eq!(
        commands(&check),
        [
            "kubectl --context dr create role pxc-link-create-pods-exec --namespace pxc --verb create --resource pods/exec",
            "kubectl --context dr create rolebinding pxc-link-create-pods-exec --namespace pxc --role pxc-link-create-pods-exec --user pxc-link",
            "kubectl --context dr create clusterrole pxc-link-create-serviceentries --verb create --resource serviceentries.networking.istio.io",
            "kubectl --context dr create clusterrolebinding pxc-link-create-serviceentries --clusterrole pxc-link-create-serviceentries --user pxc-link",
        ]
    );
    let roles = ["kubectl --context dr apply -f manifests/deploy/replica/"];
    assert_eq!(commands(&judged(denied.to_vec(), None)), roles);
    assert_eq!(commands(&judged(vec![denied[0].clone(); 5], Some("pxc-link"))), roles);
}

#[test]
fn a_selector_that_matches_nothing_is_shown() {
    let check =
        broken(ids::MEMBERS_FOUND, &Subject::Cluster(Side::Replica), ("failed", Code::NoPodMatches), |spec, facts| {
            sample::mesh(spec).client.selector = "app=pcx".to_owned();
            replicas(facts).clear();
        });
    assert!(shown(&check).contains("`app=pcx`"));
    assert_eq!(commands(&check), ["kubectl --context dr -n pxc get pods --show-labels"]);
    let check =
        broken(ids::MEMBERS_FOUND, &Subject::Cluster(Side::Source), ("failed", Code::NoPodMatches), |_, facts| {
            sources(facts).clear();
        });
    assert!(shown(&check).contains("`app=pxc`"));
}

#[test]
fn with_addresses_only_nobody_looks_for_members() {
    let mut facts = facts();
    sources(&mut facts).clear();
    facts.source.cluster = None;
    let checks = super::super::access(&endpoints_spec(), &facts);
    assert!(!checks.iter().any(|check| check.subject == Subject::Cluster(Side::Source)), "{checks:#?}");
    assert!(!checks.iter().any(|check| check.id == ids::CLUSTER_DISTINCT));
}

#[test]
fn a_pod_that_is_not_ready_warns_while_another_is() {
    broken(ids::MEMBER_READY, &source(1), ("warned", Code::MemberNotReady), |_, facts| {
        sources(facts)[1].pod().ready = false;
    });
    let check = broken(ids::MEMBER_READY, &replica(0), ("failed", Code::MemberNotReady), |_, facts| {
        for one in replicas(facts) {
            one.pod().ready = false;
        }
    });
    assert!(commands(&check)[0].ends_with("describe pod pxc-0"));
}

fn awaited(name: &str, state: &str) -> AwaitedContainer {
    AwaitedContainer {
        name: name.into(),
        state: state.into(),
        has_run: !state.starts_with("waiting"),
        waits_for_init: state == "waiting, PodInitializing",
        before_sidecar: false,
    }
}

#[test]
fn an_init_container_before_the_sidecar_is_told_and_mended() {
    let check = broken(ids::MEMBER_READY, &replica(0), ("failed", Code::MemberNotReady), |_, facts| {
        for one in replicas(facts) {
            one.pod().ready = false;
            one.pod().sidecar = Sidecar::Present { ready: false };
            let early =
                AwaitedContainer { before_sidecar: true, ..awaited("wait-for-source", "running and not ready") };
            one.pod().awaited = vec![early, awaited("pxc", "waiting, PodInitializing")];
        }
    });
    assert!(shown(&check).contains("wait-for-source has to end before the sidecar starts"), "{check:#?}");
    assert!(shown(&check).contains("container pxc: waiting, PodInitializing"));
    let commands = commands(&check);
    assert!(commands.iter().any(|line| line.contains("sidecar.istio.io/nativeSidecar")), "{check:#?}");
    let logs: Vec<_> = commands.iter().filter(|line| line.contains(" logs ")).collect();
    assert!(logs.len() == 1 && logs[0].contains("-c wait-for-source"), "only what ran has a log: {logs:?}");
}

#[test]
fn a_pod_that_waits_for_its_sidecar_only_is_judged_by_that() {
    let mut facts = facts();
    let one = &mut replicas(&mut facts)[0];
    one.pod().ready = false;
    one.pod().sidecar = Sidecar::Present { ready: false };
    one.pod().awaited =
        vec![awaited("istio-proxy", "running and not ready"), awaited("pxc", "waiting, PodInitializing")];
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::MEMBER_READY, &replica(0))).0, "skipped");
    let sidecar = check_of(&spec(), &facts, ids::SIDECAR_PRESENT, &replica(0));
    assert_eq!(verdict(&sidecar), ("failed", Some(Code::SidecarNotReady)));
    replicas(&mut facts)[0].pod().awaited.push(awaited("backup", "waiting, ImagePullBackOff"));
    assert_ne!(verdict(&check_of(&spec(), &facts, ids::MEMBER_READY, &replica(0))).0, "skipped");
}

#[test]
fn a_login_that_is_refused_failed_and_what_depends_on_it_is_skipped() {
    for (code, word) in [
        (Code::AccessDenied, "failed"),
        (Code::TlsRequired, "failed"),
        (Code::ServerUnreachable, "unknown"),
        (Code::ServerTimedOut, "unknown"),
    ] {
        broken(ids::SERVER_LOGIN, &replica(1), (word, code), |_, facts| replicas(facts)[1].server = Some(unread(code)));
    }
    let mut facts = facts();
    replicas(&mut facts)[1].server = Some(unread(Code::AccessDenied));
    for id in [ids::SERVER_PRIVILEGES, ids::SERVER_VERSION, ids::GTID_MODE, ids::SERVER_IDS, ids::GTID_ERRANT] {
        assert_eq!(verdict(&check_of(&spec(), &facts, id, &replica(1))).0, "skipped", "{id}");
    }
}

#[test]
fn a_missing_privilege_comes_with_its_grant() {
    let check = broken(ids::SERVER_PRIVILEGES, &replica(0), ("failed", Code::PrivilegeMissing), |_, facts| {
        sample::replica(facts, 0).missing_privileges =
            vec!["REPLICATION_SLAVE_ADMIN".to_owned(), "SELECT ON performance_schema.*".to_owned()];
    });
    assert_eq!(
        commands(&check),
        [
            "GRANT REPLICATION_SLAVE_ADMIN ON *.* TO 'pxc_link'@'%';  -- on replica pxc-0",
            "GRANT SELECT ON performance_schema.* TO 'pxc_link'@'%';  -- on replica pxc-0",
        ]
    );
}

#[test]
fn versions_are_compared_as_numbers() {
    for version in ["8.0.25", "5.7.44-48", "8.0.3", "10.11.6-MariaDB-1"] {
        broken(ids::SERVER_VERSION, &source(0), ("failed", Code::VersionTooOld), |_, facts| {
            sample::source(facts, 0).version = version.to_owned();
        });
    }
    broken(ids::SERVER_VERSION, &source(0), ("unknown", Code::VersionTooOld), |_, facts| {
        sample::source(facts, 0).version = "unknown".to_owned();
    });
    for version in ["8.0.26", "8.0.36-28.1", "8.4.0", "9.7.0-debug", "10.0.0"] {
        let mut facts = facts();
        sample::source(&mut facts, 0).version = version.to_owned();
        assert_eq!(verdict(&check_of(&spec(), &facts, ids::SERVER_VERSION, &source(0))), ("passed", None), "{version}");
    }
}
