//! Reads a server into facts.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use mysql_async::{Row, prelude::FromValue};

use super::{
    client::Server,
    error::MysqlError,
    statements::{self, Statement},
};
use crate::{
    domain::{
        channel::tls_of,
        facts::{ChannelFacts, ChannelSettings, ServerFacts, ServerSettings, ThreadError, ThreadState},
        grants::{self, Grant, Role},
        gtid::GtidSet,
        spec::{ChannelOptions, ClientCertificate, Compression},
    },
    wait::Deadline,
};

/// A worker's error that only says that it stopped because of another worker.
const STOPPED_WITH_ANOTHER: u32 = 3030;

/// How much of a server is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// With its tables, which change seldom and take a while to list.
    Whole,
    /// Without them.
    Brief,
}

/// One row, with what is needed to say which column is not as expected.
pub(super) struct Reader<'a> {
    pub(super) server: &'a Server,
    pub(super) statement: Statement,
    pub(super) row: &'a Row,
}

impl Reader<'_> {
    pub(super) fn get<T: FromValue>(&self, column: &str) -> Result<T, MysqlError> {
        self.server.field(self.statement, self.row, column)
    }

    fn wrong(&self, column: &str, why: impl std::fmt::Display) -> MysqlError {
        self.server.unexpected(self.statement, format!("column `{column}`: {why}"))
    }

    fn gtids(&self, column: &str) -> Result<GtidSet, MysqlError> {
        self.get::<String>(column)?.parse().map_err(|error| self.wrong(column, error))
    }

    /// A time in UTC; `None` for the zero date, which stands for never, and for NULL.
    fn time(&self, column: &str) -> Result<Option<Timestamp>, MysqlError> {
        let text: Option<String> = self.get(column)?;
        text.as_deref().and_then(|text| time(text).transpose()).transpose().map_err(|error| self.wrong(column, error))
    }

    /// The error in three columns; `None` where its number is 0 or NULL.
    fn error(&self, number: &str, text: &str, at: &str) -> Result<Option<ThreadError>, MysqlError> {
        match self.get::<Option<u32>>(number)? {
            None | Some(0) => Ok(None),
            Some(errno) => Ok(Some(ThreadError {
                errno,
                text: self.get::<Option<String>>(text)?.unwrap_or_default(),
                at: self.time(at)?,
            })),
        }
    }
}

/// A time as the server prints it in a session in UTC.
fn time(text: &str) -> Result<Option<Timestamp>, jiff::Error> {
    if text.starts_with("0000-00-00") {
        return Ok(None);
    }
    let time: DateTime = text.parse()?;
    Ok(Some(time.to_zoned(TimeZone::UTC)?.timestamp()))
}

impl Server {
    /// Reads what the account's role lets it see. Settings, GTID sets and the clock need no privilege at all. Channels are
    /// read for [`Role::ReplicaAdmin`] only: on the source none of them is this tool's, and its reader need not see them.
    ///
    /// # Errors
    /// [`MysqlError::PrivilegeMissing`] with everything that is missing where the channels may not be read; else as any
    /// statement.
    pub async fn observe(&mut self, role: Role, depth: Depth, deadline: Deadline) -> Result<ServerFacts, MysqlError> {
        let lines = self.grants(deadline).await?;
        let missing = role.missing(&lines);
        let all_visible = grants::all_tables_visible(&lines);
        let (channels, rules) = match role {
            Role::SourceReader | Role::Replication => (Vec::new(), Vec::new()),
            Role::ReplicaAdmin => {
                let channels = self.channels(deadline).await.map_err(|error| with_all_missing(error, &missing))?;
                (channels, self.rules(deadline).await?)
            }
        };
        let mut tables = None;
        // What made a table that is seen must be among the GTIDs on the source, and what is among the GTIDs must be seen on the
        // replica: so the tables are read before the GTIDs there, and after them here.
        let first = role != Role::ReplicaAdmin;
        if depth == Depth::Whole && first {
            tables = Some(self.tables(all_visible, deadline).await.into());
        }
        // After the channels, so that none of their times lies after the clock.
        let asked = Timestamp::now();
        let row = self.one(statements::SERVER, deadline).await?;
        let took = Timestamp::now().duration_since(asked).max(SignedDuration::ZERO);
        let row = Reader { server: self, statement: statements::SERVER, row: &row };
        let mut facts = ServerFacts {
            server_uuid: row.get::<String>("server_uuid")?.to_ascii_lowercase(),
            server_id: row.get("server_id")?,
            hostname: row.get("hostname")?,
            version: row.get("version")?,
            cluster_uuid: row.get("cluster_uuid")?,
            membership: None,
            gtid_mode: row.get("gtid_mode")?,
            enforce_gtid_consistency: row.get("enforce_gtid_consistency")?,
            log_bin: row.get("log_bin")?,
            log_replica_updates: row.get("log_replica_updates")?,
            binlog_format: row.get("binlog_format")?,
            binlog_row_image: row.get("binlog_row_image")?,
            skip_replica_start: row.get("skip_replica_start")?,
            super_read_only: row.get("super_read_only")?,
            binlog_expire_logs_seconds: row.get("binlog_expire_logs_seconds")?,
            gtid_executed: row.gtids("gtid_executed")?,
            gtid_purged: row.gtids("gtid_purged")?,
            clock: row.time("clock")?.ok_or_else(|| row.wrong("clock", "no time"))?,
            asked_at: Some(asked.checked_add(took / 2).unwrap_or(asked)),
            asked_for_ms: u64::try_from(took.as_millis()).unwrap_or_default(),
            settings: settings(&row)?,
            missing_privileges: missing,
            channels,
            rules,
            tables,
        };
        let kind: Option<String> = row.get("cluster_kind")?;
        if let Some(kind) = kind {
            facts.membership = Some(self.membership(&kind, &facts.server_uuid, deadline).await.into());
        }
        if depth == Depth::Whole && !first {
            facts.tables = Some(self.tables(all_visible, deadline).await.into());
        }
        Ok(facts)
    }

