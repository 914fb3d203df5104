//! One connection to one server: connect, ask, give up in time. The only place where `mysql_async` is called.

use std::{fmt, path::PathBuf};

use mysql_async::{ClientIdentity, Conn, DriverError, Error, IoError, OptsBuilder, Row, SslOpts, prelude::Queryable};
use secrecy::{ExposeSecret, SecretString};

use super::{
    error::{self, MysqlError},
    statements::{self, Statement},
};
use crate::{domain::errno::Cause, wait::Deadline};

/// `ER_UNKNOWN_SYSTEM_VARIABLE`.
const UNKNOWN_VARIABLE: u16 = 1193;

/// The oldest version this tool knows, as major, minor, patch.
const OLDEST: (u32, u32, u32) = (8, 0, 26);

/// The largest packet read, in bytes: the server's own default. Set, because the driver would otherwise ask the server for
/// it before the session is ready, and on a Galera member that lags that question waits.
const PACKET_BYTES: usize = 64 << 20;

/// The driver's idea of `wait_timeout`, in seconds: the server's default, set for the same reason.
const WAIT_TIMEOUT_SECONDS: usize = 28_800;

/// Where a server is and what the report calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The member's name, such as `pxc-0`: the address may be that of a forward and would say nothing.
    pub name: String,
    /// A host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// How a connection to a server is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all; a password that needs it is sent under the server's own public key.
    None,
    /// Encrypted. A server without TLS is refused rather than spoken to in clear.
    Tls(TlsFiles),
}

/// The files of this machine that a connection uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM certificates from one of which the server's must come, which must name the host that is dialled. Without it any
    /// certificate will do.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown to the server, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Encryption {
    /// Encrypted, whatever certificate the server has.
    pub const UNVERIFIED: Self = Self::Tls(TlsFiles { ca: None, identity: None });

    fn options(&self) -> Option<SslOpts> {
        let Self::Tls(TlsFiles { ca, identity }) = self else { return None };
        let options = match ca {
            None => SslOpts::default().with_danger_accept_invalid_certs(true),
            Some(ca) => SslOpts::default().with_root_certs(vec![ca.clone().into()]).with_disable_built_in_roots(true),
        };
        let identity = identity.clone().map(|(cert, key)| ClientIdentity::new(cert.into(), key.into()));
        Some(options.with_client_identity(identity))
    }
}

/// A session on one server. It never moves to another server and never reconnects: after a deadline that passed, a query
/// that was dropped or a connection that broke, every further call fails with [`MysqlError::Lost`].
pub struct Server {
    pub(super) name: String,
    pub(super) account: String,
    uuid: String,
    version: String,
    connection: Option<Conn>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The driver's options print the password.
        f.debug_struct("Server").field("name", &self.name).field("uuid", &self.uuid).finish_non_exhaustive()
    }
}

impl Server {
    /// Logs in and sets up the session: UTC, utf8mb4, an empty `sql_mode`, no Galera synchronisation before reads.
    ///
    /// A port-forward is inside the TLS of the API server and leads to the named pod, and the name it is dialled by is this
    /// machine's: there the server's certificate needs no verification.
    ///
    /// # Errors
    /// Unreachable, TLS, login refused, out of time, or a version older than 8.0.26.
    pub async fn connect(
        target: &Target,
        encryption: &Encryption,
        user: &str,
        password: &SecretString,
        deadline: Deadline,
    ) -> Result<Self, MysqlError> {
        let options = OptsBuilder::default()
            .ip_or_hostname(&target.host)
            .tcp_port(target.port)
            .user(Some(user))
            .pass(Some(password.expose_secret()))
            .ssl_opts(encryption.options())
            // Otherwise the driver moves to the socket the server names, if this machine has one of that name.
            .prefer_socket(false)
            .max_allowed_packet(Some(PACKET_BYTES))
            .wait_timeout(Some(WAIT_TIMEOUT_SECONDS));
        tracing::debug!(server = target.name, user, "connect");
        let connection = deadline
            .bound(Conn::new(options))
            .await
            .map_err(|elapsed| MysqlError::TimedOut {
                server: target.name.clone(),
                doing: error::CONNECT,
                span: elapsed.span,
            })?
            .map_err(|error| connect_error(&target.name, user, error))?;
        let mut server = Self {
            name: target.name.clone(),
            account: user.to_owned(),
            uuid: String::new(),
            version: String::new(),
            connection: Some(connection),
        };
        match server.run(statements::SESSION_WSREP, deadline).await {
            Err(error) if error.errno() != Some(UNKNOWN_VARIABLE) => return Err(error),
            Ok(_) | Err(_) => {}
        }
        server.run(statements::SESSION_NAMES, deadline).await?;
        server.run(statements::SESSION_SETTINGS, deadline).await?;
        let row = match server.one(statements::IDENTITY, deadline).await {
            // MariaDB has no server_uuid: what it is says more than what it lacks.
            Err(error) if error.errno() == Some(UNKNOWN_VARIABLE) => {
                let row = server.one(statements::VERSION, deadline).await?;
                let version = server.field(statements::VERSION, &row, "version")?;
                return Err(MysqlError::Version { server: server.name, version });
            }
            row => row?,
        };
        server.account = server.field(statements::IDENTITY, &row, "account")?;
        server.uuid = server.field::<String>(statements::IDENTITY, &row, "server_uuid")?.to_ascii_lowercase();
        server.version = server.field(statements::IDENTITY, &row, "version")?;
        if !known_version(&server.version) {
            return Err(MysqlError::Version { server: server.name, version: server.version });
        }
        Ok(server)
    }

