//! The mesh name and its virtual address: does anything else in the replica's cluster claim them?

use super::{
    super::{
        ask, ids,
        kubectl::{Kubectl, with},
    },
    address,
};
use crate::domain::{
    check::{Check, Subject},
    code::Code,
    desired,
    facts::{Facts, MeshFacts, NamedEntry},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::MeshLink,
};

/// Judges whether the mesh name and its virtual address are the link's alone.
pub(super) fn names(spec: MeshLink<'_>, facts: &Facts) -> Vec<Check> {
    let free = ask(ids::VIP_FREE, Subject::Link);
    let host = ask(ids::HOST_FREE, Subject::Link);
    let mesh = match &facts.client.mesh {
        Fetched::Got(mesh) => mesh,
        Fetched::Failed(problem) => {
            return match &facts.client.cluster {
                Fetched::Failed(unreachable) => {
                    let reachable =
                        ask(ids::CLUSTER_REACHABLE, Subject::Cluster(spec.client_side())).unfetched(unreachable);
                    vec![free.skipped(&reachable), host.skipped(&reachable)]
                }
                Fetched::Got(_) => vec![free.unfetched(problem), host.unfetched(problem)],
            };
        }
    };
    let host = match same_host(spec, mesh) {
        None => host.passed([format!("{} other ServiceEntry object(s) looked at", others(spec, mesh).count())]),
        Some((entry, fatal)) => {
            let problem = host_taken(spec, facts, entry, fatal);
            if fatal { host.failed(problem) } else { host.warned(problem) }
        }
    };
    vec![address::address(spec, facts, mesh), host]
}

pub(super) fn others<'a>(spec: MeshLink<'a>, mesh: &'a MeshFacts) -> impl Iterator<Item = &'a NamedEntry> {
    mesh.entries.iter().filter(move |entry| !desired::is_own(spec, entry))
}

/// Another definition of the mesh name, and whether it can win: in the members' own namespace it is merged with ours,
/// elsewhere and by wildcard ours comes first for the members.
fn same_host<'a>(spec: MeshLink<'a>, mesh: &'a MeshFacts) -> Option<(&'a NamedEntry, bool)> {
    let host = spec.host.to_ascii_lowercase();
    let exact = |entry: &&NamedEntry| entry.hosts.iter().any(|other| other.to_ascii_lowercase() == host);
    let wild = |entry: &&NamedEntry| {
        entry
            .hosts
            .iter()
            .filter_map(|other| other.strip_prefix('*'))
            .any(|tail| host.ends_with(&tail.to_ascii_lowercase()))
    };
    let here = |entry: &&NamedEntry| entry.namespace == spec.client.cluster.namespace;
    let visible = |entry: &&NamedEntry| entry.is_visible_in(&spec.client.cluster.namespace);
    let found =
        |wanted: &dyn Fn(&&NamedEntry) -> bool| others(spec, mesh).find(|entry| visible(entry) && wanted(entry));
    found(&|entry| exact(entry) && here(entry))
        .map(|entry| (entry, true))
        .or_else(|| found(&|entry| exact(entry) || wild(entry)).map(|entry| (entry, false)))
}

fn host_taken(spec: MeshLink<'_>, facts: &Facts, entry: &NamedEntry, fatal: bool) -> Problem {
    let place = format!("{}/{}", entry.namespace, entry.name);
    let what = if fatal {
        format!(
            "ServiceEntry `{place}` defines `{}` in the members' own namespace, so the endpoints of both would be mixed",
            spec.host
        )
    } else {
        format!(
            "ServiceEntry `{place}` covers `{}` too; the link's own entry comes first for members in namespace `{}`",
            spec.host, spec.client.cluster.namespace
        )
    };
    let problem = Problem::new(Code::HostInUse, what).seen(described(entry));
    let commands = Kubectl::of(&spec, facts, spec.client_side()).into_iter().flat_map(|kubectl| {
        let show = kubectl.line_in(&entry.namespace, &["get", "serviceentry", &entry.name, "-o", "yaml"]);
        let delete = fatal.then(|| kubectl.line_in(&entry.namespace, &["delete", "serviceentry", &entry.name]));
        std::iter::once(show).chain(delete)
    });
    problem
        .hint(with(Hint::text("look whether it is still needed; delete it, or give the link another `host`"), commands))
}

/// An entry in one line: who has it, what it names, where, and in what protocols.
fn described(entry: &NamedEntry) -> String {
    let made =
        entry.link.as_ref().map_or_else(|| "not made by this tool".to_owned(), |link| format!("made for link {link}"));
    let ports: Vec<String> = entry.ports.iter().map(|port| format!("{} {}", port.number, port.protocol)).collect();
    format!(
        "{}/{}: hosts {}, addresses {}, ports {}, {made}",
        entry.namespace,
        entry.name,
        entry.hosts.join(", "),
        entry.addresses.join(", "),
        ports.join(", ")
    )
}
