//! The errors of an applier: one cause for each, what the server tells of transaction, table and key, and how it is mended without
//! anything being left out.

use super::{
    channel::can_be_fetched_again,
    code::Code,
    facts::{ChannelFacts, Facts, ServerFacts, ThreadError},
    hint::Hint,
    quote,
    spec::ReplicationLink,
};

/// Why an applier stopped, as its code. The number of the worker's error decides; those of the server's log (13121, 13124, …) stand
/// where no transaction was at fault.
pub fn code(error: &ThreadError) -> Code {
    match error.errno {
        1032 => Code::RowMissing,
        1022 | 1062 | 1586 => Code::KeyTaken,
        1007 | 1008 | 1049 | 1050 | 1051 | 1054 | 1060 | 1061 | 1091 | 1146 | 13146 => Code::DefinitionsDiffer,
        1216 | 1217 | 1451 | 1452 => Code::ParentMissing,
        1205 | 1213 | 3058 | 3101 => Code::ApplierBlocked,
        1047 => Code::MemberNotSynced,
        3750 => Code::StatementRefused,
        1105 if error.text.contains("pxc_strict_mode") || error.text.contains("Percona-XtraDB-Cluster prohibits") => {
            Code::StatementRefused
        }
        1290 | 1792 | 1836 => Code::ApplierReadOnly,
        1594 | 13121 => Code::RelayLogDamaged,
        1200 | 1201 | 1871 | 1872 | 13124 => Code::ChannelDamaged,
        _ => Code::ApplierStopped,
    }
}

/// What a worker's text tells of the event that it failed on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told<'a> {
    /// The transaction.
    pub gtid: Option<&'a str>,
    /// The source's binary log that has it.
    pub log: Option<&'a str>,
    /// The table, as `schema.table`; of a statement that failed as a whole it is not told.
    pub table: Option<&'a str>,
    /// The key that a row met, as `table.key`.
    pub key: Option<&'a str>,
    /// The value of that key; several columns are joined by `-`.
    pub value: Option<&'a str>,
}

/// Reads a worker's text.
pub fn told(text: &str) -> Told<'_> {
    let between = |before: &str, after: &str| {
        let (_, rest) = text.split_once(before)?;
        Some(rest.split_once(after)?.0)
    };
    Told {
        gtid: between("executing transaction '", "'"),
        log: between("at source log ", ","),
        table: between("event on table ", ";").or_else(|| between("Table '", "'")).filter(|table| table.contains('.')),
        key: between("' for key '", "'"),
        value: between("Duplicate entry '", "' for key"),
    }
}

