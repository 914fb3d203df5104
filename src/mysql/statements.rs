//! Every statement this program sends, embedded from `sql/`, and the one function that fills in values.

use secrecy::zeroize::Zeroizing;

/// A statement, or a template of one with `{names}` where literals go. Logs and errors know it by its name only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement {
    /// The file's name.
    pub(crate) name: &'static str,
    file: &'static str,
}

/// How the header of a statement ends that only a promotion runs.
const FOR_PROMOTION: &str = ", for a promotion";

macro_rules! statements {
    ($($constant:ident $file:literal;)+) => {
        $(pub(crate) const $constant: Statement =
            Statement { name: $file, file: include_str!(concat!("../../sql/", $file)) };)+

        #[cfg(test)]
        pub(crate) const ALL: &[Statement] = &[$($constant,)+];
    };
}

statements! {
    CHANGE_REPLICATION_SOURCE "change_replication_source.sql";
    CHANNELS "channels.sql";
    CHANNEL_PASSWORD "channel_password.sql";
    CHANNEL_THREADS "channel_threads.sql";
    CLOSE_TO_WRITES "close_to_writes.sql";
    DISABLED_EVENTS "disabled_events.sql";
    ENABLE_EVENT "enable_event.sql";
    FORGET_READ_ONLY "forget_read_only.sql";
    FORGET_SUPER_READ_ONLY "forget_super_read_only.sql";
    GRANTS "grants.sql";
    GTID_EXECUTED "gtid_executed.sql";
    IDENTITY "identity.sql";
    LOCK_CHECK "lock_check.sql";
    LOCK_HOLDER "lock_holder.sql";
    LOCK_TAKE "lock_take.sql";
    OPEN_TO_ADMINISTRATORS "open_to_administrators.sql";
    OPEN_TO_WRITES "open_to_writes.sql";
    READ_ONLY_SOURCES "read_only_sources.sql";
    REPLICA_RULES "replica_rules.sql";
    RESET_REPLICA_ALL "reset_replica_all.sql";
    SERVER "server.sql";
    SERVER_IN_GALERA "server_in_galera.sql";
    SERVER_IN_GROUP "server_in_group.sql";
    SESSION_LOCK_WAIT "session_lock_wait.sql";
    SESSION_NAMES "session_names.sql";
    SESSION_SETTINGS "session_settings.sql";
    SESSION_STATS "session_stats.sql";
    SESSION_WSREP "session_wsrep.sql";
    START_APPLIER "start_applier.sql";
    START_RECEIVER "start_receiver.sql";
    STOP_APPLIER "stop_applier.sql";
    STOP_RECEIVER "stop_receiver.sql";
    TABLES "tables.sql";
    VERSION "version.sql";
    WORKER_ERRORS "worker_errors.sql";
    WRITE_STATE "write_state.sql";
}

impl Statement {
    /// The text without the header comment.
    pub(crate) fn text(self) -> &'static str {
        let mut rest = self.file;
        while let Some((_, below)) = rest.strip_prefix("-- ").and_then(|line| line.split_once('\n')) {
            rest = below;
        }
        rest.trim_end()
    }

    /// The privilege its header says it needs, as GRANT writes it: `RELOAD ON *.*`.
    pub(crate) fn grant(self) -> Option<String> {
        let needed = self.privileges();
        match needed.strip_suffix(FOR_PROMOTION).unwrap_or(needed) {
            none if none.starts_with("none") => None,
            on if on.contains(" ON ") => Some(on.to_owned()),
            global => Some(format!("{global} ON *.*")),
        }
    }

    /// Whether only a promotion runs it, whose privileges the accounts need not have otherwise.
    #[cfg(test)]
    pub(crate) fn is_for_promotion(self) -> bool {
        self.privileges().ends_with(FOR_PROMOTION)
    }

    fn privileges(self) -> &'static str {
        self.file.lines().find_map(|line| line.strip_prefix("-- Privileges: ")).unwrap_or("none")
    }

    /// The text with every `{name}` replaced by its value, which must be a literal already. Values are never searched
    /// for names again, so a password may hold braces. The result is wiped when it goes.
    pub(crate) fn filled(self, values: &[(&str, &str)]) -> Zeroizing<String> {
        let mut rest = self.text();
        // A buffer that grows leaves copies behind that nobody wipes; no template has a name twice.
        let capacity = rest.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>();
        let mut filled = Zeroizing::new(String::with_capacity(capacity));
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let (name, below) = after.split_once('}').unwrap_or((after, ""));
            if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
                filled.push_str(value);
            }
            rest = below;
        }
        filled.push_str(rest);
        filled
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::grants::{Grant, Role};

    #[test]
    fn every_file_is_embedded_and_says_what_it_needs() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql");
        let mut files: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let mut embedded: Vec<&str> = ALL.iter().map(|statement| statement.name).collect();
        embedded.sort_unstable();
        assert_eq!(files, embedded);
        for statement in ALL {
            let header: Vec<&str> = statement.file.lines().take(3).collect();
            for (line, key) in header.iter().zip(["-- Purpose: ", "-- Privileges: ", "-- Versions: "]) {
                assert!(line.starts_with(key) && line.len() > key.len(), "{}: {key}", statement.name);
            }
            let text = statement.text();
            assert!(
                !text.is_empty() && !text.contains("--") && !text.contains(';'),
                "{}: one statement",
                statement.name
            );
        }
    }

    #[test]
    fn a_statement_about_channels_always_names_one() {
        for statement in ALL {
            let text = statement.text();
            if ["CHANGE ", "START ", "STOP ", "RESET REPLICA "].iter().any(|verb| text.starts_with(verb)) {
                assert!(text.ends_with("FOR CHANNEL {channel}"), "{}", statement.name);
            }
        }
    }

    #[test]
    fn a_value_is_never_read_as_a_template() {
        let statement = Statement { name: "x", file: "-- Purpose: x\nA {one} B {two} C" };
        assert_eq!(*statement.filled(&[("one", "'{two}'"), ("two", "'}{'")]), "A '{two}' B '}{' C");
    }

    #[test]
    fn the_admin_has_what_the_statements_need_and_nothing_else() {
        let needed = |promotion: bool| -> BTreeSet<String> {
            let theirs = ALL.iter().filter(|statement| statement.is_for_promotion() == promotion);
            theirs.filter_map(|statement| statement.grant()).collect()
        };
        let granted = |grants: &[Grant]| grants.iter().map(Grant::phrase).collect::<BTreeSet<_>>();
        assert_eq!(granted(Role::ReplicaAdmin.grants()), needed(false));
        assert_eq!(granted(Role::ReplicaAdmin.to_promote()), needed(true));
    }
}
