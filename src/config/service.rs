//! A link that carries a service other than MySQL replication: its ports and its clients.

use std::collections::BTreeSet;

use super::{names, raw, show::Origin, validate::Validator};
use crate::domain::spec::{ClientSpec, Ends, LinkSpec, MeshEnds, PortSpec, Protocol, ServiceSpec, SourceLocation};

impl Validator<'_> {
    pub(super) fn service_link(&mut self, base: &str, name: &str, link: raw::Link) -> Option<LinkSpec> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        for leaf in ["port", "replica", "replication", "thresholds"] {
            if self.written(&key(leaf)) {
                let fault = "has no meaning beside `ports` and `client`";
                self.fault(&key(leaf), fault, None, "a link carries MySQL replication or other ports, not both");
            }
        }
        let how = "write the mesh name, such as `host: hello.cluster-a.global`";
        self.need(&key("host"), link.host.as_ref(), how);
        let host = self.host(&key("host"), link.host);
        let vip = self.vip(&key("vip"), link.vip, host.as_deref().unwrap_or_default());
        let how = "write at least one port: `ports: [{number: 8080, name: http, protocol: HTTP}]`";
        let ports = self.need(&key("ports"), link.ports, how).map(|ports| self.ports(&key("ports"), ports));
        let how = "write `source:` with `kubernetes` or `endpoints` below it";
        let source = self.need(&key("source"), link.source, how);
        let source = source.and_then(|source| self.service_source(&key("source"), source, ports.as_deref()));
        let how = "write `client:` with `kubernetes` below it";
        let client = self.need(&key("client"), link.client, how);
        let client = client.and_then(|client| self.client(&key("client"), client));
        let service = ServiceSpec::Ports(ports?);
        let ends = Ends::Mesh(Box::new(MeshEnds { vip, source: source?, client: client? }));
        Some(LinkSpec { name: name.to_owned(), host: host?, ends, service })
    }

    fn service_source(
        &mut self,
        base: &str,
        source: raw::Source,
        ports: Option<&[PortSpec]>,
    ) -> Option<SourceLocation> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        self.exactly_one(base, &["kubernetes", "endpoints"], "");
        if self.written(&key("account")) {
            let fault = "has no meaning beside `ports`: nobody logs in";
            self.fault(&key("account"), fault, None, "take `account` out");
        }
        if self.written(&key("endpoints")) && ports.is_some_and(|ports| ports.len() > 1) {
            let fault = "gives one port an address, and the link has several";
            self.fault(&key("endpoints"), fault, None, "make a link of each port, or name the Service instead");
        }
        self.location(base, source.endpoints, source.kubernetes)
    }

    fn client(&mut self, base: &str, client: raw::Client) -> Option<ClientSpec> {
        let key = format!("{base}.kubernetes");
        let how = "write `kubernetes:` with `context`, `namespace`, `selector` and `container` below it";
        let kubernetes = self.need(&key, client.kubernetes, how)?;
        let how = "name the container from which the service is used, such as `container: app`";
        self.client_kubernetes(&key, kubernetes, how)
    }

    fn ports(&mut self, base: &str, ports: Vec<raw::Port>) -> Vec<PortSpec> {
        if ports.is_empty() && !self.findings.any_below(base) {
            self.fault(base, "has no port", None, "write at least one `- {number: 8080, name: http, protocol: HTTP}`");
        }
        let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
        let mut good = Vec::new();
        for (n, port) in ports.into_iter().enumerate() {
            let key = |leaf: &str| format!("{base}[{n}].{leaf}");
            let number = self.need(&key("number"), port.number, "write the number of the port, such as `number: 8080`");
            let Some(number) = number else { continue };
            self.note_written(&key("number"), number);
            let protocol = self.protocol(&key("protocol"), port.protocol);
            let how = "write a DNS label such as `http`, or leave `name` out";
            let name = self.optional(&key("name"), port.name, names::label, how).unwrap_or_else(|| {
                let name = format!("{}-{number}", protocol.to_string().to_ascii_lowercase());
                if !self.written(&key("name")) {
                    self.note(&key("name"), &name, Origin::Derived { of: "protocol and number".into() });
                }
                name
            });
            if !numbers.insert(number) {
                self.fault(&key("number"), "is in the list already", None, "write every port once");
            }
            if !names.insert(name.clone()) {
                self.fault(
                    &key("name"),
                    "is the name of another port of this link",
                    None,
                    "give each port its own name",
                );
            }
            good.push(PortSpec { number, name, protocol });
        }
        good
    }

    fn protocol(&mut self, path: &str, protocol: Option<raw::Protocol>) -> Protocol {
        let known = match protocol {
            None | Some(raw::Protocol::Tcp) => Protocol::Tcp,
            Some(raw::Protocol::Http) => Protocol::Http,
        };
        match protocol {
            Some(_) => self.note_written(path, known),
            None => self.note(path, known, Origin::Default),
        }
        known
    }
}
