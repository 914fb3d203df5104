//! Port-forwards: a listener of this machine's loopback that leads to a port of a pod.
//!
//! A port-forward enters the pod's own loopback: it passes no sidecar and proves nothing of the mesh.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::Portforwarder};
use tokio::{
    io::{DuplexStream, copy_bidirectional},
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

use super::{Cluster, K8sError};
use crate::wait::Deadline;

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
    let mut first = Some(stream(cluster, pod, port, deadline).await?);
    let failure = Failure::default();
    let task = tokio::spawn({
        let (cluster, pod, failure, span) = (cluster.clone(), pod.to_owned(), failure.clone(), deadline.span());
        async move {
            let mut connections = JoinSet::new();
            while let Ok((mut local, _)) = listener.accept().await {
                let (cluster, pod, failure, opened) = (cluster.clone(), pod.clone(), failure.clone(), first.take());
                connections.spawn(async move {
                    let opened = match opened {
                        Some(opened) => Ok(opened),
                        None => stream(&cluster, &pod, port, Deadline::after(span)).await,
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

pub(super) fn what(pod: &str, port: u16) -> String {
    format!("forwarding port {port} of pod {pod}")
}

pub(super) fn broken(cluster: &Cluster, what: &str, pod: &str, detail: String) -> K8sError {
    K8sError::Pod {
        target: cluster.target(),
        what: what.to_owned(),
        pod: (cluster.namespace().to_owned(), pod.to_owned()),
        detail,
    }
}

/// A port-forward to ports of a pod, whose streams are still to be taken.
pub(super) async fn open(
    cluster: &Cluster,
    pod: &str,
    ports: &[u16],
    deadline: Deadline,
) -> Result<Portforwarder, K8sError> {
    let what = what(pod, ports.first().copied().unwrap_or_default());
    let api: Api<Pod> = Api::namespaced(cluster.client(), cluster.namespace());
    cluster.call(&what, deadline, api.portforward(pod, ports)).await.map_err(|error| match error {
        K8sError::Rejected { message, .. } | K8sError::NotFound { message, .. } => broken(cluster, &what, pod, message),
        K8sError::Unreachable { causes, .. } => broken(cluster, &what, pod, causes.join(": ")),
        other => other,
    })
}

/// The stream to one port.
async fn stream(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    deadline: Deadline,
) -> Result<(Portforwarder, DuplexStream), K8sError> {
    let mut forwarder = open(cluster, pod, &[port], deadline).await?;
    let stream = forwarder.take_stream(port);
    let stream =
        stream.ok_or_else(|| broken(cluster, &what(pod, port), pod, "the API server opened no stream".into()))?;
    Ok((forwarder, stream))
}
