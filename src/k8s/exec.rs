//! Running a command in a container: started, told what it waits for, and followed to its end: capped output and exit code.

use std::sync::Arc;

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::{Cluster, K8sError, error::Target};
use crate::wait::Deadline;

/// What is kept of each output stream; the rest is read and dropped.
const OUTPUT_LIMIT: usize = 1 << 20;

/// How a command ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Ended {
    /// Standard output, at most 1 MiB.
    pub stdout: Vec<u8>,
    /// Standard error, at most 1 MiB.
    pub stderr: Vec<u8>,
    /// Its exit code, 0 to 255.
    pub code: i32,
}

impl Ended {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text, without white space around it.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

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
    /// Hands the command its standard input, which may be a secret: it is sent and kept nowhere. It stays open until the command
    /// has ended, which must know how much to read: older servers cannot be told of its end without losing output.
    ///
    /// # Errors
    /// `Pod` when it could not be started after all or the stream breaks, `TimedOut`. A command that ends with another code than
    /// 0 is no error.
    pub async fn finish(mut self, stdin: &[u8], deadline: Deadline) -> Result<Ended, K8sError> {
        let (input, stdout, stderr) = (self.process.stdin(), self.process.stdout(), self.process.stderr());
        let status = self.process.take_status();
        let run = async {
            let write = async {
                let mut input = input;
                if let Some(input) = &mut input {
                    // A command may end without reading all of it.
                    let _unread = input.write_all(stdin).await;
                }
                std::future::pending::<()>().await;
            };
            let outputs = tokio::select! {
                outputs = async { tokio::join!(capped(stdout), capped(stderr)) } => outputs,
                () = write => (Vec::new(), Vec::new()),
            };
            let status = match status {
                Some(status) => status.await,
                None => None,
            };
            (outputs, status)
        };
        let begun = Instant::now();
        let ended = Box::pin(deadline.bound(run)).await;
        let Self { target, what, pod, .. } = self;
        tracing::debug!(cluster = target.name(), took_ms = begun.elapsed().as_millis(), "{what}, to its end");
        let broken = |detail: String| K8sError::Pod { target: target.clone(), what: what.clone(), pod, detail };
        match ended {
            Err(elapsed) => Err(K8sError::TimedOut { target, what, elapsed }),
            Ok((_, None)) => Err(broken("the stream broke before the command ended".into())),
            Ok(((stdout, stderr), Some(status))) => {
                let code = exit_code(&status).map_err(broken)?;
                Ok(Ended { stdout, stderr, code })
            }
        }
    }
}

async fn capped(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut stream) = stream else { return Vec::new() };
    let mut kept = Vec::new();
    let mut buffer = vec![0_u8; 8192];
    // A stream that breaks ends the output; the status tells how the command ended.
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_LIMIT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&buffer[..room]);
    }
    kept
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

    #[tokio::test]
    async fn output_beyond_the_limit_is_read_and_dropped() {
        let endless = tokio::io::repeat(b'x').take(OUTPUT_LIMIT as u64 + 12_345);
        assert_eq!(capped(Some(endless)).await.len(), OUTPUT_LIMIT);
    }
}
