//! What was seen of a MySQL server and of its replication channels.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        gtid::GtidSet,
        problem::Fetched,
        spec::{ChannelOptions, ClientCertificate, Tls},
    },
    Membership, RuleFacts, TablesFacts,
};

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a variable of the server")]
pub struct ServerFacts {
    /// `@@server_uuid`, lower case.
    pub server_uuid: String,
    /// `@@server_id`.
    pub server_id: u32,
    /// `@@hostname`.
    pub hostname: String,
    /// `@@version`, such as `9.7.0` or `8.0.36-28.1`.
    pub version: String,
    /// `wsrep_cluster_state_uuid` of a Galera member, `group_replication_group_name` of a group's: whose transactions its cluster's
    /// are; `None` for a server of its own.
    #[serde(default)]
    pub cluster_uuid: Option<String>,
    /// What it is in its cluster; `None` for a server of its own.
    #[serde(default)]
    pub membership: Option<Fetched<Membership>>,
    /// `@@gtid_mode`.
    pub gtid_mode: String,
    /// `@@enforce_gtid_consistency`.
    pub enforce_gtid_consistency: String,
    /// `@@log_bin`.
    pub log_bin: bool,
    /// `@@log_replica_updates`.
    pub log_replica_updates: bool,
    /// `@@binlog_format`.
    pub binlog_format: String,
    /// `@@binlog_row_image`.
    pub binlog_row_image: String,
    /// `@@skip_replica_start`: not dynamic, so judged and never offered to be set.
    pub skip_replica_start: bool,
    /// `@@super_read_only`.
    pub super_read_only: bool,
    /// `@@binlog_expire_logs_seconds`.
    pub binlog_expire_logs_seconds: u64,
    /// `@@gtid_executed`.
    pub gtid_executed: GtidSet,
    /// `@@gtid_purged`.
    pub gtid_purged: GtidSet,
    /// The server's clock in UTC, when it was read.
    pub clock: Timestamp,
    /// When the server was asked for its clock, by this machine's; the middle of the request.
    #[serde(default)]
    pub asked_at: Option<Timestamp>,
    /// How long that request took, in milliseconds: by half of it `asked_at` may be wrong.
    #[serde(default)]
    pub asked_for_ms: u64,
    /// Settings that both sides are compared by, and those of the applier.
    pub settings: ServerSettings,
    /// What the account may do that this link needs and what it lacks: privileges missing, as GRANT writes them.
    pub missing_privileges: Vec<String>,
    /// Every channel of a replica's member, the group replication ones left out; those of a source's member are not read.
    pub channels: Vec<ChannelFacts>,
    /// Failover lists and filters of a replica's member; those of a source's member are not read.
    #[serde(default)]
    pub rules: Vec<RuleFacts>,
    /// Its tables; `None` where they were not looked at this time.
    #[serde(default)]
    pub tables: Option<Fetched<TablesFacts>>,
}

/// Variables that decide whether the replica understands what the source writes, and how its applier works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a variable of the server")]
pub struct ServerSettings {
    /// `@@version_comment`: whose build it is, such as `Percona XtraDB Cluster (GPL), Release rel28, …`.
    pub version_comment: String,
    /// `@@pxc_strict_mode`; `None` for anything but PXC.
    pub pxc_strict_mode: Option<String>,
    /// `@@lower_case_table_names`: 0, 1 or 2, fixed when the data directory was made.
    pub lower_case_table_names: u8,
    /// `@@collation_server`, which names its character set too.
    pub collation_server: String,
    /// `@@explicit_defaults_for_timestamp`.
    pub explicit_defaults_for_timestamp: bool,
    /// `@@max_allowed_packet`, bytes.
    pub max_allowed_packet: u64,
    /// `@@replica_max_allowed_packet`, bytes.
    pub replica_max_allowed_packet: u64,
    /// `@@time_zone` of new sessions, such as `SYSTEM`, `+00:00` or `Europe/Berlin`.
    pub time_zone: String,
    /// `@@system_time_zone`.
    pub system_time_zone: String,
    /// Seconds by which that time zone is ahead of UTC now; `None` where the server cannot say.
    pub utc_offset_seconds: Option<i32>,
    /// Whether names of time zones are known (`mysql.time_zone_name` is filled).
    pub time_zone_names: bool,
    /// `@@replica_parallel_workers`.
    pub replica_parallel_workers: u32,
    /// `@@replica_preserve_commit_order`.
    pub replica_preserve_commit_order: bool,
    /// `@@relay_log_recovery`.
    pub relay_log_recovery: bool,
}