/// What mends the applier of a channel on a server that reports call `replica`. Nothing that was received is ever dropped unless the
/// source, called `source`, is sure to send it again.
pub fn hint(
    spec: ReplicationLink<'_>,
    facts: &Facts,
    (source, replica): (&str, &str),
    server: &ServerFacts,
    channel: &ChannelFacts,
    error: &ThreadError,
) -> Hint {
    let name = &spec.replication.channel;
    let told = told(&error.text);
    let start = || format!("START REPLICA SQL_THREAD FOR CHANNEL '{name}'");
    let table = told.table.and_then(quoted);
    let both = |hint: Hint, statement: &dyn Fn(&str) -> String| match &table {
        Some(table) => hint.sql(source, statement(table)).sql(replica, statement(table)),
        None => hint,
    };
    match code(error) {
        Code::RowMissing => {
            let hint = Hint::text("read in the source's log what the row was before the change, put exactly that row back here, and when the checksums of the table say that nothing else differs, start the applier");
            let hint = match (told.log, told.gtid) {
                // A mesh name is answered in the replica's pods only, where no mysqlbinlog need be.
                (Some(log), Some(gtid)) if spec.mesh().is_none() => read_event(spec, hint, log, gtid),
                _ => hint,
            };
            both(hint, &|table| format!("CHECKSUM TABLE {table}")).sql(replica, start())
        }
        Code::KeyTaken => {
            let hint = Hint::text(match (told.key, told.value) {
                (Some(key), Some(value)) => format!("look at the row with {key} = {value} on both sides: save what is only here, delete that row here, so that the source's takes its place, and start the applier; ask first whether a second channel or a writer goes on making more of them"),
                _ => "look at the row on both sides: save what is only here, delete that row here, so that the source's takes its place, and start the applier".to_owned(),
            });
            both(hint, &|table| format!("SHOW CREATE TABLE {table}")).sql(replica, start())
        }
        Code::DefinitionsDiffer => {
            let hint = Hint::text("bring the definition here to what it was on the source at that transaction: what is too much is moved away by RENAME, what is missing comes with its rows, from a backup or a new seed; then start the applier");
            both(hint, &|table| format!("SHOW CREATE TABLE {table}")).sql(replica, start())
        }
        Code::ParentMissing => {
            let hint = Hint::text("put the row that is referred to back here as the source has it, compare both tables, and start the applier");
            both(hint, &|table| format!("SHOW CREATE TABLE {table}")).sql(replica, start())
        }
        Code::ApplierBlocked => Hint::text("see who holds the lock, end that session if it still does, and start the applier: the transaction is tried again from its beginning")
            .sql(replica, "SELECT * FROM performance_schema.data_lock_waits")
            .sql(replica, "SHOW FULL PROCESSLIST")
            .sql(replica, start()),
        Code::MemberNotSynced => Hint::text("wait until the member is synced with its own cluster, then start the applier")
            .sql(replica, "SHOW STATUS LIKE 'wsrep%'")
            .sql(replica, start()),
        Code::StatementRefused if error.errno == 3750 => Hint::text("let tables without a primary key through as the source made them, then give the table a key on the source, from where it comes here too")
            .sql(replica, format!("CHANGE REPLICATION SOURCE TO REQUIRE_TABLE_PRIMARY_KEY_CHECK = STREAM FOR CHANNEL '{name}'"))
            .sql(replica, start()),
        Code::StatementRefused => Hint::text("mend the table on the source; for this one event the replica's `pxc_strict_mode` has to be PERMISSIVE while the applier passes it, which its owner must agree to")
            .sql(replica, "SHOW GLOBAL VARIABLES LIKE 'pxc_strict_mode'"),
        Code::ApplierReadOnly => Hint::text("switch off what the text names, other than super_read_only, then start the applier")
            .sql(replica, "SHOW GLOBAL VARIABLES LIKE '%read\\_only'")
            .sql(replica, start()),
        Code::RelayLogDamaged | Code::ChannelDamaged => fetch_again(spec, facts, replica, server, channel),
        _ => Hint::text("the error names what it failed on; mend that, then start the applier")
            .sql(replica, format!("SELECT worker_id, applying_transaction, last_error_number, last_error_message FROM performance_schema.replication_applier_status_by_worker WHERE channel_name = '{name}' AND last_error_number <> 0"))
            .sql(replica, start()),
    }
}

/// Reads one transaction of the source's log, rows included.
fn read_event(spec: ReplicationLink<'_>, hint: Hint, log: &str, gtid: &str) -> Hint {
    hint.then([
        "mysqlbinlog",
        "--read-from-remote-server",
        &format!("--host={}", spec.host),
        &format!("--port={}", spec.replication.port),
        &format!("--user={}", spec.replication.account.user),
        "--password",
        "--verbose",
        "--base64-output=DECODE-ROWS",
        &format!("--include-gtids={gtid}"),
        log,
    ])
}

/// Drops relay logs only where the source is known to have everything that they hold.
fn fetch_again(
    spec: ReplicationLink<'_>,
    facts: &Facts,
    replica: &str,
    server: &ServerFacts,
    channel: &ChannelFacts,
) -> Hint {
    let name = &spec.replication.channel;
    let waiting = channel.received.subtract(&server.gtid_executed);
    if can_be_fetched_again(facts, &server.gtid_executed, &waiting) {
        Hint::text(format!(
            "the source answers, has purged nothing that lacks here and has all {} transaction(s) that were received and not applied: fetch them again",
            waiting.count()
        ))
        .sql(replica, format!("STOP REPLICA FOR CHANNEL '{name}'"))
        .sql(replica, format!("RESET REPLICA FOR CHANNEL '{name}'"))
        .then(["pxc-link", "setup", "--source", &spec.name])
    } else {
        Hint::text(format!(
            "keep the relay logs: they may hold the only copy of {} transaction(s); bring a member of the source back that has them and ask again, or read them out with mysqlbinlog",
            waiting.count()
        ))
        .then(["pxc-link", "verify", "--source", &spec.name])
    }
}

