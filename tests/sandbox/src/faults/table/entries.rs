//! Faults of pairs in what the mesh is told: the link's own objects changed, and others beside them.

use super::{
    super::{Act, Fault, Finder, Mender},
    MESH, NO_OWN_OBJECTS,
};
use crate::world::Cluster::{Dr, Production};

const NO_OTHER_ENTRY: Act =
    Act::KubectlIfThere(Dr, &["-n", "${NS}", "delete", "serviceentry", "sandbox-fault", "--ignore-not-found"]);
const NO_ENVOY_FILTER: Act =
    Act::KubectlIfThere(Dr, &["-n", "${NS}", "delete", "envoyfilter", "sandbox-fault", "--ignore-not-found"]);

/// Gives the source's Service a node port.
macro_rules! node_port {
    ($port:literal) => {
        Act::Kubectl(
            Production,
            &[
                "-n",
                "pxc",
                "patch",
                "service",
                "pxc",
                "--type=json",
                "-p",
                concat!(r#"[{"op":"replace","path":"/spec/ports/0/nodePort","value":"#, $port, "}]"),
            ],
        )
    };
}

pub(super) const ENTRIES: &[Fault] = &[
    Fault {
        name: "second-entry",
        what: "another ServiceEntry of the namespace defines the mesh name",
        rows: &["mesh:5", "mesh:34"],
        code: "PXL304",
        evidence: &["sandbox-fault"],
        apply: &[Act::Apply(Dr, include_str!("../manifests/second-entry.yaml"))],
        mend: &[NO_OTHER_ENTRY],
        ..MESH
    },
    Fault {
        name: "no-address",
        what: "the ServiceEntry has lost its virtual address",
        found_by: Finder::Verify,
        rows: &["mesh:6", "mesh:24"],
        code: "PXL373",
        evidence: &["addresses"],
        apply: &[entry!(
            r#"{"metadata":{"labels":{"networking.istio.io/enable-autoallocate-ip":"false"}},"spec":{"addresses":null}}"#
        )],
        mend: &[NO_OWN_OBJECTS],
        ..MESH
    },
    Fault {
        name: "refused-listener",
        what: "an EnvoyFilter makes the sidecar refuse the listener",
        found_by: Finder::Verify,
        rows: &["mesh:21"],
        code: "PXL330",
        evidence: &["error_state", "MaxConnectAttempts"],
        mended_by: Mender::Table,
        apply: &[Act::Apply(Dr, include_str!("../manifests/refused-listener.yaml"))],
        mend: &[NO_ENVOY_FILTER],
        ..MESH
    },
    Fault {
        name: "address-taken",
        what: "another ServiceEntry has the virtual address",
        found_by: Finder::Verify,
        rows: &["mesh:23"],
        code: "PXL303",
        evidence: &["sandbox-fault"],
        mended_by: Mender::Table,
        apply: &[Act::Apply(Dr, include_str!("../manifests/address-taken.yaml"))],
        mend: &[NO_OTHER_ENTRY],
        ..MESH
    },
    Fault {
        name: "wrong-protocol",
        what: "the ServiceEntry's port is said to be HTTP",
        found_by: Finder::Verify,
        rows: &["mesh:25"],
        code: "PXL330",
        evidence: &["protocol"],
        apply: &[entry!(r#"{"spec":{"ports":[{"number":${PORT},"name":"${PORT_NAME}","protocol":"HTTP"}]}}"#)],
        mend: &[NO_OWN_OBJECTS],
        ..MESH
    },
    Fault {
        name: "endpoint-network",
        what: "the endpoint is said to be in another network",
        found_by: Finder::Verify,
        rows: &["mesh:31"],
        code: "PXL331",
        evidence: &["network"],
        apply: &[
            Act::Apply(Dr, include_str!("../manifests/gateway.yaml")),
            entry!(
                r#"{"spec":{"endpoints":[{"address":"${SOURCE_NODE}","network":"net-${LINK}","ports":{"${PORT_NAME}":${NODE_PORT}}}]}}"#
            ),
        ],
        mend: &[
            NO_OWN_OBJECTS,
            Act::KubectlIfThere(Dr, &["-n", "${NS}", "delete", "service", "gateway", "--ignore-not-found"]),
        ],
        ..MESH
    },
    Fault {
        name: "wrong-node",
        what: "the endpoint is the address of no node",
        found_by: Finder::Verify,
        rows: &["mesh:32"],
        code: "PXL332",
        evidence: &["198.18.255.254"],
        mended_by: Mender::Table,
        apply: &[entry!(
            r#"{"spec":{"endpoints":[{"address":"198.18.255.254","ports":{"${PORT_NAME}":${NODE_PORT}}}]}}"#
        )],
        mend: &[NO_OWN_OBJECTS],
        ..MESH
    },
    Fault {
        name: "other-node-port",
        what: "the source's Service has got another node port",
        found_by: Finder::Verify,
        rows: &["mesh:33"],
        code: "PXL332",
        evidence: &["31307"],
        apply: &[node_port!("31307")],
        mend: &[node_port!("31306")],
        ..MESH
    },
    Fault {
        name: "mesh-tls",
        what: "the DestinationRule has the sidecars speak TLS",
        found_by: Finder::Verify,
        rows: &["mesh:49"],
        code: "PXL371",
        evidence: &["SIMPLE"],
        apply: &[rule!(r#"{"spec":{"trafficPolicy":{"tls":{"mode":"SIMPLE"}}}}"#)],
        mend: &[NO_OWN_OBJECTS],
        ..MESH
    },
];
