//! A link without a mesh: a replica that is a server of its own, and the one address at which it reaches its source.

use super::{channel::Reached, link::SecretsIn, names, raw, validate::Validator};
use crate::domain::spec::{Account, Ends, LinkSpec, ServerAddress, ServerEnds};

/// Why a Secret cannot be named on such a link.
const NO_CLUSTER: &str = "cannot be read: with `replica.server` there is no cluster to read a Secret from";

impl Validator<'_> {
    /// A link that carries MySQL replication from one server to another.
    pub(super) fn servers_link(&mut self, base: &str, name: &str, link: raw::Link) -> Option<LinkSpec> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        for leaf in ["host", "port", "vip"] {
            if self.written(&key(leaf)) {
                let fault = "has no meaning beside `replica.server`: there is no mesh to make a name in";
                self.fault(&key(leaf), fault, None, "take it out; the replica reaches `source.endpoints` as it is");
            }
        }
        let how = "write `source:` with `endpoints` below it";
        let source = self.need(&key("source"), link.source, how).and_then(|it| self.server_source(&key("source"), it));
        let how = "write `replica:` with `server` and `account` below it";
        let replica =
            self.need(&key("replica"), link.replica, how).and_then(|it| self.server_replica(&key("replica"), it));
        let how = "write `replication:` with `account` and `tls` below it";
        let replication = self
            .need(&key("replication"), link.replication, how)
            .and_then(|it| self.replication(base, it, name, SecretsIn::Nowhere(NO_CLUSTER)));
        let lag = self.lag(&key("thresholds.lag"), link.thresholds.and_then(|it| it.lag).unwrap_or_default());
        let ((source, source_account), (replica, replica_account)) = (source?, replica?);
        let service = replication?.service(Reached { port: source.port, source_account, replica_account, lag });
        let host = source.host.clone();
        Some(LinkSpec { name: name.to_owned(), host, ends: Ends::Servers(ServerEnds { source, replica }), service })
    }

    fn server_source(&mut self, base: &str, source: raw::Source) -> Option<(ServerAddress, Option<Account>)> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        if self.written(&key("kubernetes")) {
            let fault = "does not go with `replica.server`: only a mesh makes a name for a Service of another cluster";
            let how = "write `endpoints` instead, with an address at which the replica's server reaches the source";
            self.fault(&key("kubernetes"), fault, None, how);
        }
        let (account, faultless) = self.reader(base, source.account, SecretsIn::Nowhere(NO_CLUSTER));
        let how = "write `endpoints: [{address: db.example, port: 3306}]`";
        let endpoints = self.need(&key("endpoints"), source.endpoints, how);
        let endpoint = self.endpoint(&key("endpoints"), endpoints?)?;
        faultless.then_some((endpoint, account))
    }

    /// The one endpoint. A channel has one address, and nothing here would choose among several.
    fn endpoint(&mut self, base: &str, endpoints: Vec<raw::Endpoint>) -> Option<ServerAddress> {
        if endpoints.len() > 1 || endpoints.is_empty() && !self.findings.any_below(base) {
            let fault = "must have exactly one endpoint beside `replica.server`: a channel dials one address";
            let how = "write the one that the replica's server is to dial";
            self.fault(base, fault, None, how);
        }
        let endpoint = endpoints.into_iter().next()?;
        let how = "write a host name or an address that the replica's server can reach, such as `db.example`";
        let host = self.required(&format!("{base}[0].address"), endpoint.address, names::server, how);
        let how = "write the port at that address, such as `port: 3306`";
        let path = format!("{base}[0].port");
        let port = self.need(&path, endpoint.port, how);
        if let Some(port) = port {
            self.note_written(&path, port);
        }
        Some(ServerAddress { host: host?, port: port? })
    }

    fn server_replica(&mut self, base: &str, replica: raw::Replica) -> Option<(ServerAddress, Account)> {
        let key = |leaf: &str| format!("{base}.{leaf}");
        self.exactly_one(base, &["kubernetes", "server"], "");
        let server = replica.server.and_then(|server| {
            let path = key("server.host");
            let how = "write a host name or an address at which this machine reaches the replica, such as `127.0.0.1`";
            let host = self.required(&path, server.host, names::server, how);
            let port = self.port(&key("server.port"), server.port);
            Some(ServerAddress { host: host?, port })
        });
        let how = "write `account:` with `user` and `password` below it";
        let account = self
            .need(&key("account"), replica.account, how)
            .and_then(|it| self.account(&key("account"), it, SecretsIn::Nowhere(NO_CLUSTER)));
        Some((server?, account?))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        config::check,
        domain::spec::{SecretRef, Tls},
    };

    const GOOD: &str = "\
apiVersion: pxc-link.io/v1alpha1
kind: Links
links:
  production:
    source:
      endpoints: [{address: db_1, port: 3306}]
    replica:
      server: {host: 127.0.0.1, port: 3307}
      account: {user: pxc_link, password: {env: PXC_REPLICA_PASSWORD}}
    replication:
      account: {user: repl, password: {file: repl.txt}}
      tls: {mode: disabled}
