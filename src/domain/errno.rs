//! MySQL's error numbers and texts: one cause for what a client, a probe or a receiver says, and what mends it.
//!
//! The number alone decides nothing: receivers show 13114, 13117 and 13120 for many causes, and since 8.0 these are
//! numbers of the server's log while those of the connection (1045, 2003, …) stand as they are. Texts marked "seen" in
//! the tests were printed by MySQL 9.7; those marked "read" come from the sources of MySQL 8.0.

use super::{code::Code, hint::Hint, quote};

/// Why a server, or the way to it, says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// 1045, 1698: user, host part or password; also an account that demands TLS of a connection without it.
    AccessDenied,
    /// 3118: the account is locked.
    AccountLocked,
    /// 1820, 1862: the password has expired.
    PasswordExpired,
    /// 1130: no account allows the address the server sees.
    HostNotAllowed,
    /// 1129: the address is blocked after too many broken connections.
    HostBlocked,
    /// 1040, 1203, 1226: no connection is free.
    TooManyConnections,
    /// 3032: `offline_mode`.
    Offline,
    /// 1053: the server is shutting down.
    ShuttingDown,
    /// 2002, 2003: nobody accepts the connection.
    CannotConnect,
    /// 2005: the name does not resolve.
    UnknownHost,
    /// 2006, 2013: the connection broke or the greeting never came.
    ConnectionLost,
    /// 3159: the server demands TLS.
    TlsRequired,
    /// 2026: the CA file cannot be read.
    CaFileUnreadable,
    /// 2026: any other failure of the handshake.
    TlsFailed,
    /// 2061: the password needs TLS or the server's public key.
    PublicKeyNeeded,
    /// 1524, 2059: the account's authentication plugin is not there.
    PluginMissing,
    /// 1142, 1143, 1227, and 1045 when the receiver registers itself: a privilege is missing.
    PrivilegeMissing,
    /// 1047: a Galera member that is not ready.
    NotReady,
    /// 13114 (1236): the source has purged what the replica lacks.
    Purged,
    /// 13114 (1236): the replica has GTIDs with the source's own UUID that the source lacks.
    MoreThanSource,
    /// 13114 (1236): another replica with the same `server_uuid` or `server_id` is connected.
    SameReplicaTwice,
    /// 13117 (1593): source and replica have the same `server_id`.
    EqualServerIds,
    /// 13117 (1593): source and replica have the same `server_uuid`.
    EqualServerUuids,
    /// 13117 (1593), 1777, 3112 and others: the GTID modes do not fit.
    GtidMode,
    /// 13114 (1236): the source has no binary log.
    BinaryLogOff,
    /// 13125, 13114 (1236): an event is larger than `replica_max_allowed_packet` or `max_allowed_packet`.
    PacketTooLarge,
    /// 13114 (1236): the source's binary log is damaged, or a file of it is gone.
    BinaryLogDamaged,
    /// 13122, 1595, 1610: what arrived could not be written to the relay log.
    RelayLogUnwritable,
    /// 13117 (1593): the channel has no user.
    NoUser,
    /// Anything else.
    Other,
}