    /// The GTIDs it has executed.
    ///
    /// # Errors
    /// As any statement.
    pub async fn executed(&mut self, deadline: Deadline) -> Result<GtidSet, MysqlError> {
        let statement = statements::GTID_EXECUTED;
        let row = self.one(statement, deadline).await?;
        Reader { server: self, statement, row: &row }.gtids("gtid_executed")
    }

    /// What the account lacks of the privileges that a promotion needs of its role.
    ///
    /// # Errors
    /// As any statement.
    pub async fn lacks_to_promote(&mut self, role: Role, deadline: Deadline) -> Result<Vec<Grant>, MysqlError> {
        Ok(role.missing_to_promote(&self.grants(deadline).await?))
    }

    /// The lines of `SHOW GRANTS`.
    async fn grants(&mut self, deadline: Deadline) -> Result<Vec<String>, MysqlError> {
        let shown = self.run(statements::GRANTS, deadline).await?;
        Ok(shown.iter().filter_map(|row| row.get::<String, _>(0)).collect())
    }

    /// Every channel but those of group replication.
    ///
    /// # Errors
    /// As any statement.
    pub async fn channels(&mut self, deadline: Deadline) -> Result<Vec<ChannelFacts>, MysqlError> {
        // Workers first: an error that comes between the two reads is then seen in the second as the coordinator's.
        let mut first = self.worker_errors(deadline).await?;
        let rows = self.run(statements::CHANNELS, deadline).await?;
        let summed_up = |row| {
            let row = Reader { server: self, statement: statements::CHANNELS, row };
            let error = row.error("coordinator_errno", "coordinator_error", "coordinator_error_at")?;
            Ok::<_, MysqlError>(error.is_some() && !first.contains_key(&row.get::<String>("name")?))
        };
        // The coordinator only says that a worker failed: which transaction did, and why, is told by that worker alone.
        if rows.iter().map(summed_up).collect::<Result<Vec<bool>, _>>()?.contains(&true) {
            first = self.worker_errors(deadline).await?;
        }
        rows.iter()
            .map(|row| {
                let row = Reader { server: self, statement: statements::CHANNELS, row };
                let worker = first.remove(&row.get::<String>("name")?);
                channel(&row, worker)
            })
            .collect()
    }

    /// The first error among the workers of each channel, by its name.
    async fn worker_errors(&mut self, deadline: Deadline) -> Result<HashMap<String, ThreadError>, MysqlError> {
        let workers = self.run(statements::WORKER_ERRORS, deadline).await?;
        let mut first: HashMap<String, ThreadError> = HashMap::new();
        for row in &workers {
            let row = Reader { server: self, statement: statements::WORKER_ERRORS, row };
            if let Some(error) = row.error("errno", "error", "error_at")? {
                first.entry(row.get("name")?).or_insert(error);
            }
        }
        Ok(first)
    }
}

fn settings(row: &Reader<'_>) -> Result<ServerSettings, MysqlError> {
    Ok(ServerSettings {
        version_comment: row.get("version_comment")?,
        pxc_strict_mode: row.get("pxc_strict_mode")?,
        lower_case_table_names: row.get("lower_case_table_names")?,
        collation_server: row.get("collation_server")?,
        explicit_defaults_for_timestamp: row.get("explicit_defaults_for_timestamp")?,
        max_allowed_packet: row.get("max_allowed_packet")?,
        replica_max_allowed_packet: row.get("replica_max_allowed_packet")?,
        time_zone: row.get("time_zone")?,
        system_time_zone: row.get("system_time_zone")?,
        utc_offset_seconds: row.get("utc_offset_seconds")?,
        time_zone_names: row.get("time_zone_names")?,
        replica_parallel_workers: row.get("replica_parallel_workers")?,
        replica_preserve_commit_order: row.get("replica_preserve_commit_order")?,
        relay_log_recovery: row.get("relay_log_recovery")?,
    })
}

