//! What a server is in the cluster that its side forms: a Galera node or a member of a Group Replication group.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A server's place in its cluster, as the server itself sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// Of a Galera cluster.
    Galera(GaleraMember),
    /// Of a Group Replication group.
    Group(GroupMember),
}

/// A Galera node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaleraMember {
    /// `wsrep_cluster_status`: `Primary`, `non-Primary` or `Disconnected`.
    pub cluster_status: String,
    /// `wsrep_ready`: whether it answers more than questions about itself.
    pub ready: bool,
    /// `wsrep_local_state`: 1 Joining, 2 Donor/Desynced, 3 Joined, 4 Synced; 0 outside of a cluster.
    pub local_state: u8,
    /// `wsrep_local_state_comment`.
    pub state_comment: String,
    /// `wsrep_cluster_size`.
    pub cluster_size: u32,
    /// `@@wsrep_desync`: whether somebody let it fall behind without limit.
    pub desync: bool,
    /// `@@pxc_maint_mode`; `None` for anything but PXC.
    pub maint_mode: Option<String>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// `MEMBER_STATE` of itself: `ONLINE`, `RECOVERING`, `OFFLINE` or `ERROR`.
    pub state: String,
    /// `MEMBER_ROLE` of itself: `PRIMARY`, `SECONDARY`, or empty outside of the group.
    pub role: String,
    /// `@@group_replication_single_primary_mode`: only the primary takes writes, those of a channel included.
    pub single_primary: bool,
    /// How many members it knows of, itself included.
    pub members: u32,
    /// How many of those it does not reach.
    pub unreachable: u32,
}

/// What can be had of a member, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is outside of its cluster, not yet in it, or in a part of it without a majority: it takes no writes.
    Outside,
    /// It has what its cluster has and takes no writes.
    ReadsOnly,
    /// It takes writes and may be behind its cluster, or about to leave it.
    OutOfStep,
    /// All is well.
    InOrder,
}

/// `wsrep_local_state` of a node that feeds another one, or was told to fall behind.
const DONOR: u8 = 2;
/// `wsrep_local_state` of a node that is as far as its cluster.
const SYNCED: u8 = 4;

impl Membership {
    /// What can be had of it.
    pub fn standing(&self) -> Standing {
        match self {
            Self::Galera(node) => node.standing(),
            Self::Group(member) => member.standing(),
        }
    }

    /// The values that say so.
    pub fn seen(&self) -> String {
        match self {
            Self::Galera(node) => {
                let ready = if node.ready { "ON" } else { "OFF" };
                let maint = node.maint_mode.as_ref().map(|mode| format!(", pxc_maint_mode {mode}"));
                format!(
                    "wsrep_cluster_status {}, wsrep_ready {ready}, wsrep_local_state_comment {}, wsrep_cluster_size {}{}{}",
                    node.cluster_status,
                    node.state_comment,
                    node.cluster_size,
                    if node.desync { ", wsrep_desync ON" } else { "" },
                    maint.unwrap_or_default(),
                )
            }
            Self::Group(member) => {
                let mode = if member.single_primary { "single-primary" } else { "multi-primary" };
                let role = if member.role.is_empty() { "no role" } else { &member.role };
                format!(
                    "{} {role} in a {mode} group, {} of {} members reachable",
                    member.state,
                    member.members - member.unreachable.min(member.members),
                    member.members
                )
            }
        }
    }
}

impl GaleraMember {
    /// From the rows of `SHOW STATUS LIKE 'wsrep_%'` and the variables of the same kind; a value that is not there is not good.
    pub fn of(values: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| values.get(name).cloned().unwrap_or_default();
        let on = |name: &str| text(name).eq_ignore_ascii_case("ON");
        Self {
            cluster_status: text("wsrep_cluster_status"),
            ready: on("wsrep_ready"),
            local_state: text("wsrep_local_state").parse().unwrap_or_default(),
            state_comment: text("wsrep_local_state_comment"),
            cluster_size: text("wsrep_cluster_size").parse().unwrap_or_default(),
            desync: on("wsrep_desync"),
            maint_mode: values.get("pxc_maint_mode").cloned(),
        }
    }