    /// `@@server_uuid`, lower case, as it was at connecting.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// `@@version`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The account the server took this session for, as `user@host`.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Makes sure that this is the server that was looked at before.
    ///
    /// # Errors
    /// [`MysqlError::OtherServer`].
    pub fn must_be(&self, uuid: &str) -> Result<(), MysqlError> {
        if self.uuid.eq_ignore_ascii_case(uuid) {
            return Ok(());
        }
        Err(MysqlError::OtherServer { server: self.name.clone(), expected: uuid.to_owned(), seen: self.uuid.clone() })
    }

    /// Says goodbye, so that the server does not count an aborted connection. A failure to do so is of no consequence.
    pub async fn disconnect(mut self, deadline: Deadline) {
        if let Some(connection) = self.connection.take()
            && !matches!(deadline.bound(connection.disconnect()).await, Ok(Ok(())))
        {
            tracing::debug!(server = self.name, "the connection could not be closed in order");
        }
    }

    /// Runs a statement without values.
    pub(super) async fn run(&mut self, statement: Statement, deadline: Deadline) -> Result<Vec<Row>, MysqlError> {
        self.send(statement, statement.text(), deadline).await
    }

    /// Runs a statement whose values were filled into `text`; only its name is logged.
    pub(super) async fn send(
        &mut self,
        statement: Statement,
        text: &str,
        deadline: Deadline,
    ) -> Result<Vec<Row>, MysqlError> {
        tracing::debug!(server = self.name, statement = statement.name, "query");
        // Taken out while it is used: where this future is dropped, the connection goes with it and is never used again.
        let lost = |text: String| MysqlError::Lost { server: self.name.clone(), statement: statement.name, text };
        let mut connection =
            self.connection.take().ok_or_else(|| lost("it was given up after an earlier failure".to_owned()))?;
        match deadline.bound(connection.query::<Row, _>(text)).await {
            Err(elapsed) => {
                Err(MysqlError::TimedOut { server: self.name.clone(), doing: statement.name, span: elapsed.span })
            }
            Ok(Err(Error::Server(error))) => {
                self.connection = Some(connection);
                Err(self.statement_error(statement, error.code, error.message))
            }
            Ok(Err(error)) => Err(lost(innermost(&error))),
            Ok(Ok(rows)) => {
                self.connection = Some(connection);
                Ok(rows)
            }
        }
    }

    /// Runs a statement that answers with one row.
    pub(super) async fn one(&mut self, statement: Statement, deadline: Deadline) -> Result<Row, MysqlError> {
        let mut rows = self.run(statement, deadline).await?;
        let count = rows.len();
        match rows.pop() {
            Some(row) if count == 1 => Ok(row),
            _ => Err(self.unexpected(statement, format!("{count} rows where one was expected"))),
        }
    }

    /// A column of a row.
    pub(super) fn field<T: mysql_async::prelude::FromValue>(
        &self,
        statement: Statement,
        row: &Row,
        column: &str,
    ) -> Result<T, MysqlError> {
        match row.get_opt::<T, _>(column) {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) => Err(self.unexpected(statement, format!("column `{column}` holds a value of another type"))),
            None => Err(self.unexpected(statement, format!("column `{column}` is missing"))),
        }
    }

    pub(super) fn unexpected(&self, statement: Statement, what: String) -> MysqlError {
        MysqlError::Unexpected { server: self.name.clone(), statement: statement.name, what }
    }

    fn statement_error(&self, statement: Statement, errno: u16, text: String) -> MysqlError {
        let (server, account) = (self.name.clone(), self.account.clone());
        if Cause::of(Some(errno.into()), &text) == Cause::PrivilegeMissing
            && let Some(grant) = statement.grant()
        {
            return MysqlError::PrivilegeMissing {
                server,
                account,
                statement: statement.name,
                grants: vec![grant],
                text,
            };
        }
        MysqlError::Statement { server, account, statement: statement.name, errno, text }
    }
}

/// Whether the version is MySQL's and 8.0.26 or later. MariaDB counts on from 10 and is another server.
fn known_version(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next()) >= OLDEST && !version.to_ascii_lowercase().contains("mariadb")
}

fn connect_error(server: &str, user: &str, error: Error) -> MysqlError {
    let server = server.to_owned();
    match error {
        Error::Server(error) => {
            MysqlError::Refused { server, user: user.to_owned(), errno: error.code, text: error.message }
        }
        Error::Io(IoError::Tls(error)) => MysqlError::Tls { server, text: innermost(&error) },
        Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            MysqlError::Tls { server, text: "the server offers no TLS".to_owned() }
        }
        Error::Driver(DriverError::UnknownAuthPlugin { name }) => {
            MysqlError::Plugin { server, user: user.to_owned(), plugin: name }
        }
        other if is_tls(&other) => MysqlError::Tls { server, text: innermost(&other) },
        other => MysqlError::Unreachable { server, text: innermost(&other) },
    }
}

/// Whether a handshake failed: a certificate that is refused comes as an error of the stream, with TLS's own inside.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        error.is::<rustls::Error>() || matches!(inside, Some(inside) if inside.is::<rustls::Error>())
    })
}

/// The last cause of a chain: the driver's wrappers repeat its text or say less.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_8_0_26_on_are_known() {
        for version in ["8.0.26", "8.0.36-28.1", "8.4.4-4.1", "9.7.4-2", "10.0.0"] {
            assert!(known_version(version), "{version}");
        }
        for version in ["8.0.25", "5.7.44-48-57-log", "10.11.19-MariaDB-0+deb12u1", "", "x"] {
            assert!(!known_version(version), "{version}");
        }
    }
}
