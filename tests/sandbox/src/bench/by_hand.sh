#!/usr/bin/env bash
# by_hand.sh [undo]: the link of a world made with kubectl and mysql, as a person would script it, for `cargo sandbox bench setup`:
# the objects, the channel and the proofs of `pxc-link setup`, as few commands as that takes, no pause longer than 0.1 s.
set -euo pipefail
host=pxc-source.production.global vip=240.0.0.7 channel=production
source=(kubectl --context production -n pxc) replica=(kubectl --context dr -n pxc)

die() { echo "by_hand: $*" >&2; exit 1; }

# sql CONTEXT USER PASSWORD [OPTION...] < STATEMENTS: in the member's own container; the password is in no argument.
sql() {
  local context=$1 file
  file=$(printf '[client]\nuser=%s\npassword=%s\n' "$2" "$3"; printf '%s\n' "${@:4}"; printf x)
  file=${file%x}
  { printf %s "$file"; cat; } | kubectl --context "$context" -n pxc exec -i pxc-0 -c pxc -- bash -c \
    "c=\$(head -c ${#file}); exec mysql --defaults-extra-file=<(printf '%s\n' \"\$c\") --batch --raw --skip-column-names"
}
on_source() { sql production pxc_link "$PXC_SOURCE_PASSWORD" socket=/run/mysqld/mysqld.sock; }
on_replica() { sql dr pxc_link "$PXC_REPLICA_PASSWORD" socket=/run/mysqld/mysqld.sock; }
through_the_name() {
  sql dr repl "$PXC_REPLICATION_PASSWORD" protocol=TCP "host=$host" ssl-mode=VERIFY_IDENTITY ssl-ca=/etc/mysql/tls/ca.crt connect-timeout=2
}

if [ "${1:-}" = undo ]; then
  echo "STOP REPLICA FOR CHANNEL '$channel'; RESET REPLICA ALL FOR CHANNEL '$channel'" | on_replica
  "${replica[@]}" delete serviceentry/by-hand destinationrule/by-hand >/dev/null
  exit
fi

# Where the source is: the address of a ready node, the port of its Service, a ready endpoint behind it.
address=$("${source[@]}" get nodes -o 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
port=$("${source[@]}" get service pxc -o 'jsonpath={.spec.ports[0].nodePort}')
ready=$("${source[@]}" get endpointslices -l kubernetes.io/service-name=pxc -o 'jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}')
[ -n "$ready" ] || die "no ready endpoint behind the Service"
# Nobody else has the name or the address.
taken=$("${replica[@]}" get serviceentries -A -o 'jsonpath={range .items[*]}{.spec.hosts} {.spec.addresses}{"\n"}{end}')
if grep -qF -e "\"$host\"" -e "\"$vip\"" <<<"$taken"; then die "the name or the address is taken: $taken"; fi

# Settings, grants and GTIDs of both.
read -r source_uuid source_id mode source_gtids purged < <(echo \
  "SELECT @@server_uuid, @@server_id, @@gtid_mode, CONCAT('-', REPLACE(@@gtid_executed, '\n', '')), CONCAT('-', REPLACE(@@gtid_purged, '\n', ''))" | on_source)
[ "$mode" = ON ] || die "GTIDs are off on the source"
{ read -r replica_id mode lost errant; grants=$(cat); } < <(echo \
  "SELECT @@server_id, @@gtid_mode, CONCAT('-', GTID_SUBTRACT('${purged#-}', @@gtid_executed)), CONCAT('-', GTID_SUBTRACT(@@gtid_executed, '${source_gtids#-}')); SHOW GRANTS" | on_replica)
[ "$mode" = ON ] && [ "$replica_id" != "$source_id" ] || die "GTIDs are off, or both have one server id"
[ "$lost" = - ] || die "purged on the source: $lost"
[ "$errant" = - ] || echo "by_hand: the replica has transactions of its own: ${errant#-}"
grep -q REPLICATION_SLAVE_ADMIN <<<"$grants" || die "the account may not configure channels"

# The name, and an authenticated query through it that is answered by the source.
"${replica[@]}" apply -f - >/dev/null <<YAML
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: by-hand}
spec:
  hosts: [$host]
  addresses: [$vip]
  exportTo: ["."]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 3306, name: tcp-mysql, protocol: TCP}]
  endpoints: [{address: $address, ports: {tcp-mysql: $port}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: by-hand}
spec:
  host: $host
  exportTo: ["."]
  trafficPolicy:
    tls: {mode: DISABLE}
    connectionPool: {tcp: {connectTimeout: 5s, idleTimeout: 24h, tcpKeepalive: {time: 60s, interval: 15s, probes: 4}}}
YAML
tries=0
until answered=$(echo "SELECT @@server_uuid; SHOW GRANTS" | through_the_name 2>&1) && grep -q "$source_uuid" <<<"$answered"; do
  [ $((tries += 1)) -lt 50 ] || die "the name does not lead to the source: $answered"
  sleep 0.1
done
grep -q "REPLICATION SLAVE" <<<"$answered" || die "the account may not replicate"

# The receiver first; the applier when it is known whom it reached.
on_replica <<SQL
CHANGE REPLICATION SOURCE TO SOURCE_HOST='$host', SOURCE_PORT=3306, SOURCE_USER='repl', SOURCE_PASSWORD='$PXC_REPLICATION_PASSWORD',
  SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=10, SOURCE_RETRY_COUNT=86400, SOURCE_HEARTBEAT_PERIOD=5, SOURCE_SSL=1,
  SOURCE_SSL_CA='/etc/mysql/tls/ca.crt', SOURCE_SSL_VERIFY_SERVER_CERT=1 FOR CHANNEL '$channel';
START REPLICA IO_THREAD FOR CHANNEL '$channel'
SQL
receiver="SELECT service_state, source_uuid FROM performance_schema.replication_connection_status WHERE channel_name = '$channel'"
tries=0
until seen=$(echo "$receiver" | on_replica) && [ "$seen" = "ON	$source_uuid" ]; do
  [ $((tries += 1)) -lt 50 ] || die "the receiver: $seen"
  sleep 0.1
done
echo "START REPLICA SQL_THREAD FOR CHANNEL '$channel'" | on_replica

# Both threads run, and what the source has is there.
source_gtids=$(echo "SELECT REPLACE(@@gtid_executed, '\n', '')" | on_source)
read -r waited < <(echo "SELECT WAIT_FOR_EXECUTED_GTID_SET('$source_gtids', 20)" | on_replica)
[ "$waited" = 0 ] || die "not everything arrived"
seen=$(echo "$receiver; SELECT service_state FROM performance_schema.replication_applier_status WHERE channel_name = '$channel'" | on_replica)
[ "$seen" = "ON	$source_uuid
ON" ] || die "a thread does not run: $seen"