impl Cause {
    /// The cause that a number and a text stand for. The number may be missing, or be one of the receiver's.
    pub fn of(errno: Option<u32>, text: &str) -> Self {
        let has = |part: &str| text.contains(part);
        match errno.or_else(|| client_errno(text)) {
            Some(1045 | 1698) => Self::AccessDenied,
            Some(3118) => Self::AccountLocked,
            Some(1820 | 1862) => Self::PasswordExpired,
            Some(1130) => Self::HostNotAllowed,
            Some(1129) => Self::HostBlocked,
            Some(1040 | 1203 | 1226) => Self::TooManyConnections,
            Some(3032) => Self::Offline,
            Some(1053) => Self::ShuttingDown,
            Some(2002 | 2003) => Self::CannotConnect,
            Some(2005) => Self::UnknownHost,
            Some(2006 | 2013) => Self::ConnectionLost,
            Some(3159) => Self::TlsRequired,
            Some(2026) if has("SSL_CTX_set_default_verify_paths") => Self::CaFileUnreadable,
            Some(2026) => Self::TlsFailed,
            Some(2061) => Self::PublicKeyNeeded,
            Some(1524 | 2059) => Self::PluginMissing,
            Some(1142 | 1143 | 1227) => Self::PrivilegeMissing,
            Some(1047) => Self::NotReady,
            Some(1777 | 3111 | 3112 | 3113 | 3114 | 3115) => Self::GtidMode,
            _ if has("purged required binary logs") => Self::Purged,
            _ if has("has more GTIDs than") => Self::MoreThanSource,
            _ if has("same server_uuid/server_id") => Self::SameReplicaTwice,
            _ if has("equal MySQL server ids") => Self::EqualServerIds,
            _ if has("equal MySQL server UUIDs") => Self::EqualServerUuids,
            _ if has("GTID_MODE") => Self::GtidMode,
            _ if has("Binary log is not open") => Self::BinaryLogOff,
            _ if has("max_allowed_packet") => Self::PacketTooLarge,
            _ if has("Relay log write failure") => Self::RelayLogUnwritable,
            _ if has("Invalid (empty) username") => Self::NoUser,
            _ if ["bogus data in log event", "checksum", "first log file name", "Could not open log file"]
                .into_iter()
                .any(has) =>
            {
                Self::BinaryLogDamaged
            }
            _ if has("SERVER_ID variable") && has("1047") => Self::NotReady,
            _ if has("COM_REGISTER_REPLICA failed") && has("Access denied") => Self::PrivilegeMissing,
            _ => Self::Other,
        }
    }

    /// The code where an account of the configuration logs in or runs a statement at its own side's server.
    pub fn login_code(self) -> Code {
        match self {
            Self::AccessDenied
            | Self::AccountLocked
            | Self::PasswordExpired
            | Self::HostNotAllowed
            | Self::PluginMissing => Code::AccessDenied,
            Self::HostBlocked | Self::TooManyConnections => Code::ServerFull,
            Self::Offline | Self::ShuttingDown | Self::CannotConnect | Self::UnknownHost | Self::ConnectionLost => {
                Code::ServerUnreachable
            }
            Self::TlsRequired => Code::TlsRequired,
            Self::CaFileUnreadable | Self::TlsFailed => Code::TlsVerification,
            Self::PublicKeyNeeded => Code::PublicKeyNeeded,
            Self::PrivilegeMissing => Code::PrivilegeMissing,
            _ => Code::ServerError,
        }
    }

    /// The code where the replication account comes through the mesh name: a receiver's last error, or a probe's.
    /// `None` where the text says no more than that it failed, and where only the path's own findings say why.
    pub fn receiver_code(self) -> Option<Code> {
        Some(match self {
            Self::AccessDenied => Code::ReplicationAccessDenied,
            Self::AccountLocked | Self::PasswordExpired => Code::AccountClosed,
            Self::HostNotAllowed | Self::HostBlocked => Code::AddressRefused,
            Self::PluginMissing => Code::PluginMissing,
            Self::PrivilegeMissing => Code::ReplicationNotGranted,
            Self::TlsRequired => Code::TlsRequired,
            Self::CaFileUnreadable => Code::CaFileMissing,
            Self::TlsFailed => Code::TlsVerification,
            Self::PublicKeyNeeded => Code::PublicKeyNeeded,
            Self::Purged => Code::Purged,
            Self::MoreThanSource => Code::Errant,
            Self::SameReplicaTwice | Self::EqualServerIds | Self::EqualServerUuids => Code::ServerIdClash,
            Self::GtidMode => Code::GtidsOff,
            Self::BinaryLogOff => Code::BinaryLogOff,
            Self::PacketTooLarge => Code::EventTooLarge,
            Self::BinaryLogDamaged => Code::SourceLogDamaged,
            Self::RelayLogUnwritable => Code::RelayLogUnwritable,
            Self::NoUser => Code::ChannelDiffers,
            Self::TooManyConnections
            | Self::Offline
            | Self::ShuttingDown
            | Self::CannotConnect
            | Self::UnknownHost
            | Self::ConnectionLost
            | Self::NotReady
            | Self::Other => return None,
        })
    }

    /// The same where a receiver shows it: what it lacks is known.
    pub fn receiver_hint(self, source: &str, user: &str) -> Option<Hint> {
        if self != Self::PrivilegeMissing {
            return self.hint(source, user);
        }
        let account = quote::literal(user).map(|quoted| quoted.to_string()).unwrap_or_default();
        let text = "grant it what a receiver needs; the host part `%` is the usual one, `SELECT user, host FROM mysql.user` shows yours";
        Some(Hint::text(text).sql(source, format!("GRANT REPLICATION SLAVE ON *.* TO {account}@'%'")))
    }

