//! Faults of a channel's applier, each on two plain servers of its own that are linked and have rows in schema `t`.

use super::{
    super::{Act, Deed, Fault, Finder, Mender},
    REPLICATION,
};
use crate::plain::End::Replica;

/// The applier goes on; one that runs is not disturbed.
const APPLIER_ON: Act = replica!("START REPLICA SQL_THREAD FOR CHANNEL 'production'");

pub(super) const APPLIER: &[Fault] = &[
    Fault {
        name: "row-missing",
        what: "a row that the source changes is missing on the replica",
        rows: &["repl:30"],
        code: "PXL575",
        evidence: &["Can't find record in 'a'", "CHECKSUM TABLE `t`.`a`"],
        apply: &[replica_alone!("DELETE FROM t.a WHERE id=2"), source!("UPDATE t.a SET v='changed' WHERE id=2")],
        mend: &[replica_alone!("INSERT INTO t.a VALUES (2, 'two')"), APPLIER_ON],
        ..BY_HAND
    },
    Fault {
        name: "key-taken",
        what: "a row that the source adds is on the replica already",
        rows: &["repl:31"],
        code: "PXL576",
        evidence: &["Duplicate entry '4' for key 'a.PRIMARY'", "a.PRIMARY = 4"],
        apply: &[replica_alone!("INSERT INTO t.a VALUES (4, 'local')"), source!("INSERT INTO t.a VALUES (4, 'four')")],
        mend: &[replica_alone!("DELETE FROM t.a WHERE id=4"), APPLIER_ON],
        ..BY_HAND
    },
    Fault {
        name: "table-missing",
        what: "a table of the source is missing on the replica",
        rows: &["repl:32"],
        code: "PXL577",
        evidence: &["Table 't.a' doesn't exist", "SHOW CREATE TABLE `t`.`a`"],
        apply: &[replica_alone!("RENAME TABLE t.a TO t.away"), source!("INSERT INTO t.a VALUES (4, 'four')")],
        mend: &[replica_alone!("RENAME TABLE t.away TO t.a"), APPLIER_ON],
        ..BY_HAND
    },
    Fault {
        name: "table-there-already",
        what: "the replica has a table that the source makes",
        rows: &["repl:32"],
        code: "PXL577",
        evidence: &["Table 'b' already exists"],
        apply: &[
            replica_alone!("CREATE TABLE t.b (id INT PRIMARY KEY)"),
            source!("CREATE TABLE t.b (id INT PRIMARY KEY, v INT)"),
        ],
        mend: &[replica_alone!("DROP TABLE t.b"), APPLIER_ON],
        ..BY_HAND
    },
    Fault {
        name: "first-event",
        what: "the applier stops on its first event, as the replica has the source's schema",
        rows: &["repl:32"],
        code: "PXL577",
        evidence: &["database exists"],
        found_by: Finder::Start,
        apply: &[replica_alone!("CREATE DATABASE t")],
        mend: &[replica_alone!("DROP DATABASE t"), APPLIER_ON],
        ..BY_HAND
    },
    Fault {
        name: "parent-missing",
        what: "a row that a new row refers to is missing on the replica",
        rows: &["repl:33"],
        code: "PXL578",
        evidence: &["foreign key constraint fails"],
        apply: &[
            source!(
                "CREATE TABLE t.p (id INT PRIMARY KEY); CREATE TABLE t.c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES t.p (id)); INSERT INTO t.p VALUES (1); DO SLEEP(1)"
            ),
            replica_alone!("DELETE FROM t.p"),
            source!("INSERT INTO t.c VALUES (1, 1)"),
        ],
        mend: &[replica_alone!("INSERT INTO t.p VALUES (1)"), APPLIER_ON],
        ..BY_HAND
    },
    Fault {
        name: "applier-blocked",
        what: "a transaction on the replica holds a row that the applier needs",
        rows: &["repl:34"],
        code: "PXL579",
        evidence: &["Lock wait timeout exceeded"],
        // A prepared transaction holds its locks without a session.
        apply: &[
            replica!(
                "SET GLOBAL replica_transaction_retries=0; SET GLOBAL innodb_lock_wait_timeout=1; STOP REPLICA SQL_THREAD FOR CHANNEL 'production'; START REPLICA SQL_THREAD FOR CHANNEL 'production'"
            ),
            replica_alone!(
                "XA START 'holder'; UPDATE t.a SET v='held' WHERE id=1; XA END 'holder'; XA PREPARE 'holder'"
            ),
            source!("UPDATE t.a SET v='changed' WHERE id=1"),
        ],
        mend: &[replica_alone!("XA ROLLBACK 'holder'"), APPLIER_ON],
        ..BY_HAND
    },
    Fault {
        name: "key-demanded",
        what: "the channel demands a primary key that a new table of the source has not",
        rows: &["repl:44"],
        code: "PXL581",
        evidence: &["without a primary key"],
        mended_by: Mender::Hint,
        apply: &[
            replica!(
                "STOP REPLICA SQL_THREAD FOR CHANNEL 'production'; CHANGE REPLICATION SOURCE TO REQUIRE_TABLE_PRIMARY_KEY_CHECK=ON FOR CHANNEL 'production'; START REPLICA SQL_THREAD FOR CHANNEL 'production'"
            ),
            source!("CREATE TABLE t.b (id INT)"),
        ],
        mend: &[
            replica!(
                "STOP REPLICA SQL_THREAD FOR CHANNEL 'production'; CHANGE REPLICATION SOURCE TO REQUIRE_TABLE_PRIMARY_KEY_CHECK=STREAM FOR CHANNEL 'production'"
            ),
            APPLIER_ON,
        ],
        ..BY_HAND
    },
    Fault {
        name: "relay-log-torn",
        what: "the relay log is damaged where it was not applied yet",
        rows: &["repl:13"],
        code: "PXL574",
        evidence: &["Relay log read failure"],
        mended_by: Mender::Hint,
        apply: &[
            replica!("STOP REPLICA SQL_THREAD FOR CHANNEL 'production'"),
            source!("INSERT INTO t.a (v) SELECT REPEAT('y', 40) FROM t.a; DO SLEEP(1)"),
            Act::Server(
                Replica,
                Deed::Shell(
                    "f=$(ls data/*-relay-bin-production.0* | tail -1); printf '\\377\\377\\377\\377\\377\\377' | dd of=$f bs=1 seek=$(($(stat -c %s $f) - 200)) conv=notrunc",
                ),
            ),
            APPLIER_ON,
        ],
        mend: &[FETCHED_AGAIN],
        ..BY_HAND
    },
    Fault {
        name: "relay-index-damaged",
        what: "the index of relay logs names a file that is gone",
        rows: &["repl:39"],
        code: "PXL582",
        evidence: &["failed to initialize applier metadata"],
        mended_by: Mender::Hint,
        apply: &[
            Act::Server(Replica, Deed::ShutDown),
            Act::Server(
                Replica,
                Deed::Shell("for f in data/*-relay-bin-production.index; do echo ./nothing.000009 > $f; done"),
            ),
            Act::Server(Replica, Deed::Start(&[])),
            // The statement says no, and from then on the applier's status says why.
            Act::Server(
                Replica,
                Deed::Shell(
                    "mysql --defaults-extra-file=root.cnf --port=${REPLICA_PORT} -e \"START REPLICA FOR CHANNEL 'production'\" || true",
                ),
            ),
        ],
        mend: &[FETCHED_AGAIN],
        ..BY_HAND
    },
];

/// What most of them have: only a person who knows both sides can put a row back.
const BY_HAND: Fault = Fault { mended_by: Mender::Table, ..REPLICATION };

const FETCHED_AGAIN: Act = replica!("STOP REPLICA FOR CHANNEL 'production'; RESET REPLICA FOR CHANNEL 'production'");