/// `schema.table` of an error's text as two identifiers; the server does not quote it, so a name with a dot of its own is left alone.
fn quoted(table: &str) -> Option<String> {
    let (schema, table) = table.split_once('.').filter(|(_, table)| !table.contains('.'))?;
    Some(format!("{}.{}", quote::identifier(schema), quote::identifier(table)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample;

    fn error(errno: u32, text: &str) -> ThreadError {
        ThreadError { errno, text: text.to_owned(), at: None }
    }

    /// Number, text, code, table. All but the last two were printed by Percona Server 9.7; those are PXC's, from its sources.
    const SEEN: &[(u32, &str, Code, Option<&str>)] = &[
        (
            1032,
            "Worker 1 failed executing transaction '6f1a5dce-e5e1-11f1-8e74-02fc00000001:4' at source log binlog.000001, end_log_pos 1128; Could not execute Update_rows event on table t.a; Can't find record in 'a', Error_code: 1032; handler error HA_ERR_KEY_NOT_FOUND; the event's source log binlog.000001, end_log_pos 1128",
            Code::RowMissing,
            Some("t.a"),
        ),
        (
            1062,
            "Worker 1 failed executing transaction 'd3ba4976-e5e1-11f1-baca-02fc00000001:4' at source log binlog.000001, end_log_pos 1112; Could not execute Write_rows event on table t.a; Duplicate entry '4' for key 'a.PRIMARY', Error_code: 1062; handler error HA_ERR_FOUND_DUPP_KEY",
            Code::KeyTaken,
            Some("t.a"),
        ),
        (
            1146,
            "Worker 1 failed executing transaction 'd8e0d4dc-e5e1-11f1-9656-02fc00000001:4' at source log binlog.000001, end_log_pos 1112; Error executing row event: 'Table 't.a' doesn't exist'",
            Code::DefinitionsDiffer,
            Some("t.a"),
        ),
        (
            1050,
            "Worker 1 failed executing transaction 'deacc711-e5e1-11f1-a739-02fc00000001:4' at source log binlog.000001, end_log_pos 1067; Error 'Table 'b' already exists' on query. Default database: ''. Query: 'CREATE TABLE t.b (id int primary key, v int)'",
            Code::DefinitionsDiffer,
            None,
        ),
        (
            1452,
            "Worker 1 failed executing transaction 'e208ff20-e5e1-11f1-8809-02fc00000001:7' at source log binlog.000001, end_log_pos 1806; Could not execute Write_rows event on table t.c; Cannot add or update a child row: a foreign key constraint fails (`t`.`c`, CONSTRAINT `c_ibfk_1` FOREIGN KEY (`p`) REFERENCES `p` (`id`)), Error_code: 1452; handler error HA_ERR_NO_REFERENCED_ROW",
            Code::ParentMissing,
            Some("t.c"),
        ),
        (
            1205,
            "Worker 1 failed executing transaction 'e67ec946-e5e1-11f1-a00f-02fc00000001:4' at source log binlog.000001, end_log_pos 1128; Could not execute Update_rows event on table t.a; Lock wait timeout exceeded; try restarting transaction, Error_code: 1205",
            Code::ApplierBlocked,
            Some("t.a"),
        ),
        (
            3750,
            "Worker 1 failed executing transaction '57e79678-e5e2-11f1-913f-02fc00000001:4' at source log binlog.000001, end_log_pos 1051; Error 'Unable to create or change a table without a primary key, when the system variable 'sql_require_primary_key' is set.' on query.",
            Code::StatementRefused,
            None,
        ),
        (13121, "Relay log read failure: Could not parse relay log event entry.", Code::RelayLogDamaged, None),
        (
            13124,
            "Replica failed to initialize applier metadata structure from the repository",
            Code::ChannelDamaged,
            None,
        ),
        (1836, "Running in read-only mode", Code::ApplierReadOnly, None),
        (
            1864,
            "Cannot schedule event Write_rows, relay-log name ./relay.000002, position 4 to Worker thread because its size 5000 exceeds 1024 of replica_pending_jobs_size_max.",
            Code::ApplierStopped,
            None,
        ),
        (1047, "WSREP has not yet prepared node for application use", Code::MemberNotSynced, None),
        (
            1105,
            "Percona-XtraDB-Cluster prohibits use of CREATE TABLE AS SELECT with pxc_strict_mode = ENFORCING or MASTER",
            Code::StatementRefused,
            None,
        ),
    ];

    fn shown(hint: &Hint) -> Vec<String> {
        hint.commands.iter().map(ToString::to_string).collect()
    }

    fn hint_for(error: &ThreadError) -> Hint {
        let (spec, facts) = (sample::direct_spec(), sample::direct_facts());
        let server = facts.client.members.got().unwrap()[0].server().unwrap();
        hint(spec.replication().unwrap(), &facts, ("source s", "replica r"), server, &server.channels[0], error)
    }

    #[test]
    fn each_error_has_one_code_and_a_hint_that_leaves_nothing_out() {
        for (errno, text, wanted, table) in SEEN {
            let error = error(*errno, text);
            assert_eq!((code(&error), told(text).table), (*wanted, *table), "{text}");
            let all = shown(&hint_for(&error)).join(" ").to_lowercase();
            for never in ["skip", "gtid_next", "replica_exec_mode", "reset replica all", "gtid_purged", "reset binary"]
            {
                assert!(!all.contains(never), "{errno}: {all}");
            }
            assert!(all.contains("reset") <= [Code::RelayLogDamaged, Code::ChannelDamaged].contains(wanted), "{all}");
        }
    }

    #[test]
    fn transaction_table_and_key_are_read_as_the_server_tells_them() {
        let told = told(SEEN[1].1);
        assert_eq!(
            told,
            Told {
                gtid: Some("d3ba4976-e5e1-11f1-baca-02fc00000001:4"),
                log: Some("binlog.000001"),
                table: Some("t.a"),
                key: Some("a.PRIMARY"),
                value: Some("4"),
            }
        );
        let duplicate = hint_for(&error(1062, SEEN[1].1));
        assert!(duplicate.text.contains("the row with a.PRIMARY = 4"), "{}", duplicate.text);
        assert_eq!(shown(&duplicate)[0], "SHOW CREATE TABLE `t`.`a`;  -- on source s");
        let missing = shown(&hint_for(&error(1032, SEEN[0].1)));
        assert!(
            missing[0].ends_with("--include-gtids=6f1a5dce-e5e1-11f1-8e74-02fc00000001:4' binlog.000001"),
            "{missing:?}"
        );
        assert_eq!(
            missing[1..3],
            ["CHECKSUM TABLE `t`.`a`;  -- on source s", "CHECKSUM TABLE `t`.`a`;  -- on replica r"]
        );
    }

    #[test]
    fn a_torn_relay_log_is_dropped_only_where_the_source_sends_it_again() {
        let torn = error(13121, SEEN[7].1);
        assert_eq!(
            shown(&hint_for(&torn)),
            [
                "STOP REPLICA FOR CHANNEL 'production';  -- on replica r",
                "RESET REPLICA FOR CHANNEL 'production';  -- on replica r",
                "pxc-link setup --source production"
            ]
        );
        let spec = sample::direct_spec();
        let mut facts = sample::direct_facts();
        sample::sources(&mut facts).clear();
        let server = facts.client.members.got().unwrap()[0].server().unwrap();
        let kept =
            hint(spec.replication().unwrap(), &facts, ("the source", "replica r"), server, &server.channels[0], &torn);
        assert!(!shown(&kept).join(" ").contains("RESET"), "{kept:?}");
    }
}
