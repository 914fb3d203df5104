//! Both ends of a link, reached side by side: clusters, secrets, and servers, behind port-forwards or directly.

use std::time::Duration;

use secrecy::SecretString;

use super::{servers::Direct, session::Session};
use crate::{
    config::secret::{self, PasswordUse},
    domain::{
        check::Side,
        code::Code,
        facts::{Facts, ReceiverLogin, ServerFacts},
        grants::{Grant, Role},
        problem::Problem,
        spec::{Account, ClusterRef, Ends, MeshLink, ReplicationSpec, SecretRef, ServerAddress, SourceLocation},
    },
    k8s::{
        Cluster,
        forward::{Forward, forward},
        secrets,
    },
    mesh::probe::{Place, Shells},
    mysql::{self, Depth, Encryption, Server, Target},
    wait::Deadline,
};

/// A cluster that answers at all does so well within this; a hanging one must not eat the time of the good one.
const CLUSTER: Duration = Duration::from_secs(10);
/// The same for a server, its login and one look at it.
pub(super) const SERVER: Duration = Duration::from_secs(10);
/// The port of mysqld inside a member's pod.
const MYSQL_PORT: u16 = 3306;
/// What messages call the channel's account.
const REPLICATION: &str = "the replication account";

/// Both ends, each reached or not.
pub(crate) struct Sides {
    homes: Homes,
    /// `None` on a link that carries no replication.
    logins: Option<Logins>,
    /// Of the client's pods.
    shells: Shells,
}

/// Where the servers of both ends run.
enum Homes {
    /// In pods.
    Clusters {
        /// The source's cluster; `None` where the configuration gives endpoints only.
        source: Option<Result<Cluster, Problem>>,
        /// The cluster of the pods that use the name.
        client: Result<Cluster, Problem>,
    },
    /// Wherever this machine reaches them directly.
    Servers(Direct),
}

impl Homes {
    /// The source's cluster, where there is one.
    fn source(&self) -> Option<&Result<Cluster, Problem>> {
        match self {
            Self::Clusters { source, .. } => source.as_ref(),
            Self::Servers(_) => None,
        }
    }

    /// The client's cluster, where there is one.
    fn client(&self) -> Option<&Result<Cluster, Problem>> {
        match self {
            Self::Clusters { client, .. } => Some(client),
            Self::Servers(_) => None,
        }
    }
}

/// The three accounts of a link that carries replication.
struct Logins {
    /// Reads the source.
    source: Login,
    /// Reads and configures the replica.
    replica: Login,
    /// The channel logs in with it.
    replication: Login,
}

/// An account and its password, or why the password cannot be had.
struct Login {
    user: String,
    role: Role,
    password: Result<SecretString, Problem>,
}

/// A session on a member's server; the port-forward that it may go through lives as long as it does.
pub(crate) struct Live {
    pub(super) server: Server,
    role: Role,
    _forward: Option<Forward>,
}

impl Live {
    /// Everything of the server that its account's role may see.
    pub(super) async fn observe(&mut self, depth: Depth, deadline: Deadline) -> Result<ServerFacts, Problem> {
        Ok(self.server.observe(self.role, depth, deadline.at_most(SERVER)).await?)
    }

    /// What its account lacks of the privileges that a promotion needs.
    pub(super) async fn lacks_to_promote(&mut self, deadline: Deadline) -> Result<Vec<Grant>, Problem> {
        Ok(self.server.lacks_to_promote(self.role, deadline).await?)
    }

    /// Takes leave of the server, which would log an aborted connection otherwise.
    pub(super) async fn close(self, deadline: Deadline) {
        self.server.disconnect(deadline.at_most(SERVER)).await;
    }
}

impl Sides {
    /// Connects to both clusters and reads the passwords there are, all side by side.
    pub(crate) async fn connect(session: &Session) -> Self {
        let mut sides = Self::without_servers(session, true).await;
        if let Some(link) = session.spec.replication() {
            sides.logins =
                Some(Logins::read(session, link.replication, sides.homes.source(), sides.homes.client()).await);
        }
        sides
    }

    /// Connects to the source's cluster, where there is one, and to the client's if that is wanted; reads no password, so that
    /// nobody can log in to a server.
    pub(crate) async fn without_servers(session: &Session, client: bool) -> Self {
        let mesh = match &session.spec.ends {
            Ends::Mesh(mesh) => mesh,
            Ends::Servers(ends) => {
                let homes = Homes::Servers(Direct::of(ends, session.spec.replication()));
                return Self { homes, logins: None, shells: Shells::default() };
            }
        };
        let (source, client) = tokio::join!(
            async {
                match &mesh.source {
                    SourceLocation::Kubernetes { cluster, .. } => Some(reach(session, cluster).await),
                    SourceLocation::Endpoints(_) => None,
                }
            },
            async {
                if client {
                    return reach(session, &mesh.client.cluster).await;
                }
                Err(Problem::new(Code::Internal, "the client's cluster was not looked at"))
            },
        );
        Self { homes: Homes::Clusters { source, client }, logins: None, shells: Shells::default() }
    }

