//! The MySQL servers of one cluster: accounts, certificates, objects.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use rand::Rng;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::layout::Cluster;
use super::pki::{Authority, Subject};
use super::wait::Wait;
use super::{WorldError, WorldOptions, apply, files};

/// Namespace of the servers in both clusters.
pub const NAMESPACE: &str = "pxc";

/// The mesh's name for the source.
pub const SOURCE_HOST: &str = "pxc-source.production.global";

/// NodePort of the Service `pxc` in the cluster `production`.
pub const SOURCE_NODE_PORT: u16 = 31306;

/// An account of the servers; its password is the key of its name in the Secret `pxc-secrets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// May do everything; for the tests.
    Root,
    /// What pxc-link uses, with the least grants of its side.
    PxcLink,
    /// What the replica uses on the source.
    Replication,
    /// Asks whether the server lives, from inside its container.
    Health,
    /// Members of a group copy from one another with it.
    Group,
}

impl Account {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Root, Self::PxcLink, Self::Replication, Self::Health, Self::Group];

    /// User name, and key in the Secret.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::PxcLink => "pxc_link",
            Self::Replication => "repl",
            Self::Health => "health",
            Self::Group => "group_member",
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the servers of one place form together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ha {
    /// Nothing: each is a server of its own.
    #[default]
    None,
    /// A Group Replication group of which one member takes writes.
    SinglePrimary,
    /// A Group Replication group of which every member takes writes.
    MultiPrimary,
}

/// The servers of one namespace of a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: &'a str,
    pub(crate) members: u32,
    pub(crate) ha: Ha,
    /// Added to a member's ordinal + 1.
    pub(crate) server_id_base: u32,
}

impl Site<'static> {
    /// The servers that every world has in a cluster.
    pub(crate) fn of_world(cluster: Cluster, options: &WorldOptions) -> Self {
        let (members, ha) = (options.members, options.ha);
        Self { cluster, namespace: NAMESPACE, members, ha, server_id_base: cluster.server_id_base() }
    }
}

impl Site<'_> {
    /// The settings that make the members a group, a line each; none where they form none.
    ///
    /// XCom talks from pod to pod on a port of its own, which the headless Service declares: a sidecar would have to guess its protocol.
    fn group(&self) -> Vec<String> {
        let switch = |on: bool| if on { "ON" } else { "OFF" };
        let single = match self.ha {
            Ha::None => return Vec::new(),
            Ha::SinglePrimary => true,
            Ha::MultiPrimary => false,
        };
        let seed = |member| format!("pxc-{member}.pxc-members.{}.svc.cluster.local:{GROUP_PORT}", self.namespace);
        let seeds: Vec<String> = (0..self.members).map(seed).collect();
        vec![
            "plugin-load-add=group_replication.so".to_owned(),
            format!("group-replication-group-name=6c696e6b-0000-4000-8000-{:012}", self.server_id_base),
            format!("group-replication-group-seeds={}", seeds.join(",")),
            "group-replication-start-on-boot=ON".to_owned(),
            format!("group-replication-single-primary-mode={}", switch(single)),
            format!("group-replication-enforce-update-everywhere-checks={}", switch(!single)),
            "group-replication-recovery-use-ssl=ON".to_owned(),
        ]
    }
}

/// Where the members of a group talk to one another.
const GROUP_PORT: u16 = 33061;

/// What the accounts may do; everything on `*.*` unless it says otherwise.
struct Grants {
    source: &'static [&'static str],
    replica: &'static [&'static str],
    replication: &'static [&'static str],
}

const GRANTS: Grants = Grants {
    source: &["REPLICATION CLIENT, PROCESS, REFERENCES ON *.*", "SELECT ON performance_schema.*"],
    replica: &[
        "REPLICATION_SLAVE_ADMIN ON *.*",
        "RELOAD, REPLICATION CLIENT, REFERENCES ON *.*",
        "SELECT ON performance_schema.*",
    ],
    replication: &["REPLICATION SLAVE, REPLICATION CLIENT ON *.*"],
};

/// Fresh passwords for all accounts.
pub(crate) fn passwords() -> BTreeMap<String, String> {
    let password = || rand::rng().sample_iter(Alphanumeric).take(24).map(char::from).collect::<String>();
    Account::ALL.into_iter().map(|account| (account.name().to_owned(), password())).collect()
}

