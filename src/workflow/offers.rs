//! What setup was asked for beside the link itself: read and judged before anything is written, and shown as steps of the plan.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use jiff::Timestamp;

use super::{session::Session, setup::Options, sides::Sides};
use crate::{
    domain::{
        check::{Check, Outcome, Side},
        code::Code,
        corefile::{self, Corefile, Stub},
        desired,
        facts::{ClusterFacts, DeniedRule, Facts, PodFacts, PodMember},
        hint::Hint,
        judge::peer::{self, Exemption},
        offered::{DnsWay, Offered, Offers, RestartPreview, StubPreview},
        plan::FieldChange,
        policy_record::PolicyRecord,
        problem::{Fetched, Problem},
        spec::{MeshLink, SourceLocation},
    },
    k8s::{
        Cluster, access,
        apply::{self, Writer},
        coredns::{self, CoreDns, Part},
        observe::{PEER_RECORD, STUB_RECORD},
        review,
        templates::{self, Annotation, Place},
    },
    mesh::{objects, proxy_config},
};

/// Makes the pods of a template anew where nothing else of it changes; kubectl's own annotation for that.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What was asked for and is to be done, with everything that doing it needs.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// As the plan shows it.
    pub(super) offered: Offered,
    /// The stub's place and the whole text that it is to have.
    pub(super) stub: Option<(Part, String)>,
    /// Templates to write.
    pub(super) restarts: Vec<Restart>,
    /// PeerAuthentications to apply at the source, and what is remembered of each.
    pub(super) policies: Vec<(serde_json::Value, PolicyRecord)>,
    /// What the link's ServiceEntry is to remember, so that teardown knows of it.
    pub(super) records: BTreeMap<String, String>,
}

/// An annotation that makes pods anew.
#[derive(Debug)]
pub(super) struct Restart {
    /// As the plan calls it.
    pub(super) title: String,
    /// Where, and what is there now.
    pub(super) annotation: Annotation,
    /// The value; `None` for the moment at which it is written.
    pub(super) value: Option<String>,
}

/// What was read for the offers that were taken, before it is known whether anything else stands in the way.
#[derive(Debug, Default)]
pub(super) struct Read {
    coredns: Option<CoreDns>,
    annotations: Vec<(Annotation, Vec<String>)>,
}

/// The members whose sidecars leave DNS to the cluster; all of these need another way for the name to resolve.
pub(super) fn without_capture(facts: &Facts) -> Vec<&PodFacts> {
    let pods = facts.client.pods().map(|member| member.pod);
    pods.filter(|pod| pod.dns_capture != Some(true)).collect()
}

/// Those of them in which the mesh name did not resolve to its address when they were looked at.
pub(super) fn unresolved(facts: &Facts, vip: Ipv4Addr) -> Vec<&PodFacts> {
    let resolves = |one: &PodMember<'_>| {
        one.resolved.as_ref().and_then(Fetched::got).is_some_and(|seen| *seen == [IpAddr::V4(vip)])
    };
    let pods = facts.client.pods();
    pods.filter(|one| one.pod.dns_capture != Some(true) && !resolves(one)).map(|one| one.pod).collect()
}

/// Reads what the offers need. Permissions that are missing join those of the side, so that they are judged with them.
pub(super) async fn read(session: &Session, sides: &Sides, offers: Offers, facts: &mut Facts) -> Result<Read, Problem> {
    let mut read = Read::default();
    if offers.dns.is_some() && !without_capture(facts).is_empty() {
        let cluster = sides.client()?;
        let (denied, found) = match offers.dns {
            Some(DnsWay::CorednsStub) => stub_needs(session, cluster).await?,
            _ => restart_needs(session, cluster, facts).await?,
        };
        read = found;
        deny(&mut facts.client.cluster, denied);
    }
    if offers.disable_source_mtls
        && let SourceLocation::Kubernetes { cluster: reference, .. } = session.mesh()?.source
    {
        let cluster = sides.cluster(Side::Source)?;
        let rules = access::to_disable_mtls(&reference.namespace);
        let denied = review::missing(cluster, rules, session.deadline).await?;
        if let Some(seen) = &mut facts.source.cluster {
            deny(seen, denied);
        }
    }
    Ok(read)
}

fn deny(cluster: &mut Fetched<ClusterFacts>, denied: Vec<DeniedRule>) {
    if let Fetched::Got(cluster) = cluster {
        cluster.denied.extend(denied);
        cluster.denied.sort();
        cluster.denied.dedup();
    }
}