    /// Whether anybody can log in to servers.
    pub(super) fn have_logins(&self) -> bool {
        self.logins.is_some()
    }

    /// Whether a cluster was not reached or a password not read, so that trying again may bring it.
    pub(super) fn lack_something(&self) -> bool {
        let logins = self.logins.iter().flat_map(|logins| [&logins.source, &logins.replica, &logins.replication]);
        matches!(self.homes.source(), Some(Err(_)))
            || matches!(self.homes.client(), Some(Err(_)))
            || logins.into_iter().any(|login| login.password.is_err())
    }

    /// The cluster of a side.
    ///
    /// # Errors
    /// Why it was not reached.
    pub(super) fn cluster(&self, side: Side) -> Result<&Cluster, Problem> {
        match (side, self.homes.source()) {
            (Side::Source, Some(source)) => source.as_ref().map_err(Clone::clone),
            _ => self.client(),
        }
    }

    /// The cluster of the pods that use the name.
    ///
    /// # Errors
    /// Why it was not reached.
    pub(super) fn client(&self) -> Result<&Cluster, Problem> {
        let none = || Problem::new(Code::NoMesh, "the replica is a server without Kubernetes: it has no cluster");
        self.homes.client().ok_or_else(none)?.as_ref().map_err(Clone::clone)
    }

    /// The application container of one of the client's pods.
    ///
    /// # Errors
    /// Why the cluster was not reached.
    pub(super) fn place<'a>(&'a self, mesh: MeshLink<'a>, pod: &'a str) -> Result<Place<'a>, Problem> {
        let (cluster, shells, container) = (self.client()?, &self.shells, mesh.client.container.as_str());
        Ok(Place { cluster, shells, pod, container })
    }

    fn logins(&self) -> Result<&Logins, Problem> {
        self.logins
            .as_ref()
            .ok_or_else(|| Problem::new(Code::Internal, "this link carries no replication: nobody logs in"))
    }

    /// The password of the replication account.
    ///
    /// # Errors
    /// Why it cannot be had, or cannot be used for a channel.
    pub(super) fn replication_password(&self) -> Result<&SecretString, Problem> {
        let password = self.logins()?.replication.password.as_ref().map_err(Clone::clone)?;
        secret::check(REPLICATION, password, PasswordUse::Channel)?;
        Ok(password)
    }

    /// Opens a session on the server that was judged: a pod may have been made anew since.
    ///
    /// # Errors
    /// As [`Sides::open`], and where another server answers.
    pub(super) async fn open_judged(
        &self,
        side: Side,
        member: &str,
        facts: &Facts,
        deadline: Deadline,
    ) -> Result<Live, Problem> {
        let live = self.open(side, member, deadline).await?;
        let members = match side {
            Side::Source => &facts.source.members,
            Side::Replica | Side::Client => &facts.client.members,
        };
        let judged = members.got().into_iter().flatten().find(|one| one.name() == member);
        if let Some(judged) = judged.and_then(|member| member.server()) {
            live.server.must_be(&judged.server_uuid)?;
        }
        Ok(live)
    }

    /// Opens a session on the server of a member: through a port-forward to its pod, or directly where it runs in none.
    ///
    /// # Errors
    /// The cluster, the password or the server, whichever fails first.
    pub(super) async fn open(&self, side: Side, member: &str, deadline: Deadline) -> Result<Live, Problem> {
        let login = match side {
            Side::Source => &self.logins()?.source,
            Side::Replica | Side::Client => &self.logins()?.replica,
        };
        match &self.homes {
            Homes::Clusters { .. } => self.open_in_pod(side, member, login, deadline).await,
            Homes::Servers(direct) => login.open_directly(side, direct.way(side), deadline).await,
        }
    }

    /// Logs in at the source as its receiver does, on a link without a mesh: with the channel's account, in its TLS mode as far as
    /// this machine can.
    ///
    /// # Errors
    /// The password or the server.
    pub(super) async fn login_as_receiver(&self, deadline: Deadline) -> Result<ReceiverLogin, Problem> {
        let Homes::Servers(direct) = &self.homes else {
            return Err(Problem::new(Code::Internal, "the way to the source is not this machine's"));
        };
        let login = &self.logins()?.replication;
        let live = login.open_directly(Side::Source, direct.receivers_way(), deadline).await?;
        let (account, server_uuid) = (live.server.account().to_owned(), live.server.uuid().to_owned());
        live.close(deadline).await;
        Ok(ReceiverLogin { from: host_name(), account, server_uuid, tls: direct.tls.clone() })
    }

    /// The certificates that a member of the source shows.
    ///
    /// # Errors
    /// The cluster or the server, whichever fails first.
    pub(super) async fn presented(&self, member: &str, deadline: Deadline) -> Result<Vec<String>, Problem> {
        let name = |place: &str| format!("{} {place}", Side::Source);
        match &self.homes {
            Homes::Clusters { .. } => {
                let forward = forward(self.cluster(Side::Source)?, member, MYSQL_PORT, deadline).await?;
                let address = forward.address();
                let target = Target { name: name(member), host: address.ip().to_string(), port: address.port() };
                Ok(mysql::presented(&target, deadline).await?)
            }
            Homes::Servers(direct) => {
                let (at, _) = direct.way(Side::Source);
                let target = Target { name: name(&at.to_string()), host: at.host.clone(), port: at.port };
                Ok(mysql::presented(&target, deadline).await?)
            }
        }
    }

    async fn open_in_pod(&self, side: Side, pod: &str, login: &Login, deadline: Deadline) -> Result<Live, Problem> {
        let password = login.password.as_ref().map_err(Clone::clone)?;
        let deadline = deadline.at_most(SERVER);
        let forward = forward(self.cluster(side)?, pod, MYSQL_PORT, deadline).await?;
        let address = forward.address();
        let target = Target { name: format!("{side} {pod}"), host: address.ip().to_string(), port: address.port() };
        match Server::connect(&target, &Encryption::UNVERIFIED, &login.user, password, deadline).await {
            Ok(server) => Ok(Live { server, role: login.role, _forward: Some(forward) }),
            // The client only sees its connection end; the kubelet says why.
            Err(error) => {
                let problem = Problem::from(error);
                Err(match forward.failure() {
                    Some(failure) => problem.seen(format!("port-forward to {pod}:{MYSQL_PORT}: {failure}")),
                    None => problem,
                })
            }
        }
    }
}

