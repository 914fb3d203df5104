//! Faults of the link `production` and of the world: servers, sidecars, control planes and the network between the clusters.

use super::super::{Act, Fault, Finder, Ground, Mender, Scope};
use crate::world::Cluster::{Dr, Production};

const ROLLED_OUT: &[&str] = &["-n", "pxc", "rollout", "status", "statefulset/pxc", "--timeout=90s"];

/// Drops what comes in for the source's NodePort, before anything else sees it.
const SILENT: &[&str] = &["PREROUTING", "-p", "tcp", "--dport", "31306", "-j", "DROP"];
/// Refuses the same after it was translated; REJECT is not allowed earlier.
const REFUSED: &[&str] = &[
    "FORWARD",
    "-p",
    "tcp",
    "-m",
    "conntrack",
    "--ctorigdstport",
    "31306",
    "-j",
    "REJECT",
    "--reject-with",
    "tcp-reset",
];
/// Turns what leaves for the source back to the replica's own server.
const TURNED_BACK: &[&str] = &[
    "PREROUTING",
    "-p",
    "tcp",
    "-d",
    "${SOURCE_NODE}",
    "--dport",
    "31306",
    "-j",
    "DNAT",
    "--to-destination",
    "${REPLICA_POD}:3306",
];
/// The server must not see its own address as the client's.
const FROM_THE_NODE: &[&str] =
    &["POSTROUTING", "-p", "tcp", "-d", "${REPLICA_POD}", "--dport", "3306", "-j", "MASQUERADE"];

const NO_PEER_POLICY: Act = Act::KubectlIfThere(
    Production,
    &["-n", "pxc", "delete", "peerauthentications.security.istio.io", "--all", "--ignore-not-found"],
);
const NO_ACCESS_POLICY: Act = Act::KubectlIfThere(
    Production,
    &["-n", "pxc", "delete", "authorizationpolicies.security.istio.io", "--all", "--ignore-not-found"],
);

/// Sidecars on the source's pods, as where both clusters are meshed.
const SOURCE_SIDECAR: Ground = Ground {
    name: "sidecars on the source",
    lay: &[
        Act::Kubectl(Production, &["label", "namespace", "pxc", "istio-injection=enabled", "--overwrite"]),
        Act::Kubectl(Production, &["-n", "pxc", "rollout", "restart", "statefulset/pxc"]),
        Act::Kubectl(Production, ROLLED_OUT),
    ],
    clear: &[
        NO_PEER_POLICY,
        NO_ACCESS_POLICY,
        Act::Kubectl(Production, &["label", "namespace", "pxc", "istio-injection-"]),
        Act::Kubectl(Production, &["-n", "pxc", "rollout", "restart", "statefulset/pxc"]),
        Act::Kubectl(Production, ROLLED_OUT),
    ],
};

const WITHOUT_CAPTURE: &str = r#"{"spec":{"template":{"metadata":{"annotations":{"proxy.istio.io/config":"{\"proxyMetadata\":{\"ISTIO_META_DNS_CAPTURE\":\"false\"}}"}}}}}"#;
const DEFAULT_CAPTURE: &str = r#"{"spec":{"template":{"metadata":{"annotations":{"proxy.istio.io/config":null}}}}}"#;

