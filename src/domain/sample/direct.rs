//! A link between two servers without Kubernetes, with everything in order.

use super::{REPLICA, SOURCE, channel, facts, open, server, spec};
use crate::domain::{
    channel::desired_channel,
    code::Code,
    facts::{ChannelFacts, ClientFacts, Facts, MemberFacts, MemberPlace, ReceiverLogin, ServerFacts, SourceFacts},
    problem::{Fetched, Problem},
    spec::{Ends, LinkSpec, ServerAddress, ServerEnds},
};

/// The link.
pub(crate) fn direct_spec() -> LinkSpec {
    let at = |host: &str, port| ServerAddress { host: host.to_owned(), port };
    let mut spec = spec();
    spec.host = "db.example".to_owned();
    spec.ends = Ends::Servers(ServerEnds { source: at("db.example", 3306), replica: at("127.0.0.1", 3307) });
    spec
}

/// A link of two servers, running and caught up.
pub(crate) fn direct_facts() -> Facts {
    let member = |address: &str, server: ServerFacts| MemberFacts {
        place: MemberPlace::Server { address: address.to_owned() },
        server: Some(Fetched::Got(server)),
        resolved: None,
        sidecar_log: None,
        tls_files: None,
        presented: None,
    };
    let mut replica = server(REPLICA[0], 11);
    let settings = desired_channel(direct_spec().replication().unwrap());
    replica.channels.push(ChannelFacts { settings, ..channel() });
    let no_mesh = Problem::new(Code::NoMesh, "x");
    Facts {
        source: SourceFacts {
            cluster: None,
            pxc: None,
            services: None,
            nodes: None,
            members: Fetched::Got(vec![member("db.example:3306", open(server(SOURCE[0], 1)))]),
            policies: None,
            surroundings: None,
        },
        client: ClientFacts {
            members: Fetched::Got(vec![member("127.0.0.1:3307", replica)]),
            ..ClientFacts::unread(&no_mesh)
        },
        paths: Vec::new(),
        receiver_login: Some(Fetched::Got(ReceiverLogin {
            from: "dba-1".to_owned(),
            account: "repl@10.0.0.%".to_owned(),
            server_uuid: SOURCE[0].to_owned(),
            tls: "TLS verify-identity by /etc/mysql/tls/ca.crt".to_owned(),
        })),
        ..facts()
    }
}