";

    fn wrong(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        let problems = check(&GOOD.replace(from, to), Path::new("pxc-link.yaml")).unwrap_err();
        problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_channel_dials_the_endpoint_as_it_is_written() {
        let links = check(GOOD, Path::new("pxc-link.yaml")).unwrap();
        let replication = links[0].replication().unwrap().replication;
        assert_eq!((links[0].host.as_str(), replication.port), ("db_1", 3306));
        assert_eq!((replication.channel.as_str(), &replication.tls), ("production", &Tls::Disabled));
        assert!(matches!(&replication.account.password, SecretRef::File(path) if path.ends_with("repl.txt")));
        let Ends::Servers(ends) = &links[0].ends else { panic!("{links:?}") };
        assert_eq!((ends.source.to_string(), ends.replica.to_string()), ("db_1:3306".into(), "127.0.0.1:3307".into()));
        let v6 = check(&GOOD.replace("127.0.0.1, port: 3307", "'::1'"), Path::new("x.yaml")).unwrap();
        let Ends::Servers(ends) = &v6[0].ends else { panic!("{v6:?}") };
        assert_eq!(ends.replica.to_string(), "[::1]:3306");
    }

    #[test]
    fn what_belongs_to_a_mesh_or_to_kubernetes_is_refused() {
        for leaf in ["host: a.b", "port: 3306", "vip: 240.0.0.7"] {
            let said = wrong("    source:\n", &format!("    {leaf}\n    source:\n"));
            let key = leaf.split(':').next().unwrap();
            assert!(
                said.starts_with(&format!("`links.production.{key}` has no meaning beside `replica.server`")),
                "{said}"
            );
        }
        let kubernetes = "kubernetes: {context: c, namespace: n, service: s}";
        let said = wrong("endpoints: [{address: db_1, port: 3306}]", kubernetes);
        assert!(said.contains("`links.production.source.kubernetes` does not go with `replica.server`"), "{said}");
        let both = "server: {host: h}\n      kubernetes: {context: c, namespace: n, selector: a=b, container: c}";
        let said = wrong("server: {host: 127.0.0.1, port: 3307}", both);
        assert!(said.contains("`links.production.replica` says more than one of"), "{said}");
        for from in ["{env: PXC_REPLICA_PASSWORD}", "{file: repl.txt}"] {
            let said = wrong(from, "{secret: {name: a, key: b}}");
            assert!(said.contains("there is no cluster to read a Secret from"), "{said}");
        }
    }

    #[test]
    fn there_is_one_endpoint_and_it_can_be_dialled() {
        let two = "[{address: db_1, port: 3306}, {address: db_2, port: 3306}]";
        let said = wrong("[{address: db_1, port: 3306}]", two);
        assert!(said.contains("must have exactly one endpoint"), "{said}");
        assert!(wrong("[{address: db_1, port: 3306}]", "[]").contains("must have exactly one endpoint"));
        for address in ["'a b'", "'0.0.0.0'", "a..b", "'repl@db'"] {
            let said = wrong("address: db_1", &format!("address: {address}"));
            assert!(said.contains("endpoints[0].address` is n"), "{said}");
        }
        assert!(wrong("address: db_1, ", "").contains("endpoints[0].address` is missing"));
    }

    #[test]
    fn two_links_may_share_a_source_but_no_channel_of_a_replica() {
        let link = GOOD.split_once("  production:\n").unwrap().1;
        let with = |second: &str| check(&format!("{GOOD}  other:\n{second}"), Path::new("pxc-link.yaml"));
        assert_eq!(with(link).unwrap().len(), 2, "each has a channel of its own name");
        let same = link.replace("      tls:", "      channel: production\n      tls:");
        assert!(with(&same).unwrap_err()[0].message.contains("is the channel of link `production` too"));
        assert_eq!(with(&same.replace("3307", "3308")).unwrap().len(), 2, "another replica");
    }
}
