//! The names of all checks, with the milestone each belongs to and what it asks.

use crate::domain::check::{CheckId, Milestone};

macro_rules! checks {
    ($($name:ident $id:literal $milestone:ident $asks:literal;)+) => {
        $(#[doc = $asks] pub const $name: CheckId = CheckId($id);)+

        /// Every check, in the order of the path.
        pub const ALL: &[(CheckId, Milestone, &str)] = &[$(($name, Milestone::$milestone, $asks),)+];
    };
}

checks! {
    CLUSTER_REACHABLE "cluster.reachable" Access "does the Kubernetes API answer?";
    CLUSTER_DISTINCT "cluster.distinct" Access "are source and replica two clusters?";
    CLUSTER_PERMISSIONS "cluster.permissions" Access "has the user every permission that is needed?";
    MEMBERS_FOUND "members.found" Access "are there members?";
    MEMBER_READY "member.ready" Access "is the member's pod ready?";
    SERVER_LOGIN "server.login" Access "does the server let the account in?";
    SERVER_PRIVILEGES "server.privileges" Access "has the account every privilege that is needed?";
    SERVER_VERSION "server.version" Access "is the server new enough?";

    MESH_INSTALLED "mesh.installed" Preflight "does the cluster serve Istio's resources?";
    ISTIOD_READY "istiod.ready" Preflight "is istiod ready?";
    SERVICE_EXPOSED "service.exposed" Preflight "can the source be entered from outside?";
    ENDPOINTS_KNOWN "endpoints.known" Preflight "are there addresses at which the source can be entered?";
    VIP_FREE "mesh.vip_free" Preflight "is the virtual address unused by others?";
    HOST_FREE "mesh.host_free" Preflight "is the mesh name defined by nobody else?";

    NAME_RESOLVES "name.resolves" Name "does the mesh name resolve to the virtual address?";
    NAME_TABLE "name.table" Name "does the sidecar's own name table agree?";
    SIDECAR_PRESENT "sidecar.present" Interception "has the member a sidecar that is ready?";
    SIDECAR_INTERCEPTS "sidecar.intercepts" Interception "is the link's traffic left to the sidecar?";
    ENDPOINTS_CURRENT "endpoints.current" Endpoints "has the link's ServiceEntry the endpoints that the source has now?";
    ENVOY_LISTENER "envoy.listener" MeshConfiguration "has the sidecar a listener that leads to the mesh name?";
    ENVOY_ENDPOINTS "envoy.endpoints" Endpoints "has the sidecar the source's endpoints?";
    ENDPOINT_ACCEPTS "endpoint.accepts" Connection "does an endpoint accept the connection?";
    GREETING_ARRIVES "greeting.arrives" Greeting "does the server's greeting arrive?";
    PATH_QUERY "path.query" Query "is an authenticated query answered through the mesh name?";
    PATH_SERVER "path.server" Query "is the server that answered a member of the source?";

    GTID_MODE "gtid.mode" Prerequisites "are GTIDs on?";
    BINLOG_ENABLED "binlog.enabled" Prerequisites "does the server write a binary log, of what it receives too?";
    BINLOG_FORMAT "binlog.format" Prerequisites "are rows logged, and all of their columns?";
    BINLOG_RETENTION "binlog.retention" Prerequisites "are binary logs kept long enough for an outage?";
    SERVER_IDS "server.ids" Prerequisites "are server_id and server_uuid unlike any other member's?";
    VERSION_ORDER "version.order" Prerequisites "is the source's release series no newer than the replica's?";
    CHANNEL_ENCRYPTED "channel.encrypted" Prerequisites "is what travels between the clusters encrypted?";
    GTID_PURGED "gtid.purged" Prerequisites "does the source still have what the replica lacks?";
    GTID_ERRANT "gtid.errant" Prerequisites "is the replica without transactions that the source lacks?";
    REPLICA_READ_ONLY "replica.read_only" Prerequisites "is the replica closed to other writers?";
    REPLICA_SKIP_START "replica.skip_start" Prerequisites "do channels stay off when a member restarts?";

    CHANNEL_UNIQUE "channel.unique" Replication "has exactly one member the channel?";
    CHANNEL_SETTINGS "channel.settings" Replication "is the channel configured as the link says?";
    RECEIVER_RUNNING "receiver.running" Replication "is the receiver connected?";
    RECEIVER_SOURCE "receiver.source" Replication "is the receiver attached to a member of the source?";
    APPLIER_RUNNING "applier.running" Replication "does the applier run?";
    REPLICATION_LAG "replication.lag" Replication "is the lag within its thresholds?";
}

/// The milestone of a check.
pub fn milestone(id: CheckId) -> Milestone {
    ALL.iter().find(|(known, ..)| *known == id).map_or(Milestone::Access, |(_, milestone, _)| *milestone)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_every_milestone_has_one() {
        assert_eq!(ALL.iter().map(|(id, ..)| id).collect::<HashSet<_>>().len(), ALL.len());
        for wanted in Milestone::ALL {
            assert!(ALL.iter().any(|(_, milestone, _)| *milestone == wanted), "{wanted:?}");
        }
    }
}
