//! Connecting to a cluster as a kubeconfig knows it, and running one request within a deadline.

use std::{future::Future, path::Path, sync::Arc};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use tokio::time::Instant;

use super::{
    connection,
    error::{K8sError, Target},
};
use crate::{domain::spec::ClusterRef, wait::Deadline};

/// A cluster that answered, with the namespace of the members.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    target: Arc<Target>,
    namespace: Arc<str>,
    version: Arc<str>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("target", &self.target)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Finds the context, makes a client and asks the API server for its version.
    ///
    /// Without a context the cluster that this program runs in is taken, else the current context.
    ///
    /// # Errors
    /// `NoSuchContext`, `CredentialsRejected`, `Unreachable`, `TimedOut`.
    pub async fn connect(cluster: &ClusterRef, deadline: Deadline) -> Result<Self, K8sError> {
        let path = cluster.kubeconfig.as_deref();
        let (mut config, context) = config(path, cluster.context.as_deref()).await?;
        // A silent retry hides what is wrong for minutes; every call has a deadline of its own.
        config.default_retry = false;
        config.connect_timeout = None;
        let target = Arc::new(Target {
            kubeconfig: path.map(|path| path.display().to_string()),
            context,
            server: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
        });
        let what = "asking for the version";
        let client = made(config, &target, deadline).await?.map_err(|error| K8sError::of(&target, what, error))?;
        let mut this = Self { client, target, namespace: cluster.namespace.as_str().into(), version: "".into() };
        let version = this.call(what, deadline, this.client.apiserver_version()).await?;
        this.version = version.git_version.into();
        Ok(this)
    }

    /// Runs one request; `what` is a phrase for the case that it fails: `listing pods`.
    pub(crate) async fn call<T>(
        &self,
        what: &str,
        deadline: Deadline,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, K8sError> {
        let begun = Instant::now();
        // Boxed, since many of them are under way in one future of the caller.
        let ended = deadline.bound(Box::pin(request)).await;
        tracing::debug!(cluster = self.target.name(), took_ms = begun.elapsed().as_millis(), "{what}");
        match ended {
            Ok(answer) => answer.map_err(|error| K8sError::of(&self.target, what, error)),
            Err(elapsed) => Err(K8sError::TimedOut { target: self.target(), what: what.to_owned(), elapsed }),
        }
    }

    /// The client, for the modules beside this one.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Which cluster this is.
    pub fn target(&self) -> Arc<Target> {
        self.target.clone()
    }

    /// The namespace of the members.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The API server's version, such as `v1.36.3`.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// Makes a client, which runs the context's credential plugin and waits for it. The thread is not one of the runtime's, whose end
/// would wait for a plugin that hangs.
async fn made(config: Config, target: &Arc<Target>, deadline: Deadline) -> Result<kube::Result<Client>, K8sError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _inside = runtime.enter();
        // Nobody waits for the client any more once the deadline has passed.
        let _given_up = sender.send(connection::client(config));
    });
    let what = "making credentials";
    match deadline.bound(receiver).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(_)) => Err(K8sError::Unreachable {
            target: target.clone(),
            causes: vec![format!("{what}: the client's thread ended without a word")],
        }),
        Err(elapsed) => Err(K8sError::TimedOut { target: target.clone(), what: what.into(), elapsed }),
    }
}

/// Reads the kubeconfig, or what a pod has instead; with the context that was taken.
async fn config(path: Option<&Path>, context: Option<&str>) -> Result<(Config, Option<String>), K8sError> {
    if path.is_none()
        && context.is_none()
        && let Ok(config) = Config::incluster()
    {
        return Ok((config, None));
    }
    let place = match path {
        Some(path) => format!("kubeconfig {}", path.display()),
        None => match std::env::var("KUBECONFIG") {
            Ok(list) if !list.is_empty() => format!("KUBECONFIG={list}"),
            _ => "~/.kube/config".into(),
        },
    };
    let asked = context.unwrap_or("(current)").to_owned();
    let missing = |known: Vec<String>, error: &KubeconfigError| K8sError::NoSuchContext {
        context: asked.clone(),
        known,
        detail: format!("{place}: {}", kubeconfig_detail(error)),
    };
    let kubeconfig = match path {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    }
    .map_err(|error| missing(Vec::new(), &error))?;
    let known: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let taken = context.map(ToOwned::to_owned).or_else(|| kubeconfig.current_context.clone());
    let options = KubeConfigOptions { context: taken.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| missing(known, &error))?;
    Ok((config, taken))
}

/// What is wrong with a kubeconfig, without a line of it: the lines around a syntax error may be credentials.
fn kubeconfig_detail(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!("not valid as a kubeconfig at line {}, column {}", at.line(), at.column()),
            None => "not valid as a kubeconfig".into(),
        },
        KubeconfigError::ReadConfig(error, path) => format!("{} cannot be read: {error}", path.display()),
        KubeconfigError::LoadContext(_) => "no context of that name".into(),
        other => other.to_string(),
    }
}
