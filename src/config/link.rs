//! One link, from what is written to a `LinkSpec`: which values must be there, their forms, defaults and exclusions.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{channel::Reached, names, raw, show::Origin, validate::Validator};
use crate::domain::{
    pxc,
    spec::{
        Account, AddressType, ClientSpec, ClusterRef, Endpoint, Ends, EntranceSpec, LagThresholds, LinkSpec, MeshEnds,
        SecretRef, SourceLocation, SourceTarget, WayIn,
    },
    vip,
};

/// MySQL's port.
const PORT: u16 = 3306;
/// Enough to survive losing nodes, few enough to read and to probe.
const ENDPOINT_LIMIT: u16 = 32;
const LAG_WARNING: (&str, Duration) = ("30s", Duration::from_secs(30));
const LAG_CRITICAL: (&str, Duration) = ("5m", Duration::from_mins(5));

/// Where a Secret would be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretsIn {
    /// In the side's cluster.
    Cluster,
    /// In none, and why.
    Nowhere(&'static str),
}

impl Validator<'_> {
    /// A link; `None` if a value without a default is missing or wrong. Faults that a default bridges over are in the
    /// findings only.
    pub(super) fn link(&mut self, name: &str, link: raw::Link) -> Option<LinkSpec> {
        let base = format!("links.{name}");
        if let Err(fault) = names::label(name) {
            self.fault(&base, fault, None, "name the link like a DNS label, such as `production`");
            return None;
        }
        if self.written(&format!("{base}.ports")) || self.written(&format!("{base}.client")) {
            self.service_link(&base, name, link)
        } else if self.written(&format!("{base}.replica.server")) {
            self.servers_link(&base, name, link)
        } else {
            self.replication_link(&base, name, link)
        }
    }

    /// A link that carries MySQL replication through a mesh.
    fn replication_link(&mut self, base: &str, name: &str, link: raw::Link) -> Option<LinkSpec> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        let host = self.host(&key("host"), link.host).unwrap_or_else(|| {
            let host = format!("pxc-source.{name}.global");
            if !self.written(&key("host")) {
                self.note(&key("host"), &host, Origin::Derived { of: "the link's name".into() });
            }
            host
        });
        let port = self.port(&key("port"), link.port);
        let vip = self.vip(&key("vip"), link.vip, &host);
        let how = "write `source:` with `kubernetes` or `endpoints` below it";
        let source = self.need(&key("source"), link.source, how).and_then(|it| self.source(&key("source"), it));
        let how = "write `replica:` with `kubernetes` and `account` below it";
        let replica = self.need(&key("replica"), link.replica, how).and_then(|it| self.replica(&key("replica"), it));
        let how = "write `replication:` with `account` and `tls` below it";
        let replication = self
            .need(&key("replication"), link.replication, how)
            .and_then(|it| self.replication(base, it, name, SecretsIn::Cluster));
        let lag = self.lag(&key("thresholds.lag"), link.thresholds.and_then(|it| it.lag).unwrap_or_default());
        let ((source, source_account), (client, replica_account)) = (source?, replica?);
        let service = replication?.service(Reached { port, source_account, replica_account, lag });
        let ends = Ends::Mesh(Box::new(MeshEnds { vip, source, client }));
        Some(LinkSpec { name: name.to_owned(), host, ends, service })
    }

    pub(super) fn host(&mut self, path: &str, host: Option<String>) -> Option<String> {
        self.optional(path, host, names::host, "write a DNS name in lower case, or leave `host` out")
    }

    pub(super) fn port(&mut self, path: &str, port: Option<u16>) -> u16 {
        match port {
            Some(port) => self.note_written(path, port),
            None => self.note(path, PORT, Origin::Default),
        }
        port.unwrap_or(PORT)
    }

    pub(super) fn vip(&mut self, path: &str, text: Option<String>, host: &str) -> Option<Ipv4Addr> {
        let form = |text: &str| match text.parse::<Ipv4Addr>() {
            Ok(address) => vip::check(address),
            Err(_) => Err("is no IPv4 address"),
        };
        let how = "choose an address such as 240.0.0.7, or leave `vip` out and one is derived from the host";
        let text = self.optional(path, text, form, how);
        if !self.written(path) {
            let of = "the host; another one if it is in use".into();
            self.note(path, vip::derive(host), Origin::Derived { of });
        }
        text.and_then(|text| text.parse().ok())
    }

    fn source(&mut self, base: &str, source: raw::Source) -> Option<(SourceLocation, Option<Account>)> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        self.exactly_one(base, &["kubernetes", "endpoints"], "");
        let no_cluster = "cannot be read: with `endpoints` there is no cluster to read a Secret from";
        let secrets = if self.written(&key("endpoints")) { SecretsIn::Nowhere(no_cluster) } else { SecretsIn::Cluster };
        let location = self.location(base, source.endpoints, source.kubernetes);
        let (account, faultless) = self.reader(base, source.account, secrets);
        location.filter(|_| faultless).map(|location| (location, account))
    }

    /// The account that reads the source, if it has a good one of its own, and whether nothing is wrong with what is written of it.
    pub(super) fn reader(
        &mut self,
        source: &str,
        account: Option<raw::Account>,
        secrets: SecretsIn,
    ) -> (Option<Account>, bool) {
        let path = format!("{source}.account");
        let Some(account) = account else {
            self.note(&path, "the replication account", Origin::Default);
            return (None, true);
        };
        let account = self.account(&path, account, secrets);
        let faultless = account.is_some();
        (account, faultless)
    }

    /// How the source is found.
    pub(super) fn location(
        &mut self,
        base: &str,
        endpoints: Option<Vec<raw::Endpoint>>,
        kubernetes: Option<raw::SourceKubernetes>,
    ) -> Option<SourceLocation> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        if self.written(&key("endpoints")) {
            Some(self.endpoints(&key("endpoints"), endpoints.unwrap_or_default()))
        } else {
            kubernetes.and_then(|it| self.source_kubernetes(&key("kubernetes"), it))
        }
    }

    fn endpoints(&mut self, base: &str, endpoints: Vec<raw::Endpoint>) -> SourceLocation {
        if endpoints.is_empty() && !self.findings.any_below(base) {
            self.fault(base, "has no endpoint", None, "write at least one `- {address: …, port: …}`");
        }
        let mut taken: Vec<Endpoint> = Vec::new();
        for (n, endpoint) in endpoints.into_iter().enumerate() {
            let key = |leaf: &str| format!("{base}[{n}].{leaf}");
            let how = "write an IPv4 address that the replica's cluster can reach";
            let address = self.required(&key("address"), endpoint.address, endpoint_address, how);
            let port = self.need(&key("port"), endpoint.port, "write the port at that address, such as `port: 31306`");
            let (Some(Ok(address)), Some(port)) = (address.map(|it| it.parse()), port) else { continue };
            self.note_written(&key("port"), port);
            let endpoint = Endpoint { address, port };
            if taken.contains(&endpoint) {
                self.fault(&format!("{base}[{n}]"), "is in the list already", None, "write every endpoint once");
            }
            taken.push(endpoint);
        }
        SourceLocation::Endpoints(taken)
    }

    fn source_kubernetes(&mut self, base: &str, raw: raw::SourceKubernetes) -> Option<SourceLocation> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        if !self.written(&key("context")) && !self.written(&key("kubeconfig")) {
            let how = "write the context of the source's cluster, such as `context: production`";
            self.need(&key("context"), None::<()>, how);
        }
        let cluster = self.cluster(base, raw.kubeconfig, raw.context, raw.namespace);
        self.exactly_one(base, &["service", "pxc"], "");
        let target = if self.written(&key("pxc")) {
            self.resource(&key("pxc"), raw.pxc).map(SourceTarget::Pxc)
        } else {
            let how = "name the Service that selects the source's members, such as `service: pxc`";
            self.optional(&key("service"), raw.service, names::label, how).map(SourceTarget::Service)
        };
        let entrance = self.entrance(base, raw.entry, raw.address_type, raw.max_endpoints);
        Some(SourceLocation::Kubernetes { cluster: cluster?, target: target?, entrance: entrance? })
    }

    /// The name of a PerconaXtraDBCluster; the operator makes names of Services and labels from it.
    fn resource(&mut self, path: &str, name: Option<String>) -> Option<String> {
        let how = "name the PerconaXtraDBCluster, such as `pxc: cluster1`; `kubectl get pxc` lists them";
        self.optional(path, name, names::label, how)
    }

    fn entrance(
        &mut self,
        base: &str,
        entry: Option<raw::Entry>,
        address_type: Option<raw::AddressType>,
        limit: Option<u16>,
    ) -> Option<EntranceSpec> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        let way = entry.map(|entry| match entry {
            raw::Entry::LoadBalancer => WayIn::LoadBalancer,
            raw::Entry::ExternalIp => WayIn::ExternalIp,
            raw::Entry::NodePort => WayIn::NodePort,
            raw::Entry::HostPort => WayIn::HostPort,
        });
        match way {
            Some(way) => self.note_written(&key("entry"), way),
            None => self.note(&key("entry"), "what the Service offers", Origin::Default),
        }
        let kind = match address_type {
            None | Some(raw::AddressType::InternalIp) => AddressType::InternalIp,
            Some(raw::AddressType::ExternalIp) => AddressType::ExternalIp,
        };
        match address_type {
            Some(_) => self.note_written(&key("addressType"), kind),
            None => self.note(&key("addressType"), kind, Origin::Default),
        }
        let path = key("maxEndpoints");
        match limit {
            Some(limit) => self.note_written(&path, limit),
            None if self.written(&path) => return None,
            None => self.note(&path, ENDPOINT_LIMIT, Origin::Default),
        }
        Some(EntranceSpec { way, address_type: kind, limit: limit.unwrap_or(ENDPOINT_LIMIT) })
    }

    fn cluster(
        &mut self,
        base: &str,
        kubeconfig: Option<String>,
        context: Option<String>,
        namespace: Option<String>,
    ) -> Option<ClusterRef> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        let kubeconfig = match kubeconfig.map(|text| (names::given(&text), self.path(&text))) {
            Some((Ok(()), path)) => {
                self.note_written(&key("kubeconfig"), path.display());
                Some(path)
            }
            Some((Err(fault), _)) => {
                self.fault(&key("kubeconfig"), fault, None, "write the path of a kubeconfig file");
                None
            }
            None => {
                self.note(&key("kubeconfig"), "KUBECONFIG, ~/.kube/config or in-cluster", Origin::Default);
                None
            }
        };
        let how = "write a context of the kubeconfig; `kubectl config get-contexts` lists them";
        let context = self.optional(&key("context"), context, names::given, how);
        if !self.written(&key("context")) {
            self.note(&key("context"), "in-cluster or the current one", Origin::Default);
        }
        let how = "write the namespace of the members, such as `namespace: pxc`";
        let namespace = self.required(&key("namespace"), namespace, names::label, how);
        Some(ClusterRef { kubeconfig, context, namespace: namespace? })
    }

    fn replica(&mut self, base: &str, replica: raw::Replica) -> Option<(ClientSpec, Account)> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        let how = "write `kubernetes:` with `context`, `namespace`, `selector` and `container` below it";
        self.need(&key("kubernetes"), replica.kubernetes.as_ref(), how);
        let how = "name the container in which mysqld runs, such as `container: pxc`";
        let client = replica.kubernetes.and_then(|it| self.client_kubernetes(&key("kubernetes"), it, how));
        let how = "write `account:` with `user` and `password` below it";
        let account = self
            .need(&key("account"), replica.account, how)
            .and_then(|it| self.account(&key("account"), it, SecretsIn::Cluster));
        Some((client?, account?))
    }

    /// The pods that use the name; `container` is how to name the one among their containers.
    pub(super) fn client_kubernetes(
        &mut self,
        base: &str,
        raw: raw::ClientKubernetes,
        container: &str,
    ) -> Option<ClientSpec> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        let cluster = self.cluster(base, raw.kubeconfig, raw.context, raw.namespace);
        self.exactly_one(base, &["selector", "pxc"], "");
        let how = "write the label selector of the pods, such as `selector: app=pxc`";
        let selector = if self.written(&key("pxc")) {
            let selector = self.resource(&key("pxc"), raw.pxc).map(|name| pxc::selector(&name));
            if let Some(selector) = &selector {
                self.note(&key("selector"), selector, Origin::Derived { of: "`pxc`".into() });
            }
            selector
        } else {
            self.optional(&key("selector"), raw.selector, names::selector, how)
        };
        let container = if self.written(&key("pxc")) && !self.written(&key("container")) {
            self.note(&key("container"), pxc::CONTAINER, Origin::Derived { of: "`pxc`".into() });
            Some(pxc::CONTAINER.to_owned())
        } else {
            self.required(&key("container"), raw.container, names::label, container)
        };
        Some(ClientSpec { cluster: cluster?, selector: selector?, container: container? })
    }

    pub(super) fn account(&mut self, base: &str, account: raw::Account, secrets: SecretsIn) -> Option<Account> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        let how = "write the MySQL user, such as `user: repl`";
        let user = self.required(&key("user"), account.user, names::user, how);
        let how = "say where the password is: `password: {env: NAME}`, `{file: PATH}` or `{secret: {name: …, key: …}}`";
        let password = self
            .need(&key("password"), account.password, how)
            .and_then(|it| self.password(&key("password"), it, secrets));
        Some(Account { user: user?, password: password? })
    }

    fn password(&mut self, base: &str, password: raw::Password, secrets: SecretsIn) -> Option<SecretRef> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        self.exactly_one(base, &["env", "file", "secret"], "; a password is never written into the file");
        // Forms are checked without `required`: nothing from here is quoted or shown except as a reference.
        let reference = if let Some(name) = password.env {
            SecretRef::Env(self.form(&key("env"), name, names::variable)?)
        } else if let Some(path) = password.file {
            let path = self.form(&key("file"), path, names::given)?;
            SecretRef::File(self.path(&path))
        } else {
            let secret = password.secret?;
            if let SecretsIn::Nowhere(fault) = secrets {
                self.fault(&key("secret"), fault, None, "write `{env: NAME}` or `{file: PATH}` instead");
            }
            let how = "write the name of the Secret and the key in it: `{secret: {name: …, key: …}}`";
            let name = self.need(&key("secret.name"), secret.name, how);
            let data = self.need(&key("secret.key"), secret.key, how);
            let name = name.and_then(|name| self.form(&key("secret.name"), name, names::subdomain));
            let data = data.and_then(|data| self.form(&key("secret.key"), data, names::secret_key));
            SecretRef::Secret { name: name?, key: data? }
        };
        self.note_written(base, &reference);
        Some(reference)
    }

    fn form(&mut self, path: &str, text: String, form: fn(&str) -> Result<(), names::Fault>) -> Option<String> {
        let how = "write the name of the place where the password is, never the password";
        form(&text).map_err(|fault| self.fault(path, fault, None, how)).ok().map(|()| text)
    }

    pub(super) fn exactly_one(&mut self, base: &str, leaves: &[&str], why: &str) {
        let written = leaves.iter().filter(|leaf| self.written(&format!("{base}.{leaf}"))).count();
        if written == 1 || self.findings.condemned(base) {
            return;
        }
        let list = leaves.iter().map(|leaf| format!("`{leaf}`")).collect::<Vec<_>>().join(", ");
        let fault = if written == 0 { "says none of" } else { "says more than one of" };
        self.fault(base, &format!("{fault} {list}"), None, &format!("write exactly one of {list}{why}"));
    }

    pub(super) fn lag(&mut self, base: &str, lag: raw::Lag) -> LagThresholds {
        let mut bound = |leaf: &str, text: Option<String>, default: (&str, Duration)| {
            let path = format!("{base}.{leaf}");
            let how = "write a duration such as `30s`, `5m` or `1h30m`";
            let text = self.optional(&path, text, |text| names::duration(text).map(drop), how);
            if !self.written(&path) {
                self.note(&path, default.0, Origin::Default);
            }
            text.and_then(|text| names::duration(&text).ok()).unwrap_or(default.1)
        };
        let warning = bound("warning", lag.warning, LAG_WARNING);
        let critical = bound("critical", lag.critical, LAG_CRITICAL);
        if warning >= critical {
            let path = [format!("{base}.critical"), format!("{base}.warning")];
            let path = path.iter().find(|path| self.written(path)).unwrap_or(&path[0]).clone();
            let fault = "does not fit: `warning` must be shorter than `critical`";
            let how = format!("the defaults are `warning: {}` and `critical: {}`", LAG_WARNING.0, LAG_CRITICAL.0);
            self.fault(&path, fault, None, &how);
        }
        LagThresholds { warning, critical }
    }
}

/// An address at which the replica's cluster can reach the source, of the virtual address's family.
fn endpoint_address(text: &str) -> Result<(), names::Fault> {
    match text.parse::<IpAddr>() {
        Err(_) => Err("is no IP address"),
        Ok(IpAddr::V6(_)) => Err("is an IPv6 address, but the virtual address is an IPv4 one"),
        Ok(IpAddr::V4(it)) if it.is_loopback() || it.is_unspecified() || it.is_multicast() || it.is_broadcast() => {
            Err("is no address of another machine")
        }
        Ok(IpAddr::V4(it)) if it.octets()[0] >= 240 => Err("is a virtual address, not one of a machine"),
        Ok(IpAddr::V4(_)) => Ok(()),
    }
}