/// A string literal of the server's default mode.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The statements with which a server's first start makes root, who may come from anywhere, and the accounts with their grants.
pub(crate) fn make_accounts(
    secret: impl Fn(Account) -> String,
    accounts: &[(Account, &[&'static str])],
) -> Vec<String> {
    let root = secret(Account::Root);
    let mut sql = vec![
        format!("ALTER USER root@localhost IDENTIFIED BY {root}"),
        format!("CREATE USER root@'%' IDENTIFIED BY {root}"),
        "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION".to_owned(),
    ];
    for (account, grants) in accounts {
        sql.push(format!("CREATE USER {account}@'%' IDENTIFIED BY {}", secret(*account)));
        sql.extend(grants.iter().map(|grant| format!("GRANT {grant} TO {account}@'%'")));
    }
    sql
}

/// The statements of a server's first start. The account for health comes last: a server without it never gets ready.
fn accounts_sql(site: Site<'_>, passwords: &BTreeMap<String, String>) -> String {
    let secret = |account: Account| quoted(passwords.get(account.name()).map_or("", String::as_str));
    let mut sql = match site.cluster {
        Cluster::Production => {
            make_accounts(secret, &[(Account::PxcLink, GRANTS.source), (Account::Replication, GRANTS.replication)])
        }
        Cluster::Dr => make_accounts(secret, &[(Account::PxcLink, GRANTS.replica)]),
    };
    if site.ha != Ha::None {
        let (user, password) = (Account::Group, secret(Account::Group));
        sql.push(format!("CREATE USER {user}@'%' IDENTIFIED BY {password}"));
        sql.push(format!("GRANT REPLICATION SLAVE, BACKUP_ADMIN, CONNECTION_ADMIN ON *.* TO {user}@'%'"));
        sql.push(format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_USER='{user}', SOURCE_PASSWORD={password} FOR CHANNEL 'group_replication_recovery'"
        ));
    }
    sql.push(format!("CREATE USER {}@localhost IDENTIFIED BY {}", Account::Health, secret(Account::Health)));
    // Both sides start with no binary log and no GTID.
    sql.push("RESET BINARY LOGS AND GTIDS".to_owned());
    sql.push(String::new());
    sql.join(";\n")
}

/// Makes the servers' authority and certificates, unless they are there.
pub(crate) fn make_certificates(dir: &Path) -> Result<(), WorldError> {
    if dir.join("complete").exists() {
        return Ok(());
    }
    files::make_dir(dir)?;
    let authority = Authority::root("sandbox-mysql")?;
    files::write(&dir.join("ca.crt"), &authority.certificate)?;
    files::write(&dir.join("ca.key"), &authority.key)?;
    for cluster in Cluster::ALL {
        let mut names: Vec<String> =
            ["localhost", "127.0.0.1", "pxc", "pxc.pxc", "pxc.pxc.svc", "pxc.pxc.svc.cluster.local"]
                .map(str::to_owned)
                .into();
        names.push("*.pxc-members.pxc.svc.cluster.local".to_owned());
        if cluster == Cluster::Production {
            names.push(SOURCE_HOST.to_owned());
        }
        let pair =
            authority.leaf(Subject { name: &format!("mysql-{cluster}"), alternatives: names, ..Subject::default() })?;
        files::write(&dir.join(format!("{cluster}.crt")), &pair.certificate)?;
        files::write(&dir.join(format!("{cluster}.key")), &pair.key)?;
    }
    files::write(&dir.join("complete"), "")
}

/// The namespace and its Secrets, as YAML.
pub(crate) fn before(
    certificates: &Path,
    site: Site<'_>,
    passwords: &BTreeMap<String, String>,
) -> Result<String, WorldError> {
    let (cluster, namespace) = (site.cluster, site.namespace);
    let read = |name: String| files::read(&certificates.join(name));
    let secret = |name: &str, data: serde_json::Value| {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": data,
        })
    };
    let labels = if cluster.injects() { json!({"istio-injection": "enabled"}) } else { json!({}) };
    let health = passwords.get(Account::Health.name()).map_or("", String::as_str);
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}),
        secret("pxc-secrets", json!(passwords)),
        secret(
            "pxc-tls",
            json!({
                "ca.crt": read("ca.crt".to_owned())?,
                "tls.crt": read(format!("{cluster}.crt"))?,
                "tls.key": read(format!("{cluster}.key"))?,
                // The replica's certificate does not name the mesh host: what a source has whose certificate is older than its
                // link.
                "nameless.crt": read(format!("{}.crt", Cluster::Dr))?,
                "nameless.key": read(format!("{}.key", Cluster::Dr))?,
            }),
        ),
        secret(
            "pxc-init",
            json!({
                "accounts.sql": accounts_sql(site, passwords),
                "health.cnf": format!("[client]\nuser={}\npassword={health}\nsocket=/run/mysqld/mysqld.sock\n", Account::Health),
            }),
        ),
    ];
    Ok(apply::documents(&objects))
}

