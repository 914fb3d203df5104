//! M1: does the mesh name resolve to the link's virtual address in the application container, and who says so?

use super::{
    super::{
        ids,
        kubectl::{capture_dns, restart, with},
    },
    Road,
};
use crate::domain::{
    check::{Check, Outcome},
    code::Code,
    desired,
    hint::Hint,
    problem::{Fetched, Problem},
};

impl Road<'_> {
    pub(super) fn resolves(&self) -> Check {
        let asked = self.ask(ids::NAME_RESOLVES);
        let (host, pod) = (&self.spec.host, &self.seen.member);
        let resolved = match &self.seen.resolved {
            Fetched::Got(resolved) => resolved,
            // A container without `getent` looks the name up when its probe does.
            Fetched::Failed(problem) if problem.code == Code::NoProbe => {
                let proof = if self.spec.replication().is_some() { ids::PATH_QUERY } else { ids::SERVICE_ANSWERS };
                let because = (proof, self.subject.clone());
                return asked.end(Outcome::Skipped { because }, vec![problem.message.clone()]);
            }
            Fetched::Failed(problem) => return asked.unfetched(problem),
        };
        let vip = match desired::desired_vip(self.spec, self.facts) {
            Ok((vip, _)) => std::net::IpAddr::V4(vip),
            Err(problem) => return asked.unfetched(&problem),
        };
        if resolved.is_empty() {
            return asked.failed(self.unresolved());
        }
        let text: Vec<String> = resolved.iter().map(ToString::to_string).collect();
        if resolved.iter().all(|address| *address == vip) {
            return asked.passed([format!("{host} → {vip}")]);
        }
        let mut problem = Problem::new(
            Code::NameElsewhere,
            format!("`{host}` resolves to {} in `{pod}` instead of {vip}", text.join(", ")),
        )
        .seen(format!("getent ahostsv4 {host}: {}", text.join(", ")))
        .seen(self.table_words());
        let public =
            resolved.iter().all(|address| !matches!(address, std::net::IpAddr::V4(v4) if v4.octets()[0] >= 240));
        let (sentence, commands) = if public {
            (
                "`.global` is a public top-level domain, so somebody else's DNS answered: have the sidecar answer DNS, which makes the pods anew",
                self.capture(),
            )
        } else {
            (
                "Another ServiceEntry has the name: find it and delete it, or give the link another `host`",
                self.kubectl()
                    .map(|kubectl| kubectl.line_bare(&["get", "serviceentry", "--all-namespaces", "-o", "wide"]))
                    .into_iter()
                    .collect(),
            )
        };
        problem = problem.hint(with(Hint::text(sentence), commands));
        asked.failed(problem)
    }

    fn unresolved(&self) -> Problem {
        let (host, pod) = (&self.spec.host, &self.seen.member);
        let getent = format!("getent ahostsv4 {host}: no answer");
        let captures = self.one.and_then(|one| one.pod.dns_capture);
        let rollout = self.kubectl().zip(self.one).map_or_else(Vec::new, |(kubectl, one)| restart(&kubectl, one));
        match &self.seen.name_table {
            Fetched::Got(Some(listed)) if listed.is_empty() => Problem::new(
                Code::NotInNameTable,
                format!("the sidecar of `{pod}` serves names but does not know `{host}`"),
            )
            .seen(getent)
            .seen(self.table_words())
            .hint(with(
                Hint::text("the ServiceEntry is missing or not visible in the members' namespace: `exportTo`, a Sidecar resource or discoverySelectors keep it out"),
                self.kubectl().into_iter().flat_map(|kubectl| {
                    [kubectl.line(&["get", "serviceentry", "-o", "yaml"]), kubectl.line(&["get", "sidecars.networking.istio.io", "-o", "yaml"])]
                }),
            )),
            Fetched::Got(Some(_)) => Problem::new(
                Code::NameUnresolved,
                format!("the sidecar of `{pod}` knows `{host}`, but the application container does not get its answer"),
            )
            .seen(getent)
            .seen(self.table_words())
            .hint(with(
                Hint::text("DNS is redirected when a pod starts, so a pod older than the setting must be made anew; a process that runs as user 1337 is never redirected"),
                rollout,
            )),
            _ if captures == Some(true) => Problem::new(
                Code::NameUnresolved,
                format!("`{host}` does not resolve in `{pod}` although DNS capture is on"),
            )
            .seen(getent)
            .seen(self.table_words())
            .hint(with(Hint::text("make the pods anew, so that the redirection is set up again"), rollout)),
            _ => Problem::new(
                Code::NameUnresolved,
                format!("`{host}` does not resolve in `{pod}`: its sidecar does not answer DNS (DNS capture is off)"),
            )
            .seen(getent)
            .seen(format!("ISTIO_META_DNS_CAPTURE in istio-proxy: {}", if captures.is_some() { "not true" } else { "not set" }))
            .seen(self.table_words())
            .hint(with(
                Hint::text(
                    "turn DNS capture on for the members, which makes the pods anew and so restarts MySQL in them; a pod with its own `proxy.istio.io/config` needs `ISTIO_META_DNS_CAPTURE: \"true\"` added under `proxyMetadata` there; `pxc-link setup --dns restart-members` does just that, and `--dns coredns-stub` lets the cluster's CoreDNS answer instead, which restarts nothing",
                ),
                self.capture(),
            )),
        }
    }

    fn capture(&self) -> Vec<crate::domain::hint::Remedy> {
        self.kubectl().zip(self.one).map_or_else(Vec::new, |(kubectl, one)| capture_dns(&kubectl, one))
    }

    fn table_words(&self) -> String {
        match &self.seen.name_table {
            Fetched::Got(None) => "name table of the sidecar: not served".to_owned(),
            Fetched::Got(Some(listed)) if listed.is_empty() => {
                format!("name table of the sidecar: served, without {}", self.spec.host)
            }
            Fetched::Got(Some(listed)) => {
                let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
                format!("name table of the sidecar: {}", listed.join(", "))
            }
            Fetched::Failed(problem) => format!("name table of the sidecar: not read ({})", problem.message),
        }
    }

    pub(super) fn table(&self, resolves: &Check) -> Check {
        let asked = self.ask(ids::NAME_TABLE);
        if !resolves.is_good() {
            return asked.skipped(resolves);
        }
        let Ok((vip, _)) = desired::desired_vip(self.spec, self.facts) else { return asked.skipped(resolves) };
        match &self.seen.name_table {
            Fetched::Failed(problem) => asked.unfetched(problem),
            Fetched::Got(None) => asked.passed(["not served: the cluster's DNS answers the name"]),
            Fetched::Got(Some(listed)) if listed.iter().all(|address| *address == vip) && !listed.is_empty() => {
                asked.passed([self.table_words()])
            }
            Fetched::Got(Some(listed)) => {
                let code = if listed.is_empty() { Code::NotInNameTable } else { Code::NameElsewhere };
                asked.warned(
                    Problem::new(
                        code,
                        format!("`{}` resolves to {vip}, but the sidecar's own table says otherwise", self.spec.host),
                    )
                    .seen(self.table_words())
                    .hint(Hint::text("right after a change the table is a few seconds old; if it stays so, the cluster's DNS has a stub for the name that the mesh does not know of")),
                )
            }
        }
    }
}
