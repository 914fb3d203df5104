//! What a fault is made of: single acts on a world, and how each is carried out.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use super::{Fault, Scope, Site, pair};
use crate::{
    plain::{End, Plain},
    world::{
        Account, Cluster, DEMO, ExecError, HELLO_GREETING, NAMESPACE, SOURCE_HOST, SOURCE_NODE_PORT, World, WorldError,
        quoted,
    },
};

/// One thing done to a world. Texts may hold
/// - `${SOURCE_NODE}`, `${HELLO_POD}`, `${REPLICA_POD}`, `${CLIENT_POD}`: addresses, the last of the broken link's client;
/// - `${NS}`, `${POD}`, `${CONTAINER}`: namespace of the broken link's client, its pod, its container;
/// - `${LINK}`, `${HOST}`, `${PORT}`, `${PORT_NAME}`, `${NODE_PORT}`: the link, its mesh name and port, and the source's node port;
/// - `${ENTRY}`, `${RULE}`, `${VIP}`: its ServiceEntry, DestinationRule (their names) and virtual address, where it is linked;
/// - `${REPL}`, `${PXC_LINK}`: passwords as SQL literals.
#[derive(Debug)]
pub enum Act {
    /// `kubectl --context CLUSTER …` with an administrator's rights.
    Kubectl(Cluster, &'static [&'static str]),
    /// The same, and a failure is no error: what is to be taken away may be gone.
    KubectlIfThere(Cluster, &'static [&'static str]),
    /// Applies objects.
    Apply(Cluster, &'static str),
    /// A rule is put first into a chain of the first node's iptables: table, then chain and rule.
    Rule(Cluster, &'static str, &'static [&'static str]),
    /// The rule is taken out as often as it is there.
    NoRule(Cluster, &'static str, &'static [&'static str]),
    /// A statement as root on member 0.
    Sql(Cluster, &'static str),
    /// Ends a daemon at once.
    Stop(Cluster, &'static str),
    /// Starts a daemon unless it runs.
    Start(Cluster, &'static str),
    /// Something done to a plain server.
    Server(End, Deed),
}

/// One thing done to a plain server. Texts may hold `${REPL}` and `${PXC_LINK}`, passwords as SQL literals, `${SOURCE_PORT}`,
/// `${REPLICA_PORT}`, and what the source answers then: `${SOURCE_UUID}`, `${SOURCE_GTIDS}`.
#[derive(Debug)]
pub enum Deed {
    /// Statements as root.
    Sql(&'static str),
    /// A script in the server's directory, as the server's user: `data`, `tls`, `my.cnf` are there.
    Shell(&'static str),
    /// Its end at once.
    Kill,
    /// Its end in order.
    ShutDown,
    /// Starts it unless it runs, with options that it has not by itself.
    Start(&'static [&'static str]),
}

/// An act that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The world refused.
    #[error(transparent)]
    World(#[from] WorldError),
    /// It is made for another site.
    #[error("an act of {0} belongs to another kind of site")]
    Elsewhere(&'static str),
    /// A query failed.
    #[error(transparent)]
    Sql(#[from] ExecError),
    /// A command ended with an error.
    #[error("`{command}` ended with {status}: {said}")]
    Command {
        /// The command.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its error output.
        said: String,
    },
}

/// Rules taken out at the most; more than a fault that was applied twice by a crash can have left.
const RULES: usize = 8;

/// How long root may find a full server's last connection taken.
const FULL_AT_MOST: Duration = Duration::from_secs(20);

/// The link that acts are about.
#[derive(Clone, Copy)]
struct Link<'a> {
    name: &'a str,
    namespace: &'a str,
    host: &'a str,
    container: &'a str,
    port: (u16, &'a str, u16),
}

/// Carries out acts on the link of a fault.
pub(super) async fn all(site: Site<'_>, fault: &Fault, acts: &[Act]) -> Result<(), FaultError> {
    let world = match site {
        Site::World(world) => world,
        Site::Plain(plain) => return on_servers(plain, fault, acts).await,
    };
    let (namespace, host) = place(fault);
    let (container, port) = match fault.scope {
        Scope::World(_) | Scope::Plain => ("pxc", (3306, "tcp-mysql", SOURCE_NODE_PORT)),
        Scope::Pair => ("client", (9001, "tcp-greeting", HELLO_GREETING)),
    };
    let link = Link { name: fault.link(), namespace: &namespace, host: &host, container, port };
    for act in acts {
        one(world, link, act).await?;
    }
    Ok(())
}

/// Carries out acts on plain servers.
async fn on_servers(plain: &Plain, fault: &Fault, acts: &[Act]) -> Result<(), FaultError> {
    let filled = |text: &str| {
        text.replace("${REPL}", &quoted(plain.password(Account::Replication)))
            .replace("${PXC_LINK}", &quoted(plain.password(Account::PxcLink)))
            .replace("${SOURCE_PORT}", &plain.port(End::Source).to_string())
            .replace("${REPLICA_PORT}", &plain.port(End::Replica).to_string())
    };
    for act in acts {
        let Act::Server(end, deed) = act else { return Err(FaultError::Elsewhere(fault.name)) };
        match deed {
            Deed::Sql(text) => drop(plain.sql(*end, &answered(plain, filled(text)).await?).await?),
            Deed::Shell(text) => drop(plain.shell(*end, &answered(plain, filled(text)).await?).await?),
            Deed::Kill => drop(plain.kill(*end).await?),
            Deed::ShutDown => drop(plain.shut_down(*end).await?),
            Deed::Start(options) => plain.start(*end, options).await?,
        }
    }
    Ok(())
}

/// Asks the source for what a text needs of it.
async fn answered(plain: &Plain, mut text: String) -> Result<String, FaultError> {
    for (placeholder, question) in
        [("${SOURCE_UUID}", "SELECT @@server_uuid"), ("${SOURCE_GTIDS}", "SELECT @@gtid_executed")]
    {
        if text.contains(placeholder) {
            text = text.replace(placeholder, plain.sql(End::Source, question).await?.trim());
        }
    }
    Ok(text)
}

/// Whether the link of a fault has a ServiceEntry or, between plain servers, a channel.
pub(super) async fn is_linked(site: Site<'_>, fault: &Fault) -> Result<bool, FaultError> {
    let world = match site {
        Site::World(world) => world,
        Site::Plain(plain) => {
            let channels = "SELECT channel_name FROM performance_schema.replication_connection_configuration";
            return Ok(plain.sql(End::Replica, channels).await?.lines().any(|name| name == fault.link()));
        }
    };
    let label = format!("pxc-link.io/link={}", fault.link());
    let args = ["-n", &place(fault).0, "get", "serviceentry", "-l", &label, "-o", "name"];
    Ok(!kubectl(world, Cluster::Dr, &args).await?.is_empty())
}

/// Namespace and mesh name of the link of a fault.
fn place(fault: &Fault) -> (String, String) {
    match fault.scope {
        Scope::World(_) | Scope::Plain => (NAMESPACE.to_owned(), SOURCE_HOST.to_owned()),
        Scope::Pair => (pair::namespace(fault.name), pair::host(fault.name)),
    }
}

/// Carries out acts that are about no link.
pub(super) async fn without_link(world: &World, acts: &[Act]) -> Result<(), FaultError> {
    let none = Link { name: "", namespace: "", host: "", container: "", port: (0, "", 0) };
    for act in acts {
        one(world, none, act).await?;
    }
    Ok(())
}

async fn one(world: &World, link: Link<'_>, act: &Act) -> Result<(), FaultError> {
    match act {
        Act::Kubectl(cluster, args) => {
            let args = filled(world, link, args).await?;
            kubectl(world, *cluster, &strs(&args)).await?;
        }
        Act::KubectlIfThere(cluster, args) => {
            // What is looked up to name the thing may be gone as well.
            if let Ok(args) = filled(world, link, args).await {
                world.kubectl(&[&["--context", cluster.name()], &strs(&args)[..]].concat()).await?;
            }
        }
        Act::Apply(cluster, yaml) => world.apply_yaml(*cluster, &filled(world, link, &[yaml]).await?.concat()).await?,
        Act::Rule(cluster, table, rule) => {
            let argv = iptables(world, link, table, "-I", rule).await?;
            good(&argv.join(" "), world.node_exec(*cluster, &strs(&argv)).await?)?;
        }
        Act::NoRule(cluster, table, rule) => {
            let argv = iptables(world, link, table, "-D", rule).await?;
            for _ in 0..RULES {
                if !world.node_exec(*cluster, &strs(&argv)).await?.status.success() {
                    break;
                }
            }
        }
        Act::Sql(cluster, statement) => {
            let statement = filled(world, link, &[statement]).await?;
            sql(world, *cluster, &statement.concat()).await?;
        }
        Act::Stop(cluster, daemon) => drop(world.stop(*cluster, daemon).await?),
        Act::Start(cluster, daemon) => {
            world.start(*cluster, daemon).await?;
            if *daemon == "kube-apiserver" {
                world.api_ready(*cluster).await?;
            }
        }
        Act::Server(..) => return Err(FaultError::Elsewhere("plain servers")),
    }
    Ok(())
}

/// Runs a statement as root. A server that is full has one connection left for root, which whoever is just being refused may
/// have for a moment: then it is tried again.
async fn sql(world: &World, cluster: Cluster, statement: &str) -> Result<(), FaultError> {
    let begun = Instant::now();
    loop {
        match world.mysql(cluster, 0, statement).await {
            Err(ExecError::Mysql { said, .. })
                if said.contains("Too many connections") && begun.elapsed() < FULL_AT_MOST =>
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            end => return Ok(end.map(drop)?),
        }
    }
}

async fn iptables(
    world: &World,
    link: Link<'_>,
    table: &str,
    verb: &str,
    rule: &[&str],
) -> Result<Vec<String>, FaultError> {
    filled(world, link, &[&["iptables", "-w", "-t", table, verb], rule].concat()).await
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

async fn kubectl(world: &World, cluster: Cluster, args: &[&str]) -> Result<String, FaultError> {
    let args = [&["--context", cluster.name()], args].concat();
    let output = good(&format!("kubectl {}", args.join(" ")), world.kubectl(&args).await?)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(super) fn good(command: &str, output: Output) -> Result<Output, FaultError> {
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(FaultError::Command { command: command.to_owned(), status: output.status, said })
}

/// Puts names, addresses and passwords in their places; what only the cluster knows is asked for where it is used.
async fn filled(world: &World, link: Link<'_>, texts: &[&str]) -> Result<Vec<String>, FaultError> {
    let literal = |account| quoted(world.password(account));
    let mut done: Vec<String> = texts
        .iter()
        .map(|text| {
            text.replace("${SOURCE_NODE}", &world.node_address(Cluster::Production).to_string())
                .replace("${NS}", link.namespace)
                .replace("${LINK}", link.name)
                .replace("${HOST}", link.host)
                .replace("${CONTAINER}", link.container)
                .replace("${PORT}", &link.port.0.to_string())
                .replace("${PORT_NAME}", link.port.1)
                .replace("${NODE_PORT}", &link.port.2.to_string())
                .replace("${REPL}", &literal(Account::Replication))
                .replace("${PXC_LINK}", &literal(Account::PxcLink))
        })
        .collect();
    let own = format!("pxc-link.io/link={}", link.name);
    let first_ip = "jsonpath={.items[0].status.podIP}";
    let name = "jsonpath={.items[0].metadata.name}";
    let asked: [(&str, Cluster, [&str; 8]); 7] = [
        ("${REPLICA_POD}", Cluster::Dr, ["-n", NAMESPACE, "get", "pod", "-l", "app=pxc", "-o", first_ip]),
        (
            "${CLIENT_POD}",
            Cluster::Dr,
            ["-n", link.namespace, "get", "pod", "-l", "app in (client,pxc)", "-o", first_ip],
        ),
        ("${POD}", Cluster::Dr, ["-n", link.namespace, "get", "pod", "-l", "app in (client,pxc)", "-o", name]),
        ("${HELLO_POD}", Cluster::Production, ["-n", DEMO, "get", "pod", "-l", "app=hello", "-o", first_ip]),
        ("${ENTRY}", Cluster::Dr, ["-n", link.namespace, "get", "serviceentry", "-l", &own, "-o", name]),
        ("${RULE}", Cluster::Dr, ["-n", link.namespace, "get", "destinationrule", "-l", &own, "-o", name]),
        (
            "${VIP}",
            Cluster::Dr,
            ["-n", link.namespace, "get", "serviceentry", "-l", &own, "-o", "jsonpath={.items[0].spec.addresses[0]}"],
        ),
    ];
    for (placeholder, cluster, args) in asked {
        if done.iter().any(|text| text.contains(placeholder)) {
            let value = kubectl(world, cluster, &args).await?;
            for text in &mut done {
                *text = text.replace(placeholder, &value);
            }
        }
    }
    Ok(done)
}
