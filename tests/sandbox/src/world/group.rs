//! Members that form a group: when it is whole, and groups beside those that every world has.

use std::{fmt, str::FromStr, time::Duration};

use super::{Cluster, Ha, World, WorldError, apply, mysql, mysql::Site, rights, wait::Wait};

/// Members of further groups have other ids than those of the world's own servers.
const FURTHER: u32 = 50;

impl Ha {
    /// Every form, as it is written.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::None, "none"),
        (Self::SinglePrimary, "group-replication"),
        (Self::MultiPrimary, "group-replication=multi-primary"),
    ];
}

impl fmt::Display for Ha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(ha, _)| ha == self).map_or("", |(_, name)| name);
        f.pad(name)
    }
}

impl FromStr for Ha {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(ha, _)| *ha).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(_, name)| *name).collect();
            format!("{text:?} is not known; there are {}", names.join(", "))
        })
    }
}

impl World {
    /// Makes a namespace of the replica's cluster with MySQL members that form a group, and pxc-link's rights in it, and waits until
    /// the group is whole. Pods, container and labels are named as those of the world's own members.
    pub async fn make_group(&self, namespace: &str, members: u32, ha: Ha) -> Result<(), WorldError> {
        let (cluster, api) = (Cluster::Dr, self.client(Cluster::Dr).await?);
        let site = Site { cluster, namespace, members, ha, server_id_base: cluster.server_id_base() + FURTHER };
        let before = mysql::before(&self.dir.join("mysql-pki"), site, &self.record.passwords)?;
        for text in [before, rights::in_namespace(cluster, namespace)?, mysql::servers(site)] {
            apply::apply(&api, cluster, apply::parse("group", &text)?).await?;
        }
        self.servers_ready(&api, site).await
    }

    /// Waits until all members of a place are ready and, where they form a group, see one another in it.
    pub(crate) async fn servers_ready(&self, client: &kube::Client, site: Site<'_>) -> Result<(), WorldError> {
        mysql::ready(client, site).await?;
        if site.ha == Ha::None {
            return Ok(());
        }
        let Site { cluster, namespace, members, .. } = site;
        let online = "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE MEMBER_STATE = 'ONLINE'";
        let wait = Wait {
            what: format!("a group of {members} in namespace {namespace} of cluster {cluster}"),
            deadline: Duration::from_mins(2),
            look: format!("kubectl --context {cluster} -n {namespace} logs pxc-0 -c pxc"),
        };
        wait.until(async || {
            let seen = self.mysql_in(cluster, namespace, 0, online).await.map_err(|error| error.to_string())?;
            let seen = seen.trim();
            if seen == members.to_string() { Ok(()) } else { Err(format!("{seen} of {members} are ONLINE")) }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_as_it_is_written() {
        for (ha, name) in Ha::ALL {
            assert_eq!((ha.to_string().as_str(), name.parse()), (name, Ok(ha)));
        }
        assert!("galera".parse::<Ha>().unwrap_err().contains("group-replication"));
    }
}
