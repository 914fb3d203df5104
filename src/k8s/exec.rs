//! Running a command in a container: started, told what it waits for, and followed to its end.

use std::{pin::pin, sync::Arc};

use futures::{Stream, StreamExt};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::{Cluster, K8sError, error::Target};
use crate::wait::Deadline;

/// What is kept of standard error; the rest is read and dropped.
const KEPT: usize = 1 << 16;

/// A command that runs in a container, or is about to; ends when dropped, as its standard input does.
pub struct Running {
    process: AttachedProcess,
    target: Arc<Target>,
    what: String,
    /// Namespace and name.
    pod: (String, String),
}

/// Starts `argv` in a container. It must not hold a secret, since it is seen in the process list and in the API's audit log.
///
/// # Errors
/// `Pod` when it cannot be started, and whatever a request can fail with.
pub async fn start(
    cluster: &Cluster,
    pod: &str,
    container: &str,
    argv: &[&str],
    deadline: Deadline,
) -> Result<Running, K8sError> {
    let command = argv.first().copied().unwrap_or_default();
    let what = format!("running `{command}` in container {container} of pod {pod}");
    let (target, pod) = (cluster.target(), (cluster.namespace().to_owned(), pod.to_owned()));
    let api: Api<Pod> = Api::namespaced(cluster.client(), cluster.namespace());
    let parameters = AttachParams::default()
        .container(container)
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .max_stdout_buf_size(1 << 16)
        .max_stderr_buf_size(1 << 16);
    let started = cluster.call(&what, deadline, api.exec(&pod.1, argv.iter().copied(), &parameters)).await;
    match started {
        Ok(process) => Ok(Running { process, target, what, pod }),
        // The API server answers 400 for a container that is not there, 404 for a pod and 500 for a kubelet out of reach.
        Err(K8sError::Rejected { message: detail, .. } | K8sError::NotFound { message: detail, .. }) => {
            Err(K8sError::Pod { target, what, pod, detail })
        }
        Err(K8sError::Unreachable { causes, .. }) => {
            Err(K8sError::Pod { target, what, pod, detail: causes.join(": ") })
        }
        Err(other) => Err(other),
    }
}

impl Running {
    /// Hands the command its standard input as it comes, which may hold secrets: it is sent and kept nowhere. It stays open until
    /// the command has ended, also when no more of it comes: older servers cannot be told of its end without losing output. What
    /// comes on standard output is told as it comes. Gives the exit code, 0 to 255, and standard error, at most 64 KiB.
    ///
    /// # Errors
    /// `Pod` when it could not be started after all or the stream breaks. A command that ends with another code than 0 is no error.
    pub async fn follow(
        mut self,
        stdin: impl Stream<Item = SecretString>,
        heard: impl FnMut(&[u8]),
    ) -> Result<(i32, String), K8sError> {
        let (input, stdout, stderr) = (self.process.stdin(), self.process.stdout(), self.process.stderr());
        let status = self.process.take_status();
        let mut said = Vec::new();
        let begun = Instant::now();
        let write = async {
            let (mut stdin, mut input) = (pin!(stdin), input);
            while let Some(text) = stdin.next().await {
                if let Some(input) = &mut input {
                    // A command may end without reading all of it.
                    let _unread = input.write_all(text.expose_secret().as_bytes()).await;
                }
            }
            std::future::pending::<()>().await;
        };
        let keep = |bytes: &[u8]| {
            let room = KEPT.saturating_sub(said.len()).min(bytes.len());
            said.extend_from_slice(&bytes[..room]);
        };
        let outputs = async { tokio::join!(read(stdout, heard), read(stderr, keep)) };
        tokio::select! {
            _ended = outputs => {}
            () = write => {}
        }
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        let Self { target, what, pod, .. } = self;
        tracing::debug!(cluster = target.name(), took_ms = begun.elapsed().as_millis(), "{what}, to its end");
        let broken = |detail: String| K8sError::Pod { target, what, pod, detail };
        match status {
            None => Err(broken("the stream broke before the command ended".into())),
            Some(status) => {
                let code = exit_code(&status).map_err(broken)?;
                Ok((code, String::from_utf8_lossy(&said).trim().to_owned()))
            }
        }
    }
}

/// Reads a stream to its end. One that breaks has ended, too; the status tells how the command did.
async fn read(stream: Option<impl AsyncRead + Unpin>, mut heard: impl FnMut(&[u8])) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0_u8; 8192];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        heard(&buffer[..count]);
    }
}

/// The exit code in the status that ends an exec stream, or why there is none.
fn exit_code(status: &Status) -> Result<i32, String> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_deref()).unwrap_or_default();
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    code.and_then(|cause| cause.message.as_deref()?.parse().ok())
        .ok_or_else(|| status.message.clone().unwrap_or_else(|| "the command could not be started".into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(value: serde_json::Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_exit_code_is_told_from_a_command_that_never_ran() {
        assert_eq!(exit_code(&status(json!({"status": "Success"}))), Ok(0));
        let failed = json!({
            "status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with non-zero exit code",
            "details": {"causes": [{"reason": "ExitCode", "message": "2"}]},
        });
        assert_eq!(exit_code(&status(failed)), Ok(2));
        let never =
            json!({"status": "Failure", "reason": "InternalError", "message": "executable file not found in $PATH"});
        assert_eq!(exit_code(&status(never)), Err("executable file not found in $PATH".into()));
    }
}
