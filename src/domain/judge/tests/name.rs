//! The name: who should answer it, and what is done to a pod that has settings of its own.

use serde_json::json;

use super::*;
use crate::domain::{
    judge::ids,
    problem::Fetched,
    sample::{self, facts, got, ip, spec},
};

#[test]
fn a_proxy_configuration_in_json_is_added_to() {
    let own = r#"{"concurrency":2,"proxyMetadata":{"ISTIO_META_DNS_CAPTURE":"false","KEEP":"1"}}"#;
    let check = broken(ids::NAME_RESOLVES, &replica(0), ("failed", Code::NameUnresolved), |_, facts| {
        got(&mut facts.paths[0].resolved).clear();
        facts.paths[0].name_table = Fetched::Got(None);
        let pod = sample::replicas(facts)[0].pod();
        pod.dns_capture = Some(false);
        pod.annotations.insert("proxy.istio.io/config".to_owned(), own.to_owned());
    });
    let argv = shell_words::split(&commands(&check)[0]).unwrap();
    let patch: serde_json::Value = serde_json::from_str(argv.last().unwrap()).unwrap();
    let config = patch.pointer("/spec/template/metadata/annotations/proxy.istio.io~1config").unwrap();
    let config: serde_json::Value = serde_json::from_str(config.as_str().unwrap()).unwrap();
    let wanted = json!({"concurrency": 2, "proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true", "KEEP": "1"}});
    assert_eq!(config, wanted);
}

#[test]
fn a_pod_with_its_own_proxy_configuration_is_not_overwritten() {
    let check = broken(ids::NAME_RESOLVES, &replica(0), ("failed", Code::NameUnresolved), |_, facts| {
        got(&mut facts.paths[0].resolved).clear();
        facts.paths[0].name_table = Fetched::Got(None);
        let pod = sample::replicas(facts)[0].pod();
        pod.dns_capture = None;
        pod.annotations.insert("proxy.istio.io/config".to_owned(), "concurrency: 2".to_owned());
    });
    assert_eq!(commands(&check), Vec::<String>::new());
}

#[test]
fn with_the_operator_its_resource_is_patched() {
    for part in ["pxc", "haproxy"] {
        let check = broken(ids::NAME_RESOLVES, &replica(0), ("failed", Code::NameUnresolved), |_, facts| {
            got(&mut facts.paths[0].resolved).clear();
            facts.paths[0].name_table = Fetched::Got(None);
            let pod = sample::replicas(facts)[0].pod();
            pod.dns_capture = None;
            for (key, value) in
                [("managed-by", "percona-xtradb-cluster-operator"), ("instance", "cluster1"), ("component", part)]
            {
                pod.labels.insert(format!("app.kubernetes.io/{key}"), value.to_owned());
            }
        });
        let commands = commands(&check);
        assert!(commands[0].starts_with("kubectl --context dr -n pxc patch pxc cluster1 --type merge -p "));
        assert!(commands[0].contains(&format!(r#"{{"spec":{{"{part}":"#)), "{commands:?}");
        assert!(commands[1].contains(&format!("statefulset/cluster1-{part} ")), "{commands:?}");
    }
}

#[test]
fn a_name_table_that_disagrees_is_a_warning() {
    broken(ids::NAME_TABLE, &replica(0), ("warned", Code::NotInNameTable), |_, facts| {
        facts.paths[0].name_table = Fetched::Got(Some(Vec::new()));
    });
    broken(ids::NAME_TABLE, &replica(0), ("warned", Code::NameElsewhere), |_, facts| {
        facts.paths[0].name_table = Fetched::Got(Some(vec![ip("240.0.0.9")]));
    });
    let mut facts = facts();
    facts.paths[0].name_table = Fetched::Got(None);
    assert_eq!(verdict(&check_of(&spec(), &facts, ids::NAME_TABLE, &replica(0))), ("passed", None));
}
