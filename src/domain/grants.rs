//! The least privileges each account of a link needs, and what an account lacks of them.

/// What an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads the source's state. Settings and GTID sets are readable by every account, so logging in is enough.
    SourceReader,
    /// The account of the channel, on the source.
    Replication,
    /// Reads a replica's members and runs the channel's statements there.
    ReplicaAdmin,
}

/// One privilege of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The privilege, as GRANT writes it.
    pub privilege: &'static str,
    /// What it is granted on.
    pub on: &'static str,
    /// What it is needed for.
    pub why: &'static str,
}

impl Grant {
    /// `REPLICATION SLAVE ON *.*`.
    pub fn phrase(&self) -> String {
        format!("{} ON {}", self.privilege, self.on)
    }
}

/// Where grants on everything are written.
const GLOBAL: &str = "*.*";

/// Shows the events that are disabled on a replica. A promotion goes on without it.
pub const EVENT: Grant =
    Grant { privilege: "EVENT", on: GLOBAL, why: "events that are disabled on a replica, when it is promoted" };
/// Enables them. A promotion goes on without it, too.
pub const DEFINER: Grant = Grant {
    privilege: "SET_ANY_DEFINER",
    on: GLOBAL,
    why: "those events keep whom they run as; before 8.2 it is called SET_USER_ID",
};

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::SourceReader, Self::Replication, Self::ReplicaAdmin];

    /// What the role needs; nothing more is ever asked for.
    pub fn grants(self) -> &'static [Grant] {
        match self {
            Self::SourceReader => &[],
            Self::Replication => {
                &[Grant { privilege: "REPLICATION SLAVE", on: GLOBAL, why: "the receiver reads the binary log" }]
            }
            Self::ReplicaAdmin => &[
                Grant {
                    privilege: "REPLICATION_SLAVE_ADMIN",
                    on: GLOBAL,
                    why: "CHANGE REPLICATION SOURCE, START REPLICA, STOP REPLICA",
                },
                Grant { privilege: "RELOAD", on: GLOBAL, why: "RESET REPLICA ALL, when the link is taken away" },
                Grant { privilege: "SELECT", on: "performance_schema.*", why: "settings and states of the channels" },
            ],
        }
    }

    /// What the role is better for having: without it checks are unknown, and nothing else changes.
    pub fn optional(self) -> &'static [Grant] {
        match self {
            Self::SourceReader | Self::ReplicaAdmin => &[Grant {
                privilege: "REFERENCES",
                on: GLOBAL,
                why: "shows names, columns and row estimates of every table, and no row: tables are compared with what GTIDs claim",
            }],
            Self::Replication => &[],
        }
    }

    /// What the role needs besides for `teardown --promote`, and for nothing else.
    pub fn to_promote(self) -> &'static [Grant] {
        const CLOSE: Grant = Grant {
            privilege: "SYSTEM_VARIABLES_ADMIN",
            on: GLOBAL,
            why: "super_read_only, when the replica is promoted",
        };
        match self {
            Self::SourceReader | Self::Replication => &[CLOSE],
            Self::ReplicaAdmin => &[CLOSE, EVENT, DEFINER],
        }
    }

    /// What of the role's global privileges the lines of `SHOW GRANTS` do not have. Privileges of active roles are among
    /// those lines (seen on MySQL 9.7); those of a role that is granted but not active are not, and do not count.
    /// Privileges on a schema are left out: they can be granted table by table, so only reading shows whether they do.
    pub fn missing(self, shown: &[String]) -> Vec<String> {
        lacking(self.grants(), shown).iter().map(Grant::phrase).collect()
    }

    /// The same of what a promotion needs.
    pub fn missing_to_promote(self, shown: &[String]) -> Vec<Grant> {
        lacking(self.to_promote(), shown)
    }
}

fn lacking(grants: &[Grant], shown: &[String]) -> Vec<Grant> {
    let held: Vec<&str> = shown.iter().filter_map(|line| global_privileges(line)).flatten().collect();
    let lacks = |grant: &&Grant| grant.on == GLOBAL && !held.iter().any(|held| implies(held, grant.privilege));
    grants.iter().filter(lacks).copied().collect()
}

/// Whether the account sees every table and its columns in `information_schema`, which shows what an account has any of these
/// privileges on (MySQL: `Item_func_can_access_column`). REFERENCES is the one of them that lets it do nothing by itself.
pub(crate) fn all_tables_visible(shown: &[String]) -> bool {
    const SHOW: [&str; 4] = ["REFERENCES", "SELECT", "INSERT", "UPDATE"];
    let mut held = shown.iter().filter_map(|line| global_privileges(line)).flatten();
    // With partial_revokes a schema can be taken out again.
    let none_revoked = !shown.iter().any(|line| line.starts_with("REVOKE "));
    none_revoked && held.any(|held| SHOW.iter().any(|wanted| implies(held, wanted)))
}

