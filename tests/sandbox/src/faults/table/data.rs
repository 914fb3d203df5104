//! Faults of data that GTIDs know nothing of, each on two plain servers of its own.

use super::{
    super::{Act, Deed, Fault, Finder, Mender},
    REPLICATION,
};
use crate::plain::End::{Replica, Source};

/// Tables are compared by accounts that may see them.
const SEES: Deed = Deed::Sql("SET sql_log_bin=0; GRANT REFERENCES ON *.* TO pxc_link@'%'");

/// What the source has from the beginning, brought over past the binary log.
const SEEDED: Deed = Deed::Sql(
    "SET sql_log_bin=0; CREATE DATABASE IF NOT EXISTS t; CREATE TABLE IF NOT EXISTS t.a (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40) NOT NULL); \
     INSERT IGNORE INTO t.a VALUES (1, 'one'), (2, 'two'), (3, 'three')",
);

/// A table that no transaction stands for.
const UNLOGGED: Deed = Deed::Sql(
    "SET sql_log_bin=0; CREATE TABLE IF NOT EXISTS t.quiet (id INT PRIMARY KEY); INSERT IGNORE INTO t.quiet VALUES (1), (2)",
);

pub(super) const DATA: &[Fault] = &[
    Fault {
        name: "rows-without-log",
        what: "a table was loaded on the source without the binary log",
        code: "PXL536",
        evidence: &["t.quiet"],
        mended_by: Mender::Table,
        apply: &[Act::Server(Source, SEES), Act::Server(Replica, SEES), Act::Server(Source, UNLOGGED)],
        mend: &[Act::Server(Replica, UNLOGGED)],
        ..REPLICATION
    },
    Fault {
        name: "source-logs-reset",
        what: "the source forgot its GTIDs, and the replica is empty",
        found_by: Finder::Setup,
        code: "PXL536",
        evidence: &["t.a", "gtid_executed of the source: empty"],
        mended_by: Mender::Table,
        apply: &[
            Act::Server(Source, SEES),
            Act::Server(Replica, SEES),
            Act::Server(Source, Deed::Sql("RESET BINARY LOGS AND GTIDS")),
        ],
        mend: &[Act::Server(Replica, SEEDED)],
        ..REPLICATION
    },
    Fault {
        name: "data-without-gtids",
        what: "the replica was restored without the GTID set of its backup",
        found_by: Finder::Setup,
        code: "PXL539",
        evidence: &["t.a"],
        mended_by: Mender::Table,
        apply: &[Act::Server(Source, SEES), Act::Server(Replica, SEES), Act::Server(Replica, SEEDED)],
        mend: &[Act::Server(Replica, Deed::Sql("SET sql_log_bin=0; DROP DATABASE IF EXISTS t"))],
        ..REPLICATION
    },
];
