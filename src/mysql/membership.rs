//! Reads what a server is in its own cluster.

use std::collections::BTreeMap;

use super::{client::Server, error::MysqlError, observe::Reader, statements};
use crate::{
    domain::facts::{GaleraMember, GroupMember, Membership},
    wait::Deadline,
};

impl Server {
    /// The place of a server in its cluster, which is of the kind that `server.sql` tells; `own` is its `server_uuid`.
    ///
    /// # Errors
    /// As any statement; a group is shown to those only who may read performance_schema.
    pub(super) async fn membership(
        &mut self,
        kind: &str,
        own: &str,
        deadline: Deadline,
    ) -> Result<Membership, MysqlError> {
        match kind {
            "galera" => self.in_galera(deadline).await,
            _ => self.in_group(own, deadline).await,
        }
    }

    async fn in_galera(&mut self, deadline: Deadline) -> Result<Membership, MysqlError> {
        let rows = self.run(statements::SERVER_IN_GALERA, deadline).await?;
        let pair = |row| {
            let row = Reader { server: self, statement: statements::SERVER_IN_GALERA, row };
            Ok::<_, MysqlError>((row.get("name")?, row.get::<Option<String>>("value")?.unwrap_or_default()))
        };
        let values: BTreeMap<String, String> = rows.iter().map(pair).collect::<Result<_, _>>()?;
        Ok(Membership::Galera(GaleraMember::of(&values)))
    }

    async fn in_group(&mut self, own: &str, deadline: Deadline) -> Result<Membership, MysqlError> {
        let rows = self.run(statements::SERVER_IN_GROUP, deadline).await?;
        // One that was never in the group, or left it, shows itself without an identity.
        let mut seen = GroupMember {
            state: "OFFLINE".to_owned(),
            role: String::new(),
            single_primary: true,
            members: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            unreachable: 0,
        };
        for row in &rows {
            let row = Reader { server: self, statement: statements::SERVER_IN_GROUP, row };
            let state: String = row.get("state")?;
            seen.unreachable += u32::from(state == "UNREACHABLE");
            if row.get::<String>("member")? == own {
                (seen.state, seen.role) = (state, row.get("role")?);
            }
            seen.single_primary = row.get::<Option<String>>("single_primary")?.as_deref() != Some("OFF");
        }
        Ok(Membership::Group(seen))
    }
}
