//! Faults of a channel's receiver, each on two plain servers of its own that are linked and have rows in schema `t`.

use super::{
    super::{Act, Deed, Fault, Finder, Mender},
    REPLICATION,
};
use crate::plain::End::{Replica, Source};

/// A source that was restarted with another certificate is restarted with its own.
const OWN_CERTIFICATE_AGAIN: &[Act] = &[
    Act::Server(Source, Deed::ShutDown),
    Act::Server(Source, Deed::Shell("cat my.cnf.good > my.cnf")),
    Act::Server(Source, Deed::Start(&[])),
    RECEIVER_ANEW,
];

/// A seed brings the source's accounts along: what is done to one on the source then finds it on the replica too.
const ACCOUNT_ON_BOTH: Act = replica!("SET sql_log_bin=0; CREATE USER IF NOT EXISTS repl ACCOUNT LOCK");
/// The receiver logs in again; one that waits for its next attempt would do so after up to ten seconds.
const RECEIVER_ANEW: Act = replica!(
    "STOP REPLICA IO_THREAD FOR CHANNEL 'production'; START REPLICA IO_THREAD FOR CHANNEL 'production'; DO SLEEP(0.5)"
);
/// Rows that only one event of the source brings.
const MORE: &str = "INSERT INTO t.a (v) VALUES ('more')";
/// As after a seed: what the source had executed is no longer asked for.
const SEEDED: Act = replica!("SET GLOBAL gtid_purged='${SOURCE_GTIDS}'");
/// A transaction that changes nothing, under the source's name.
const DIVERGED: Act = replica!("SET gtid_next='${SOURCE_UUID}:100'; BEGIN; COMMIT; SET gtid_next='AUTOMATIC'");
const TLS_OFF: &str = "{mode: disabled}";

/// Another of the source's certificates.
macro_rules! certificate {
    ($name:literal) => {
        source!(concat!(
            "SET GLOBAL ssl_cert='../tls/",
            $name,
            ".crt'; SET GLOBAL ssl_key='../tls/",
            $name,
            ".key'; ALTER INSTANCE RELOAD TLS"
        ))
    };
}

