//! Ways into a standing world, for people, faults and tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::error::While;
use super::layout::Place;
use super::wait::Wait;
use super::{
    Account, CONTROL_PLANE, Cluster, NAMESPACE, NODE_DAEMONS, Node, World, WorldError, apply, cgroup, control_plane,
};
use crate::reexec::{self, Entry, Task};

/// Deadline for one command or query.
const COMMAND_DEADLINE: Duration = Duration::from_mins(2);

/// A query that did not give rows.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The API refused or broke off.
    #[error("could not run mysql in pod {pod} of cluster {cluster}: {cause}")]
    Api {
        /// Name of the pod.
        pod: String,
        /// Cluster of the pod.
        cluster: Cluster,
        /// What was seen.
        cause: String,
    },
    /// The client ended with an error.
    #[error("mysql in pod {pod} of cluster {cluster} said: {said}")]
    Mysql {
        /// Name of the pod.
        pod: String,
        /// Cluster of the pod.
        cluster: Cluster,
        /// Its error output.
        said: String,
    },
}

impl World {
    /// Kubeconfig of the user `pxc-link`, who has the rights of the repository's manifests only.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Kubeconfig of a user who may do everything.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// What kubectl keeps of the API servers it has asked; in `~/.kube` it would outlive the world.
    fn kubectl_cache(&self) -> PathBuf {
        self.dir.join("kubectl-cache")
    }

    /// The API server's audit log, a JSON object a line: all requests of `pxc-link`, all writes of everybody.
    pub fn audit_log(&self, cluster: Cluster) -> PathBuf {
        self.place(cluster, 0).path("log/audit.log")
    }

    /// The log of a part as [`World::status`] names it, such as `production/kubelet`.
    pub fn log(&self, part: &str) -> Option<PathBuf> {
        let (node, daemon) = part.split_once('/')?;
        let place = self.places().into_iter().find(|place| place.name() == node)?;
        let known = CONTROL_PLANE.iter().chain(&NODE_DAEMONS).any(|name| *name == daemon);
        Some(place.log(daemon)).filter(|log| known && log.exists())
    }

    /// The address of a cluster's first node; NodePorts answer there.
    pub fn node_address(&self, cluster: Cluster) -> std::net::Ipv4Addr {
        self.place(cluster, 0).address()
    }

    /// The password of an account, the same on every member.
    pub fn password(&self, account: Account) -> &str {
        self.record.passwords.get(account.name()).map_or("", String::as_str)
    }

