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
    PEER_PLAIN "peer.plain" Preflight "do the source's sidecars take connections without mutual TLS?";
    MESH_OBJECTS "mesh.objects" Preflight "are the link's own mesh objects as setup writes them?";

    HOST_NO_SERVICE "mesh.host_no_service" Preflight "is the mesh name no Service's name?";
    PORT_UNSHARED "mesh.port_unshared" Preflight "has nobody else the link's port on every address?";
    SERVICES_SEPARATE "services.separate" Preflight "are Services of both clusters kept apart?";
    RULE_HOLDS "rule.holds" Preflight "does the link's own DestinationRule hold for the mesh name?";
    INJECTION_LABELS "injection.labels" Preflight "do the namespace's labels of injection agree?";
    NAMESPACE_DISCOVERED "namespace.discovered" Preflight "does istiod look at the members' namespace?";
    ENTRIES_ADMITTED "entries.admitted" Preflight "does the mesh show ServiceEntries of the namespace to its pods?";
    ENTRY_IMPORTED "entry.imported" Preflight "would the member's sidecar be told of the mesh name?";
    ENTRY_EXPORTED "entry.exported" Preflight "is the link's ServiceEntry where the members see it?";
    DNS_CAPTURED "dns.captured" Preflight "will the mesh name resolve in the member?";
    CLIENT_AUTHORIZATION "client.authorization" Preflight "does no policy stand on the way out?";
    SOURCE_AUTHORIZATION "source.authorization" Preflight "do the source's policies let the connections in?";
    SOURCE_PEERS "source.peers" Preflight "do the source's PeerAuthentications say what they seem to say?";
    EGRESS_OPEN "network.egress" Preflight "does no NetworkPolicy keep the member in?";
    INGRESS_OPEN "network.ingress" Preflight "does no NetworkPolicy keep connections out?";

    NAME_RESOLVES "name.resolves" Name "does the mesh name resolve to the virtual address?";
    NAME_TABLE "name.table" Name "does the sidecar's own name table agree?";
    SIDECAR_PRESENT "sidecar.present" Interception "has the member a sidecar that is ready?";
    SIDECAR_INTERCEPTS "sidecar.intercepts" Interception "is the link's traffic left to the sidecar?";
    ENDPOINTS_CURRENT "endpoints.current" Endpoints "has the link's ServiceEntry the endpoints that the source has now?";
    ENVOY_LISTENER "envoy.listener" MeshConfiguration "has the sidecar a listener that leads to the mesh name?";
    ENVOY_ENDPOINTS "envoy.endpoints" Endpoints "has the sidecar the source's endpoints?";
    ENDPOINT_ACCEPTS "endpoint.accepts" Connection "does an endpoint accept the connection?";
    ENDPOINT_DIRECT "endpoint.direct" Connection "does an endpoint answer straight, past the mesh?";
    GREETING_ARRIVES "greeting.arrives" Greeting "does the server's greeting arrive?";
    PATH_QUERY "path.query" Query "is an authenticated query answered through the mesh name?";
    PATH_SERVER "path.server" Query "is the server that answered a member of the source?";
    RECEIVER_LOGIN "receiver.login" Query "does the source let the channel's account in, from this machine?";
    SERVICE_ANSWERS "service.answers" Query "does the service answer through the mesh name?";

    GTID_MODE "gtid.mode" Prerequisites "are GTIDs on?";
    BINLOG_ENABLED "binlog.enabled" Prerequisites "does the server write a binary log, of what it receives too?";
    BINLOG_FORMAT "binlog.format" Prerequisites "are rows logged, and all of their columns?";
    SOURCE_WRITABLE "source.writable" Prerequisites "does the source take writes?";
    BINLOG_RETENTION "binlog.retention" Prerequisites "are binary logs kept long enough for an outage?";
    SERVER_IDS "server.ids" Prerequisites "are server_id and server_uuid unlike any other member's?";
    VERSION_ORDER "version.order" Prerequisites "is the source's release series no newer than the replica's?";
    TABLE_NAMES "settings.table_names" Prerequisites "do both sides tell table names apart alike?";
    PACKET_SIZE "settings.packet" Prerequisites "does the replica take packets as large as the source's?";
    COLLATION "settings.collation" Prerequisites "have both sides the same default collation?";
    TIME_ZONES "settings.time_zone" Prerequisites "do both sides know the same time zones?";
    TIMESTAMPS "settings.timestamps" Prerequisites "do both sides understand TIMESTAMP columns alike?";
    CLOCKS "servers.clocks" Prerequisites "do the clocks of both sides agree?";
    APPLIER_ORDER "applier.order" Prerequisites "does the replica commit in the source's order?";
    RELAY_LOG "relay_log.recovery" Prerequisites "does a member that crashed fetch anew what it had not applied?";
    MEMBER_CLUSTER "member.cluster" Prerequisites "is the member in its own cluster, and in step with it?";
    CLUSTER_IDENTITY "cluster.identity" Prerequisites "have both sides clusters of their own?";
    SERVER_BUGS "server.bugs" Prerequisites "has the server's release no known bug that ends replication?";
    TABLES_THERE "schema.tables" Prerequisites "has the replica every table that no transaction will bring?";
    TABLES_ROWS "schema.rows" Prerequisites "are about as many rows in the replica's tables as in the source's?";
    TABLES_COLUMNS "schema.columns" Prerequisites "have the tables the same columns on both sides?";
    TABLES_KEYED "schema.keys" Prerequisites "has every table of the source a primary key?";
    TABLES_ENGINE "schema.engines" Prerequisites "are all tables of the source InnoDB's?";
    OPERATOR "replica.operator" Prerequisites "does no operator manage the replica's channels or open its members?";
    CHANNEL_RULES "channel.rules" Prerequisites "does no failover list move the channel?";
    CHANNEL_ENCRYPTED "channel.encrypted" Prerequisites "is what travels between the clusters encrypted?";
    TLS_SOURCE "tls.source" Prerequisites "does the source show a certificate that holds and names its host?";
    TLS_CA "tls.ca" Prerequisites "has the member a CA file that mysqld can use?";
    TLS_ISSUER "tls.issuer" Prerequisites "does the member's CA file lead to the source's certificate?";
    TLS_CLIENT "tls.client" Prerequisites "has the member a client certificate and its key that mysqld can use?";
    GTID_PURGED "gtid.purged" Prerequisites "does the source still have what the replica lacks?";
    GTID_MOVES "gtid.moves" Prerequisites "could the channel go on from every member of the replica?";
    GTID_LOCAL "gtid.local" Prerequisites "has the member of the source nothing that the others lack?";
    GTID_ERRANT "gtid.errant" Prerequisites "is the replica without transactions that the source lacks?";
    REPLICA_READ_ONLY "replica.read_only" Prerequisites "is the replica closed to other writers?";
    REPLICA_SKIP_START "replica.skip_start" Prerequisites "do channels stay off when a member restarts?";

    CHANNEL_UNIQUE "channel.unique" Replication "has exactly one member the channel?";
    CHANNEL_MEMBER "channel.member" Replication "may the member with the channel apply what it brings?";
    CHANNEL_SETTINGS "channel.settings" Replication "is the channel configured as the link says?";
    RECEIVER_RUNNING "receiver.running" Replication "is the receiver connected?";
    RECEIVER_SOURCE "receiver.source" Replication "is the receiver attached to a member of the source?";
    APPLIER_RUNNING "applier.running" Replication "does the applier run?";
    REPLICATION_LAG "replication.lag" Replication "is the lag within its thresholds?";

    SOURCE_CLOSED "promotion.source" Replication "is the old source closed to writes?";
    ALL_ARRIVED "promotion.arrived" Replication "has the replica all that the source has?";
    REPLICA_OPEN "promotion.open" Replication "does the promoted server take writes, after a restart too?";
    EVENTS_ENABLED "promotion.events" Replication "do the events of the source run here?";
}