/// A login as the receiver's, made from this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverLogin {
    /// The host name of this machine; where it has none to tell, `this machine`.
    pub from: String,
    /// The account that the server took it for, as `user@host`.
    pub account: String,
    /// `@@server_uuid` of the server, lower case.
    pub server_uuid: String,
    /// How the connection was encrypted, and what was checked of the server's certificate.
    pub tls: String,
}

/// The settings of a channel that this tool owns, all of them set and all of them read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSettings {
    /// `SOURCE_HOST`.
    pub host: String,
    /// `SOURCE_PORT`.
    pub port: u16,
    /// `SOURCE_USER`.
    pub user: String,
    /// `SOURCE_SSL` and what belongs to it.
    pub tls: Tls,
    /// `SOURCE_SSL_CERT` and `SOURCE_SSL_KEY`, where either is set.
    pub client_certificate: Option<ClientCertificate>,
    /// `GET_SOURCE_PUBLIC_KEY`.
    pub get_public_key: bool,
    /// `SOURCE_AUTO_POSITION`.
    pub auto_position: bool,
    /// Its patience, its compression and its delay.
    #[serde(flatten)]
    pub options: ChannelOptions,
}

/// One channel of one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelFacts {
    /// `CHANNEL_NAME`; empty for the default channel.
    pub name: String,
    /// Its settings.
    pub settings: ChannelSettings,
    /// The receiver.
    pub receiver: ThreadState,
    /// The applier: its coordinator where there is one, and the first error among its workers.
    pub applier: ThreadState,
    /// `SOURCE_UUID` of the server the receiver is or was attached to, lower case.
    pub source_uuid: Option<String>,
    /// `RECEIVED_TRANSACTION_SET`.
    pub received: GtidSet,
    /// When the receiver last heard from the source: a heartbeat, or an event of a transaction being queued.
    pub last_heard: Option<Timestamp>,
    /// What the receiver's thread says that it is doing (`performance_schema.threads`), while there is one.
    #[serde(default)]
    pub receiver_doing: Option<String>,
}

impl ChannelFacts {
    /// Whether the receiver has got as far as reading events: it then has asked the source for its UUID. MySQL 8.0.26 and later word
    /// these states like this (sql/rpl_replica.cc, `stage_waiting_for_source_to_send_event`, `stage_queueing_source_event_to_the_relay_log`).
    pub fn receiver_reads(&self) -> bool {
        let doing = self.receiver_doing.as_deref();
        self.receiver.is_on() && doing.is_some_and(|doing| READING.contains(&doing))
    }
}

/// The states of a receiver that reads events.
const READING: [&str; 2] = ["Waiting for source to send event", "Queueing source event to the relay log"];

/// A replication thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadState {
    /// `SERVICE_STATE`: `ON`, `OFF` or `CONNECTING`.
    pub state: String,
    /// Its last error; `None` when the number is 0.
    pub error: Option<ThreadError>,
}

impl ThreadState {
    /// `SERVICE_STATE` is `ON`.
    pub fn is_on(&self) -> bool {
        self.state == "ON"
    }

    /// `SERVICE_STATE` is `OFF`.
    pub fn is_off(&self) -> bool {
        self.state == "OFF"
    }
}

/// `LAST_ERROR_NUMBER` and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadError {
    /// The number the server shows.
    pub errno: u32,
    /// The text; the number alone decides nothing (13114 and 13117 stand for many causes).
    pub text: String,
    /// When.
    pub at: Option<Timestamp>,
}
