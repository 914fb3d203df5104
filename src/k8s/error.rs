//! What can go wrong between this program and a Kubernetes API, and the problem each becomes.
//!
//! The client's own errors are read here and dropped: some of them hold the output of a credential plugin or the text of a
//! kubeconfig, and their `Display` repeats causes.

use std::{error::Error as StdError, sync::Arc};

use kube::core::Status;

use crate::{
    domain::{
        code::Code,
        facts::DeniedRule,
        hint::{Hint, Remedy},
        problem::Problem,
    },
    wait::Elapsed,
};

/// Which cluster a request went to, as its user knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The kubeconfig that was named, if one was.
    pub kubeconfig: Option<String>,
    /// The context; `None` inside a cluster.
    pub context: Option<String>,
    /// The API server's URL.
    pub server: String,
}

impl Target {
    /// The context's name, or `in-cluster`.
    pub fn name(&self) -> &str {
        self.context.as_deref().unwrap_or("in-cluster")
    }

    /// A command line of `kubectl` for this cluster.
    pub fn kubectl<S: AsRef<str>>(&self, arguments: impl IntoIterator<Item = S>) -> Vec<String> {
        let mut argv = vec!["kubectl".to_owned()];
        argv.extend(self.kubeconfig.iter().flat_map(|path| ["--kubeconfig".to_owned(), path.clone()]));
        argv.extend(self.context.iter().flat_map(|context| ["--context".to_owned(), context.clone()]));
        argv.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        argv
    }

    fn hint<'a>(&self, text: &str, arguments: impl IntoIterator<Item = &'a str>) -> Hint {
        Hint { text: text.into(), commands: vec![Remedy::Argv(self.kubectl(arguments))] }
    }
}

/// A failure at a Kubernetes API. None of its texts holds a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum K8sError {
    /// The kubeconfig has no such context, or cannot be read.
    #[error("no kube context `{context}`")]
    NoSuchContext {
        /// The context that was asked for; `(current)` where none was.
        context: String,
        /// The contexts there are.
        known: Vec<String>,
        /// What was read and what was wrong with it.
        detail: String,
    },
    /// No connection, or no answer that is HTTP.
    #[error("cannot reach the Kubernetes API of {}: {}", target.name(), causes.join(": "))]
    Unreachable {
        /// Where.
        target: Arc<Target>,
        /// The causes, outermost first, none twice.
        causes: Vec<String>,
    },
    /// No answer in time.
    #[error("{what} at {}: {elapsed}", target.name())]
    TimedOut {
        /// Where.
        target: Arc<Target>,
        /// What was tried.
        what: String,
        /// How long was waited.
        elapsed: Elapsed,
    },
    /// The credentials are not accepted (401), or could not be made.
    #[error("the Kubernetes API of {} rejects the credentials", target.name())]
    CredentialsRejected {
        /// Where.
        target: Arc<Target>,
        /// What was seen.
        detail: String,
    },
    /// The user may not (403).
    #[error("{what} at {} is forbidden", target.name())]
    Forbidden {
        /// Where.
        target: Arc<Target>,
        /// What was tried.
        what: String,
        /// The server's sentence, which names the rule.
        message: String,
    },
    /// The object is not there (404).
    #[error("{what} at {}: not found", target.name())]
    NotFound {
        /// Where.
        target: Arc<Target>,
        /// What was tried.
        what: String,
        /// The server's sentence.
        message: String,
        /// The resource itself is not served: its definition is not installed.
        kind_missing: bool,
    },
    /// Another field manager owns fields that an apply would change (409).
    #[error("another manager owns fields of {object}")]
    Conflict {
        /// Where.
        target: Arc<Target>,
        /// `Kind/name`.
        object: String,
        /// The command that ran into it.
        again: Vec<String>,
        /// The server's sentences, one a field: they name manager and field.
        fields: Vec<String>,
    },
    /// The object changed since it was read (409).
    #[error("{what} at {}: the object was changed by somebody else", target.name())]
    Changed {
        /// Where.
        target: Arc<Target>,
        /// What was tried.
        what: String,
    },
    /// istiod's webhook could not be called.
    #[error("{what} at {}: the webhook does not answer", target.name())]
    WebhookDown {
        /// Where.
        target: Arc<Target>,
        /// What was tried.
        what: String,
        /// The server's sentence.
        message: String,
    },
    /// The API server or a webhook refuses the object.
    #[error("{what} at {} is rejected: {message}", target.name())]
    Rejected {
        /// Where.
        target: Arc<Target>,
        /// What was tried.
        what: String,
        /// The server's or the webhook's own words.
        message: String,
    },
    /// A command or a stream in a pod could not be started or broke.
    #[error("{what} at {}: {detail}", target.name())]
    Pod {
        /// Where.
        target: Arc<Target>,
        /// What was tried.
        what: String,
        /// Namespace and pod.
        pod: (String, String),
        /// What was seen.
        detail: String,
    },
    /// Another run holds the link's lock.
    #[error("another run holds lease {namespace}/{lease}")]
    Locked {
        /// Where.
        target: Arc<Target>,
        /// Its namespace.
        namespace: String,
        /// Its name.
        lease: String,
        /// The holder as written there: host, boot id and pid.
        holder: String,
        /// Seconds since the lock was renewed last.
        age_seconds: i64,
    },
    /// The link's lock was held by this run and no longer is.
    #[error("lease {namespace}/{lease} is no longer held: {detail}")]
    LockLost {
        /// Where.
        target: Arc<Target>,
        /// Its namespace.
        namespace: String,
        /// Its name.
        lease: String,
        /// What was seen.
        detail: String,
    },
    /// A key of a Secret is not there or not text.
    #[error("key `{key}` of Secret `{secret}`: {detail}")]
    Secret {
        /// Where.
        target: Arc<Target>,
        /// Namespace.
        namespace: String,
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
        /// What is wrong with it; never its content.
        detail: String,
    },
}