/// The servers themselves, as YAML.
pub(crate) fn servers(site: Site<'_>) -> String {
    let service = match site.cluster {
        Cluster::Production => json!({
            "type": "NodePort",
            "selector": {"app": "pxc"},
            "ports": [{"name": "tcp-mysql", "port": 3306, "nodePort": SOURCE_NODE_PORT}],
        }),
        Cluster::Dr => json!({"selector": {"app": "pxc"}, "ports": [{"name": "tcp-mysql", "port": 3306}]}),
    };
    let group = site.group();
    let port = if group.is_empty() { String::new() } else { format!(", {{name: tcp-group, port: {GROUP_PORT}}}") };
    apply::fill(
        include_str!("../manifests/mysql.yaml"),
        &[
            ("NAMESPACE", site.namespace),
            ("MEMBERS", &site.members.to_string()),
            ("SERVER_ID_BASE", &site.server_id_base.to_string()),
            ("SERVICE", &service.to_string()),
            ("GROUP", &group.join("\n    ")),
            ("PORT_OF_GROUP", &port),
        ],
    )
}

/// Waits until all members are ready.
pub(crate) async fn ready(client: &kube::Client, site: Site<'_>) -> Result<(), WorldError> {
    let Site { cluster, namespace, members, .. } = site;
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let wait = Wait {
        what: format!("{members} MySQL member(s) in cluster {cluster}"),
        deadline: Duration::from_mins(3),
        look: format!("kubectl --context {cluster} -n {namespace} describe pods"),
    };
    wait.until(async || {
        let set = sets.get("pxc").await.map_err(|error| error.to_string())?;
        let status = set.status.unwrap_or_default();
        let wanted = i32::try_from(members).unwrap_or(i32::MAX);
        if status.observed_generation >= set.metadata.generation
            && status.replicas == wanted
            && status.ready_replicas == Some(wanted)
        {
            return Ok(());
        }
        let list = pods.list(&ListParams::default().labels("app=pxc")).await.map_err(|error| error.to_string())?;
        Err(list.items.iter().map(describe).collect::<Vec<_>>().join("; "))
    })
    .await
}

fn describe(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let waiting: Vec<_> = containers
        .iter()
        .filter(|container| !container.ready)
        .map(|container| {
            let state = container.state.as_ref().and_then(|state| state.waiting.as_ref());
            let reason = state.and_then(|waiting| waiting.reason.clone()).unwrap_or_else(|| "not ready".to_owned());
            format!("{} {reason}", container.name)
        })
        .collect();
    let phase = status.phase.unwrap_or_default();
    format!("{} {phase} ({})", pod.metadata.name.clone().unwrap_or_default(), waiting.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_keep_every_character() {
        assert_eq!(quoted(r"a'b\c"), r"'a''b\\c'");
    }

    fn site(cluster: Cluster, ha: Ha) -> Site<'static> {
        Site::of_world(cluster, &WorldOptions { members: 3, ha, ..WorldOptions::default() })
    }

    #[test]
    fn the_source_alone_has_the_replication_account() {
        let passwords = passwords();
        let accounts = |cluster| accounts_sql(site(cluster, Ha::None), &passwords);
        assert!(accounts(Cluster::Production).contains("CREATE USER repl@'%'"));
        assert!(!accounts(Cluster::Dr).contains("repl@"));
    }

    #[test]
    fn only_members_of_a_group_know_of_one() {
        let alone = servers(site(Cluster::Dr, Ha::None));
        assert!(!alone.contains("group_replication.so") && !alone.contains("tcp-group"), "{alone}");
        let passwords = passwords();
        assert!(!accounts_sql(site(Cluster::Dr, Ha::None), &passwords).contains("group"));
        for (ha, single) in [(Ha::SinglePrimary, "ON"), (Ha::MultiPrimary, "OFF")] {
            let text = servers(site(Cluster::Dr, ha));
            assert!(text.contains(&format!("    group-replication-single-primary-mode={single}\n")), "{text}");
            assert!(text.contains("pxc-2.pxc-members.pxc.svc.cluster.local:33061\n"), "{text}");
            apply::parse("mysql", &text).unwrap();
            assert!(
                accounts_sql(site(Cluster::Dr, ha), &passwords).contains("FOR CHANNEL 'group_replication_recovery'")
            );
        }
    }

    #[test]
    fn passwords_differ() {
        let all: std::collections::BTreeSet<_> = passwords().into_values().collect();
        assert_eq!(all.len(), Account::ALL.len());
    }
}
