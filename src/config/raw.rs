//! The shape of `pxc-link.yaml` as it is written, before anything is checked; the JSON Schema is made from these types.
//!
//! Everything is optional here so that one missing value does not hide the others; `validate` says what is missing.
//! There are no string-or-object unions and no flattening, so that the same shape can become a custom resource.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// The configuration of pxc-link: the links between remote sources and their replicas.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Links")]
pub(super) struct Document {
    /// The version of this shape.
    #[schemars(required, extend("enum" = ["pxc-link.io/v1alpha1"]))]
    pub(super) api_version: Option<String>,
    /// The kind of this document.
    #[schemars(required, extend("enum" = ["Links"]))]
    pub(super) kind: Option<String>,
    /// The links by name; a name is a DNS label.
    #[schemars(required)]
    pub(super) links: Option<BTreeMap<String, Link>>,
}

/// A link between a remote source and the replica that follows it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Link {
    /// The mesh name. Default: `pxc-source.<link>.global`.
    pub(super) host: Option<String>,
    /// The port at the mesh name. Default: 3306.
    #[schemars(range(min = 1))]
    pub(super) port: Option<u16>,
    /// The virtual address, in 240.0.0.0/4 and outside 240.240.0.0/16. Default: derived from the host.
    #[schemars(extend("format" = "ipv4"))]
    pub(super) vip: Option<String>,
    /// Where the data comes from.
    #[schemars(required)]
    pub(super) source: Option<Source>,
    /// Where the data goes.
    pub(super) replica: Option<Replica>,
    /// How the data gets there.
    pub(super) replication: Option<Replication>,
    /// When a measure is a warning and when it is critical.
    pub(super) thresholds: Option<Thresholds>,
    /// The ports of a service other than MySQL replication; together with `client`.
    pub(super) ports: Option<Vec<Port>>,
    /// Who uses a service other than MySQL replication; together with `ports`.
    pub(super) client: Option<Client>,
}

/// The source side: exactly one of `kubernetes` and `endpoints`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["kubernetes"]}, {"required": ["endpoints"]}]))]
pub(super) struct Source {
    /// A cluster whose API can be reached.
    pub(super) kubernetes: Option<SourceKubernetes>,
    /// Addresses only, where the source's API is out of reach.
    pub(super) endpoints: Option<Vec<Endpoint>>,
    /// The account that reads the source's state. Default: the replication account.
    pub(super) account: Option<Account>,
}

/// The source's cluster, and in it exactly one of `service` and `pxc`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["service"]}, {"required": ["pxc"]}]))]
pub(super) struct SourceKubernetes {
    /// A kubeconfig file, relative to this file's folder. Default: `KUBECONFIG`, then `~/.kube/config`.
    pub(super) kubeconfig: Option<String>,
    /// The context in the kubeconfig.
    pub(super) context: Option<String>,
    /// The namespace of the members.
    #[schemars(required)]
    pub(super) namespace: Option<String>,
    /// The Service that selects the source's members.
    pub(super) service: Option<String>,
    /// A PerconaXtraDBCluster of the Percona operator; its expose settings say which Services lead to it.
    pub(super) pxc: Option<String>,
    /// The way in from outside. Default: the first that the Service offers, in the order listed here.
    pub(super) entry: Option<Entry>,
    /// Which address of a node counts. Default: `InternalIP`.
    pub(super) address_type: Option<AddressType>,
    /// The most endpoints that the link gets. Default: 32.
    #[schemars(range(min = 1))]
    pub(super) max_endpoints: Option<u16>,
}

/// A way into a Service from outside of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum Entry {
    /// The addresses of its load balancer.
    #[serde(rename = "loadBalancer")]
    LoadBalancer,
    /// Its `externalIPs`.
    #[serde(rename = "externalIP")]
    ExternalIp,
    /// The addresses of the ready nodes, at its node port.
    #[serde(rename = "nodePort")]
    NodePort,
    /// The addresses of the nodes that run its ready pods, at their host port.
    #[serde(rename = "hostPort")]
    HostPort,
}

/// The kinds of addresses that a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum AddressType {
    /// In its own network.
    #[serde(rename = "InternalIP")]
    InternalIp,
    /// For everybody else.
    #[serde(rename = "ExternalIP")]
    ExternalIp,
}

/// An address where the source is reachable from the replica.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Endpoint {
    /// The IPv4 address; beside `replica.server` a host name or any address.
    #[schemars(required)]
    pub(super) address: Option<String>,
    /// The port.
    #[schemars(required, range(min = 1))]
    pub(super) port: Option<u16>,
}

/// The replica side: exactly one of `kubernetes` and `server`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["kubernetes"]}, {"required": ["server"]}]))]
pub(super) struct Replica {
    /// The cluster in which the members run.
    pub(super) kubernetes: Option<ClientKubernetes>,
    /// A server without Kubernetes and mesh; the source is then one of `endpoints`.
    pub(super) server: Option<Server>,
    /// The account that reads the replica and runs the channel's statements.
    #[schemars(required)]
    pub(super) account: Option<Account>,
}

/// The cluster of the pods that use the name, and in it exactly one of `selector` and `pxc`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["selector"]}, {"required": ["pxc"]}]))]
pub(super) struct ClientKubernetes {
    /// A kubeconfig file, relative to this file's folder. Default: `KUBECONFIG`, then `~/.kube/config`, then in-cluster.
    pub(super) kubeconfig: Option<String>,
    /// The context in the kubeconfig. Default: in-cluster, else the current one.
    pub(super) context: Option<String>,
    /// The namespace of the members.
    #[schemars(required)]
    pub(super) namespace: Option<String>,
    /// The label selector of the pods.
    pub(super) selector: Option<String>,
    /// The application container; in a replica's members the one in which mysqld runs. Default: `pxc` where `pxc` is written.
    pub(super) container: Option<String>,
    /// A PerconaXtraDBCluster of the Percona operator, whose pods are meant.
    pub(super) pxc: Option<String>,
}

