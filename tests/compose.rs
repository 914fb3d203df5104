//! docker-compose.yml, as far as it can be held to what is true without a Docker engine: its form, what its parts refer to, the
//! configuration and the accounts in it. The end-to-end tests run its SQL and its certificates on plain servers.
#![expect(clippy::unwrap_used, reason = "a file that is not as it must be is a test that fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use pxc_link::{
    config,
    domain::{
        accounts,
        check::Side,
        grants::{Grant, Role},
        spec::{Ends, Tls},
    },
};
use sandbox::plain::Grants;
use serde_yaml::Value;

const COMPOSE: &str = include_str!("../docker-compose.yml");

fn compose() -> Value {
    let mut value: Value = serde_yaml::from_str(COMPOSE).unwrap();
    value.apply_merge().unwrap();
    value
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_mapping().unwrap().keys().map(|key| key.as_str().unwrap().to_owned()).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_sequence().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn content(name: &str) -> String {
    compose()["configs"][name]["content"].as_str().unwrap().to_owned()
}

/// The names in `${NAME…}`.
fn variables(text: &str) -> BTreeSet<String> {
    let name = |rest: &str| rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap().to_owned();
    text.split("${").skip(1).map(name).collect()
}

#[test]
fn two_servers_and_pxc_link_refer_to_what_is_there() {
    let compose = compose();
    assert_eq!(keys(&compose["services"]), ["certificates", "pxc-link", "replica", "source"].map(str::to_owned).into());
    for (name, service) in compose["services"].as_mapping().unwrap() {
        for used in service["configs"].as_sequence().into_iter().flatten() {
            assert!(keys(&compose["configs"]).contains(used["source"].as_str().unwrap()), "{name:?}: {used:?}");
        }
        for volume in texts(&service["volumes"]) {
            assert!(keys(&compose["volumes"]).contains(volume.split(':').next().unwrap()), "{name:?}: {volume}");
        }
        if !service["depends_on"].is_null() {
            assert!(keys(&service["depends_on"]).is_subset(&keys(&compose["services"])), "{name:?}");
        }
    }
    let dockerfile = compose["services"]["pxc-link"]["build"]["dockerfile_inline"].as_str().unwrap().to_owned();
    let from_here =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"));
    for copied in from_here {
        let words: Vec<&str> = copied.split_whitespace().collect();
        for path in &words[..words.len() - 1] {
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path} is copied");
        }
    }
    let rust = format!("FROM rust:{} ", env!("CARGO_PKG_RUST_VERSION"));
    assert!(dockerfile.starts_with(&rust), "{dockerfile}");
}

#[test]
fn the_link_in_it_joins_the_two_servers_by_their_service_names() {
    let links = config::check(&content("links"), Path::new("/etc/pxc-link/pxc-link.yaml")).unwrap();
    let [link] = links.as_slice() else { panic!("{links:?}") };
    let Ends::Servers(ends) = &link.ends else { panic!("{link:?}") };
    assert_eq!((ends.source.to_string(), ends.replica.to_string()), ("source:3306".into(), "replica:3306".into()));
    let Tls::VerifyIdentity { ca } = &link.replication().unwrap().replication.tls else { panic!("{link:?}") };
    assert_eq!(ca, "/tls/ca.crt");
    let compose = compose();
    let services = &compose["services"];
    for user in ["replica", "pxc-link"] {
        assert!(texts(&services[user]["volumes"]).contains(&"tls:/tls:ro".to_owned()), "{user} has the CA");
    }
    assert!(texts(&services["source"]["command"]).contains(&"--ssl-cert=/tls/source.crt".to_owned()));
    // What the configuration refers to is what the process is given.
    let given = keys(&services["pxc-link"]["environment"]);
    for account in accounts::needed(link.replication().unwrap()) {
        let shown = account.password.to_string();
        assert!(given.iter().any(|name| shown.contains(name.as_str())), "{shown}: {given:?}");
    }
    assert!(variables(COMPOSE).iter().all(|name| name == "PXC_ROOT_PASSWORD" || given.contains(name)), "{given:?}");
}

#[test]
fn its_accounts_may_what_they_must_and_nothing_else() {
    let links = config::check(&content("links"), Path::new("pxc-link.yaml")).unwrap();
    let needed = accounts::needed(links[0].replication().unwrap());
    for (side, name) in [(Side::Source, "source-accounts"), (Side::Replica, "replica-accounts")] {
        let mut wanted = BTreeMap::new();
        for account in needed.iter().filter(|account| account.side == side) {
            let grants: BTreeSet<String> = account.grants(false).iter().map(Grant::phrase).collect();
            wanted.insert(account.user.clone(), grants);
        }
        let mut made: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in content(name).lines() {
            if let Some(user) = line.strip_prefix("CREATE USER ") {
                assert!(line.ends_with(" REQUIRE SSL;"), "{line}");
                made.entry(user.split('@').next().unwrap().to_owned()).or_default();
            } else if let Some((grant, user)) = line.strip_prefix("GRANT ").and_then(|line| line.split_once(" TO ")) {
                made.get_mut(user.split('@').next().unwrap()).unwrap().insert(grant.to_owned());
            } else {
                assert_eq!(line, "SET sql_log_bin = 0;");
            }
        }
        assert_eq!(made, wanted, "{name}");
    }
}

#[test]
fn the_sandbox_gives_its_plain_servers_the_least_too() {
    let least = |role: Role| role.grants().iter().map(Grant::phrase).collect::<Vec<_>>();
    assert_eq!(least(Role::SourceReader), Grants::LEAST.source);
    assert_eq!(least(Role::ReplicaAdmin), Grants::LEAST.replica);
    assert_eq!(least(Role::Replication), Grants::LEAST.replication);
}
