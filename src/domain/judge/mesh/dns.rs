//! DNS capture: will the mesh name resolve in a member once the mesh knows it?

use super::{
    super::{
        ask, ids,
        kubectl::{Kubectl, annotation_of_proxy, restart, with},
        member,
    },
    control_plane::config_of,
};
use crate::domain::{
    check::Check,
    code::Code,
    desired,
    facts::{Facts, PodMember},
    hint::Hint,
    problem::{Fetched, Problem},
    spec::MeshLink,
};

/// The variable in the sidecar that says whether it answers DNS.
const CAPTURE: &str = "ISTIO_META_DNS_CAPTURE";

/// Judges whether a member's sidecar answers DNS, or else something answers the mesh name with its address already.
pub(super) fn capture(spec: MeshLink<'_>, facts: &Facts, one: PodMember<'_>) -> Check {
    let asked = ask(ids::DNS_CAPTURED, member(spec.client_side(), &one));
    let (host, pod) = (&spec.host, &one.pod.name);
    if one.pod.dns_capture == Some(true) {
        return asked.passed([format!("{CAPTURE} is true in its sidecar")]);
    }
    let vip = match desired::desired_vip(spec, facts) {
        Ok((vip, _)) => std::net::IpAddr::V4(vip),
        Err(problem) => return asked.unknown(Problem { hint: None, ..problem }),
    };
    let walked = facts.paths.iter().filter(|path| path.member == *pod).find_map(|path| path.resolved.got());
    if walked.is_some_and(|resolved| !resolved.is_empty() && resolved.iter().all(|address| *address == vip)) {
        return asked.passed([format!("{host} resolves to {vip} in it")]);
    }
    let resolved = match &one.resolved {
        Some(Fetched::Got(resolved)) => resolved.as_slice(),
        Some(Fetched::Failed(problem)) => return asked.unknown(problem.clone()),
        None => &[],
    };
    if !resolved.is_empty() && resolved.iter().all(|address| *address == vip) {
        return asked.passed([format!("the cluster's DNS answers {host} with {vip} already")]);
    }
    let answer = if resolved.is_empty() {
        "no answer".to_owned()
    } else {
        resolved.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let getent = format!("getent ahostsv4 {host}: {answer}");
    let variable = format!(
        "{CAPTURE} in istio-proxy of `{pod}`: {}",
        if one.pod.dns_capture.is_some() { "not true" } else { "not set" }
    );
    // The sidecar's own setting comes before the mesh's; which the pod, made before, may not have yet.
    let of_mesh = config_of(facts)
        .ok()
        .and_then(|config| config.settings.pointer(&format!("/defaultConfig/proxyMetadata/{CAPTURE}")));
    if of_mesh.and_then(serde_json::Value::as_str) == Some("true") && annotation_of_proxy(one, CAPTURE).is_none() {
        return asked.failed(
            Problem::new(
                Code::CaptureOutdated,
                format!("`{pod}` is older than the mesh's DNS capture: its sidecar does not answer names yet"),
            )
            .seen("the mesh's configuration has it on")
            .seen(variable)
            .seen(getent)
            .hint(with(
                Hint::text("make the pods anew, which restarts what runs in them"),
                Kubectl::of(&spec, facts, spec.client_side()).map_or_else(Vec::new, |kubectl| restart(&kubectl, one)),
            )),
        );
    }
    let (code, what) = if resolved.is_empty() {
        (
            Code::NameUnresolved,
            format!(
                "`{host}` will not resolve in `{pod}`: its sidecar does not answer DNS (DNS capture is off), and nobody else knows the name"
            ),
        )
    } else {
        (
            Code::NameElsewhere,
            format!(
                "`{host}` resolves to {answer} in `{pod}` instead of {vip}, and its sidecar does not answer DNS (DNS capture is off)"
            ),
        )
    };
    asked.failed(Problem::new(code, what).seen(getent).seen(variable).hint(Hint::run(
        "turn DNS capture on in the template of the pods, which makes them anew and so restarts what runs in them; or let the cluster's CoreDNS answer this one name by `--dns coredns-stub`, which restarts no pod of the link",
        ["pxc-link", "setup", "--source", &spec.name, "--dns", "restart-members"],
    )))
}