    /// What mends it, where the cause alone says so. `server` is the one that says no, as the report names it, `user` the
    /// account that it says it to.
    pub fn hint(self, server: &str, user: &str) -> Option<Hint> {
        let account = quote::literal(user).map(|quoted| quoted.to_string()).unwrap_or_default();
        let show_account =
            format!("SELECT user, host, plugin, ssl_type, account_locked FROM mysql.user WHERE user = {account}");
        let show_host_errors = "SELECT ip, host, sum_connect_errors FROM performance_schema.host_cache";
        Some(match self {
            Self::AccessDenied => Hint::text(
                "compare the password, the host part against the address in the server's answer, and whether the account demands TLS",
            )
            .sql(server, show_account),
            Self::AccountLocked => {
                Hint::text("see why the account is locked, then unlock it; the host part `%` is the usual one")
                    .sql(server, show_account)
                    .sql(server, format!("ALTER USER {account}@'%' ACCOUNT UNLOCK"))
            }
            Self::PasswordExpired => Hint::text("set the account's password again, the same or a new one, and let it expire no more; a new one goes into the configuration too, and setup gives it to the channel")
                .sql(server, show_account)
                .sql(server, format!("ALTER USER {account}@'%' PASSWORD EXPIRE NEVER")),
            Self::HostNotAllowed => {
                Hint::text("allow the account from the address in the server's answer").sql(server, show_account)
            }
            Self::HostBlocked => Hint::text("find what breaks connections from that address, then clear its record")
                .sql(server, show_host_errors)
                .sql(server, "TRUNCATE TABLE performance_schema.host_cache"),
            Self::TooManyConnections => Hint::text("free a connection or raise the limit")
                .sql(server, "SHOW GLOBAL VARIABLES LIKE 'max_connections'"),
            Self::Offline => {
                Hint::text("take the server out of offline mode").sql(server, "SET GLOBAL offline_mode = OFF")
            }
            Self::TlsRequired => Hint::text("set `tls.mode` to `required`, `verify-ca` or `verify-identity`"),
            Self::CaFileUnreadable => Hint::text("mount the CA file where `tls.ca` says, readable by mysqld"),
            Self::TlsFailed => Hint::text(
                "compare the server's certificate with the CA file and with the name that is connected to",
            )
            .sql(server, "SHOW GLOBAL VARIABLES LIKE 'ssl\\_c%'"),
            Self::PublicKeyNeeded => Hint::text("use TLS: set `tls.mode` to `required` or stricter"),
            Self::PluginMissing => {
                Hint::text("see that the account exists for the client's address and has the plugin `caching_sha2_password`").sql(server, show_account)
            }
            Self::NotReady => {
                Hint::text("wait until the member is synced with its cluster").sql(server, "SHOW STATUS LIKE 'wsrep%'")
            }
            Self::SameReplicaTwice => {
                Hint::text("find the second replica with this server_id or server_uuid").sql(server, "SHOW REPLICAS")
            }
            _ => return None,
        })
    }
}