    fn standing(&self) -> Standing {
        let primary = self.cluster_status.eq_ignore_ascii_case("Primary");
        let staying = self.maint_mode.as_deref().is_none_or(|mode| mode.eq_ignore_ascii_case("DISABLED"));
        match self.local_state {
            _ if !primary || !self.ready => Standing::Outside,
            SYNCED if staying && !self.desync => Standing::InOrder,
            DONOR.. => Standing::OutOfStep,
            _ => Standing::Outside,
        }
    }
}

impl GroupMember {
    /// One of several is a majority only together with more than half of them.
    fn standing(&self) -> Standing {
        let majority = (self.members - self.unreachable.min(self.members)) * 2 > self.members;
        match self.state.as_str() {
            _ if !majority => Standing::Outside,
            "ONLINE" if self.single_primary && self.role != "PRIMARY" => Standing::ReadsOnly,
            "ONLINE" => Standing::InOrder,
            // One that recovers is not in the group yet.
            _ => Standing::Outside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What three nodes of a real cluster showed; the head of each file says which, and when.
    fn recorded(file: &str) -> GaleraMember {
        let lines = file.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('\t'));
        GaleraMember::of(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn a_node_is_judged_by_what_real_nodes_show() {
        for (file, standing, comment) in [
            (include_str!("wsrep/synced.tsv"), Standing::InOrder, "Synced"),
            (include_str!("wsrep/donor.tsv"), Standing::OutOfStep, "Donor/Desynced"),
            (include_str!("wsrep/joining.tsv"), Standing::Outside, "Joining: receiving State Transfer"),
            (include_str!("wsrep/cut-off.tsv"), Standing::Outside, "Initialized"),
            (include_str!("wsrep/peers-dead.tsv"), Standing::Outside, "Initialized"),
        ] {
            assert!(file.starts_with("# MariaDB 10.11."), "{file}");
            let node = recorded(file);
            assert_eq!((node.standing(), node.state_comment.as_str()), (standing, comment), "{node:?}");
        }
        assert_eq!(recorded(include_str!("wsrep/synced.tsv")).cluster_size, 3);
    }

    #[test]
    fn what_somebody_told_a_node_counts_too() {
        let synced = || recorded(include_str!("wsrep/synced.tsv"));
        let maint = |mode: &str| GaleraMember { maint_mode: Some(mode.to_owned()), ..synced() }.standing();
        assert_eq!(maint("DISABLED"), Standing::InOrder);
        assert_eq!((maint("MAINTENANCE"), maint("SHUTDOWN")), (Standing::OutOfStep, Standing::OutOfStep));
        assert_eq!(GaleraMember { desync: true, ..synced() }.standing(), Standing::OutOfStep);
        assert_eq!(GaleraMember::of(&BTreeMap::new()).standing(), Standing::Outside, "nothing is not good");
    }

    #[test]
    fn a_member_of_a_group_is_judged_by_state_role_and_majority() {
        let member = |state: &str, role: &str, single_primary, unreachable| {
            let (state, role) = (state.to_owned(), role.to_owned());
            GroupMember { state, role, single_primary, members: 3, unreachable }.standing()
        };
        assert_eq!(member("ONLINE", "PRIMARY", true, 0), Standing::InOrder);
        assert_eq!(member("ONLINE", "PRIMARY", true, 1), Standing::InOrder);
        assert_eq!(member("ONLINE", "PRIMARY", true, 2), Standing::Outside, "one of three decides nothing");
        assert_eq!(member("ONLINE", "SECONDARY", true, 0), Standing::ReadsOnly);
        assert_eq!(member("ONLINE", "PRIMARY", false, 0), Standing::InOrder);
        for state in ["RECOVERING", "OFFLINE", "ERROR", ""] {
            assert_eq!(member(state, "", true, 0), Standing::Outside);
        }
        let nobody =
            GroupMember { state: String::new(), role: String::new(), single_primary: true, members: 0, unreachable: 0 };
        assert_eq!(Membership::Group(nobody).standing(), Standing::Outside);
    }
}
