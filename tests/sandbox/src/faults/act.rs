//! What a fault is made of: single acts on a world, and how each is carried out.

use std::process::Output;

use crate::world::{Account, Cluster, World, WorldError};

/// One thing done to a world. Texts may hold `${SOURCE_NODE}`, `${REPLICA_POD}` (addresses) and `${REPL}`, `${PXC_LINK}`
/// (passwords as SQL literals).
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
}

/// An act that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The world refused.
    #[error(transparent)]
    World(#[from] WorldError),
    /// A query failed.
    #[error(transparent)]
    Sql(#[from] crate::world::ExecError),
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

pub(super) async fn all(world: &World, acts: &[Act]) -> Result<(), FaultError> {
    for act in acts {
        one(world, act).await?;
    }
    Ok(())
}

async fn one(world: &World, act: &Act) -> Result<(), FaultError> {
    match act {
        Act::Kubectl(cluster, args) => {
            kubectl(world, *cluster, args).await?;
        }
        Act::KubectlIfThere(cluster, args) => {
            let args = [&["--context", cluster.name()], *args].concat();
            world.kubectl(&args).await?;
        }
        Act::Apply(cluster, yaml) => world.apply_yaml(*cluster, yaml).await?,
        Act::Rule(cluster, table, rule) => {
            let argv = iptables(world, table, "-I", rule).await?;
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            good(&argv.join(" "), world.node_exec(*cluster, &argv).await?)?;
        }
        Act::NoRule(cluster, table, rule) => {
            let argv = iptables(world, table, "-D", rule).await?;
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            for _ in 0..RULES {
                if !world.node_exec(*cluster, &argv).await?.status.success() {
                    break;
                }
            }
        }
        Act::Sql(cluster, statement) => {
            let statement = filled(world, &[statement]).await?;
            world.mysql(*cluster, 0, &statement.concat()).await?;
        }
        Act::Stop(cluster, daemon) => drop(world.stop(*cluster, daemon).await?),
        Act::Start(cluster, daemon) => {
            world.start(*cluster, daemon).await?;
            if *daemon == "kube-apiserver" {
                world.api_ready(*cluster).await?;
            }
        }
    }
    Ok(())
}

async fn iptables(world: &World, table: &str, verb: &str, rule: &[&str]) -> Result<Vec<String>, FaultError> {
    filled(world, &[&["iptables", "-w", "-t", table, verb], rule].concat()).await
}

async fn kubectl(world: &World, cluster: Cluster, args: &[&str]) -> Result<String, FaultError> {
    let args = [&["--context", cluster.name()], args].concat();
    let output = good(&format!("kubectl {}", args.join(" ")), world.kubectl(&args).await?)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn good(command: &str, output: Output) -> Result<Output, FaultError> {
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(FaultError::Command { command: command.to_owned(), status: output.status, said })
}

/// Puts addresses and passwords in their places.
async fn filled(world: &World, texts: &[&str]) -> Result<Vec<String>, FaultError> {
    let literal = |account| format!("'{}'", world.password(account).replace('\\', "\\\\").replace('\'', "''"));
    let mut done: Vec<String> = texts
        .iter()
        .map(|text| {
            text.replace("${SOURCE_NODE}", &world.node_address(Cluster::Production).to_string())
                .replace("${REPL}", &literal(Account::Replication))
                .replace("${PXC_LINK}", &literal(Account::PxcLink))
        })
        .collect();
    if done.iter().any(|text| text.contains("${REPLICA_POD}")) {
        let pod = ["-n", "pxc", "get", "pod", "pxc-0", "-o", "jsonpath={.status.podIP}"];
        let address = kubectl(world, Cluster::Dr, &pod).await?;
        for text in &mut done {
            *text = text.replace("${REPLICA_POD}", &address);
        }
    }
    Ok(done)
}