async fn stub_needs(session: &Session, cluster: &Cluster) -> Result<(Vec<DeniedRule>, Read), Problem> {
    let (link, deadline) = (&session.spec.name, session.deadline);
    let mut denied = review::missing(cluster, access::to_find_coredns(), deadline).await?;
    if !denied.is_empty() {
        denied.push(access::of_kube_system("patch", "", "configmaps", Some("coredns")));
        return Ok((denied, Read::default()));
    }
    let found = coredns::find(cluster, link, deadline).await?;
    let denied = review::missing(cluster, found.rules(), deadline).await?;
    Ok((denied, Read { coredns: Some(found), ..Read::default() }))
}

async fn restart_needs(
    session: &Session,
    cluster: &Cluster,
    facts: &Facts,
) -> Result<(Vec<DeniedRule>, Read), Problem> {
    let mut places: BTreeMap<Place, Vec<String>> = BTreeMap::new();
    for pod in without_capture(facts) {
        let place = Place::of(pod).ok_or_else(|| {
            not_restarted(session, format!("nothing known made pod `{}`, so nobody would make it anew", pod.name))
                .seen(format!("owner: {}", pod.owner.as_deref().unwrap_or("none")))
        })?;
        places.entry(place).or_default().push(pod.name.clone());
    }
    let rules: Vec<DeniedRule> = places.keys().flat_map(|place| place.rules(cluster)).collect();
    let denied = review::missing(cluster, rules, session.deadline).await?;
    let mut read = Read::default();
    if denied.is_empty() {
        for (place, pods) in places {
            let annotation = templates::read(cluster, place, proxy_config::KEY, session.deadline).await?;
            read.annotations.push((annotation, pods));
        }
    }
    Ok((denied, read))
}

/// Who applies a link's own objects.
pub(super) fn writer(session: &Session, options: Options) -> Writer {
    let mut again: Vec<String> = ["pxc-link", "setup", "--source", &session.spec.name].map(ToOwned::to_owned).into();
    again.extend(options.offers.flags().into_iter().map(ToOwned::to_owned));
    Writer { manager: apply::MANAGER.to_owned(), force: options.force_conflicts, again }
}

/// Who applies policies of the source. Links share somebody else's policy: under one name the second would take back the ports of
/// the first, as server-side apply removes what its manager says no longer.
pub(super) fn policy_writer(session: &Session, options: Options) -> Writer {
    Writer { manager: format!("{}-{}", apply::MANAGER, session.spec.name), ..writer(session, options) }
}

fn not_restarted(session: &Session, message: String) -> Problem {
    Problem::new(Code::RestartRefused, message).hint(Hint::run(
        "turn DNS capture on by hand where the pods come from, or let CoreDNS answer the name, which restarts nothing",
        ["pxc-link", "setup", "--source", &session.spec.name, "--dns", "coredns-stub"],
    ))
}

/// The checks without those that the offers are there to mend.
pub(super) fn unmended(checks: Vec<Check>, offers: Offers) -> Vec<Check> {
    let mends = |code: Code| match code {
        Code::NameUnresolved | Code::NameElsewhere | Code::CaptureOutdated => offers.dns.is_some(),
        Code::PermissiveHang | Code::StrictHang => offers.disable_source_mtls,
        _ => false,
    };
    let failed = |check: &Check| match &check.outcome {
        Outcome::Failed(problem) => mends(problem.code),
        _ => false,
    };
    checks.into_iter().filter(|check| !failed(check)).collect()
}

impl Read {
    /// What is to be done, tried out at the API servers without being written.
    pub(super) async fn settle(
        self,
        session: &Session,
        mesh: MeshLink<'_>,
        sides: &Sides,
        options: Options,
        facts: &Facts,
        vip: Ipv4Addr,
    ) -> Result<Taken, Problem> {
        let mut taken = Taken::default();
        if let Some(found) = self.coredns {
            let unresolved = !unresolved(facts, vip).is_empty();
            stub(session, sides.client()?, found, vip, unresolved, &mut taken).await?;
        }
        for (annotation, pods) in self.annotations {
            restart(session, sides.client()?, annotation, pods, &mut taken).await?;
        }
        if options.offers.disable_source_mtls
            && let SourceLocation::Kubernetes { cluster: reference, .. } = mesh.source
        {
            let cluster = sides.cluster(Side::Source)?;
            let mut noted = Vec::new();
            for exemption in peer::exemptions(mesh, facts)? {
                let object = objects::peer_authentication(mesh, &reference.namespace, &exemption);
                let writer = policy_writer(session, options);
                let preview = apply::preview(cluster, &object, &writer, session.deadline).await?;
                let record = record(&reference.namespace, mesh, &exemption);
                noted.push(record.clone());
                taken.offered.policies.push(preview);
                taken.policies.push((object, record));
            }
            if !noted.is_empty() {
                let before = desired::records(mesh, facts).remove(PEER_RECORD).unwrap_or_default();
                taken.records.insert(PEER_RECORD.to_owned(), PolicyRecord::merged(&before, noted));
            }
        }
        Ok(taken)
    }
}