    /// What `cargo sandbox env` prints and the tests give to pxc-link: kubeconfig, kubectl, passwords.
    pub fn environment(&self) -> BTreeMap<&'static str, String> {
        let path = std::env::var("PATH").unwrap_or_default();
        BTreeMap::from([
            ("KUBECONFIG", self.kubeconfig().display().to_string()),
            ("KUBECACHEDIR", self.kubectl_cache().display().to_string()),
            ("PATH", format!("{}:{path}", self.record.bin_dir.display())),
            ("PXC_SOURCE_PASSWORD", self.password(Account::PxcLink).to_owned()),
            ("PXC_REPLICA_PASSWORD", self.password(Account::PxcLink).to_owned()),
            ("PXC_REPLICATION_PASSWORD", self.password(Account::Replication).to_owned()),
            ("PXC_ROOT_PASSWORD", self.password(Account::Root).to_owned()),
        ])
    }

    /// A client that may do everything.
    pub async fn client(&self, cluster: Cluster) -> Result<kube::Client, WorldError> {
        let wrong = |cause: String| WorldError::Kubeconfig { path: self.admin_kubeconfig(), cause };
        let config = Kubeconfig::read_from(self.admin_kubeconfig()).map_err(|error| wrong(error.to_string()))?;
        let options = KubeConfigOptions { context: Some(cluster.name().to_owned()), ..Default::default() };
        let mut config =
            kube::Config::from_custom_kubeconfig(config, &options).await.map_err(|error| wrong(error.to_string()))?;
        config.connect_timeout = Some(Duration::from_secs(5));
        kube::Client::try_from(config).map_err(|cause| WorldError::Api {
            what: "make a client".to_owned(),
            cluster: cluster.name(),
            cause: Box::new(cause),
        })
    }

    /// Waits until the API server is ready and returns a client for it.
    pub(crate) async fn api_ready(&self, cluster: Cluster) -> Result<kube::Client, WorldError> {
        let client = self.client(cluster).await?;
        let wait = Wait {
            what: format!("the API server of cluster {cluster}"),
            deadline: Duration::from_secs(90),
            look: self.place(cluster, 0).log(CONTROL_PLANE[1]).display().to_string(),
        };
        wait.until(async || {
            let request = http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
            client.request_text(request).await.map(drop).map_err(|error| error.to_string())
        })
        .await?;
        Ok(client)
    }

    /// Runs `kubectl` as a user who may do everything; the first arguments should name the context.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Output, WorldError> {
        let mut command = tokio::process::Command::new(self.record.bin_dir.join("kubectl"));
        command
            .args(args)
            .env("KUBECONFIG", self.admin_kubeconfig())
            .env("KUBECACHEDIR", self.kubectl_cache())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        finish(command).await.while_doing(|| format!("run kubectl {}", args.join(" ")))
    }

    /// Applies the objects of a YAML text as a user who may do everything.
    pub async fn apply_yaml(&self, cluster: Cluster, yaml: &str) -> Result<(), WorldError> {
        let objects = apply::parse("the manifest of a fault", yaml)?;
        apply::apply(&self.client(cluster).await?, cluster, objects).await
    }

    /// Runs a command in the namespaces of a cluster's first node, such as `iptables`.
    pub async fn node_exec(&self, cluster: Cluster, argv: &[&str]) -> Result<Output, WorldError> {
        let place = self.place(cluster, 0);
        let init = Self::node(&place)?.init().ok_or_else(|| WorldError::NodeGone { node: place.name() })?;
        let task = Task::Run(Entry {
            init: init.pid,
            dir: place.dir.clone(),
            env: self.record.env.clone(),
            argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
            log: None,
            cgroups: Vec::new(),
        });
        let run = async {
            let mut command = tokio::process::Command::from(reexec::command(&task)?);
            command.envs(&self.record.env).stdin(Stdio::null()).kill_on_drop(true);
            finish(command).await
        };
        run.await.while_doing(|| format!("run {} on node {}", argv.join(" "), place.name()))
    }

    /// Runs SQL as root on one member and returns its rows, tab-separated, without heads.
    pub async fn mysql(&self, cluster: Cluster, member: u32, sql: &str) -> Result<String, ExecError> {
        self.mysql_in(cluster, NAMESPACE, member, sql).await
    }

    /// The same on a member of another namespace.
    pub async fn mysql_in(
        &self,
        cluster: Cluster,
        namespace: &str,
        member: u32,
        sql: &str,
    ) -> Result<String, ExecError> {
        let password = self.password(Account::Root);
        let credentials = format!("[client]\nuser=root\npassword={password}\nsocket=/run/mysqld/mysqld.sock\n");
        self.mysql_as(cluster, namespace, member, &credentials, sql).await
    }

    /// Runs SQL from inside one member on the server behind a name, as the account that replicates, with the server's identity
    /// verified.
    pub async fn mysql_through(&self, member: u32, host: &str, sql: &str) -> Result<String, ExecError> {
        let (user, password) = (Account::Replication, self.password(Account::Replication));
        let credentials = format!(
            "[client]\nuser={user}\npassword={password}\nprotocol=TCP\nhost={host}\nssl-mode=VERIFY_IDENTITY\nssl-ca=/etc/mysql/tls/ca.crt\n"
        );
        self.mysql_as(Cluster::Dr, NAMESPACE, member, &credentials, sql).await
    }

    /// Runs SQL with the client of a member's container and an option file of its own.
    async fn mysql_as(
        &self,
        cluster: Cluster,
        namespace: &str,
        member: u32,
        credentials: &str,
        sql: &str,
    ) -> Result<String, ExecError> {
        let pod = format!("pxc-{member}");
        let api_error = |cause: String| ExecError::Api { pod: pod.clone(), cluster, cause };
        let client = self.client(cluster).await.map_err(|error| api_error(error.to_string()))?;
        let api: Api<Pod> = Api::namespaced(client, namespace);
        // Credentials come first on standard input, the statements after them: neither is in an argument.
        let script = format!(
            "c=$(head -c {}); exec mysql --defaults-extra-file=<(printf '%s\\n' \"$c\") --batch --raw --skip-column-names",
            credentials.len()
        );
        let params = AttachParams::default().container("pxc").stdin(true).stdout(true).stderr(true);
        let run = async {
            let mut process =
                api.exec(&pod, ["bash", "-c", &script], &params).await.map_err(|error| api_error(error.to_string()))?;
            let status = process.take_status();
            let (mut out, mut err) = (String::new(), String::new());
            let (stdin, stdout, stderr) = (process.stdin(), process.stdout(), process.stderr());
            let write = async {
                if let Some(mut stdin) = stdin {
                    stdin.write_all(format!("{credentials}{sql}\n").as_bytes()).await?;
                    stdin.shutdown().await?;
                }
                Ok::<_, io::Error>(())
            };
            let read_out = async {
                if let Some(mut stdout) = stdout {
                    stdout.read_to_string(&mut out).await?;
                }
                Ok::<_, io::Error>(())
            };
            let read_err = async {
                if let Some(mut stderr) = stderr {
                    stderr.read_to_string(&mut err).await?;
                }
                Ok::<_, io::Error>(())
            };
            tokio::try_join!(write, read_out, read_err).map_err(|error| api_error(error.to_string()))?;
            let status = match status {
                Some(status) => status.await,
                None => None,
            };
            match status.and_then(|status| status.status).as_deref() {
                Some("Success") => Ok(out),
                _ => Err(ExecError::Mysql { pod: pod.clone(), cluster, said: err.trim().to_owned() }),
            }
        };
        tokio::time::timeout(COMMAND_DEADLINE, run)
            .await
            .unwrap_or_else(|_| Err(api_error(format!("no end after {COMMAND_DEADLINE:?}"))))
    }

    /// Starts a daemon of a cluster's first node unless it runs.
    pub async fn start(&self, cluster: Cluster, daemon: &str) -> Result<(), WorldError> {
        let node = Self::node(&self.place(cluster, 0))?;
        self.ensure_daemon(cluster, 0, &node, daemon).await
    }

    /// Ends a daemon of a cluster's first node at once. Says whether it ran.
    pub async fn stop(&self, cluster: Cluster, daemon: &str) -> Result<bool, WorldError> {
        let node = Self::node(&self.place(cluster, 0))?;
        let ran = node.signal(daemon, Signal::SIGKILL);
        let wait = Wait {
            what: format!("the end of {daemon} in cluster {cluster}"),
            deadline: Duration::from_secs(10),
            look: "ps".to_owned(),
        };
        wait.until(async || if node.runs(daemon) { Err("it runs".to_owned()) } else { Ok(()) }).await?;
        Ok(ran)
    }

    /// Freezes a daemon of a cluster's first node: its connections stay and nothing answers. Says whether it ran.
    pub fn pause(&self, cluster: Cluster, daemon: &str) -> Result<bool, WorldError> {
        Ok(Self::node(&self.place(cluster, 0))?.signal(daemon, Signal::SIGSTOP))
    }

    pub(crate) async fn ensure_daemon(
        &self,
        cluster: Cluster,
        ordinal: u8,
        node: &Node,
        daemon: &str,
    ) -> Result<(), WorldError> {
        let place: Place = self.place(cluster, ordinal);
        let argv = control_plane::argv(daemon, &place, &self.record.bin_dir);
        let cgroups = cgroup::make(&place.cgroup())?;
        node.ensure(daemon, argv, &self.record.env, cgroups).await
    }

    /// Lines for a shell's `eval`: [`World::environment`] as exports.
    pub fn exports(&self) -> String {
        self.environment().iter().fold(String::new(), |mut text, (name, value)| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''"));
            text
        })
    }

    /// A part's log.
    pub fn read_log(&self, part: &str) -> Result<String, WorldError> {
        let path = self.log(part).ok_or_else(|| WorldError::NoLog { part: part.to_owned() })?;
        let bytes = std::fs::read(&path).while_doing(|| format!("read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

async fn finish(mut command: tokio::process::Command) -> io::Result<Output> {
    tokio::time::timeout(COMMAND_DEADLINE, command.output()).await.map_err(|_| io::ErrorKind::TimedOut)?
}
