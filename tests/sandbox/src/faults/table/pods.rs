//! Faults of pairs in the client's pod: whether it has a sidecar, and whether the sidecar gets its traffic.

use super::{
    super::{Act, Fault},
    PAIR,
};
use crate::world::Cluster::Dr;

const ROLLED_OUT: Act = Act::Kubectl(Dr, &["-n", "${NS}", "rollout", "status", "deployment/client", "--timeout=90s"]);

/// The pod from before a change is gone.
const OLD_POD_GONE: Act =
    Act::Kubectl(Dr, &["-n", "${NS}", "wait", "pod", "-l", "app=client", "--for=delete", "--timeout=60s"]);
/// The one that comes after it is there, ready or not.
const NEW_POD: Act = Act::Kubectl(
    Dr,
    &["-n", "${NS}", "wait", "deployment/client", "--for=jsonpath={.status.updatedReplicas}=1", "--timeout=60s"],
);

/// Changes the client's pods, which makes them anew.
macro_rules! template {
    ($patch:expr) => {
        Act::Kubectl(Dr, &["-n", "${NS}", "patch", "deployment/client", "--type=merge", "-p", $patch])
    };
}

/// Sets an annotation of the client's pods.
macro_rules! annotation {
    ($key:literal, $value:literal) => {
        template!(concat!(r#"{"spec":{"template":{"metadata":{"annotations":{""#, $key, r#"":"#, $value, "}}}}}"))
    };
}

const INJECTION: Act =
    Act::Kubectl(Dr, &["label", "namespace", "${NS}", "istio-injection=enabled", "istio.io/rev-", "--overwrite"]);
const RESTART: Act = Act::Kubectl(Dr, &["-n", "${NS}", "rollout", "restart", "deployment/client"]);

pub(super) const PODS: &[Fault] = &[
    Fault {
        name: "no-sidecar",
        what: "the client's pods are kept out of the mesh",
        rows: &["mesh:9"],
        code: "PXL320",
        evidence: &["istio-proxy"],
        apply: &[
            template!(r#"{"spec":{"template":{"metadata":{"labels":{"sidecar.istio.io/inject":"false"}}}}}"#),
            ROLLED_OUT,
        ],
        mend: &[
            template!(r#"{"spec":{"template":{"metadata":{"labels":{"sidecar.istio.io/inject":null}}}}}"#),
            ROLLED_OUT,
        ],
        ..PAIR
    },
    Fault {
        name: "both-labels",
        what: "the namespace has both labels of injection, and the one that counts says no",
        rows: &["mesh:11"],
        code: "PXL324",
        evidence: &["istio-injection", "istio.io/rev"],
        apply: &[
            Act::Kubectl(
                Dr,
                &["label", "namespace", "${NS}", "istio-injection=disabled", "istio.io/rev=default", "--overwrite"],
            ),
            RESTART,
            ROLLED_OUT,
        ],
        mend: &[INJECTION, RESTART, ROLLED_OUT],
        ..PAIR
    },
    Fault {
        name: "older-than-injection",
        what: "the client's pod was made before its namespace was injected",
        rows: &["mesh:10"],
        code: "PXL323",
        evidence: &["istio-injection"],
        apply: &[
            Act::Kubectl(Dr, &["label", "namespace", "${NS}", "istio-injection-"]),
            RESTART,
            ROLLED_OUT,
            INJECTION,
        ],
        mend: &[INJECTION, RESTART, ROLLED_OUT],
        ..PAIR
    },
    Fault {
        name: "excluded-port",
        what: "an annotation keeps the port from the sidecar",
        rows: &["mesh:13"],
        code: "PXL321",
        evidence: &["excludeOutboundPorts", "9001"],
        apply: &[annotation!("traffic.sidecar.istio.io/excludeOutboundPorts", r#""9001""#), ROLLED_OUT],
        mend: &[annotation!("traffic.sidecar.istio.io/excludeOutboundPorts", "null"), ROLLED_OUT],
        ..PAIR
    },
    Fault {
        name: "excluded-range",
        what: "an annotation gives the sidecar the cluster's own addresses only",
        rows: &["mesh:13"],
        code: "PXL321",
        evidence: &["includeOutboundIPRanges", "10.0.0.0/8"],
        apply: &[annotation!("traffic.sidecar.istio.io/includeOutboundIPRanges", r#""10.0.0.0/8""#), ROLLED_OUT],
        mend: &[annotation!("traffic.sidecar.istio.io/includeOutboundIPRanges", "null"), ROLLED_OUT],
        ..PAIR
    },
    Fault {
        name: "host-network",
        what: "the client has the node's network, where nothing is injected",
        rows: &["mesh:14"],
        code: "PXL322",
        evidence: &["hostNetwork"],
        apply: &[template!(r#"{"spec":{"template":{"spec":{"hostNetwork":true}}}}"#), ROLLED_OUT],
        mend: &[template!(r#"{"spec":{"template":{"spec":{"hostNetwork":null}}}}"#), ROLLED_OUT],
        ..PAIR
    },
    Fault {
        name: "proxy-without-istiod",
        what: "the sidecar looks for istiod where there is none",
        rows: &["mesh:16"],
        code: "PXL325",
        evidence: &["istio-proxy", "discoveryAddress"],
        apply: &[
            annotation!("proxy.istio.io/config", r#""{\"discoveryAddress\":\"istiod.nowhere.svc:15012\"}""#),
            OLD_POD_GONE,
            NEW_POD,
        ],
        mend: &[annotation!("proxy.istio.io/config", "null"), ROLLED_OUT],
        ..PAIR
    },
    Fault {
        name: "pod-beside",
        what: "one of the pods that use the name is outside the mesh",
        rows: &["mesh:17"],
        code: "PXL320",
        evidence: &["proxy-"],
        apply: &[
            Act::Apply(Dr, include_str!("../manifests/pod-beside.yaml")),
            Act::Kubectl(Dr, &["-n", "${NS}", "rollout", "status", "deployment/proxy", "--timeout=90s"]),
        ],
        mend: &[Act::KubectlIfThere(Dr, &["-n", "${NS}", "delete", "deployment/proxy", "--ignore-not-found"])],
        ..PAIR
    },
    Fault {
        name: "early-init",
        what: "an init container needs the sidecar, an ordinary container, which starts after it",
        rows: &[],
        code: "PXL214",
        evidence: &["container needs-mesh", "before the sidecar"],
        apply: &[
            template!(
                r#"{"spec":{"template":{"metadata":{"annotations":{"sidecar.istio.io/nativeSidecar":"false"}},"spec":{"initContainers":[{"name":"needs-mesh","image":"sandbox.local/mysql:9.7","imagePullPolicy":"Never","command":["bash","-c","until (exec 3<>/dev/tcp/127.0.0.1/15021); do sleep 1; done"]}]}}}}"#
            ),
            OLD_POD_GONE,
            NEW_POD,
        ],
        mend: &[
            template!(
                r#"{"spec":{"template":{"metadata":{"annotations":{"sidecar.istio.io/nativeSidecar":null}},"spec":{"initContainers":null}}}}"#
            ),
            ROLLED_OUT,
        ],
        ..PAIR
    },
];