fn record(namespace: &str, spec: MeshLink<'_>, exemption: &Exemption) -> PolicyRecord {
    let changed = |_: &String| {
        let ports = exemption.changed.iter();
        ports.map(|(port, mode)| (*port, mode.map(|mode| mode.name().to_owned()))).collect()
    };
    PolicyRecord {
        namespace: namespace.to_owned(),
        name: exemption.existing.clone().unwrap_or_else(|| peer::own_name(spec)),
        changed: exemption.existing.as_ref().map(changed),
    }
}

async fn stub(
    session: &Session,
    cluster: &Cluster,
    found: CoreDns,
    vip: Ipv4Addr,
    unresolved: bool,
    taken: &mut Taken,
) -> Result<(), Problem> {
    let (link, host) = (session.spec.name.as_str(), session.spec.host.as_str());
    let home = found.home().clone();
    let unreadable = |why: String| coredns::unreadable(link, &home, &why);
    let before = home.text.clone().unwrap_or_default();
    let wanted = Stub { link, host, vip, port: found.read.port };
    let without = corefile::without_stub(&before, link).map_err(unreadable)?;
    let after = corefile::with_stub(&before, &wanted).map_err(unreadable)?;
    let corefile = found.imported.as_ref().and(found.corefile.text.clone()).map(|text| (found.corefile.title(), text));
    for (place, text) in [(home.title(), without)].into_iter().chain(found.siblings).chain(corefile) {
        if Corefile::read(&text).map_err(unreadable)?.serves(host) {
            let message = format!("CoreDNS has a server block for `{host}` that is not this link's");
            return Err(coredns::refused(link, message).seen(format!("in ConfigMap {place}")));
        }
    }
    if after != before {
        coredns::write(cluster, link, &home, Some(&after), true, session.deadline).await?;
    }
    taken.records.insert(STUB_RECORD.to_owned(), home.title());
    taken.offered.stub = Some(StubPreview {
        place: home.title(),
        before: corefile::stub_of(&before, link).map_err(unreadable)?.unwrap_or_default().to_owned(),
        after: wanted.block(),
        // A stub of an earlier run that CoreDNS was never told of is not answered either.
        restart: (!found.read.reloads && (after != before || unresolved)).then(|| found.deployment.clone()),
    });
    taken.stub = Some((home, after));
    Ok(())
}

async fn restart(
    session: &Session,
    cluster: &Cluster,
    annotation: Annotation,
    pods: Vec<String>,
    taken: &mut Taken,
) -> Result<(), Problem> {
    let title = annotation.place.title();
    if let Some(why) = &annotation.stays {
        return Err(not_restarted(session, format!("a changed template of {title} does not reach its pods")).seen(why));
    }
    let value = proxy_config::capturing_dns(annotation.value.as_deref()).map_err(|why| {
        not_restarted(session, format!("annotation `{}` of {title} cannot be added to", proxy_config::KEY)).seen(why)
    })?;
    let same = annotation.value.as_deref().is_some_and(|now| proxy_config::says_the_same(now, &value));
    let (annotation, value) = if same {
        // The template says it already, and the pods are older than that.
        (annotation.other(RESTARTED_AT), None)
    } else {
        (annotation, Some(value))
    };
    let written = value.clone().unwrap_or_else(|| Timestamp::now().to_string());
    templates::write(cluster, &annotation, &written, true, session.deadline).await?;
    let field = FieldChange {
        field: annotation.key.clone(),
        before: annotation.value.clone().unwrap_or_default(),
        after: value.clone().unwrap_or_else(|| "now".to_owned()),
    };
    let preview = RestartPreview { target: title, annotation: field, pods };
    taken.restarts.push(Restart { title: preview.title(), annotation, value });
    taken.offered.restarts.push(preview);
    Ok(())
}