/// The number in a text of the `mysql` client: `ERROR 1045 (28000): …` or `ERROR 2003 (HY000) at line 1: …`.
pub fn client_errno(text: &str) -> Option<u32> {
    let after = text.split_once("ERROR ")?.1;
    let (number, rest) = after.split_once(' ')?;
    rest.starts_with('(').then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number, text, cause, code for an own account, code for a receiver.
    type Line = (Option<u32>, &'static str, Cause, Code, Option<Code>);

    const TABLE: &[Line] = &[
        // Seen: client errors and last errors of a receiver.
        (
            Some(1045),
            "Error connecting to source 'repl@127.0.0.1:43301'. This was attempt 3/10, with a delay of 1 seconds between attempts. Message: Access denied for user 'repl'@'localhost' (using password: YES)",
            Cause::AccessDenied,
            Code::AccessDenied,
            Some(Code::ReplicationAccessDenied),
        ),
        (
            None,
            "ERROR 1045 (28000): Access denied for user 'repl'@'localhost' (using password: YES)",
            Cause::AccessDenied,
            Code::AccessDenied,
            Some(Code::ReplicationAccessDenied),
        ),
        (
            Some(13120),
            "Source command COM_REGISTER_REPLICA failed: Access denied for user 'norepl'@'%' (using password: YES) (Errno: 1045)",
            Cause::PrivilegeMissing,
            Code::PrivilegeMissing,
            Some(Code::ReplicationNotGranted),
        ),
        (
            Some(3118),
            "Message: Access denied for user 'repl'@'localhost'. Account is locked.",
            Cause::AccountLocked,
            Code::AccessDenied,
            Some(Code::AccountClosed),
        ),
        (Some(1040), "Message: Too many connections", Cause::TooManyConnections, Code::ServerFull, None),
        (Some(3032), "Message: The server is currently in offline mode", Cause::Offline, Code::ServerUnreachable, None),
        (
            Some(2003),
            "Message: Can't connect to MySQL server on '127.0.0.1:43399' (111)",
            Cause::CannotConnect,
            Code::ServerUnreachable,
            None,
        ),
        (
            Some(2005),
            "Message: Unknown MySQL server host 'nohost.invalid' (-3)",
            Cause::UnknownHost,
            Code::ServerUnreachable,
            None,
        ),
        (
            Some(3159),
            "Message: Connections using insecure transport are prohibited while --require_secure_transport=ON.",
            Cause::TlsRequired,
            Code::TlsRequired,
            Some(Code::TlsRequired),
        ),
        (
            Some(2061),
            "Message: Authentication plugin 'caching_sha2_password' reported error: Authentication requires secure connection.",
            Cause::PublicKeyNeeded,
            Code::PublicKeyNeeded,
            Some(Code::PublicKeyNeeded),
        ),
        (
            Some(2026),
            "Message: SSL connection error: SSL_CTX_set_default_verify_paths failed",
            Cause::CaFileUnreadable,
            Code::TlsVerification,
            Some(Code::CaFileMissing),
        ),
        (
            Some(2026),
            "Message: SSL connection error: error:0A000086:SSL routines::certificate verify failed",
            Cause::TlsFailed,
            Code::TlsVerification,
            Some(Code::TlsVerification),
        ),
        (
            Some(2026),
            "Message: SSL connection error: error:0200008A:rsa routines::invalid padding",
            Cause::TlsFailed,
            Code::TlsVerification,
            Some(Code::TlsVerification),
        ),
        (
            Some(1142),
            "SELECT command denied to user 'repl'@'localhost' for table 'replication_connection_status'",
            Cause::PrivilegeMissing,
            Code::PrivilegeMissing,
            Some(Code::ReplicationNotGranted),
        ),
        (
            Some(13117),
            "Fatal error: The replica I/O thread stops because source and replica have equal MySQL server ids; these ids must be different for replication to work (or the --replicate-same-server-id option must be used on replica but this does not always make sense; please check the manual before using it).",
            Cause::EqualServerIds,
            Code::ServerError,
            Some(Code::ServerIdClash),
        ),
        (
            Some(13114),
            "Got fatal error 1236 from source when reading data from binary log: 'Cannot replicate because the source purged required binary logs. Replicate the missing transactions from elsewhere, or provision a new replica from backup. Consider increasing the source's binary log expiration period. The GTID set sent by the replica is '', and the missing transactions are '24863597-e588-11f1-94a4-02fc00000001:1-14''",
            Cause::Purged,
            Code::ServerError,
            Some(Code::Purged),
        ),
        (
            Some(13114),
            "Got fatal error 1236 from source when reading data from binary log: 'Replica has more GTIDs than the source has, using the source's SERVER_UUID. This may indicate that the the last binary log file was truncated or lost, e.g., after a power failure when sync_binlog != 1.",
            Cause::MoreThanSource,
            Code::ServerError,
            Some(Code::Errant),
        ),
        (
            Some(13125),
            "Got a packet bigger than 'replica_max_allowed_packet' bytes",
            Cause::PacketTooLarge,
            Code::ServerError,
            Some(Code::EventTooLarge),
        ),
        (
            Some(13122),
            "Relay log write failure: could not queue event from source",
            Cause::RelayLogUnwritable,
            Code::ServerError,
            Some(Code::RelayLogUnwritable),
        ),
        (
            Some(13114),
            "Got fatal error 1236 from source when reading data from binary log: 'Could not open log file'",
            Cause::BinaryLogDamaged,
            Code::ServerError,
            Some(Code::SourceLogDamaged),
        ),
        (
            Some(13117),
            "Fatal error: Invalid (empty) username when attempting to connect to the source server. Connection attempt terminated.",
            Cause::NoUser,
            Code::ServerError,
            Some(Code::ChannelDiffers),
        ),
        (
            Some(1862),
            "Message: Your password has expired. To log in you must change it using a client that supports expired passwords.",
            Cause::PasswordExpired,
            Code::AccessDenied,
            Some(Code::AccountClosed),
        ),
        (
            Some(1524),
            "Message: Plugin 'mysql_native_password' is not loaded",
            Cause::PluginMissing,
            Code::AccessDenied,
            Some(Code::PluginMissing),
        ),
        (Some(1193), "Unknown system variable 'wsrep_sync_wait'", Cause::Other, Code::ServerError, None),
        // Read.
        (
            Some(13114),
            "Got fatal error 1236 from master when reading data from binary log: 'A replica with the same server_uuid/server_id as this replica has connected to the source; the first event '' at 4",
            Cause::SameReplicaTwice,
            Code::ServerError,
            Some(Code::ServerIdClash),
        ),
        (
            Some(13117),
            "Fatal error: The replica I/O thread stops because source and replica have equal MySQL server UUIDs; these UUIDs must be different for replication to work.",
            Cause::EqualServerUuids,
            Code::ServerError,
            Some(Code::ServerIdClash),
        ),
        (
            Some(13117),
            "The replica IO thread stops because the source has @@GLOBAL.GTID_MODE OFF and this server has @@GLOBAL.GTID_MODE ON.",
            Cause::GtidMode,
            Code::ServerError,
            Some(Code::GtidsOff),
        ),
        (
            Some(13114),
            "Got fatal error 1236 from source when reading data from binary log: 'Binary log is not open'",
            Cause::BinaryLogOff,
            Code::ServerError,
            Some(Code::BinaryLogOff),
        ),
        (
            Some(13114),
            "Got fatal error 1236 from source when reading data from binary log: 'log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source'",
            Cause::PacketTooLarge,
            Code::ServerError,
            Some(Code::EventTooLarge),
        ),
        (
            Some(13114),
            "Got fatal error 1236 from source when reading data from binary log: 'bogus data in log event'",
            Cause::BinaryLogDamaged,
            Code::ServerError,
            Some(Code::SourceLogDamaged),
        ),
        (
            Some(13117),
            "The replica I/O thread stops because a fatal error is encountered when it tried to SELECT @@GLOBAL.SERVER_ID variable: Error 1047: WSREP has not yet prepared node for application use",
            Cause::NotReady,
            Code::ServerError,
            None,
        ),
        (Some(1047), "WSREP has not yet prepared node for application use", Cause::NotReady, Code::ServerError, None),
        (
            Some(2013),
            "Lost connection to MySQL server at 'reading initial communication packet', system error: 0",
            Cause::ConnectionLost,
            Code::ServerUnreachable,
            None,
        ),
        (
            None,
            "ERROR 1130 (HY000): Host '10.0.0.9' is not allowed to connect to this MySQL server",
            Cause::HostNotAllowed,
            Code::AccessDenied,
            Some(Code::AddressRefused),
        ),
        (
            None,
            "ERROR 1129 (HY000): Host '10.0.0.9' is blocked because of many connection errors",
            Cause::HostBlocked,
            Code::ServerFull,
            Some(Code::AddressRefused),
        ),
    ];

    #[test]
    fn each_text_has_one_cause_and_its_codes() {
        for (errno, text, cause, login, receiver) in TABLE {
            let found = Cause::of(*errno, text);
            assert_eq!(found, *cause, "{text}");
            assert_eq!((found.login_code(), found.receiver_code()), (*login, *receiver), "{text}");
        }
    }

    #[test]
    fn the_number_is_found_in_what_a_client_prints() {
        assert_eq!(client_errno("mysql: [Warning] x\nERROR 2003 (HY000): Can't connect"), Some(2003));
        assert_eq!(client_errno("ERROR 1193 (HY000) at line 1: Unknown"), Some(1193));
        assert_eq!(client_errno("an ERROR of 12 parts"), None);
        assert_eq!(client_errno(""), None);
    }

    #[test]
    fn a_hint_quotes_the_account() {
        let hint = Cause::AccessDenied.hint("pxc-0", "o'brien").unwrap();
        assert!(hint.commands[0].to_string().ends_with("user = 'o''brien';  -- on pxc-0"));
    }
}
