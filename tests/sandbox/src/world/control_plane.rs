//! The daemons of a node: what Kubernetes consists of, each with its certificates and settings.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use super::layout::{Cluster, Place};
use super::pki::{self, Authority, Subject};
use super::{WorldError, containerd, files};

/// Names of the daemons of a cluster's first node, in the order in which they start.
pub const CONTROL_PLANE: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Names of the daemons of every node.
pub const NODE_DAEMONS: [&str; 3] = ["containerd", "kubelet", "kube-proxy"];

/// Who talks to an API server: file name, common name, group.
const CLIENTS: [(&str, &str, Option<&str>); 5] = [
    ("admin", "admin", Some("system:masters")),
    ("kube-controller-manager", "system:kube-controller-manager", None),
    ("kube-scheduler", "system:kube-scheduler", None),
    ("kube-proxy", "system:kube-proxy", None),
    ("pxc-link", "pxc-link", None),
];

/// Makes the certificates and kubeconfigs of a cluster in the directory of its first node, unless they are there.
pub(crate) fn make_identities(place: &Place) -> Result<(), WorldError> {
    let done = place.path("pki/complete");
    if done.exists() {
        return Ok(());
    }
    files::make_dir(&place.path("pki"))?;
    let cluster = place.cluster;
    let authority = Authority::root(&format!("{cluster}-kubernetes"))?;
    let put = |name: &str, contents: &str| files::write(&place.path("pki").join(name), contents);
    put("ca.crt", &authority.certificate)?;
    put("ca.key", &authority.key)?;
    let server = authority.leaf(Subject {
        name: "kube-apiserver",
        organization: None,
        alternatives: [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "127.0.0.1",
            &place.address().to_string(),
            &cluster.api_service().to_string(),
        ]
        .map(str::to_owned)
        .into(),
        expired: false,
    })?;
    put("kube-apiserver.crt", &server.certificate)?;
    put("kube-apiserver.key", &server.key)?;
    for (file, name, organization) in CLIENTS {
        let pair = authority.leaf(Subject { name, organization, ..Subject::default() })?;
        put(&format!("{file}.crt"), &pair.certificate)?;
        put(&format!("{file}.key"), &pair.key)?;
        let config = kubeconfig(&[(place, file)])?;
        files::write(&place.path(format!("{file}.kubeconfig")), &config)?;
    }
    let (private, public) = pki::token_key()?;
    put("tokens.key", &private)?;
    put("tokens.pub", &public)?;
    put("complete", "")
}

/// Makes the certificate and kubeconfig of a node's kubelet; the cluster's authority is in `first`.
pub(crate) fn make_kubelet_identity(place: &Place, first: &Place) -> Result<(), WorldError> {
    let config = place.path("kubelet.kubeconfig");
    if config.exists() {
        return Ok(());
    }
    files::make_dir(&place.path("pki"))?;
    let authority = Authority::load(
        files::read(&first.path("pki/ca.crt"))?,
        files::read(&first.path("pki/ca.key"))?,
        &format!("{}-kubernetes", place.cluster),
    )?;
    let name = place.name();
    let pair = authority.leaf(Subject {
        name: &format!("system:node:{name}"),
        organization: Some("system:nodes"),
        alternatives: vec![name, place.address().to_string()],
        expired: false,
    })?;
    files::write(&place.path("pki/kubelet.crt"), &pair.certificate)?;
    files::write(&place.path("pki/kubelet.key"), &pair.key)?;
    let text = document(&[Entry {
        cluster: place.cluster,
        server: server_of(first),
        authority: authority.certificate,
        user: "kubelet".to_owned(),
        certificate: pair.certificate,
        key: pair.key,
    }])?;
    files::write(&config, &text)
}

/// One kubeconfig for a user of several clusters, each a context named like the cluster. The first is the current one.
pub(crate) fn kubeconfig(of: &[(&Place, &str)]) -> Result<String, WorldError> {
    let entries = of
        .iter()
        .map(|(place, user)| {
            let read = |name: String| files::read(&place.path("pki").join(name));
            Ok(Entry {
                cluster: place.cluster,
                server: server_of(place),
                authority: read("ca.crt".to_owned())?,
                user: (*user).to_owned(),
                certificate: read(format!("{user}.crt"))?,
                key: read(format!("{user}.key"))?,
            })
        })
        .collect::<Result<Vec<_>, WorldError>>()?;
    document(&entries)
}

struct Entry {
    cluster: Cluster,
    server: String,
    authority: String,
    user: String,
    certificate: String,
    key: String,
}

fn server_of(first: &Place) -> String {
    format!("https://{}:6443", first.address())
}