/// The causes of an error, outermost first; a text that another already ends with or contains is left out.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts.dedup();
    // A wrapper usually repeats its cause in its own text: each says only what is its own.
    for outer in 1..texts.len() {
        let inner = texts[outer].clone();
        if let Some(own) = texts[outer - 1].strip_suffix(&inner) {
            let own = own.trim_end_matches([':', ' ']).len();
            texts[outer - 1].truncate(own);
        }
    }
    texts.retain(|text| !text.is_empty());
    texts
}

impl K8sError {
    /// Reads an error of the client. `what` says what was tried, as a phrase: `listing pods`.
    pub(crate) fn of(target: &Arc<Target>, what: &str, error: kube::Error) -> Self {
        use kube::Error as E;
        let (target, what) = (target.clone(), what.to_owned());
        match error {
            E::Api(status) => Self::of_status(target, what, *status),
            E::Auth(error) => Self::CredentialsRejected { target, detail: auth_detail(&error) },
            E::Service(ref boxed) => match boxed.downcast_ref::<kube::client::AuthError>() {
                Some(auth) => Self::CredentialsRejected { target, detail: auth_detail(auth) },
                None => Self::Unreachable { target, causes: causes(boxed.as_ref()) },
            },
            // Its words may quote a value of the answer.
            E::SerdeError(error) => {
                let (line, column) = (error.line(), error.column());
                let cause = format!("{what}: the answer is not what was expected (line {line}, column {column})");
                Self::Unreachable { target, causes: vec![cause] }
            }
            error => Self::Unreachable { target, causes: causes(&error) },
        }
    }

    fn of_status(target: Arc<Target>, what: String, status: Status) -> Self {
        let message = status.message;
        match (status.code, status.reason.as_str()) {
            (401, _) => Self::CredentialsRejected { target, detail: message },
            _ if message.contains("failed calling webhook") => Self::WebhookDown { target, what, message },
            _ if message.contains("denied the request") => Self::Rejected { target, what, message },
            // A field that the schema lacks is answered with 500 by server-side apply.
            _ if message.starts_with("failed to create typed patch object") => Self::Rejected { target, what, message },
            (403, _) => Self::Forbidden { target, what, message },
            (404, _) => {
                let kind_missing = message.contains("could not find the requested resource")
                    || message.starts_with("404 page not found");
                Self::NotFound { target, what, message, kind_missing }
            }
            (409, _) => Self::Changed { target, what },
            (400 | 422, _) => Self::Rejected { target, what, message },
            (code, reason) => {
                Self::Unreachable { target, causes: vec![format!("{what}: HTTP {code} {reason}: {message}")] }
            }
        }
    }
}

