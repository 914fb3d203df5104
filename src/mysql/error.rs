//! What can go wrong between this program and a MySQL server, and what each of it means to the user.

use std::time::Duration;

use crate::domain::{
    code::Code,
    errno::Cause,
    hint::Hint,
    problem::Problem,
    quote::{self, Unsendable},
};

/// What [`MysqlError::TimedOut`] calls logging in.
pub(super) const CONNECT: &str = "connect";

/// A failure of the MySQL layer. `server` is the server as the report names it. No secret is in any field.
#[derive(Debug, thiserror::Error)]
pub enum MysqlError {
    /// No MySQL server answered, or what answered broke the connection.
    #[error("connecting to {server} failed")]
    Unreachable {
        /// The server.
        server: String,
        /// What the system or the driver said.
        text: String,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake with {server} failed")]
    Tls {
        /// The server.
        server: String,
        /// What the TLS library said.
        text: String,
    },
    /// The server turned the login down.
    #[error("{server} refuses account `{user}` with error {errno}")]
    Refused {
        /// The server.
        server: String,
        /// The user name sent.
        user: String,
        /// The server's number.
        errno: u16,
        /// The server's text.
        text: String,
    },
    /// The server asks for an authentication plugin that the driver does not speak. Where no
    /// account of that name allows the client's address it asks for a made-up one (seen on MySQL 9.7: `sha256_password`),
    /// so that nobody learns which accounts exist.
    #[error("{server} asks account `{user}` for authentication plugin `{plugin}`, which this tool does not speak")]
    Plugin {
        /// The server.
        server: String,
        /// The user name sent.
        user: String,
        /// The plugin.
        plugin: String,
    },
    /// The deadline passed. The connection is given up: its answer could still come and be taken for another's.
    #[error("{server} did not answer `{doing}` within {:.1} s", span.as_secs_f64())]
    TimedOut {
        /// The server.
        server: String,
        /// The statement's name, or `connect`.
        doing: &'static str,
        /// How long was waited.
        span: Duration,
    },
    /// The server answered a statement with an error.
    #[error("{server} answers `{statement}` with error {errno}")]
    Statement {
        /// The server.
        server: String,
        /// The account, as `user@host`.
        account: String,
        /// The statement's name in `sql/`.
        statement: &'static str,
        /// The server's number.
        errno: u16,
        /// The server's text, where it cannot repeat a secret.
        text: String,
    },
    /// A privilege is missing.
    #[error("account `{account}` of {server} may not run `{statement}`")]
    PrivilegeMissing {
        /// The server.
        server: String,
        /// The account, as `user@host`.
        account: String,
        /// The statement's name in `sql/`.
        statement: &'static str,
        /// What is missing, as `PRIVILEGE ON object`.
        grants: Vec<String>,
        /// The server's text.
        text: String,
    },
    /// The connection broke, or was given up before.
    #[error("the connection to {server} is gone at `{statement}`")]
    Lost {
        /// The server.
        server: String,
        /// The statement's name in `sql/`.
        statement: &'static str,
        /// What was said.
        text: String,
    },
    /// The server is older than 8.0.26, or no MySQL.
    #[error("{server} runs version {version}, which this tool does not know")]
    Version {
        /// The server.
        server: String,
        /// `@@version`.
        version: String,
    },
    /// A row is not what the statement asks for.
    #[error("{server} answers `{statement}` in an unexpected way")]
    Unexpected {
        /// The server.
        server: String,
        /// The statement's name in `sql/`.
        statement: &'static str,
        /// Which column, and what about it.
        what: String,
    },
    /// Another server answers where a known one did.
    #[error("{server} is another server than before")]
    OtherServer {
        /// The server.
        server: String,
        /// The `server_uuid` that was known.
        expected: String,
        /// The `server_uuid` that answers.
        seen: String,
    },
    /// A value that no statement can carry.
    #[error("the channel's {field} cannot be sent: {why}")]
    Unsendable {
        /// Which value.
        field: &'static str,
        /// What about it.
        why: Unsendable,
    },
    /// A replication password longer than the server takes.
    #[error("the replication password has {bytes} bytes and a channel takes 32")]
    PasswordTooLong {
        /// Its length in UTF-8.
        bytes: usize,
    },
    /// A name no channel of a link can have. Statements that name no channel, or one of group replication, would touch others.
    #[error("`{channel}` is no channel of a link")]
    ChannelName {
        /// The name.
        channel: String,
    },
}

impl MysqlError {
    /// The code it becomes.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } => Code::ServerUnreachable,
            Self::Tls { .. } => Code::TlsVerification,
            Self::Refused { errno, text, .. } | Self::Statement { errno, text, .. } => {
                Cause::of(Some((*errno).into()), text).login_code()
            }
            Self::Plugin { .. } => Code::AccessDenied,
            Self::TimedOut { .. } => Code::ServerTimedOut,
            Self::PrivilegeMissing { .. } => Code::PrivilegeMissing,
            Self::Version { .. } => Code::VersionTooOld,
            Self::Unexpected { .. } | Self::OtherServer { .. } => Code::ServerError,
            Self::Unsendable { field: "password", .. } => Code::PasswordCharacters,
            Self::PasswordTooLong { .. } => Code::PasswordTooLong,
            Self::Unsendable { .. } | Self::ChannelName { .. } => Code::InvalidValue,
        }
    }

    /// The server's number, where the server answered with one.
    pub fn errno(&self) -> Option<u16> {
        match self {
            Self::Refused { errno, .. } | Self::Statement { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    fn evidence(&self) -> Vec<String> {
        match self {
            Self::Unreachable { text, .. }
            | Self::Tls { text, .. }
            | Self::Lost { text, .. }
            | Self::Refused { text, .. }
            | Self::Statement { text, .. } => vec![text.clone()],
            Self::PrivilegeMissing { grants, text, .. } => {
                grants.iter().map(|grant| format!("missing: {grant}")).chain([text.clone()]).collect()
            }
            Self::Unexpected { what, .. } => vec![what.clone()],
            Self::OtherServer { expected, seen, .. } => {
                vec![format!("server_uuid was {expected}"), format!("server_uuid is {seen}")]
            }
            Self::Plugin { .. } => {
                vec![
                    "a server answers like this, too, where it has no account of that name for this client's address"
                        .to_owned(),
                ]
            }
            Self::TimedOut { .. }
            | Self::Version { .. }
            | Self::Unsendable { .. }
            | Self::PasswordTooLong { .. }
            | Self::ChannelName { .. } => Vec::new(),
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } => Some(Hint::text(
                "see that mysqld runs in the member and listens on its port, then run the command again",
            )),
            Self::Tls { .. } => Some(Hint::text(
                "give the server a certificate of X.509 version 3 and TLS 1.2 or later, and `ssl_cert` and `ssl_key` that it can read; where the certificate is verified it must come from the authority in `replication.tls.ca` and name the host that is dialled",
            )),
            Self::Refused { server, user, errno, text } => Cause::of(Some((*errno).into()), text).hint(server, user),
            Self::Statement { server, account, errno, text, .. } => {
                let user = account.rsplit_once('@').map_or(account.as_str(), |(user, _)| user);
                Cause::of(Some((*errno).into()), text).hint(server, user)
            }
            Self::Plugin { server, user, .. } => Cause::PluginMissing.hint(server, user),
            Self::TimedOut { doing: CONNECT, .. } => Some(Hint::text(
                "see whether the member's mysqld runs, is not overloaded and answers on its port, or give more time with `--timeout`",
            )),
            Self::TimedOut { server, .. } => Some(
                Hint::text("see what the server is busy with, or give more time with `--timeout`")
                    .sql(server, "SHOW FULL PROCESSLIST"),
            ),
            Self::PrivilegeMissing { server, account, grants, .. } => {
                let name = account_name(account)?;
                let hint = Hint::text("grant what is missing, as an account that may");
                Some(grants.iter().fold(hint, |hint, grant| hint.sql(server, format!("GRANT {grant} TO {name}"))))
            }
            Self::Version { version, .. } if version.to_ascii_lowercase().contains("mariadb") => Some(Hint::text(
                "use MySQL or Percona XtraDB Cluster 8.0.26 or later: MariaDB numbers its GTIDs in another way, which neither side of a link can follow",
            )),
            Self::Version { .. } => Some(Hint::text("use MySQL or Percona XtraDB Cluster 8.0.26 or later")),
            Self::OtherServer { .. } => {
                Some(Hint::text("the member was replaced while the command ran; run the command again"))
            }
            Self::Unsendable { field: "password", .. } | Self::PasswordTooLong { .. } => Some(Hint::text(
                "give the replication account another password: at most 32 bytes, no newline and no NUL, and put it where the configuration refers to",
            )),
            Self::Unsendable { .. } | Self::ChannelName { .. } => {
                Some(Hint::text("correct the value in the configuration"))
            }
            Self::Unexpected { .. } => None,
        }
    }
}

/// `user@host` as a statement writes it. The host holds no `@`; the user may.
fn account_name(account: &str) -> Option<String> {
    let (user, host) = account.rsplit_once('@')?;
    Some(format!("{}@{}", quote::literal(user).ok()?.as_str(), quote::literal(host).ok()?.as_str()))
}

impl From<MysqlError> for Problem {
    fn from(error: MysqlError) -> Self {
        Self { code: error.code(), message: error.to_string(), evidence: error.evidence(), hint: error.hint() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_privilege_names_the_statement_that_grants_it() {
        let problem = Problem::from(MysqlError::PrivilegeMissing {
            server: "pxc-0".into(),
            account: "o'dba@%".into(),
            statement: "channels.sql",
            grants: vec!["RELOAD ON *.*".into(), "SELECT ON performance_schema.*".into()],
            text: "SELECT command denied".into(),
        });
        assert_eq!(problem.code, Code::PrivilegeMissing);
        assert_eq!(problem.message, "account `o'dba@%` of pxc-0 may not run `channels.sql`");
        let commands: Vec<String> = problem.hint.unwrap().commands.iter().map(ToString::to_string).collect();
        assert_eq!(
            commands,
            [
                "GRANT RELOAD ON *.* TO 'o''dba'@'%';  -- on pxc-0",
                "GRANT SELECT ON performance_schema.* TO 'o''dba'@'%';  -- on pxc-0"
            ]
        );
    }

    #[test]
    fn the_code_follows_the_servers_number() {
        let refused = |errno| MysqlError::Refused { server: "s".into(), user: "u".into(), errno, text: String::new() };
        assert_eq!(refused(1045).code(), Code::AccessDenied);
        assert_eq!(refused(1040).code(), Code::ServerFull);
        assert_eq!(refused(1049).code(), Code::ServerError);
        let password = MysqlError::Unsendable { field: "password", why: Unsendable::Newline };
        assert_eq!(password.code(), Code::PasswordCharacters);
        assert_eq!(MysqlError::Unsendable { field: "host", why: Unsendable::Nul }.code(), Code::InvalidValue);
    }
}
