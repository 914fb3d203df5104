//! Writes a first `pxc-link.yaml`: commented, loadable as it is, and never over a file that is there.

use std::{fs::OpenOptions, io::Write as _, path::Path};

use crate::domain::{
    code::Code,
    hint::Hint,
    problem::Problem,
    spec::{SecretRef, Tls},
};

/// What `init` knows about the link to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The link's name.
    pub name: String,
    /// The source side.
    pub source: SourceDraft,
    /// The replica side.
    pub replica: ReplicaDraft,
    /// The account with which the receiver logs in at the source.
    pub replication: AccountDraft,
    /// The channel's encryption.
    pub tls: Tls,
}

/// The source's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDraft {
    /// The context of the kubeconfig.
    pub context: String,
    /// The namespace of the members.
    pub namespace: String,
    /// The Service that selects the members.
    pub service: String,
    /// The account that reads the source's state, if there is one.
    pub account: Option<AccountDraft>,
}

/// The replica's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaDraft {
    /// The context of the kubeconfig.
    pub context: String,
    /// The namespace of the members.
    pub namespace: String,
    /// The label selector of the members' pods.
    pub selector: String,
    /// The container in which mysqld runs.
    pub container: String,
    /// The account that runs the channel's statements.
    pub account: AccountDraft,
}

/// A MySQL account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountDraft {
    /// The user.
    pub user: String,
    /// Where the password is.
    pub password: SecretRef,
}

/// The text of the file.
pub fn render(draft: &Draft) -> String {
    let Draft { name, source, replica, replication, tls } = draft;
    let source_account = match &source.account {
        Some(account) => {
            format!("      # The account that reads the source's state.\n      account:\n{}", account_lines(account))
        }
        None => {
            "      # The replication account reads the source's state; name another one as `account` if it may not.\n"
                .to_owned()
        }
    };
    let tls = match tls.ca() {
        Some(ca) => format!(
            "      # The CA file's path on the replica's members.\n      tls: {{mode: {}, ca: {}}}\n",
            tls.mode(),
            scalar(ca)
        ),
        None => format!("      tls: {{mode: {}}}\n", tls.mode()),
    };
    format!(
        "\
# Links between remote MySQL sources and their replicas; see `pxc-link config --help`.
# `pxc-link config` shows every value of this file and every default.
apiVersion: pxc-link.io/v1alpha1
kind: Links
links:
  {name}:
    # The name under which the mesh leads to the source. Its virtual address is derived from it; `vip:` fixes another.
    host: {host}
    source:
      kubernetes:
        context: {source_context}
        namespace: {source_namespace}
        # The Service that selects the source's members; or, instead, `pxc:` with the name of a Percona operator's resource.
        # How it is entered from outside is found out by what it offers; `entry: nodePort` or another fixes the way.
        service: {service}
{source_account}    replica:
      kubernetes:
        context: {replica_context}
        namespace: {replica_namespace}
        # The members' pods, and the container in which mysqld runs; or `pxc:` instead of both.
        selector: {selector}
        container: {container}
      # The account that reads the replica and sets up the channel.
      account:
{replica_account}    replication:
      # The account with which the replica logs in at the source. Passwords are never written here, only where they are.
      account:
{replication_account}{tls}    # When the lag is a warning and when it is critical.
    thresholds: {{lag: {{warning: 30s, critical: 5m}}}}
",
        name = scalar(name),
        host = scalar(&format!("pxc-source.{name}.global")),
        source_context = scalar(&source.context),
        source_namespace = scalar(&source.namespace),
        service = scalar(&source.service),
        replica_context = scalar(&replica.context),
        replica_namespace = scalar(&replica.namespace),
        selector = scalar(&replica.selector),
        container = scalar(&replica.container),
        replica_account = account_lines(&replica.account),
        replication_account = account_lines(replication),
    )
}

fn account_lines(account: &AccountDraft) -> String {
    let password = match &account.password {
        SecretRef::Env(name) => format!("{{env: {}}}", scalar(name)),
        SecretRef::File(path) => format!("{{file: {}}}", scalar(&path.to_string_lossy())),
        SecretRef::Secret { name, key } => format!("{{secret: {{name: {}, key: {}}}}}", scalar(name), scalar(key)),
    };
    format!("        user: {}\n        password: {password}\n", scalar(&account.user))
}