/// Found by `setup`, as before there was a link.
pub(super) const WORLD: &[Fault] = &[
    Fault {
        name: "endpoint-refused",
        what: "the source's NodePort refuses connections",
        scope: Scope::World(None),
        found_by: Finder::Setup,
        rows: &["mesh:36", "mesh:46", "repl:15"],
        code: "PXL340",
        evidence: &["31306"],
        mended_by: Mender::Table,
        tls: "",
        apply: &[Act::Rule(Production, "filter", REFUSED)],
        mend: &[Act::NoRule(Production, "filter", REFUSED)],
    },
    Fault {
        name: "endpoint-silent",
        what: "packets to the source's NodePort are dropped",
        scope: Scope::World(None),
        found_by: Finder::Setup,
        rows: &["mesh:37", "repl:45"],
        code: "PXL341",
        evidence: &["31306"],
        mended_by: Mender::Table,
        tls: "",
        apply: &[Act::Rule(Production, "mangle", SILENT)],
        mend: &[Act::NoRule(Production, "mangle", SILENT)],
    },
    Fault {
        name: "wrong-replication-password",
        what: "the source knows the replication account by another password",
        scope: Scope::World(None),
        found_by: Finder::Setup,
        rows: &["mesh:53", "repl:20"],
        code: "PXL410",
        evidence: &["1045"],
        mended_by: Mender::Table,
        tls: "",
        apply: &[Act::Sql(Production, "SET sql_log_bin=0; ALTER USER repl@'%' IDENTIFIED BY 'changed on the source'")],
        mend: &[Act::Sql(Production, "SET sql_log_bin=0; ALTER USER repl@'%' IDENTIFIED BY ${REPL}")],
    },
    Fault {
        name: "wrong-admin-password",
        what: "the replica knows the administrative account by another password",
        scope: Scope::World(None),
        found_by: Finder::Setup,
        rows: &["repl:20"],
        code: "PXL402",
        evidence: &["1045"],
        mended_by: Mender::Table,
        tls: "",
        apply: &[Act::Sql(Dr, "SET sql_log_bin=0; ALTER USER pxc_link@'%' IDENTIFIED BY 'changed on the replica'")],
        mend: &[Act::Sql(Dr, "SET sql_log_bin=0; ALTER USER pxc_link@'%' IDENTIFIED BY ${PXC_LINK}")],
    },
    Fault {
        name: "self-connection",
        what: "what leaves for the source is turned back to the replica",
        scope: Scope::World(None),
        found_by: Finder::Setup,
        rows: &["mesh:56"],
        code: "PXL345",
        evidence: &["pxc-0"],
        mended_by: Mender::Table,
        tls: "",
        apply: &[
            // The replica's server has the replication account too, as after a restore from the source.
            Act::Sql(
                Dr,
                "SET sql_log_bin=0; CREATE USER IF NOT EXISTS repl@'%' IDENTIFIED BY ${REPL}; GRANT REPLICATION SLAVE ON *.* TO repl@'%'",
            ),
            Act::Apply(Dr, include_str!("../manifests/plain.yaml")),
            Act::Rule(Dr, "nat", TURNED_BACK),
            Act::Rule(Dr, "nat", FROM_THE_NODE),
        ],
        mend: &[
            Act::NoRule(Dr, "nat", TURNED_BACK),
            Act::NoRule(Dr, "nat", FROM_THE_NODE),
            Act::KubectlIfThere(
                Dr,
                &[
                    "-n",
                    "pxc",
                    "delete",
                    "peerauthentications.security.istio.io",
                    "sandbox-fault",
                    "--ignore-not-found",
                ],
            ),
            Act::Sql(Dr, "SET sql_log_bin=0; DROP USER IF EXISTS repl@'%'"),
        ],
    },
    Fault {
        name: "source-api-down",
        what: "the source's API server is gone",
        scope: Scope::World(None),
        found_by: Finder::Setup,
        rows: &[],
        code: "PXL202",
        evidence: &["production"],
        mended_by: Mender::Table,
        tls: "",
        apply: &[Act::Stop(Production, "kube-apiserver")],
        mend: &[Act::Start(Production, "kube-apiserver")],
    },
    Fault {
        name: "istiod-down",
        what: "the replica's istiod is gone",
        scope: Scope::World(None),
        found_by: Finder::Setup,
        rows: &["mesh:29"],
        code: "PXL302",
        evidence: &["istiod"],
        mended_by: Mender::Hint,
        tls: "",
        apply: &[
            Act::Kubectl(Dr, &["-n", "istio-system", "scale", "deployment/istiod", "--replicas=0"]),
            Act::Kubectl(
                Dr,
                &["-n", "istio-system", "wait", "--for=delete", "pod", "-l", "app=istiod", "--timeout=60s"],
            ),
        ],
        mend: &[
            Act::Kubectl(Dr, &["-n", "istio-system", "scale", "deployment/istiod", "--replicas=1"]),
            Act::Kubectl(Dr, &["-n", "istio-system", "rollout", "status", "deployment/istiod", "--timeout=60s"]),
        ],
    },
    Fault {
        name: "no-dns-capture",
        what: "the replica's sidecars do not answer names",
        scope: Scope::World(None),
        found_by: Finder::Setup,
        rows: &["mesh:1", "repl:16"],
        code: "PXL310",
        evidence: &["ISTIO_META_DNS_CAPTURE"],
        mended_by: Mender::Hint,
        tls: "",
        apply: &[
            Act::Kubectl(Dr, &["-n", "pxc", "patch", "statefulset/pxc", "--type=merge", "-p", WITHOUT_CAPTURE]),
            Act::Kubectl(Dr, ROLLED_OUT),
            Act::Apply(Dr, include_str!("../../../../../manifests/deploy/replica/restart/role.yaml")),
            Act::Apply(Dr, include_str!("../../../../../manifests/deploy/replica/restart/rolebinding.yaml")),
        ],
        mend: &[
            Act::KubectlIfThere(Dr, &["-n", "pxc", "delete", "rolebinding/pxc-link-replica-restart"]),
            Act::KubectlIfThere(Dr, &["-n", "pxc", "delete", "role/pxc-link-replica-restart"]),
            Act::Kubectl(Dr, &["-n", "pxc", "patch", "statefulset/pxc", "--type=merge", "-p", DEFAULT_CAPTURE]),
            Act::Kubectl(Dr, ROLLED_OUT),
        ],
    },
    Fault {
        name: "operator-channel",
        what: "a resource of Percona's operator names the link's channel",
        scope: Scope::World(None),
        found_by: Finder::Setup,
        rows: &[],
        code: "PXL541",
        evidence: &["PerconaXtraDBCluster/sandbox-fault: production (isSource: false)"],
        mended_by: Mender::Table,
        tls: "",
        apply: &[
            Act::Apply(Dr, include_str!("../manifests/operator-channel.yaml")),
            Act::Kubectl(
                Dr,
                &[
                    "-n",
                    "pxc",
                    "label",
                    "pod",
                    "pxc-0",
                    "app.kubernetes.io/instance=sandbox-fault",
                    "app.kubernetes.io/component=pxc",
                    "--overwrite",
                ],
            ),
        ],
        mend: &[
            Act::KubectlIfThere(Dr, &["delete", "crd/perconaxtradbclusters.pxc.percona.com", "--ignore-not-found"]),
            Act::Kubectl(
                Dr,
                &["-n", "pxc", "label", "pod", "pxc-0", "app.kubernetes.io/instance-", "app.kubernetes.io/component-"],
            ),
        ],
    },
    Fault {
        name: "permissive-hang",
        what: "the source's sidecars wait for the client to speak first",
        scope: Scope::World(Some(&SOURCE_SIDECAR)),
        found_by: Finder::Setup,
        rows: &["mesh:47", "repl:17", "repl:19"],
        code: "PXL342",
        evidence: &["pxc-0"],
        mended_by: Mender::Hint,
        tls: "",
        apply: &[NO_PEER_POLICY, NO_ACCESS_POLICY],
        mend: &[Act::Apply(Production, include_str!("../manifests/plain.yaml"))],
    },
    Fault {
        name: "strict-hang",
        what: "the source's sidecars demand mutual TLS",
        scope: Scope::World(Some(&SOURCE_SIDECAR)),
        found_by: Finder::Setup,
        rows: &["mesh:48"],
        code: "PXL343",
        evidence: &["STRICT"],
        mended_by: Mender::Hint,
        tls: "",
        apply: &[NO_PEER_POLICY, NO_ACCESS_POLICY, Act::Apply(Production, include_str!("../manifests/strict.yaml"))],
        mend: &[Act::Apply(Production, include_str!("../manifests/plain.yaml"))],
    },
    Fault {
        name: "authorization-denied",
        what: "an AuthorizationPolicy denies the source's port",
        scope: Scope::World(Some(&SOURCE_SIDECAR)),
        found_by: Finder::Setup,
        rows: &[],
        code: "PXL344",
        evidence: &["sandbox-fault"],
        mended_by: Mender::Table,
        tls: "",
        apply: &[NO_PEER_POLICY, NO_ACCESS_POLICY, Act::Apply(Production, include_str!("../manifests/deny.yaml"))],
        mend: &[NO_ACCESS_POLICY, Act::Apply(Production, include_str!("../manifests/plain.yaml"))],
    },
];
