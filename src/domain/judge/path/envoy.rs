//! M3 and M4: has the sidecar the listener of the virtual address, and behind it the source's endpoints?

use super::{
    super::{
        find, ids,
        kubectl::{restart, with},
    },
    Road, host_words,
};
use crate::domain::{
    check::Check,
    code::Code,
    desired,
    facts::{EnvoyFacts, PROXY},
    hint::Hint,
    problem::{Fetched, Problem},
};

impl Road<'_> {
    fn envoy_cluster(&self) -> String {
        format!("outbound|{}||{}", self.seen.port, self.spec.host)
    }

    pub(super) fn listener(&self) -> Check {
        let asked = self.ask(ids::ENVOY_LISTENER);
        let envoy = match &self.seen.envoy {
            Fetched::Got(envoy) => envoy,
            Fetched::Failed(problem) => return asked.unfetched(problem),
        };
        let vip =
            desired::desired_vip(self.spec, self.facts).map_or_else(|_| "VIP".to_owned(), |(vip, _)| vip.to_string());
        let listener = if self.is_http() {
            format!("0.0.0.0_{} for Host {}", self.seen.port, self.spec.host)
        } else {
            format!("{vip}_{}", self.seen.port)
        };
        let wanted = self.envoy_cluster();
        let pod = &self.seen.member;
        match (&envoy.listener_cluster, &envoy.listener_error) {
            (_, Some(error)) => asked.failed(
                Problem::new(Code::NoListener, format!("Envoy in `{pod}` refuses the listener {listener}"))
                    // Envoy prints the whole message that it refused, and its reason after it.
                    .seen(format!("error_state: {}", error.trim().lines().last().unwrap_or_default()))
                    .hint(with(
                        Hint::text("the error names what it collides with; remove that object, or the EnvoyFilter that touches the listener"),
                        self.kubectl().map(|kubectl| kubectl.line_bare(&["get", "envoyfilter,serviceentry", "--all-namespaces"])),
                    )),
            ),
            (Some(cluster), None) if *cluster == wanted => asked.passed([format!("{listener} → {cluster}")]),
            (Some(cluster), None) if ["PassthroughCluster", "BlackHoleCluster"].contains(&cluster.as_str()) => {
                asked.failed(self.unlistened(&listener, envoy))
            }
            (Some(cluster), None) => asked.failed(
                Problem::new(
                    Code::VipInUse,
                    format!("the listener {listener} in `{pod}` leads to `{cluster}`: somebody else had the virtual address first"),
                )
                .seen(format!("wanted: {wanted}"))
                .hint(with(
                    Hint::text("give the link a free `vip` in the configuration and run setup again, or delete the other entry"),
                    self.kubectl().map(|kubectl| kubectl.line_bare(&["get", "serviceentry", "--all-namespaces", "-o", "wide"])),
                )),
            ),
            (None, None) => asked.failed(self.unlistened(&listener, envoy)),
        }
    }

    fn unlistened(&self, listener: &str, envoy: &EnvoyFacts) -> Problem {
        Problem::new(Code::NoListener, format!("the sidecar of `{}` has no listener {listener}", self.seen.member))
            .seen(format!("hosts of {}: {}", self.envoy_cluster(), host_words(envoy.hosts.as_deref())))
            .hint(with(
                Hint::text("the ServiceEntry is missing, not visible in the members' namespace, or istiod has not sent it: look at the entry, then at istiod"),
                self.kubectl().into_iter().flat_map(|kubectl| {
                    [
                        kubectl.line(&["get", "serviceentry,sidecars.networking.istio.io", "-o", "yaml"]),
                        kubectl.line_in("istio-system", &["logs", "deployment/istiod", "--tail=50"]),
                    ]
                }),
            ))
    }

    fn without_endpoints(&self) -> Problem {
        let cluster = self.envoy_cluster();
        Problem::new(Code::NoEndpoints, format!("the sidecar of `{}` has no endpoint for `{cluster}`", self.seen.member))
            .seen(format!("hosts of {cluster}: {}", host_words(Some(&[]))))
            .hint(with(
                Hint::text("look at `spec.endpoints` of the ServiceEntry (an endpoint with `network` is dropped without mutual TLS), then run setup again"),
                self.kubectl().map(|kubectl| kubectl.line(&["get", "serviceentry", "-o", "yaml"])),
            ))
    }

    /// The sidecar makes a cluster of a name that it was told of only once it has heard of the endpoints, too.
    fn half_told(&self) -> Problem {
        let cluster = self.envoy_cluster();
        let what = format!(
            "the sidecar of `{}` has no cluster `{cluster}`: it does not hear istiod, or was told in part only",
            self.seen.member
        );
        Problem::new(Code::NoEndpoints, what).seen(format!("hosts of {cluster}: {}", host_words(None))).hint(with(
            Hint::text("see in its log whether istiod is reached at port 15012; new pods, whose start restarts what runs in them, connect anew"),
            self.kubectl().into_iter().flat_map(|kubectl| {
                let log = kubectl.line(&["logs", &self.seen.member, "-c", PROXY, "--tail=50"]);
                std::iter::once(log).chain(self.one.map_or_else(Vec::new, |one| restart(&kubectl, one)))
            }),
        ))
    }

    pub(super) fn endpoints(&self, before: &[Check]) -> Check {
        let asked = self.ask(ids::ENVOY_ENDPOINTS);
        let envoy = match (&self.seen.envoy, find(before, ids::ENVOY_LISTENER, &self.subject)) {
            (Fetched::Got(envoy), _) => envoy,
            (Fetched::Failed(_), Some(listener)) => return asked.skipped(listener),
            (Fetched::Failed(problem), None) => return asked.unfetched(problem),
        };
        let pod = &self.seen.member;
        let hosts = match &envoy.hosts {
            Some(hosts) if !hosts.is_empty() => hosts,
            Some(_) => return asked.failed(self.without_endpoints()),
            None => return asked.failed(self.half_told()),
        };
        if hosts.iter().all(|host| host.ejected) {
            return asked.failed(
                Problem::new(
                    Code::NoEndpoints,
                    format!("the sidecar of `{pod}` has ejected every endpoint after failures"),
                )
                .seen(format!("failed_outlier_check on {}", host_words(Some(hosts))))
                .hint(Hint::text(
                    "mend what refuses or drops connections there; ejection ends by itself after `baseEjectionTime`",
                )),
            );
        }
        match desired::desired_endpoints(self.spec, self.facts, self.seen.port) {
            Err(problem) => asked.unknown(
                Problem::new(
                    problem.code,
                    format!(
                        "the endpoints in the sidecar of `{pod}` cannot be compared with the source: {}",
                        problem.message
                    ),
                )
                .seen(format!("hosts: {}", host_words(Some(hosts)))),
            ),
            Ok(wanted) => {
                let mut have: Vec<_> = hosts.iter().map(|host| host.endpoint).collect();
                have.sort_unstable();
                if have == wanted {
                    return asked.passed([host_words(Some(hosts))]);
                }
                let words: Vec<String> = wanted.iter().map(ToString::to_string).collect();
                let problem = Problem::new(
                    Code::NoEndpoints,
                    format!(
                        "the sidecar of `{pod}` sends to {}, but the source is at {}",
                        host_words(Some(hosts)),
                        words.join(", ")
                    ),
                )
                .hint(Hint::text(
                    "run setup again: it brings the ServiceEntry's endpoints in line with the source's nodes",
                ));
                // Some right ones still carry connections; none right means that every connection goes astray.
                if have.iter().any(|endpoint| wanted.contains(endpoint)) {
                    asked.warned(problem)
                } else {
                    asked.failed(problem)
                }
            }
        }
    }
}