/// A scalar, in brackets or not: plain where that reads back as the same string, quoted elsewhere.
fn scalar(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || "_./=-".contains(c);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(word);
    let keyword = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    // JSON's strings are YAML's double-quoted ones.
    if plain && !keyword { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// Writes the file unless one is there.
///
/// # Errors
/// [`Code::OutputUnwritable`] if there is a file already, or it cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), Problem> {
    let written =
        OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Hint::text("the file stays as it is: add the link to it by hand, or write to another path")
            }
            _ => Hint::text("give a path in a folder that this user may write to"),
        };
        Problem::new(Code::OutputUnwritable, format!("cannot write `{}`", path.display()))
            .seen(error.to_string())
            .hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{FILE_NAME, load},
        domain::spec::{Account, LinkSpec, SourceLocation},
    };

    fn draft() -> Draft {
        let account = |user: &str, password| AccountDraft { user: user.into(), password };
        Draft {
            name: "production".into(),
            source: SourceDraft {
                context: "production".into(),
                namespace: "pxc".into(),
                service: "pxc".into(),
                account: Some(account("pxc_link", SecretRef::Env("PXC_SOURCE_PASSWORD".into()))),
            },
            replica: ReplicaDraft {
                context: "arn:aws:eks:eu-1:1:cluster/dr".into(),
                namespace: "pxc".into(),
                selector: "app=pxc,tier in (db)".into(),
                container: "pxc".into(),
                account: account("root", SecretRef::Secret { name: "pxc-secrets".into(), key: "root".into() }),
            },
            replication: account("repl", SecretRef::File("/run/secrets/my repl".into())),
            tls: Tls::VerifyIdentity { ca: "/etc/mysql/ssl/ca.crt".into() },
        }
    }

    fn loaded(draft: &Draft) -> LinkSpec {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        write(&path, &render(draft)).unwrap();
        load(Some(&path)).unwrap().link(Some(&draft.name)).unwrap().clone()
    }

    #[test]
    fn the_file_that_is_written() {
        insta::assert_snapshot!(render(&draft()));
    }

    #[test]
    fn what_is_written_loads_as_what_was_meant() {
        let draft = draft();
        let link = loaded(&draft);
        let mesh = link.mesh().unwrap();
        let SourceLocation::Kubernetes { cluster, target, .. } = mesh.source else { panic!("kubernetes") };
        assert_eq!((cluster.context.as_deref(), target.to_string().as_str()), (Some("production"), "Service/pxc"));
        let replication = link.replication().unwrap().replication;
        let password = |account: Option<&Account>| account.map(|it| it.password.clone());
        let drafted = draft.source.account.map(|it| it.password);
        assert_eq!(password(replication.source_account.as_ref()), drafted);
        assert_eq!(mesh.client.cluster.context.as_deref(), Some(draft.replica.context.as_str()));
        assert_eq!(mesh.client.selector, draft.replica.selector);
        assert_eq!(replication.replica_account.password, draft.replica.account.password);
        assert_eq!(replication.account.password, draft.replication.password);
        assert_eq!(replication.tls, draft.tls);
    }

    #[test]
    fn names_that_look_like_something_else_load_as_names() {
        for odd in ["123", "true", "null", "a: b", "x # y", "it's", "\"q\"", "{a}", "- a", "0x1f", "~"] {
            let mut draft = draft();
            draft.source.context = odd.into();
            draft.source.account = None;
            draft.replication.user = odd.into();
            draft.tls = Tls::Disabled;
            let link = loaded(&draft);
            let SourceLocation::Kubernetes { cluster, .. } = link.mesh().unwrap().source else { panic!("kubernetes") };
            let replication = link.replication().unwrap().replication;
            assert_eq!((cluster.context.as_deref(), replication.account.user.as_str()), (Some(odd), odd));
            assert_eq!((&replication.source_account, &replication.tls), (&None, &Tls::Disabled));
        }
    }

    #[test]
    fn a_file_that_is_there_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, "mine").unwrap();
        let problem = write(&path, "other").unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        let text = super::super::load::tests::render(&[problem]);
        insta::assert_snapshot!(text.replace(folder.path().to_str().unwrap(), "/folder"));
    }
}
