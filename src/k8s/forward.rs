//! Port-forwards: a listener of this machine's loopback that leads to a port of a pod, and one HTTP request to such a port.
//!
//! A port-forward enters the pod's own loopback: it passes no sidecar and proves nothing of the mesh.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, header::HOST};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::Portforwarder};
use tokio::{
    io::{DuplexStream, copy_bidirectional},
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

use super::{Cluster, K8sError};
use crate::wait::Deadline;

/// The largest body that is read; Envoy's dump of a big mesh is some tens of MiB.
const BODY_LIMIT: usize = 64 << 20;

/// A listener on 127.0.0.1 whose connections lead to a port of a pod; gone with all its connections when dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    failure: Failure,
    task: AbortHandle,
}

/// What the last connection that failed at the pod's end said.
type Failure = Arc<Mutex<Option<String>>>;

impl Forward {
    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Why the last connection that failed did, in the kubelet's words: a client only sees its connection end.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a port-forward. The first stream is opened at once, so that a missing pod or permission is told here; the others as
/// connections come, each within `deadline`'s span.
///
/// # Errors
/// `Pod` and whatever a request can fail with. That nothing listens at the pod's port is seen only in [`Forward::failure`].
pub async fn forward(cluster: &Cluster, pod: &str, port: u16, deadline: Deadline) -> Result<Forward, K8sError> {
    let what = what(pod, port);
    let unbound = |error: std::io::Error| broken(cluster, &what, pod, format!("no local listener: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unbound)?;
    let address = listener.local_addr().map_err(unbound)?;
    let mut first = Some(open(cluster, pod, port, deadline).await?);
    let failure = Failure::default();
    let task = tokio::spawn({
        let (cluster, pod, failure, span) = (cluster.clone(), pod.to_owned(), failure.clone(), deadline.span());
        async move {
            let mut connections = JoinSet::new();
            while let Ok((mut local, _)) = listener.accept().await {
                let (cluster, pod, failure, opened) = (cluster.clone(), pod.clone(), failure.clone(), first.take());
                connections.spawn(async move {
                    let opened = match opened {
                        Some(stream) => Ok(stream),
                        None => open(&cluster, &pod, port, Deadline::after(span)).await,
                    };
                    let ended = match opened {
                        Ok((mut forwarder, mut remote)) => {
                            let words = forwarder.take_error(port);
                            let said = async {
                                match words {
                                    Some(words) => words.await,
                                    None => None,
                                }
                            };
                            tokio::pin!(said);
                            tokio::select! {
                                biased;
                                Some(text) = &mut said => Some(text),
                                _either_end_closed = copy_bidirectional(&mut local, &mut remote) => None,
                            }
                        }
                        Err(error) => Some(error.to_string()),
                    };
                    if let Some(text) = ended {
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        }
    })
    .abort_handle();
    Ok(Forward { address, failure, task })
}

/// One GET to a port of a pod: status and body.
///
/// # Errors
/// `Pod` when nothing answers HTTP there, and whatever a request can fail with.
pub async fn http_get(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    path: &str,
    deadline: Deadline,
) -> Result<(u16, Vec<u8>), K8sError> {
    let what = what(pod, port);
    let (mut forwarder, stream) = open(cluster, pod, port, deadline).await?;
    let said = forwarder.take_error(port);
    let request = Request::get(path)
        .header(HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(cluster, &what, pod, error.to_string()))?;
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), BODY_LIMIT).collect().await?.to_bytes();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, body.to_vec()))
    };
    let answer = deadline.bound(Box::pin(exchange)).await.map_err(|elapsed| K8sError::TimedOut {
        target: cluster.target(),
        what: what.clone(),
        elapsed,
    })?;
    match answer {
        Ok(answer) => Ok(answer),
        Err(error) => {
            // The kubelet's words arrive beside the stream that just ended, if they arrive.
            let words = match said {
                Some(said) => deadline.at_most(std::time::Duration::from_secs(1)).bound(said).await.ok().flatten(),
                None => None,
            };
            Err(broken(cluster, &what, pod, words.unwrap_or_else(|| error.to_string())))
        }
    }
}

fn what(pod: &str, port: u16) -> String {
    format!("forwarding port {port} of pod {pod}")
}

fn broken(cluster: &Cluster, what: &str, pod: &str, detail: String) -> K8sError {
    K8sError::Pod {
        target: cluster.target(),
        what: what.to_owned(),
        pod: (cluster.namespace().to_owned(), pod.to_owned()),
        detail,
    }
}

async fn open(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    deadline: Deadline,
) -> Result<(Portforwarder, DuplexStream), K8sError> {
    let what = what(pod, port);
    let api: Api<Pod> = Api::namespaced(cluster.client(), cluster.namespace());
    let opened = cluster.call(&what, deadline, api.portforward(pod, &[port])).await;
    let mut forwarder = opened.map_err(|error| match error {
        K8sError::Rejected { message, .. } | K8sError::NotFound { message, .. } => broken(cluster, &what, pod, message),
        K8sError::Unreachable { causes, .. } => broken(cluster, &what, pod, causes.join(": ")),
        other => other,
    })?;
    let stream = forwarder.take_stream(port);
    let stream = stream.ok_or_else(|| broken(cluster, &what, pod, "the API server opened no stream".into()))?;
    Ok((forwarder, stream))
}