pub(super) const RECEIVER: &[Fault] = &[
    Fault {
        name: "replication-locked",
        what: "the replication account is locked on the source",
        rows: &["repl:25"],
        code: "PXL432",
        evidence: &["Account is locked"],
        apply: &[ACCOUNT_ON_BOTH, source_alone!("ALTER USER repl ACCOUNT LOCK"), RECEIVER_ANEW],
        mend: &[source_alone!("ALTER USER repl ACCOUNT UNLOCK"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "replication-expired",
        what: "the replication account's password has expired",
        rows: &["repl:25"],
        code: "PXL432",
        evidence: &["1862"],
        mended_by: Mender::Table,
        apply: &[source_alone!("ALTER USER repl PASSWORD EXPIRE"), RECEIVER_ANEW],
        mend: &[source_alone!("ALTER USER repl IDENTIFIED BY ${REPL} PASSWORD EXPIRE NEVER"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "replication-password",
        what: "the source has another password for the replication account",
        rows: &["repl:20"],
        code: "PXL410",
        evidence: &["Access denied for user 'repl'"],
        mended_by: Mender::Table,
        apply: &[source_alone!("ALTER USER repl IDENTIFIED BY 'another'"), RECEIVER_ANEW],
        mend: &[source_alone!("ALTER USER repl IDENTIFIED BY ${REPL}"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "replication-x509",
        what: "the source demands a client certificate of the replication account",
        rows: &["repl:20"],
        code: "PXL410",
        evidence: &["whether the account demands TLS"],
        mended_by: Mender::Table,
        apply: &[source_alone!("ALTER USER repl REQUIRE X509"), RECEIVER_ANEW],
        mend: &[source_alone!("ALTER USER repl REQUIRE NONE"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "replication-require-ssl",
        what: "the account demands TLS, and the channel has none",
        rows: &["repl:20"],
        code: "PXL410",
        evidence: &["Access denied for user 'repl'"],
        mended_by: Mender::Table,
        tls: TLS_OFF,
        apply: &[source_alone!("ALTER USER repl REQUIRE SSL"), RECEIVER_ANEW],
        mend: &[source_alone!("ALTER USER repl REQUIRE NONE"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "replication-plugin",
        what: "the account has a plugin that the source does not load",
        rows: &["repl:24"],
        code: "PXL431",
        evidence: &["mysql_native_password"],
        mended_by: Mender::Table,
        apply: &[
            source_alone!("UPDATE mysql.user SET plugin='mysql_native_password' WHERE user='repl'; FLUSH PRIVILEGES"),
            RECEIVER_ANEW,
        ],
        mend: &[source_alone!("ALTER USER repl IDENTIFIED WITH caching_sha2_password BY ${REPL}"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "replication-not-granted",
        what: "the replication account lacks REPLICATION SLAVE",
        rows: &["repl:29"],
        code: "PXL433",
        evidence: &["COM_REGISTER_REPLICA failed"],
        apply: &[ACCOUNT_ON_BOTH, source_alone!("REVOKE REPLICATION SLAVE ON *.* FROM repl"), RECEIVER_ANEW],
        mend: &[source_alone!("GRANT REPLICATION SLAVE ON *.* TO repl"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "source-full",
        what: "the source takes no more connections",
        rows: &["repl:22"],
        code: "PXL414",
        evidence: &["Too many connections"],
        mended_by: Mender::Table,
        apply: &[source!("SET GLOBAL max_connections=1"), RECEIVER_ANEW],
        mend: &[source!("SET GLOBAL max_connections=60"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "transport-required",
        what: "the source demands TLS of everybody, and the channel has none",
        rows: &["repl:26"],
        code: "PXL404",
        evidence: &["require_secure_transport"],
        mended_by: Mender::Table,
        tls: TLS_OFF,
        apply: &[source!("SET GLOBAL require_secure_transport=ON"), RECEIVER_ANEW],
        mend: &[source!("SET GLOBAL require_secure_transport=OFF"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "another-authority",
        what: "the source's certificate comes from another authority",
        rows: &["repl:27"],
        code: "PXL405",
        evidence: &["UnknownIssuer"],
        mended_by: Mender::Table,
        // A server that is given no certificate makes its own, with an authority of its own.
        apply: &[
            Act::Server(Source, Deed::ShutDown),
            Act::Server(Source, Deed::Shell("cp my.cnf my.cnf.good; sed -i /^ssl-/d my.cnf")),
            Act::Server(Source, Deed::Start(&[])),
            RECEIVER_ANEW,
        ],
        mend: OWN_CERTIFICATE_AGAIN,
        ..REPLICATION
    },
    Fault {
        name: "expired-certificate",
        what: "the source's certificate has expired",
        code: "PXL437",
        evidence: &["expired at", "CN=source"],
        mended_by: Mender::Table,
        // A server that runs takes no certificate that has expired; one that starts does.
        apply: &[
            Act::Server(Source, Deed::ShutDown),
            Act::Server(Source, Deed::Shell("cp my.cnf my.cnf.good; sed -i s:/tls/tls[.]:/tls/expired.: my.cnf")),
            Act::Server(Source, Deed::Start(&[])),
            RECEIVER_ANEW,
        ],
        mend: OWN_CERTIFICATE_AGAIN,
        ..REPLICATION
    },
    Fault {
        name: "another-name",
        what: "the source's certificate names another host",
        code: "PXL442",
        evidence: &["does not name `127.0.0.1`", "it names db.example"],
        mended_by: Mender::Table,
        apply: &[certificate!("nameless"), RECEIVER_ANEW],
        mend: &[certificate!("tls"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "tls-versions",
        what: "source and channel have no TLS version in common",
        rows: &["repl:28"],
        code: "PXL405",
        evidence: &["protocol version"],
        mended_by: Mender::Table,
        apply: &[
            source!("SET GLOBAL tls_version='TLSv1.3'; ALTER INSTANCE RELOAD TLS"),
            replica!(
                "STOP REPLICA IO_THREAD FOR CHANNEL 'production'; CHANGE REPLICATION SOURCE TO SOURCE_TLS_VERSION='TLSv1.2' FOR CHANNEL 'production'; START REPLICA IO_THREAD FOR CHANNEL 'production'; DO SLEEP(0.5)"
            ),
        ],
        mend: &[source!("SET GLOBAL tls_version='TLSv1.2,TLSv1.3'; ALTER INSTANCE RELOAD TLS"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "source-down",
        what: "nothing listens where the source was",
        rows: &["repl:15"],
        code: "PXL510",
        evidence: &["Can't connect to MySQL server"],
        mended_by: Mender::Table,
        apply: &[Act::Server(Source, Deed::Kill), RECEIVER_ANEW],
        mend: &[Act::Server(Source, Deed::Start(&[])), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "source-stalled",
        what: "the source takes connections and says nothing",
        rows: &["repl:45"],
        code: "PXL510",
        evidence: &["CONNECTING"],
        mended_by: Mender::Table,
        apply: &[Act::Server(Source, Deed::Shell("kill -STOP $(cat mysqld.pid)")), RECEIVER_ANEW],
        mend: &[Act::Server(Source, Deed::Shell("kill -CONT $(cat mysqld.pid)")), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "source-purged",
        what: "the source has purged what the replica lacks",
        rows: &["repl:1"],
        code: "PXL503",
        evidence: &["missing: "],
        found_by: Finder::Setup,
        mended_by: Mender::Table,
        apply: &[source!("FLUSH BINARY LOGS; PURGE BINARY LOGS TO 'binlog.000002'")],
        // A logical seed by hand of what the pair has; the runbook with CLONE has a trial of its own.
        mend: &[
            replica!(
                "SET sql_log_bin=0; CREATE DATABASE t; CREATE TABLE t.a (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40) NOT NULL); INSERT INTO t.a (v) VALUES ('one'), ('two'), ('three')"
            ),
            SEEDED,
        ],
        ..REPLICATION
    },
    Fault {
        name: "diverged",
        what: "the replica has a transaction under the source's UUID that the source never made",
        rows: &["repl:2"],
        code: "PXL504",
        evidence: &["separate ways"],
        mended_by: Mender::Table,
        apply: &[DIVERGED, RECEIVER_ANEW],
        // Its tables are those of the source: what is wrong are its GTIDs alone.
        mend: &[
            replica!(
                "STOP REPLICA FOR CHANNEL 'production'; RESET REPLICA ALL FOR CHANNEL 'production'; RESET BINARY LOGS AND GTIDS"
            ),
            SEEDED,
        ],
        ..REPLICATION
    },
    Fault {
        name: "second-channel",
        what: "a second channel of the replica pushes the first one off the source",
        rows: &["repl:3"],
        code: "PXL502",
        evidence: &["same server_uuid/server_id"],
        apply: &[replica!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=${SOURCE_PORT}, SOURCE_USER='repl', SOURCE_PASSWORD=${REPL}, SOURCE_AUTO_POSITION=1, SOURCE_SSL=1 FOR CHANNEL 'second'; START REPLICA FOR CHANNEL 'second'; DO SLEEP(1)"
        )],
        mend: &[replica!("STOP REPLICA FOR CHANNEL 'second'; RESET REPLICA ALL FOR CHANNEL 'second'")],
        ..REPLICATION
    },
    Fault {
        name: "event-too-large",
        what: "a row of the source is larger than the replica takes",
        rows: &["repl:4"],
        code: "PXL570",
        evidence: &["replica_max_allowed_packet"],
        apply: &[
            replica!("SET GLOBAL replica_max_allowed_packet=1024"),
            RECEIVER_ANEW,
            source!(
                "CREATE TABLE t.b (id INT PRIMARY KEY, v LONGTEXT); INSERT INTO t.b VALUES (1, REPEAT('x', 20000000))"
            ),
        ],
        mend: &[replica!("SET GLOBAL replica_max_allowed_packet=1073741824"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "log-file-gone",
        what: "a file of the source's binary log is gone that the replica needs",
        rows: &["repl:7"],
        code: "PXL571",
        evidence: &["Could not open log file"],
        mended_by: Mender::Table,
        apply: &[
            replica!("STOP REPLICA IO_THREAD FOR CHANNEL 'production'"),
            source!("FLUSH BINARY LOGS; INSERT INTO t.a (v) VALUES ('more'); FLUSH BINARY LOGS"),
            Act::Server(Source, Deed::Shell("mv data/binlog.000002 .")),
            RECEIVER_ANEW,
        ],
        mend: &[Act::Server(Source, Deed::Shell("mv binlog.000002 data/")), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "log-damaged",
        what: "the source's binary log has an event of no length",
        rows: &["repl:5"],
        code: "PXL571",
        evidence: &["bogus data in log event"],
        mended_by: Mender::Table,
        apply: &[
            replica!("STOP REPLICA IO_THREAD FOR CHANNEL 'production'"),
            Act::Server(Source, Deed::Shell("stat -c %s data/binlog.000001 > begin")),
            source!(MORE),
            Act::Server(
                Source,
                Deed::Shell(
                    "cp data/binlog.000001 good; printf '\\0\\0\\0\\0' | dd of=data/binlog.000001 bs=1 seek=$(($(cat begin) + 9)) conv=notrunc",
                ),
            ),
            RECEIVER_ANEW,
        ],
        mend: &[Act::Server(Source, Deed::Shell("cat good > data/binlog.000001")), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "event-damaged",
        what: "what the source sends cannot be queued",
        rows: &["repl:14"],
        code: "PXL572",
        evidence: &["Relay log write failure"],
        mended_by: Mender::Table,
        apply: &[
            replica!("STOP REPLICA IO_THREAD FOR CHANNEL 'production'"),
            source!(MORE),
            Act::Server(
                Source,
                Deed::Shell(
                    "cp data/binlog.000001 good; printf '\\377\\377\\377\\377\\377\\377' | dd of=data/binlog.000001 bs=1 seek=$(($(stat -c %s good) - 60)) conv=notrunc",
                ),
            ),
            RECEIVER_ANEW,
        ],
        mend: &[Act::Server(Source, Deed::Shell("cat good > data/binlog.000001")), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "source-without-log",
        what: "the source was started without a binary log",
        rows: &["repl:6"],
        code: "PXL515",
        evidence: &["log_bin OFF"],
        mended_by: Mender::Table,
        apply: &[
            Act::Server(Source, Deed::ShutDown),
            Act::Server(Source, Deed::Start(&["--skip-log-bin"])),
            RECEIVER_ANEW,
        ],
        mend: &[Act::Server(Source, Deed::ShutDown), Act::Server(Source, Deed::Start(&[])), RECEIVER_ANEW],
        ..REPLICATION
    },
];

/// What is wrong with the servers or with the channel's settings.
pub(super) const SETTINGS: &[Fault] = &[
    Fault {
        name: "equal-server-id",
        what: "source and replica have the same server_id",
        rows: &["repl:8"],
        code: "PXL502",
        evidence: &["same server_id 101"],
        apply: &[replica!("SET GLOBAL server_id=101"), RECEIVER_ANEW],
        mend: &[replica!("SET GLOBAL server_id=201"), RECEIVER_ANEW],
        ..REPLICATION
    },
    Fault {
        name: "equal-server-uuid",
        what: "the replica's data directory was copied with its auto.cnf",
        rows: &["repl:9"],
        code: "PXL502",
        evidence: &["same server_uuid"],
        mended_by: Mender::Table,
        apply: &[
            Act::Server(Replica, Deed::ShutDown),
            Act::Server(
                Replica,
                Deed::Shell(
                    "cp data/auto.cnf own.cnf; printf '[auto]\\nserver-uuid=${SOURCE_UUID}\\n' > data/auto.cnf",
                ),
            ),
            Act::Server(Replica, Deed::Start(&[])),
        ],
        mend: &[
            Act::Server(Replica, Deed::ShutDown),
            Act::Server(Replica, Deed::Shell("cat own.cnf > data/auto.cnf")),
            Act::Server(Replica, Deed::Start(&[])),
        ],
        ..REPLICATION
    },
    Fault {
        name: "source-gtids-off",
        what: "the source makes transactions without GTIDs",
        rows: &["repl:12"],
        code: "PXL501",
        evidence: &["@@gtid_mode = OFF"],
        apply: &[
            source!(
                "SET GLOBAL gtid_mode=ON_PERMISSIVE; SET GLOBAL gtid_mode=OFF_PERMISSIVE; SET GLOBAL gtid_mode=OFF"
            ),
            RECEIVER_ANEW,
        ],
        mend: &[
            source!("SET GLOBAL gtid_mode=OFF_PERMISSIVE; SET GLOBAL gtid_mode=ON_PERMISSIVE; SET GLOBAL gtid_mode=ON"),
            RECEIVER_ANEW,
        ],
        ..REPLICATION
    },
    Fault {
        name: "replica-gtids-off",
        what: "a channel is asked for on a replica that has no GTIDs",
        rows: &["repl:38"],
        code: "PXL501",
        evidence: &["@@gtid_mode = OFF"],
        found_by: Finder::Setup,
        apply: &[replica!(
            "SET GLOBAL gtid_mode=ON_PERMISSIVE; SET GLOBAL gtid_mode=OFF_PERMISSIVE; SET GLOBAL gtid_mode=OFF"
        )],
        mend: &[replica!(
            "SET GLOBAL gtid_mode=OFF_PERMISSIVE; SET GLOBAL gtid_mode=ON_PERMISSIVE; SET GLOBAL gtid_mode=ON"
        )],
        ..REPLICATION
    },
    Fault {
        name: "channel-without-user",
        what: "the channel has no user",
        rows: &["repl:10"],
        code: "PXL514",
        evidence: &["SOURCE_USER"],
        apply: &[replica!(
            "STOP REPLICA FOR CHANNEL 'production'; CHANGE REPLICATION SOURCE TO SOURCE_USER='' FOR CHANNEL 'production'; START REPLICA FOR CHANNEL 'production'"
        )],
        mend: &[NO_CHANNEL],
        ..REPLICATION
    },
    Fault {
        name: "channel-by-position",
        what: "the channel asks by file and position",
        rows: &["repl:37"],
        code: "PXL514",
        evidence: &["SOURCE_AUTO_POSITION"],
        apply: &[replica!(
            "STOP REPLICA FOR CHANNEL 'production'; CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=0 FOR CHANNEL 'production'; START REPLICA FOR CHANNEL 'production'"
        )],
        mend: &[NO_CHANNEL],
        ..REPLICATION
    },
    Fault {
        name: "channel-gone",
        what: "somebody removed the channel",
        rows: &["repl:41"],
        code: "PXL507",
        evidence: &["no such channel"],
        apply: &[NO_CHANNEL],
        mend: &[NO_CHANNEL],
        ..REPLICATION
    },
    Fault {
        name: "channel-elsewhere",
        what: "the replica has a channel of that name from the server that it was cloned from",
        rows: &[],
        code: "PXL505",
        evidence: &["old.example"],
        found_by: Finder::Setup,
        mended_by: Mender::Table,
        apply: &[replica!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='old.example', SOURCE_AUTO_POSITION=1 FOR CHANNEL 'production'"
        )],
        mend: &[NO_CHANNEL],
        ..REPLICATION
    },
];

/// Takes the channel away; `setup` makes it anew.
const NO_CHANNEL: Act = replica!("STOP REPLICA FOR CHANNEL 'production'; RESET REPLICA ALL FOR CHANNEL 'production'");
