//! Faults of replication itself, each on two plain servers of its own that are linked and have rows in schema `t`.

use super::{
    super::{Act, Deed, Fault, Mender},
    REPLICATION,
};
use crate::plain::End::{Replica, Source};

/// The receiver logs in again; one that waits for its next attempt would do so after up to ten seconds.
const RECEIVER_ANEW: Act = Act::Server(
    Replica,
    Deed::Sql(
        "STOP REPLICA IO_THREAD FOR CHANNEL 'production'; START REPLICA IO_THREAD FOR CHANNEL 'production'; DO SLEEP(0.5)",
    ),
);

pub(super) const PLAIN: &[Fault] = &[Fault {
    name: "replication-locked",
    what: "the replication account is locked on the source",
    rows: &["repl:25"],
    code: "PXL410",
    evidence: &["Account is locked"],
    mended_by: Mender::Table,
    apply: &[Act::Server(Source, Deed::Sql("SET sql_log_bin=0; ALTER USER repl ACCOUNT LOCK")), RECEIVER_ANEW],
    mend: &[Act::Server(Source, Deed::Sql("SET sql_log_bin=0; ALTER USER repl ACCOUNT UNLOCK")), RECEIVER_ANEW],
    ..REPLICATION
}];