/// The privileges of a line that grants on everything.
fn global_privileges(line: &str) -> Option<impl Iterator<Item = &str>> {
    let (list, _) = line.strip_prefix("GRANT ")?.split_once(" ON *.* TO ")?;
    Some(list.split(',').map(str::trim))
}

fn implies(held: &str, wanted: &str) -> bool {
    let held = held.to_ascii_uppercase();
    // The server still lets SUPER stand for the dynamic privileges it was split into.
    let split = ["REPLICATION_SLAVE_ADMIN", "SYSTEM_VARIABLES_ADMIN"];
    let renamed = held == "SET_USER_ID" && wanted == "SET_ANY_DEFINER";
    held == wanted || renamed || held == "ALL PRIVILEGES" || (held == "SUPER" && split.contains(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn names_exactly_what_is_missing() {
        // Printed by MySQL 9.7 for accounts made for the purpose.
        let none = lines("GRANT USAGE ON *.* TO `roled`@`%`\nGRANT `dba`@`%` TO `roled`@`%`");
        let role = lines(
            "GRANT RELOAD ON *.* TO `roledef`@`%`\nGRANT REPLICATION_SLAVE_ADMIN ON *.* TO `roledef`@`%`\nGRANT `dba`@`%` TO `roledef`@`%`",
        );
        let replication = lines("GRANT REPLICATION SLAVE ON *.* TO `repl`@`%`");
        let both = lines("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `repl`@`%`");
        let admin = ["REPLICATION_SLAVE_ADMIN ON *.*", "RELOAD ON *.*"];
        assert_eq!(Role::ReplicaAdmin.missing(&none), admin);
        assert_eq!(Role::ReplicaAdmin.missing(&role), [""; 0]);
        assert_eq!(Role::ReplicaAdmin.missing(&replication), admin);
        assert_eq!(Role::Replication.missing(&replication), [""; 0]);
        assert_eq!(Role::Replication.missing(&both), [""; 0]);
        assert_eq!(Role::Replication.missing(&none), ["REPLICATION SLAVE ON *.*"]);
        assert_eq!(Role::SourceReader.missing(&none), [""; 0]);
    }

    #[test]
    fn a_grant_on_one_schema_is_no_grant_on_everything() {
        let shown = lines("GRANT RELOAD, REPLICATION_SLAVE_ADMIN ON `d`.* TO `a`@`%`");
        assert_eq!(Role::ReplicaAdmin.missing(&shown).len(), 2);
    }

    #[test]
    fn one_privilege_on_everything_shows_all_tables() {
        for (shown, all) in [
            ("GRANT REFERENCES ON *.* TO `a`@`%`", true),
            ("GRANT SELECT, RELOAD ON *.* TO `a`@`%`", true),
            ("GRANT ALL PRIVILEGES ON *.* TO `a`@`%`", true),
            ("GRANT REFERENCES ON *.* TO `a`@`%`\nREVOKE REFERENCES ON `hr`.* FROM `a`@`%`", false),
            ("GRANT USAGE ON *.* TO `a`@`%`\nGRANT REFERENCES ON `app`.* TO `a`@`%`", false),
            ("GRANT SHOW VIEW, PROCESS ON *.* TO `a`@`%`", false),
        ] {
            assert_eq!(all_tables_visible(&lines(shown)), all, "{shown}");
        }
    }

    #[test]
    fn wider_privileges_stand_for_the_ones_they_hold() {
        assert_eq!(Role::ReplicaAdmin.missing(&lines("GRANT ALL PRIVILEGES ON *.* TO `root`@`%`")), [""; 0]);
        assert_eq!(Role::ReplicaAdmin.missing(&lines("GRANT SUPER, RELOAD ON *.* TO `root`@`%`")), [""; 0]);
    }

    #[test]
    fn a_promotion_needs_more_than_a_link() {
        let bare = lines("GRANT USAGE ON *.* TO `a`@`%`");
        let phrases: Vec<String> = Role::SourceReader.missing_to_promote(&bare).iter().map(Grant::phrase).collect();
        assert_eq!(phrases, ["SYSTEM_VARIABLES_ADMIN ON *.*"]);
        let older = lines("GRANT SUPER, EVENT ON *.* TO `a`@`%`\nGRANT SET_USER_ID ON *.* TO `a`@`%`");
        assert_eq!(Role::ReplicaAdmin.missing_to_promote(&older), []);
    }
}