/// What a failed authentication may say: never the standard output of a plugin, which is where the token would be.
fn auth_detail(error: &kube::client::AuthError) -> String {
    use kube::client::AuthError as A;
    match error {
        // Its command line is left out too: it begins with the environment that the kubeconfig gives it.
        A::AuthExecRun { out, .. } => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said = said.trim().lines().last().unwrap_or("nothing on standard error").to_owned();
            format!("the credential plugin ended with {}: {said}", out.status)
        }
        A::AuthExecParse(_) => "the credential plugin's answer is not an ExecCredential".into(),
        A::AuthExecStart(error) => format!("the credential plugin cannot be started: {error}"),
        A::ReadTokenFile(error, path) => format!("token file {} cannot be read: {error}", path.display()),
        A::ExecPluginFailed => "the credential plugin's answer has no status".into(),
        A::MissingCommand => "the kubeconfig names a credential plugin without a command".into(),
        A::InvalidBearerToken(_) => "the bearer token is not a valid header value".into(),
        A::InvalidBasicAuth(_) => "user and password are not a valid header value".into(),
        _ => "the kubeconfig's credentials cannot be used".into(),
    }
}

/// User, verb, resource, group and namespace of the API server's sentence about a missing rule.
fn denied_rule(message: &str) -> Option<(String, DeniedRule)> {
    let quoted = |after: &str| {
        let rest = message.split_once(&format!("{after} \""))?.1;
        rest.split_once('"').map(|(text, _)| text.to_owned())
    };
    let verb = message.split_once(" cannot ")?.1.split_whitespace().next()?.to_owned();
    let name =
        message.split_once(" is forbidden")?.0.split_once('"').map(|(_, rest)| rest.trim_end_matches('"').to_owned());
    let resource = quoted("resource")?;
    let rule = DeniedRule {
        verb,
        resource: resource.clone(),
        group: quoted("API group")?,
        namespace: quoted("in the namespace"),
        name: name.filter(|name| !name.is_empty() && resource == "secrets"),
    };
    Some((quoted("User")?, rule))
}