/// Checks that advise: they look at what surrounds a link, at the servers' tables and at certificates, by permissions and privileges
/// that are optional, to say before a setup what its proof would stumble over. Where one of them cannot be answered the proof decides, so that it stops nothing and is no more than a
/// warning in the end. A failed one stops a setup as any other does.
const ADVISORY: [CheckId; 26] = [
    ISTIOD_READY,
    HOST_NO_SERVICE,
    PORT_UNSHARED,
    SERVICES_SEPARATE,
    RULE_HOLDS,
    INJECTION_LABELS,
    NAMESPACE_DISCOVERED,
    ENTRIES_ADMITTED,
    ENTRY_IMPORTED,
    DNS_CAPTURED,
    CLIENT_AUTHORIZATION,
    SOURCE_AUTHORIZATION,
    SOURCE_PEERS,
    EGRESS_OPEN,
    INGRESS_OPEN,
    TABLES_THERE,
    TABLES_ROWS,
    TABLES_COLUMNS,
    TABLES_KEYED,
    TABLES_ENGINE,
    OPERATOR,
    MEMBER_CLUSTER,
    TLS_SOURCE,
    TLS_CA,
    TLS_ISSUER,
    TLS_CLIENT,
];

/// Whether a check only advises: unknown, it stops no setup and counts as a warning.
pub fn is_advisory(id: CheckId) -> bool {
    ADVISORY.contains(&id)
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