fn channel(row: &Reader<'_>, worker: Option<ThreadError>) -> Result<ChannelFacts, MysqlError> {
    let yes = |column: &str| row.get::<String>(column).map(|text| text == "YES");
    // IGNORED is a channel that asks for TLS on a server that has none: asked for is what counts.
    let ssl = row.get::<String>("ssl_allowed")? != "NO";
    let coordinator = row.error("coordinator_errno", "coordinator_error", "coordinator_error_at")?;
    let source_uuid: String = row.get::<Option<String>>("source_uuid")?.unwrap_or_default();
    Ok(ChannelFacts {
        name: row.get("name")?,
        settings: ChannelSettings {
            host: row.get("host")?,
            port: row.get("port")?,
            user: row.get("user")?,
            tls: tls_of(ssl, &row.get::<String>("ssl_ca")?, yes("ssl_verify")?),
            client_certificate: client_certificate(row.get("ssl_cert")?, row.get("ssl_key")?),
            get_public_key: yes("get_public_key")?,
            auto_position: row.get::<String>("auto_position")? == "1",
            options: ChannelOptions {
                connect_retry: row.get("connect_retry")?,
                retry_count: row.get("retry_count")?,
                heartbeat_ms: row.get("heartbeat_ms")?,
                compression: compression(&row.get::<String>("compression")?),
                zstd_level: row.get("zstd_level")?,
                delay_seconds: row.get("delay_seconds")?,
            },
        },
        receiver: ThreadState {
            state: row.get("receiver_state")?,
            error: row.error("receiver_errno", "receiver_error", "receiver_error_at")?,
        },
        applier: ThreadState { state: row.get("applier_state")?, error: applier_error(worker, coordinator) },
        source_uuid: (!source_uuid.is_empty()).then(|| source_uuid.to_ascii_lowercase()),
        received: row.gtids("received")?,
        last_heard: [row.time("heartbeat_at")?, row.time("queued_at")?, row.time("queueing_at")?]
            .into_iter()
            .flatten()
            .max(),
        receiver_doing: row.get("receiver_doing")?,
    })
}

fn client_certificate(cert: String, key: String) -> Option<ClientCertificate> {
    (!cert.is_empty() || !key.is_empty()).then_some(ClientCertificate { cert, key })
}

/// A form this tool does not know is left out, which shows as a difference.
fn compression(list: &str) -> BTreeSet<Compression> {
    let named = |name: &str| Compression::ALL.into_iter().find(|known| known.to_string().eq_ignore_ascii_case(name));
    list.split(',').filter_map(|name| named(name.trim())).collect()
}

/// The error that names the transaction: a worker's own before the coordinator's summary of it.
fn applier_error(worker: Option<ThreadError>, coordinator: Option<ThreadError>) -> Option<ThreadError> {
    match worker {
        Some(error) if error.errno != STOPPED_WITH_ANOTHER => Some(error),
        other => coordinator.or(other),
    }
}

/// An account that may not read the channels is told of everything it lacks, not of one privilege a run.
fn with_all_missing(error: MysqlError, also: &[String]) -> MysqlError {
    match error {
        MysqlError::PrivilegeMissing { server, account, statement, text, .. } => {
            let schema = Role::ReplicaAdmin.grants().iter().filter(|grant| grant.on != "*.*").map(Grant::phrase);
            let grants = also.iter().cloned().chain(schema).collect();
            MysqlError::PrivilegeMissing { server, account, statement, grants, text }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_and_the_zero_date_is_never() {
        assert_eq!(time("0000-00-00 00:00:00.000000").unwrap(), None);
        let seen = time("2026-11-21 08:52:56.036295").unwrap().unwrap();
        assert_eq!(seen.to_string(), "2026-11-21T08:52:56.036295Z");
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn the_error_that_names_the_transaction_wins() {
        let error = |errno| ThreadError { errno, text: String::new(), at: None };
        let pick = |worker: Option<u32>, coordinator: Option<u32>| {
            applier_error(worker.map(error), coordinator.map(error)).map(|error| error.errno)
        };
        assert_eq!(pick(Some(1062), Some(1756)), Some(1062));
        assert_eq!(pick(Some(3030), Some(1062)), Some(1062));
        assert_eq!(pick(Some(3030), None), Some(3030));
        assert_eq!(pick(None, Some(1594)), Some(1594));
        assert_eq!(pick(None, None), None);
    }
}