impl From<K8sError> for Problem {
    fn from(error: K8sError) -> Self {
        let sentence = error.to_string();
        match error {
            K8sError::NoSuchContext { context, known, detail } => {
                let problem =
                    Self::new(Code::NoSuchContext, format!("kube context `{context}` was looked for and is not there"))
                        .seen(detail);
                if known.is_empty() {
                    return problem.seen("contexts there are: none").hint(Hint::text(
                        "name a kubeconfig that has contexts: `--kubeconfig FILE`, `KUBECONFIG` or `kubernetes.kubeconfig`",
                    ));
                }
                problem
                    .seen(format!("contexts there are: {}", known.join(", ")))
                    .hint(Hint::run("name one of the contexts there are", ["kubectl", "config", "get-contexts"]))
            }
            K8sError::Unreachable { target, causes } => {
                let mut problem = Self::new(
                    Code::ApiUnreachable,
                    format!("the Kubernetes API of {} ({}) cannot be reached", target.name(), target.server),
                );
                problem.evidence = causes;
                problem.hint(target.hint("see that the API answers from this machine", ["get", "--raw", "/readyz"]))
            }
            K8sError::TimedOut { target, what, elapsed } => Self::new(
                Code::ApiTimedOut,
                format!("{what} at {} ({}) was given up: {elapsed}", target.name(), target.server),
            )
            .hint(target.hint("see whether the API answers from this machine", ["get", "--raw", "/readyz"])),
            K8sError::CredentialsRejected { target, detail } => Self::new(
                Code::CredentialsRejected,
                format!("the Kubernetes API of {} ({}) does not accept the credentials", target.name(), target.server),
            )
            .seen(detail)
            .hint(target.hint("renew the context's credentials, then see who you are", ["auth", "whoami"])),
            K8sError::Forbidden { target, what, message } => {
                let mut hint = Hint::text("have an administrator of the cluster grant the missing rule");
                let problem = Self::new(Code::Forbidden, format!("{what} at {} is forbidden", target.name()));
                match denied_rule(&message) {
                    Some((user, rule)) => {
                        hint.commands = rule.grant(&user).map(|argv| Remedy::Argv(target.kubectl(argv))).to_vec();
                        problem.seen(format!("missing: {rule}")).seen(message).hint(hint)
                    }
                    None => problem.seen(message).hint(hint),
                }
            }
            K8sError::NotFound { target, kind_missing: true, message, .. } => {
                Self::new(Code::IstioMissing, format!("{} does not serve a resource of Istio", target.name()))
                    .seen(message)
                    .hint(target.hint(
                        "install Istio there, or name the cluster that has it",
                        ["api-resources", "--api-group", "networking.istio.io"],
                    ))
            }
            K8sError::NotFound { message, .. } => Self::new(Code::ApplyRejected, sentence).seen(message),
            K8sError::Conflict { target, object, mut again, fields } => {
                let mut problem = Self::new(
                    Code::FieldConflict,
                    format!("{object} at {} has fields of another manager", target.name()),
                );
                problem.evidence = fields;
                again.push("--force-conflicts".to_owned());
                let mut hint = Hint::text("let that manager give the fields up, or take them over");
                hint.commands.push(Remedy::Argv(again));
                problem.hint(hint)
            }
            K8sError::Changed { .. } => {
                Self::new(Code::ApplyRejected, sentence).hint(Hint::text("run the same command again: it looks anew"))
            }
            K8sError::WebhookDown { target, what, message } => Self::new(
                Code::IstiodDown,
                format!("{what} at {} failed: istiod's webhook does not answer", target.name()),
            )
            .seen(message)
            .hint(target.hint(
                "bring istiod back, then run the same command again",
                ["--namespace", "istio-system", "rollout", "status", "deployment/istiod", "--timeout", "60s"],
            )),
            K8sError::Rejected { target, what, message } => {
                Self::new(Code::ApplyRejected, format!("{what} at {} was rejected", target.name())).seen(message)
            }
            K8sError::Pod { target, what, pod: (namespace, pod), detail } => {
                Self::new(Code::ExecFailed, format!("{what} at {} failed", target.name()))
                    .seen(detail)
                    .hint(target.hint("look at the pod", ["--namespace", &namespace, "describe", "pod", &pod]))
            }
            K8sError::Locked { target, namespace, lease, holder, age_seconds } => Self::new(
                Code::LinkLocked,
                format!(
                    "another run works on this link: it holds lease {lease} in namespace {namespace} of {}",
                    target.name()
                ),
            )
            .seen(format!("holder {holder}, renewed {age_seconds} s ago"))
            .hint(target.hint(
                "wait until it has ended; 30 s after the last renewal of a run that died, the next one takes its lock over, after watching it for as long",
                ["--namespace", &namespace, "get", "lease", &lease, "--output", "yaml"],
            )),
            K8sError::LockLost { target, namespace, lease, detail } => Self::new(
                Code::LinkLocked,
                format!("the lock of this run, lease {lease} in namespace {namespace} of {}, was lost", target.name()),
            )
            .seen(detail)
            .hint(target.hint(
                "see who holds it now; nothing more was written",
                ["--namespace", &namespace, "get", "lease", &lease, "--output", "yaml"],
            )),
            K8sError::Secret { target, namespace, secret, key, detail } => Self::new(
                Code::SecretUnreadable,
                format!(
                    "key `{key}` of Secret `{secret}` in namespace {namespace} of {} cannot be used",
                    target.name()
                ),
            )
            .seen(detail)
            .hint(
                target
                    .hint("see which keys the Secret has", ["--namespace", &namespace, "describe", "secret", &secret]),
            ),
        }
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
