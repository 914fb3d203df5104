//! The document around the links: its version, its kind, and what two links may not share.

use super::{raw::Document, validate::Validator};
use crate::domain::{
    code::Code,
    hint::Hint,
    spec::{Ends, LinkSpec, MeshLink},
};

impl Validator<'_> {
    /// All links without fault, in the order of the file. The findings say whether there are others.
    pub(super) fn document(&mut self, document: Document) -> Vec<LinkSpec> {
        let how = "write `apiVersion: pxc-link.io/v1alpha1` as the first line";
        self.need("apiVersion", document.api_version, how);
        self.need("kind", document.kind, "write `kind: Links` as the second line");
        let how = "write `links:` with the links by name below it";
        let Some(links) = self.need("links", document.links, how) else { return Vec::new() };
        if links.is_empty() && !self.findings.any_below("links") {
            let hint = Hint::run("add a link, or have a file written", ["pxc-link", "init", "--help"]);
            self.findings.add_near("links", Code::InvalidValue, "`links` has no link", hint);
        }
        let mut links: Vec<_> = links.into_iter().collect();
        links.sort_by_key(|(name, _)| self.findings.near(&format!("links.{name}")));
        let links: Vec<LinkSpec> = links.into_iter().filter_map(|(name, link)| self.link(&name, link)).collect();
        self.clashes(&links);
        links
    }

    /// Two links may share neither the host, nor the virtual address, nor a channel of the same replica.
    fn clashes(&mut self, links: &[LinkSpec]) {
        for (n, link) in links.iter().enumerate() {
            for other in &links[..n] {
                let path = |leaf: &str| format!("links.{}.{leaf}", link.name);
                let taken = |what: &str| format!("is the {what} of link `{}` too", other.name);
                let (one, two) = (link.mesh(), other.mesh());
                let in_mesh = one.is_some() && two.is_some();
                if in_mesh && link.host == other.host {
                    self.fault(&path("host"), &taken("host"), Some(&link.host), "give every link its own host");
                }
                let vip = |mesh: Option<MeshLink<'_>>| mesh.and_then(|mesh| mesh.vip);
                if vip(one).is_some() && vip(one) == vip(two) {
                    self.fault(&path("vip"), &taken("virtual address"), None, "give every link its own address");
                }
                let (Some(one), Some(two)) = (link.replication(), other.replication()) else { continue };
                let channel = &one.replication.channel;
                if channel.eq_ignore_ascii_case(&two.replication.channel) && same_replica(&link.ends, &other.ends) {
                    let how = "give every link into the same replica its own channel";
                    self.fault(&path("replication.channel"), &taken("channel"), Some(channel), how);
                }
            }
        }
    }
}

/// Whether two links lead into the same members, as far as the file alone can tell.
fn same_replica(one: &Ends, other: &Ends) -> bool {
    match (one, other) {
        (Ends::Mesh(one), Ends::Mesh(other)) => {
            one.client.cluster == other.client.cluster && one.client.selector == other.client.selector
        }
        (Ends::Servers(one), Ends::Servers(other)) => one.replica == other.replica,
        _ => false,
    }
}
