//! Faults of the link `production` that is up: what the network, the servers and the mesh do to connections that worked.

use super::{
    super::{Act, Fault, Mender},
    CHANGED, NO_OWN_OBJECTS,
};
use crate::world::Cluster::{Dr, Production};

/// Turns what comes in for the source's node port to a server that is no MySQL.
const TO_ANOTHER: &[&str] =
    &["PREROUTING", "-p", "tcp", "--dport", "31306", "-j", "DNAT", "--to-destination", "${HELLO_POD}:9001"];

const OTHER_CERTIFICATE: &str = "SET GLOBAL ssl_cert='/etc/mysql/tls/nameless.crt'; SET GLOBAL ssl_key='/etc/mysql/tls/nameless.key'; ALTER INSTANCE RELOAD TLS";
const OWN_CERTIFICATE: &str = "SET GLOBAL ssl_cert='/etc/mysql/tls/tls.crt'; SET GLOBAL ssl_key='/etc/mysql/tls/tls.key'; ALTER INSTANCE RELOAD TLS";

/// A connection keeps what its listener and cluster had when it was opened, and a change takes a moment to arrive.
const CONNECTED_ANEW: Act = Act::Sql(
    Dr,
    "DO SLEEP(2); STOP REPLICA IO_THREAD FOR CHANNEL 'production'; DO SLEEP(1); START REPLICA IO_THREAD FOR CHANNEL 'production'; DO SLEEP(2)",
);

pub(super) const LINKED: &[Fault] = &[
    Fault {
        name: "not-mysql",
        what: "the source's node port leads to a server that is no MySQL",
        rows: &["mesh:50"],
        code: "PXL348",
        evidence: &["31306"],
        apply: &[Act::Rule(Production, "nat", TO_ANOTHER)],
        mend: &[Act::NoRule(Production, "nat", TO_ANOTHER)],
        ..CHANGED
    },
    Fault {
        name: "too-many-connections",
        what: "the source takes no more connections",
        rows: &["mesh:51"],
        code: "PXL414",
        evidence: &["1040"],
        apply: &[Act::Sql(Production, "SET GLOBAL max_connections=1")],
        mend: &[Act::Sql(Production, "SET GLOBAL max_connections=DEFAULT")],
        ..CHANGED
    },
    Fault {
        name: "nameless-certificate",
        what: "the source's certificate does not name the mesh host",
        rows: &["mesh:55"],
        code: "PXL442",
        evidence: &["does not name `pxc-source.production.global`"],
        apply: &[Act::Sql(Production, OTHER_CERTIFICATE)],
        mend: &[Act::Sql(Production, OWN_CERTIFICATE)],
        ..CHANGED
    },
    Fault {
        name: "connection-limit",
        what: "the DestinationRule allows no more connections than the channel has open",
        rows: &["mesh:43"],
        code: "PXL372",
        evidence: &["maxConnections"],
        mended_by: Mender::Hint,
        apply: &[
            rule!(r#"{"spec":{"trafficPolicy":{"connectionPool":{"tcp":{"maxConnections":1}}}}}"#),
            CONNECTED_ANEW,
        ],
        mend: &[NO_OWN_OBJECTS],
        ..CHANGED
    },
];
