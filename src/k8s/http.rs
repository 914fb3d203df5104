//! HTTP to ports of a pod through one port-forward: a connection a port, for as many requests as are wanted, one after the other.
//!
//! A port-forward enters the pod's own loopback: it passes no sidecar and proves nothing of the mesh.

use std::{collections::BTreeMap, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest, header::HOST};
use hyper_util::rt::TokioIo;
use kube::api::Portforwarder;
use tokio::{
    sync::{Mutex, oneshot},
    task::JoinSet,
    time::Instant,
};

use super::{
    Cluster, K8sError,
    forward::{broken, open, what},
};
use crate::wait::Deadline;

/// The largest body that is read; Envoy's dump of a big mesh is some tens of MiB.
const BODY_LIMIT: usize = 64 << 20;

/// Connections to ports of one pod; gone when dropped.
pub struct PodHttp {
    cluster: Cluster,
    pod: String,
    ports: BTreeMap<u16, Mutex<Connection>>,
    _forwarder: Portforwarder,
    _driving: JoinSet<()>,
}

struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    /// Where the kubelet's words come from, if the port cannot be used.
    words: Option<oneshot::Receiver<String>>,
    /// Those words, which explain every request that comes after them, too.
    said: Option<String>,
}

impl PodHttp {
    /// Opens a port-forward to all of the ports at once. That nothing listens at one of them is seen by its first request.
    ///
    /// # Errors
    /// `Pod` and whatever a request can fail with.
    pub async fn open(cluster: &Cluster, pod: &str, ports: &[u16], deadline: Deadline) -> Result<Self, K8sError> {
        let mut forwarder = open(cluster, pod, ports, deadline).await?;
        let mut driving = JoinSet::new();
        let mut connections = BTreeMap::new();
        for &port in ports {
            let failed = |detail: String| broken(cluster, &what(pod, port), pod, detail);
            let stream = forwarder.take_stream(port);
            let stream = stream.ok_or_else(|| failed("the API server opened no stream".into()))?;
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (sender, connection) = handshake.map_err(|error| failed(error.to_string()))?;
            // How a connection ends is told by the request it carries.
            driving.spawn(async move { drop(connection.await) });
            let words = forwarder.take_error(port).map(|said| {
                let (teller, words) = oneshot::channel();
                driving.spawn(async move {
                    if let Some(text) = said.await {
                        // Nobody listens any more where the connection was dropped.
                        let _gone = teller.send(text);
                    }
                });
                words
            });
            connections.insert(port, Mutex::new(Connection { sender, words, said: None }));
        }
        Ok(Self {
            cluster: cluster.clone(),
            pod: pod.to_owned(),
            ports: connections,
            _forwarder: forwarder,
            _driving: driving,
        })
    }

    /// What was read here and is not what it should be.
    pub fn wrong(&self, what: &str, detail: String) -> K8sError {
        broken(&self.cluster, &format!("reading {what} in pod {}", self.pod), &self.pod, detail)
    }

    /// One GET to one of the ports: status and body.
    ///
    /// # Errors
    /// `Pod` when nothing answers HTTP there, `TimedOut`.
    pub async fn get(&self, port: u16, path: &str, deadline: Deadline) -> Result<(u16, Vec<u8>), K8sError> {
        let what = what(&self.pod, port);
        let failed = |detail: String| broken(&self.cluster, &what, &self.pod, detail);
        let connection = self.ports.get(&port).ok_or_else(|| failed("no port-forward to this port".into()))?;
        let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let mut connection = connection.lock().await;
            let answer = async {
                connection.sender.ready().await?;
                let answer = connection.sender.send_request(request).await?;
                let status = answer.status().as_u16();
                let body = Limited::new(answer.into_body(), BODY_LIMIT).collect().await?.to_bytes();
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, body.to_vec()))
            };
            match answer.await {
                Ok(answer) => Ok(answer),
                Err(error) => {
                    // The kubelet's words arrive beside the stream that just ended, if they arrive.
                    if let Some(words) = connection.words.take() {
                        let words = deadline.at_most(Duration::from_secs(1)).bound(words).await;
                        connection.said = words.ok().and_then(Result::ok);
                    }
                    Err(connection.said.clone().unwrap_or_else(|| error.to_string()))
                }
            }
        };
        let begun = Instant::now();
        let ended = deadline.bound(Box::pin(exchange)).await;
        let cluster = self.cluster.target();
        tracing::debug!(cluster = cluster.name(), took_ms = begun.elapsed().as_millis(), "{what}: GET {path}");
        let answer = ended.map_err(|elapsed| K8sError::TimedOut { target: cluster, what: what.clone(), elapsed })?;
        answer.map_err(failed)
    }
}
