//! Faults of pairs in what the client's sidecar is shown of the mesh name.

use super::{
    super::{Act, Fault, Finder},
    NO_OWN_OBJECTS, PAIR,
};
use crate::world::Cluster::Dr;

const NO_OTHER_RULE: Act =
    Act::KubectlIfThere(Dr, &["-n", "${NS}", "delete", "destinationrule", "sandbox-fault", "--ignore-not-found"]);
const NO_SIDECAR_RESOURCE: Act = Act::KubectlIfThere(
    Dr,
    &["-n", "${NS}", "delete", "sidecars.networking.istio.io", "sandbox-fault", "--ignore-not-found"],
);

pub(super) const VISIBLE: &[Fault] = &[
    Fault {
        name: "exported-elsewhere",
        what: "the ServiceEntry is exported to another namespace",
        found_by: Finder::Verify,
        rows: &["mesh:3"],
        code: "PXL338",
        evidence: &["exportTo", "kube-public"],
        apply: &[entry!(r#"{"spec":{"exportTo":["kube-public"]}}"#)],
        mend: &[NO_OWN_OBJECTS],
        ..PAIR
    },
    Fault {
        name: "entry-elsewhere",
        what: "the ServiceEntry stands in another namespace, for that namespace only",
        found_by: Finder::Verify,
        rows: &["mesh:18"],
        code: "PXL338",
        evidence: &["demo/f-entry-elsewhere"],
        apply: &[NO_OWN_OBJECTS, Act::Apply(Dr, include_str!("../manifests/entry-elsewhere.yaml"))],
        mend: &[Act::KubectlIfThere(Dr, &["-n", "demo", "delete", "serviceentry", "${NS}", "--ignore-not-found"])],
        ..PAIR
    },
    Fault {
        name: "sidecar-egress",
        what: "a Sidecar resource lets the pods see other namespaces only",
        rows: &["mesh:19", "mesh:41"],
        code: "PXL333",
        evidence: &["sandbox-fault", "egress"],
        apply: &[Act::Apply(Dr, include_str!("../manifests/sidecar-egress.yaml"))],
        mend: &[NO_SIDECAR_RESOURCE],
        ..PAIR
    },
    Fault {
        name: "registry-only",
        what: "a Sidecar resource hides the mesh name and closes the way past the mesh",
        rows: &["mesh:42"],
        code: "PXL334",
        evidence: &["sandbox-fault", "REGISTRY_ONLY"],
        apply: &[Act::Apply(Dr, include_str!("../manifests/registry-only.yaml"))],
        mend: &[NO_SIDECAR_RESOURCE],
        ..PAIR
    },
    Fault {
        name: "other-rule",
        what: "an older DestinationRule of the namespace has the sidecars speak TLS",
        rows: &["mesh:30"],
        code: "PXL336",
        evidence: &["sandbox-fault"],
        apply: &[Act::Apply(Dr, include_str!("../manifests/other-rule.yaml"))],
        mend: &[NO_OTHER_RULE],
        ..PAIR
    },
];