/// A server that is reached directly.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Server {
    /// Its name or address, as this machine reaches it.
    #[schemars(required)]
    pub(super) host: Option<String>,
    /// Its port. Default: 3306.
    #[schemars(range(min = 1))]
    pub(super) port: Option<u16>,
}

/// A MySQL account.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Account {
    /// The user name, at most 32 characters.
    #[schemars(required, length(max = 32))]
    pub(super) user: Option<String>,
    /// Where the password is; never the password.
    #[schemars(required)]
    pub(super) password: Option<Password>,
}

/// Where a password is, never the password itself: exactly one of `env`, `file` and `secret`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend(
    "x-secret-reference" = true,
    "oneOf" = [{"required": ["env"]}, {"required": ["file"]}, {"required": ["secret"]}]
))]
pub(super) struct Password {
    /// An environment variable of pxc-link's own process.
    pub(super) env: Option<String>,
    /// A file, relative to this file's folder; one newline at its end does not count.
    pub(super) file: Option<String>,
    /// A key of a Kubernetes Secret: of the side's own namespace, or of the replica's for the replication account.
    pub(super) secret: Option<SecretKey>,
}

/// A key of a Secret.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-secret-reference" = true))]
pub(super) struct SecretKey {
    /// The Secret.
    #[schemars(required)]
    pub(super) name: Option<String>,
    /// The key in its data.
    #[schemars(required)]
    pub(super) key: Option<String>,
}

/// The replication channel.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Replication {
    /// The account with which the receiver logs in at the source.
    #[schemars(required)]
    pub(super) account: Option<Account>,
    /// The channel. Default: the link's name.
    #[schemars(regex(pattern = "^[A-Za-z0-9_.-]{1,64}$"))]
    pub(super) channel: Option<String>,
    /// How the receiver's connection is encrypted. Default: `{mode: required}`.
    pub(super) tls: Option<Tls>,
    /// Time between two attempts of the receiver to connect, in whole seconds. Default: 10s.
    #[schemars(example = "10s", regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub(super) connect_retry: Option<String>,
    /// Attempts before the receiver gives up; 0 for no end. Default: 86400.
    pub(super) retry_count: Option<u64>,
    /// Time between two heartbeats of an idle source, 100ms to 1m. Default: 5s.
    #[schemars(example = "5s", regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub(super) heartbeat: Option<String>,
    /// The forms of compression that the source is offered; it takes zlib before zstd before none. Default: `[uncompressed]`.
    #[schemars(length(min = 1))]
    pub(super) compression: Option<Vec<Compression>>,
    /// How hard zstd tries. Default: 3.
    #[schemars(range(min = 1, max = 22))]
    pub(super) zstd_level: Option<u32>,
    /// Time that the replica stays behind on purpose, in whole seconds. Default: 0s.
    #[schemars(example = "1h", regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub(super) delay: Option<String>,
}

/// The forms of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compression {
    /// Deflate.
    Zlib,
    /// Zstandard.
    Zstd,
    /// None.
    Uncompressed,
}

/// The encryption of the channel.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Tls {
    /// What is demanded. Default: `required`.
    pub(super) mode: Option<TlsMode>,
    /// The CA file's absolute path on the replica's members; with `verify-ca` and `verify-identity` only.
    #[schemars(length(max = 511))]
    pub(super) ca: Option<String>,
    /// The absolute path on the replica's members of the certificate that the receiver shows; together with `key`.
    #[schemars(length(max = 511))]
    pub(super) cert: Option<String>,
    /// The absolute path of its key there.
    #[schemars(length(max = 511))]
    pub(super) key: Option<String>,
}

/// The modes of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TlsMode {
    /// Plain text; warned of.
    Disabled,
    /// Encrypted, the server's identity not checked.
    Required,
    /// Encrypted, the certificate must come from the CA.
    VerifyCa,
    /// Encrypted, the certificate must come from the CA and name the mesh host.
    VerifyIdentity,
}

/// When a measure is a warning and when it is critical.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Thresholds {
    /// The lag of the replica.
    pub(super) lag: Option<Lag>,
}

/// Bounds of the lag, as Go writes durations: `30s`, `5m`, `1h30m`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Lag {
    /// From here on a warning. Default: 30s.
    #[schemars(example = "30s", regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub(super) warning: Option<String>,
    /// From here on critical. Default: 5m.
    #[schemars(example = "5m", regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    pub(super) critical: Option<String>,
}

/// A port of a service other than MySQL replication.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Port {
    /// Its number.
    #[schemars(required, range(min = 1))]
    pub(super) number: Option<u16>,
    /// Its name, a DNS label. Default: the protocol and the number, such as `tcp-9000`.
    pub(super) name: Option<String>,
    /// What is spoken there. Default: TCP.
    pub(super) protocol: Option<Protocol>,
}

/// What a port speaks, as Istio writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum Protocol {
    /// Any stream of bytes; the only choice where the server speaks first.
    #[serde(rename = "TCP")]
    Tcp,
    /// HTTP/1.1, which the sidecar takes apart.
    #[serde(rename = "HTTP")]
    Http,
}

/// Who uses a service other than MySQL replication.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Client {
    /// The cluster in which the clients run.
    #[schemars(required)]
    pub(super) kubernetes: Option<ClientKubernetes>,
}