impl Login {
    async fn open_directly(
        &self,
        side: Side,
        (at, encryption): (&ServerAddress, &Encryption),
        deadline: Deadline,
    ) -> Result<Live, Problem> {
        let password = self.password.as_ref().map_err(Clone::clone)?;
        let target = Target { name: format!("{side} {at}"), host: at.host.clone(), port: at.port };
        let server = Server::connect(&target, encryption, &self.user, password, deadline.at_most(SERVER)).await?;
        Ok(Live { server, role: self.role, _forward: None })
    }
}

impl Logins {
    async fn read(
        session: &Session,
        replication: &ReplicationSpec,
        source: Option<&Result<Cluster, Problem>>,
        replica: Option<&Result<Cluster, Problem>>,
    ) -> Self {
        // Without an account of its own the source is read by the replication account, whose secret is on the replica's side.
        let (role, account, home) = match &replication.source_account {
            Some(account) => (Role::SourceReader, account, source),
            None => (Role::Replication, &replication.account, replica),
        };
        let (source, replica, replication) = tokio::join!(
            login(session, role, account, home),
            login(session, Role::ReplicaAdmin, &replication.replica_account, replica),
            login(session, Role::Replication, &replication.account, replica),
        );
        Self { source, replica, replication }
    }
}

/// What this machine calls itself.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim()).filter(|name| !name.is_empty()).unwrap_or("this machine").to_owned()
}

async fn reach(session: &Session, cluster: &ClusterRef) -> Result<Cluster, Problem> {
    Cluster::connect(cluster, session.deadline.at_most(CLUSTER)).await.map_err(Into::into)
}

async fn login(session: &Session, role: Role, account: &Account, home: Option<&Result<Cluster, Problem>>) -> Login {
    let whose = match role {
        Role::SourceReader => "the source's account",
        Role::ReplicaAdmin => "the replica's account",
        Role::Replication => REPLICATION,
    };
    let password = match (&account.password, home) {
        (SecretRef::Secret { name, key }, Some(Ok(cluster))) => {
            secrets::read(cluster, name, key, session.deadline.at_most(CLUSTER)).await.map_err(Into::into)
        }
        (SecretRef::Secret { .. }, Some(Err(problem))) => Err(problem.clone()),
        (SecretRef::Secret { .. }, None) => Err(elsewhere(&account.password)),
        (reference, _) => secret::read_local(whose, reference)
            .and_then(|password| password.ok_or_else(|| elsewhere(&account.password))),
    };
    let password = password.and_then(|password| {
        secret::check(whose, &password, PasswordUse::Login)?;
        Ok(password)
    });
    Login { user: account.user.clone(), role, password }
}

fn elsewhere(reference: &SecretRef) -> Problem {
    Problem::new(Code::SecretUnreadable, format!("{reference} cannot be read: its side has no cluster"))
}