fn document(entries: &[Entry]) -> Result<String, WorldError> {
    let user = |entry: &Entry| format!("{}-{}", entry.user, entry.cluster);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": entries.iter().map(|entry| json!({
            "name": entry.cluster.name(),
            "cluster": {"server": entry.server, "certificate-authority-data": BASE64.encode(&entry.authority)},
        })).collect::<Vec<_>>(),
        "users": entries.iter().map(|entry| json!({
            "name": user(entry),
            "user": {
                "client-certificate-data": BASE64.encode(&entry.certificate),
                "client-key-data": BASE64.encode(&entry.key),
            },
        })).collect::<Vec<_>>(),
        "contexts": entries.iter().map(|entry| json!({
            "name": entry.cluster.name(),
            "context": {"cluster": entry.cluster.name(), "user": user(entry)},
        })).collect::<Vec<_>>(),
        "current-context": entries.first().map(|entry| entry.cluster.name()),
    });
    serde_yaml::to_string(&config)
        .map_err(|cause| WorldError::Kubeconfig { path: "kubeconfig".into(), cause: cause.to_string() })
}

/// Writes the settings files of a node's daemons. `first` is the cluster's first node.
pub(crate) fn configure(place: &Place, first: &Place, bin_dir: &Path) -> Result<(), WorldError> {
    containerd::configure(place, bin_dir)?;
    files::write(&place.path("resolv.conf"), "nameserver 127.0.0.1\n")?;
    files::write(&place.path("audit-policy.yaml"), include_str!("../manifests/audit-policy.yaml"))?;
    let kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", place.cgroup()),
        "enforceNodeAllocatable": [],
        "clusterDNS": [place.cluster.dns_service()],
        "clusterDomain": "cluster.local",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": first.path("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", containerd::SOCKET),
        "failSwapOn": false,
        "resolvConf": place.path("resolv.conf"),
        // How soon a changed ConfigMap is in its pods; a minute otherwise.
        "syncFrequency": "5s",
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": false,
        "tlsCertFile": place.path("pki/kubelet.crt"),
        "tlsPrivateKeyFile": place.path("pki/kubelet.key"),
    });
    files::write_json(&place.path("kubelet.yaml"), &kubelet)?;
    let proxy = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": place.cluster.pods().to_string(),
        "clientConnection": {"kubeconfig": first.path("kube-proxy.kubeconfig")},
        // Zero leaves the machine's own limits alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": place.name(),
    });
    files::write_json(&place.path("kube-proxy.yaml"), &proxy)
}

/// The command of a daemon.
pub(crate) fn argv(daemon: &str, place: &Place, bin_dir: &Path) -> Vec<String> {
    let file = |relative: &str| place.path(relative).display().to_string();
    let pki = |name: &str| file(&format!("pki/{name}"));
    let cluster = place.cluster;
    let args = match daemon {
        "etcd" => vec![
            format!("--data-dir={}", file("etcd")),
            "--unsafe-no-fsync".to_owned(),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--initial-advertise-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--initial-cluster=default=http://127.0.0.1:2380".to_owned(),
        ],
        "kube-apiserver" => vec![
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            "--secure-port=6443".to_owned(),
            format!("--advertise-address={}", place.address()),
            format!("--tls-cert-file={}", pki("kube-apiserver.crt")),
            format!("--tls-private-key-file={}", pki("kube-apiserver.key")),
            format!("--client-ca-file={}", pki("ca.crt")),
            format!("--kubelet-client-certificate={}", pki("admin.crt")),
            format!("--kubelet-client-key={}", pki("admin.key")),
            format!("--kubelet-certificate-authority={}", pki("ca.crt")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={}", pki("tokens.pub")),
            format!("--service-account-signing-key-file={}", pki("tokens.key")),
            format!("--service-cluster-ip-range={}", cluster.services()),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--audit-policy-file={}", file("audit-policy.yaml")),
            format!("--audit-log-path={}", file("log/audit.log")),
        ],
        "kube-controller-manager" => vec![
            format!("--kubeconfig={}", file("kube-controller-manager.kubeconfig")),
            format!("--service-account-private-key-file={}", pki("tokens.key")),
            format!("--root-ca-file={}", pki("ca.crt")),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            format!("--cluster-cidr={}", cluster.pods()),
            format!("--service-cluster-ip-range={}", cluster.services()),
            "--allocate-node-cidrs=false".to_owned(),
            "--controllers=*,-nodeipam,-node-route-controller,-cloud-node-lifecycle".to_owned(),
        ],
        "kube-scheduler" => {
            vec![format!("--kubeconfig={}", file("kube-scheduler.kubeconfig")), "--leader-elect=false".to_owned()]
        }
        "containerd" => vec![format!("--config={}", file("containerd.toml"))],
        "kubelet" => vec![
            format!("--config={}", file("kubelet.yaml")),
            format!("--kubeconfig={}", file("kubelet.kubeconfig")),
            format!("--hostname-override={}", place.name()),
            format!("--node-ip={}", place.address()),
            format!("--node-labels=topology.kubernetes.io/region={cluster}"),
        ],
        _ => vec![format!("--config={}", file("kube-proxy.yaml"))],
    };
    std::iter::once(bin_dir.join(daemon).display().to_string()).chain(args).collect()
}
