//! Faults of pairs on the way between the client's sidecar and the source's nodes.

use super::{
    super::{Act, Fault, Finder, Mender},
    MESH, NO_OWN_OBJECTS, PAIR,
};
use crate::world::Cluster::Dr;

/// What the client's pod sends to the service's node port.
macro_rules! from_client {
    ($($target:literal),+) => {
        &["FORWARD", "-s", "${CLIENT_POD}", "-p", "tcp", "--dport", "${NODE_PORT}", "-j", $($target),+]
    };
}

const UNREACHABLE: &[&str] = from_client!("REJECT", "--reject-with", "icmp-host-unreachable");
const REFUSED: &[&str] = from_client!("REJECT", "--reject-with", "tcp-reset");

const DROPPED: &[&str] = from_client!("DROP");
/// What the client's sidecar sends to istiod, whatever address that has.
const TO_ISTIOD: &[&str] = &["FORWARD", "-s", "${CLIENT_POD}", "-p", "tcp", "--dport", "15012", "-j", "DROP"];

/// Connects through the mesh name a few times, whatever comes of it.
const TRY: Act = Act::Kubectl(
    Dr,
    &[
        "-n",
        "${NS}",
        "exec",
        "${POD}",
        "-c",
        "${CONTAINER}",
        "--",
        "bash",
        "-c",
        "sleep 1; for i in 1 2 3; do timeout 2 bash -c 'cat </dev/tcp/${HOST}/${PORT}'; done; exit 0",
    ],
);

pub(super) const ROADS: &[Fault] = &[
    Fault {
        name: "host-unreachable",
        what: "a firewall says that the source's node is unreachable",
        rows: &["mesh:39"],
        code: "PXL340",
        evidence: &["31306"],
        mended_by: Mender::Table,
        apply: &[Act::Rule(Dr, "filter", UNREACHABLE)],
        mend: &[Act::NoRule(Dr, "filter", UNREACHABLE)],
        ..MESH
    },
    Fault {
        name: "all-ejected",
        what: "every endpoint was ejected after failures that are over",
        found_by: Finder::Verify,
        rows: &["mesh:35"],
        code: "PXL331",
        evidence: &["failed_outlier_check"],
        mended_by: Mender::Table,
        apply: &[
            rule!(
                r#"{"spec":{"trafficPolicy":{"outlierDetection":{"consecutive5xxErrors":1,"interval":"1s","baseEjectionTime":"5m","maxEjectionPercent":100}}}}"#
            ),
            Act::Rule(Dr, "filter", REFUSED),
            TRY,
            Act::NoRule(Dr, "filter", REFUSED),
        ],
        mend: &[Act::NoRule(Dr, "filter", REFUSED), NO_OWN_OBJECTS],
        ..MESH
    },
];

/// Those of them that have a client of their own.
pub(super) const CUT_OFF: &[Fault] = &[
    Fault {
        name: "egress-policy",
        what: "a NetworkPolicy closes the way out; the sandbox's CNI enforces none, so the same is dropped on the node",
        rows: &["mesh:40"],
        code: "PXL351",
        evidence: &["sandbox-fault", "cx_connect_fail"],
        mended_by: Mender::Table,
        apply: &[Act::Apply(Dr, include_str!("../manifests/egress-policy.yaml")), Act::Rule(Dr, "filter", DROPPED)],
        mend: &[
            Act::NoRule(Dr, "filter", DROPPED),
            Act::KubectlIfThere(Dr, &["-n", "${NS}", "delete", "networkpolicy", "sandbox-fault", "--ignore-not-found"]),
        ],
        ..PAIR
    },
    Fault {
        name: "cut-off-from-istiod",
        what: "the client's sidecar hears nothing of istiod any more",
        rows: &["mesh:22"],
        code: "PXL331",
        evidence: &["does not hear istiod", "no such cluster"],
        mended_by: Mender::Table,
        apply: &[Act::Rule(Dr, "filter", TO_ISTIOD)],
        mend: &[Act::NoRule(Dr, "filter", TO_ISTIOD)],
        ..PAIR
    },
];
