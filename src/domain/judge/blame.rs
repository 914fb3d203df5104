//! What the text of a MySQL client's or receiver's error says about its cause. Texts decide where numbers are shared.

use crate::domain::{code::Code, errno::Cause};

/// How far a client got before its connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// No greeting came.
    BeforeGreeting,
    /// The greeting came, the login was not answered.
    AtLogin,
    /// Somewhere else, or not lost at all.
    Elsewhere,
}

/// How far the client got, by its error: 2013 carries the stage in its text.
pub(super) fn lost(errno: Option<u16>, text: &str) -> Lost {
    let text = text.to_ascii_lowercase();
    let has = |needle: &str| text.contains(needle);
    if !matches!(errno, None | Some(2013 | 2055)) {
        return Lost::Elsewhere;
    }
    if has("initial communication packet") {
        Lost::BeforeGreeting
    } else if has("reading authorization packet")
        || has("authentication information")
        || has("reading final connect information")
    {
        Lost::AtLogin
    } else {
        Lost::Elsewhere
    }
}

/// The `system error: N` of a client's text.
pub(super) fn system_error(text: &str) -> Option<i32> {
    let (_, tail) = text.rsplit_once("system error: ").or_else(|| text.rsplit_once('('))?;
    tail.trim_end_matches(|c: char| !c.is_ascii_digit()).split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whether the server itself spoke: its greeting, or an error in place of it.
pub(super) fn server_spoke(errno: Option<u16>, text: &str) -> bool {
    match errno {
        // 2000 to 2999 are the client's own; these few come after the greeting.
        Some(2026 | 2061 | 2059 | 2054) => true,
        Some(2000..=2999) => lost(errno, text) == Lost::AtLogin,
        Some(_) => true,
        None => false,
    }
}

/// Whether TLS ended because the other side closed the connection rather than because of a certificate.
pub(super) fn cut_in_tls(errno: Option<u16>, text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    errno == Some(2026)
        && ["unexpected eof", "syscall", "reset by peer", "error:00000000", "connection was lost", "broken pipe"]
            .iter()
            .any(|needle| text.contains(needle))
}

/// The code of an error that ended a login through the mesh name.
pub(super) fn login_code(errno: Option<u16>, text: &str) -> Code {
    let cause = Cause::of(errno.map(u32::from), text);
    cause.receiver_code().unwrap_or(match (cause, errno) {
        (Cause::TooManyConnections, _) => Code::ServerFull,
        (Cause::ConnectionLost | Cause::CannotConnect | Cause::UnknownHost, _) => Code::PathBroken,
        (_, Some(1000..=1999 | 3000..)) => Code::ServerError,
        _ => Code::PathBroken,
    })
}

/// The code of a receiver's last error.
pub(super) fn receiver_code(errno: u32, text: &str) -> Code {
    let cause = Cause::of(Some(errno), text);
    cause.receiver_code().unwrap_or(match cause {
        Cause::TooManyConnections => Code::ServerFull,
        Cause::NotReady => Code::SourceNotReady,
        Cause::Offline | Cause::ShuttingDown | Cause::CannotConnect | Cause::UnknownHost | Cause::ConnectionLost => {
            Code::ReceiverNotConnecting
        }
        _ => Code::ReceiverStopped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_is_read_from_the_text() {
        let waiting = "ERROR 2013 (HY000): Lost connection to MySQL server at 'waiting for initial communication packet', system error: 110";
        let reading = "ERROR 2013 (HY000): Lost connection to MySQL server at 'reading initial communication packet', system error: 0";
        let login =
            "ERROR 2013 (HY000): Lost connection to MySQL server at 'reading authorization packet', system error: 104";
        let query = "ERROR 2013 (HY000): Lost connection to MySQL server during query";
        let refused = "ERROR 2003 (HY000): Can't connect to MySQL server on 'h:3306' (111)";
        for (errno, text, stage, system) in [
            (2013, waiting, Lost::BeforeGreeting, Some(110)),
            (2013, reading, Lost::BeforeGreeting, Some(0)),
            (2013, login, Lost::AtLogin, Some(104)),
            (2003, refused, Lost::Elsewhere, Some(111)),
        ] {
            assert_eq!((lost(Some(errno), text), system_error(text)), (stage, system), "{text}");
        }
        assert_eq!(lost(Some(2013), query), Lost::Elsewhere);
    }

    #[test]
    fn only_words_of_the_server_prove_that_it_spoke() {
        for (errno, text, spoke) in [
            (1045, "Access denied", true),
            (1129, "Host is blocked", true),
            (3159, "require_secure_transport=ON", true),
            (2026, "SSL connection error", true),
            (2061, "Authentication plugin 'caching_sha2_password' reported error", true),
            (2013, "Lost connection to MySQL server at 'reading authorization packet', system error: 0", true),
            (
                2013,
                "Lost connection to MySQL server at 'waiting for initial communication packet', system error: 110",
                false,
            ),
            (2003, "Can't connect to MySQL server on 'h:3306' (111)", false),
            (2005, "Unknown MySQL server host 'h' (-2)", false),
        ] {
            assert_eq!(server_spoke(Some(errno), text), spoke, "{errno} {text}");
        }
    }

    #[test]
    fn receiver_errors_are_told_apart_by_text_before_number() {
        for (errno, text, code) in [
            (
                13114,
                "Got fatal error 1236 from source when reading data from binary log: 'Cannot replicate because the source purged required binary logs. Replicate the missing transactions from elsewhere'",
                Code::Purged,
            ),
            (
                13114,
                "Got fatal error 1236 from source when reading data from binary log: 'Replica has more GTIDs than the source has, using the source's SERVER_UUID.'",
                Code::Errant,
            ),
            (
                13114,
                "Got fatal error 1236 …: 'A replica with the same server_uuid/server_id as this replica has connected to the source'",
                Code::ServerIdClash,
            ),
            (
                13117,
                "Fatal error: The replica I/O thread stops because source and replica have equal MySQL server ids; these ids must be different",
                Code::ServerIdClash,
            ),
            (
                13117,
                "The replica I/O thread stops because source and replica have equal MySQL server UUIDs",
                Code::ServerIdClash,
            ),
            (
                13117,
                "The replication receiver thread cannot start because the source has GTID_MODE = OFF",
                Code::GtidsOff,
            ),
            (13114, "Got fatal error 1236: 'Binary log is not open'", Code::BinaryLogOff),
            (13114, "Got fatal error 1236: 'log event entry exceeded max_allowed_packet'", Code::EventTooLarge),
            (1040, "Error connecting to source … Message: Too many connections", Code::ServerFull),
            (1047, "WSREP has not yet prepared node for application use", Code::SourceNotReady),
            (13116, "Network error nobody knows", Code::ReceiverStopped),
            (
                1045,
                "Error connecting to source 'repl@h:3306'. Message: Access denied for user 'repl'@'10.0.0.1'",
                Code::ReplicationAccessDenied,
            ),
            (
                2003,
                "Error connecting to source 'repl@h:3306'. Message: Can't connect to MySQL server on 'h:3306' (111)",
                Code::ReceiverNotConnecting,
            ),
            (
                2013,
                "Error connecting to source …: Lost connection to MySQL server at 'waiting for initial communication packet', system error: 110",
                Code::ReceiverNotConnecting,
            ),
            (
                2061,
                "Authentication plugin 'caching_sha2_password' reported error: Authentication requires secure connection.",
                Code::PublicKeyNeeded,
            ),
            (2026, "TLS/SSL error: certificate verify failed", Code::TlsVerification),
            (2026, "SSL connection error: SSL_CTX_set_default_verify_paths failed", Code::CaFileMissing),
            (
                3159,
                "Connections using insecure transport are prohibited while --require_secure_transport=ON.",
                Code::TlsRequired,
            ),
        ] {
            assert_eq!(receiver_code(errno, text), code, "{errno} {text}");
        }
    }
}
