//! Carrying out what was asked for beside the link: members made anew, policies of the source, the stub in CoreDNS.

use std::{net::IpAddr, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;

use super::{
    carry::Run,
    offers::{CREATED, Restart, Taken},
    session::Session,
    sides::Sides,
    undo::Done,
};
use crate::{
    domain::{
        check::{Change, Side},
        code::Code,
        corefile,
        facts::{Facts, PodFacts, Sidecar},
        hint::{Hint, Remedy},
        offered::{OF_THE_SOURCE, restart_step, stub_title},
        plan::{Action, Plan, Step, StepKind},
        problem::Problem,
        spec::SourceLocation,
    },
    error::Failure,
    k8s::{
        apply,
        coredns::{self, CoreDns},
        observe::{PEER_RECORD, STUB_RECORD},
        pods, templates,
    },
    mesh::{
        objects,
        probe::{self, Place},
    },
    wait::{Deadline, Look, poll_until},
};

/// How long a stub may take to be answered: a kubelet brings a changed ConfigMap into a pod within a minute and a bit, CoreDNS looks
/// every 30 s give or take 15, and a name that did not exist is remembered for as long.
const ANSWERED: Duration = Duration::from_mins(4);
/// How often each pod asks in one look: several CoreDNS pods learn of the stub one after the other, and each question may go to
/// another of them.
const ASKED: usize = 8;
/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// What one question to a container's resolver may take.
const QUESTION: Duration = Duration::from_secs(15);

impl Run<'_> {
    /// Makes the members anew and waits until all of them are back.
    pub(super) async fn restart_members(
        &self,
        restarts: &[Restart],
        facts: &Facts,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let (session, cluster) = (self.session, self.sides.client()?);
        for restart in restarts {
            self.may_go_on("before the members were made anew")?;
            done.changed_beside(&restart.title, "changed");
            let now = Timestamp::now().to_string();
            let value = restart.value.as_deref().unwrap_or(&now);
            let write =
                async { Ok(templates::write(cluster, &restart.annotation, value, false, session.deadline).await?) };
            session.stage(restart.title.clone(), |()| "changed, a rolling restart begins".to_owned(), write).await?;
        }
        let wanted = facts.client.members.got().map_or(0, Vec::len);
        let what = format!("all {wanted} member(s) are back and answer DNS");
        let look = || async {
            let pods = pods::pods(cluster, &session.spec.client.selector, session.deadline.at_most(QUESTION)).await?;
            let back = |pod: &&PodFacts| {
                pod.ready && pod.dns_capture == Some(true) && pod.sidecar == (Sidecar::Present { ready: true })
            };
            let count = pods.iter().filter(back).count();
            if count >= wanted && count == pods.len() {
                return Ok(Look::Ready(()));
            }
            let rest: Vec<&str> = pods.iter().filter(|pod| !back(pod)).map(|pod| pod.name.as_str()).collect();
            Ok(Look::NotYet(format!("{count} of {wanted} are, waiting for {}", rest.join(", "))))
        };
        let waiting = poll_until(&what, session.deadline, EVERY, session.waiting(&what), look);
        let stage = session.stage(what.clone(), |()| "with DNS capture on".to_owned(), waiting);
        Ok(session.interruptible("while the members were made anew", stage).await??)
    }

    /// Applies the PeerAuthentications at the source.
    pub(super) async fn apply_policies(&self, plan: &Plan, taken: &Taken, done: &mut Done) -> Result<(), Failure> {
        for object in &taken.policies {
            let target = apply::title(object) + OF_THE_SOURCE;
            let of_it = |step: &&Step| {
                step.kind == StepKind::PeerAuthentication && step.target == target && step.action.writes()
            };
            let Some(step) = plan.steps.iter().find(of_it) else { continue };
            self.may_go_on("before a policy of the source was applied")?;
            let cluster = self.sides.cluster(Side::Source)?;
            match step.action {
                Action::Create { .. } => done.created(Side::Source, &target, object),
                _ => done.changed_beside(&target, "changed"),
            }
            let (force, deadline) = (self.options.force_conflicts, self.session.deadline);
            let apply = async { Ok(apply::apply(cluster, object, force, deadline).await?) };
            self.session.stage(target, |_| "applied".to_owned(), apply).await?;
        }
        Ok(())
    }

    /// Puts the stub in and waits until it is answered in every member that needs it.
    pub(super) async fn put_stub(
        &self,
        plan: &Plan,
        taken: &Taken,
        facts: &Facts,
        vip: IpAddr,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let (session, cluster) = (self.session, self.sides.client()?);
        let step = plan.steps.iter().find(|step| step.kind == StepKind::CorednsStub && step.action.writes());
        let (Some(step), Some((part, text))) = (step, &taken.stub) else { return Ok(()) };
        self.may_go_on("before CoreDNS was given a stub")?;
        if matches!(step.action, Action::Create { .. }) {
            done.created_stub(&step.target);
        } else {
            done.changed(&step.target);
        }
        let link = session.spec.name.as_str();
        let write = async { Ok(coredns::write(cluster, link, part, Some(text), false, session.deadline).await?) };
        session.stage(step.target.clone(), |()| "written".to_owned(), write).await?;
        if let Some(deployment) = taken.offered.stub.as_ref().and_then(|stub| stub.restart.as_ref()) {
            self.may_go_on("before CoreDNS was restarted")?;
            let target = format!("Deployment/{deployment}");
            done.changed_beside(&target, "restarted");
            let restart = async { Ok(coredns::restart(cluster, deployment, session.deadline).await?) };
            session.stage(target, |()| "restart begun".to_owned(), restart).await?;
        }
        let members = facts.client.members.got().into_iter().flatten();
        let pods: Vec<String> = members
            .filter(|member| member.pod.dns_capture != Some(true))
            .map(|member| member.pod.name.clone())
            .collect();
        let what = format!("{} resolves to {vip} in {}", session.spec.host, pods.join(", "));
        let waiting = resolved(session, self.sides, &pods, vip, &what);
        let stage = session.stage(what.clone(), |()| "answered by CoreDNS".to_owned(), waiting);
        Ok(session.interruptible("while the stub came into effect", stage).await??)
    }
}

/// Waits until the mesh name resolves to the virtual address, and to nothing else, in every one of the pods.
async fn resolved(session: &Session, sides: &Sides, pods: &[String], vip: IpAddr, what: &str) -> Result<(), Problem> {
    let cluster = sides.client()?;
    let container = session.spec.client.container.as_str();
    let look = || async {
        let ask = |pod: &String| {
            let pod = pod.clone();
            async move {
                let place = Place { cluster, pod: &pod, container };
                let seen = probe::resolve(place, &session.spec.host, session.deadline.at_most(QUESTION)).await?;
                let shown: Vec<String> = seen.iter().map(ToString::to_string).collect();
                let shown = if shown.is_empty() { "no answer".to_owned() } else { shown.join(", ") };
                Ok::<_, Problem>((seen != [vip]).then(|| format!("{pod}: {shown}")))
            }
        };
        let answers = join_all(pods.iter().flat_map(|pod| std::iter::repeat_n(pod, ASKED)).map(ask))
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let mut others: Vec<String> = answers.into_iter().flatten().collect();
        others.dedup();
        Ok(if others.is_empty() { Look::Ready(()) } else { Look::NotYet(others.join("; ")) })
    };
    poll_until(what, session.deadline.at_most(ANSWERED), EVERY, session.waiting(what), look).await
}

/// Where CoreDNS has a stub of the link; nowhere, too, where there is no CoreDNS any more.
pub(super) async fn stubs(
    session: &Session,
    sides: &Sides,
    deadline: Deadline,
) -> Result<Option<(CoreDns, Vec<coredns::Part>)>, Problem> {
    let link = session.spec.name.as_str();
    let found = match coredns::find(sides.client()?, link, deadline).await {
        Ok(found) => found,
        Err(problem) if problem.code == Code::StubRefused => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let mut parts = Vec::new();
    for part in std::iter::once(&found.corefile).chain(&found.imported) {
        let text = part.text.as_deref().unwrap_or_default();
        if corefile::stub_of(text, link).map_err(|why| coredns::unreadable(link, part, &why))?.is_some() {
            parts.push(part.clone());
        }
    }
    Ok((!parts.is_empty()).then_some((found, parts)))
}

/// Takes every stub of the link out of CoreDNS's configuration; `false` where there was none.
pub(super) async fn take_stub_out(session: &Session, sides: &Sides, deadline: Deadline) -> Result<bool, Problem> {
    let Some((found, parts)) = stubs(session, sides, deadline).await? else { return Ok(false) };
    let (cluster, link) = (sides.client()?, session.spec.name.as_str());
    for part in &parts {
        let text = part.text.as_deref().unwrap_or_default();
        let without = corefile::without_stub(text, link).map_err(|why| coredns::unreadable(link, part, &why))?;
        // A file that only the stub was in goes with it; a Corefile stays, however empty.
        let kept = Some(without.as_str()).filter(|text| !text.is_empty() || part.key == found.corefile.key);
        coredns::write(cluster, link, part, kept, false, deadline).await?;
    }
    if !found.read.reloads {
        coredns::restart(cluster, &found.deployment, deadline).await?;
    }
    Ok(true)
}

/// What a link made beside its own objects, as its ServiceEntry remembers it.
pub(super) struct Beside {
    /// Where CoreDNS has a stub of it.
    stubs: Vec<coredns::Part>,
    /// The Deployment that has to be restarted for the stub to be forgotten.
    restart: Option<String>,
    /// PeerAuthentications of the source that were made for it.
    policies: Vec<serde_json::Value>,
    /// What stays, and how it is undone.
    pub(super) left: Vec<Problem>,
}

impl Beside {
    /// Looks at everything that the link's objects remember.
    pub(super) async fn look(session: &Session, sides: &Sides, objects: &[serde_json::Value]) -> Result<Self, Problem> {
        let record = |key: &str| objects.iter().find_map(|object| object["metadata"]["annotations"][key].as_str());
        let mut beside = Self { stubs: Vec::new(), restart: None, policies: Vec::new(), left: Vec::new() };
        if record(STUB_RECORD).is_some()
            && let Some((found, parts)) = stubs(session, sides, session.deadline).await?
        {
            beside.restart = (!found.read.reloads).then(|| found.deployment.clone());
            beside.stubs = parts;
        }
        for named in record(PEER_RECORD).into_iter().flat_map(|record| record.split(", ")) {
            let Some((verb, place)) = named.split_once(' ') else { continue };
            let Some((namespace, name)) = place.split_once('/') else { continue };
            let object = objects::policy_named(namespace, name);
            let seen = match sides.cluster(Side::Source) {
                Ok(cluster) => apply::now(cluster, &object, session.deadline).await.map_err(Problem::from),
                Err(problem) => Err(problem),
            };
            match seen {
                Ok(None) => {}
                Ok(Some(object)) if verb == CREATED && objects::is_own(&object, &session.spec.name) => {
                    beside.policies.push(object);
                }
                Ok(Some(object)) => beside.left.push(stays(session, &object, namespace, name, None)),
                Err(problem) if matches!(problem.code, Code::ApiUnreachable | Code::ApiTimedOut) => {
                    beside.left.push(stays(session, &object, namespace, name, Some(&problem)));
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(beside)
    }

    /// The steps that take it away.
    pub(super) fn steps(&self) -> Vec<Step> {
        let stubs = self.stubs.iter().map(|part| Step {
            kind: StepKind::CorednsStub,
            target: stub_title(&part.title()),
            action: Action::Delete,
        });
        let restart = self.restart.iter().map(|deployment| restart_step(deployment));
        let policies = self.policies.iter().map(|object| Step {
            kind: StepKind::PeerAuthentication,
            target: apply::title(object) + OF_THE_SOURCE,
            action: Action::Delete,
        });
        stubs.chain(restart).chain(policies).collect()
    }

    /// Takes it away, before the ServiceEntry that remembers it.
    pub(super) async fn take_away(
        &self,
        session: &Session,
        sides: &Sides,
        gone: &mut Vec<Change>,
    ) -> Result<(), Problem> {
        if let Some(part) = self.stubs.first() {
            let target = stub_title(&part.title());
            let said = |there: &bool| if *there { "taken out" } else { "was gone" }.to_owned();
            if session.stage(target.clone(), said, take_stub_out(session, sides, session.deadline)).await? {
                gone.push(Change { target, verb: "deleted" });
            }
        }
        for object in &self.policies {
            let cluster = sides.cluster(Side::Source)?;
            let target = apply::title(object) + OF_THE_SOURCE;
            let said = |there: &bool| if *there { "deleted" } else { "was gone" }.to_owned();
            let delete = async { Ok(apply::delete(cluster, object, session.deadline).await?) };
            if session.stage(target.clone(), said, delete).await? {
                gone.push(Change { target, verb: "deleted" });
            }
        }
        Ok(())
    }
}

/// A policy of the source that this teardown leaves as it is, with the command that undoes what setup did to it.
fn stays(
    session: &Session,
    object: &serde_json::Value,
    namespace: &str,
    name: &str,
    unreached: Option<&Problem>,
) -> Problem {
    let mut argv = vec!["kubectl".to_owned()];
    if let SourceLocation::Kubernetes { cluster, .. } = &session.spec.source {
        let kubeconfig = cluster.kubeconfig.iter().map(|path| path.display().to_string());
        argv.extend(kubeconfig.flat_map(|path| ["--kubeconfig".to_owned(), path]));
        argv.extend(cluster.context.iter().flat_map(|context| ["--context".to_owned(), context.clone()]));
    }
    let kind = "peerauthentications.security.istio.io";
    let rest: Vec<String> = if unreached.is_some() {
        ["-n", namespace, "delete", kind, name].map(ToOwned::to_owned).into()
    } else {
        let ports = object["spec"]["portLevelMtls"].as_object().into_iter().flatten();
        let plain = ports.filter(|(_, mode)| mode["mode"] == "DISABLE").map(|(port, _)| port.clone());
        let without: serde_json::Map<String, serde_json::Value> =
            plain.map(|port| (port, serde_json::Value::Null)).collect();
        let patch = serde_json::json!({"spec": {"portLevelMtls": without}}).to_string();
        ["-n", namespace, "patch", kind, name, "--type", "merge", "-p", &patch].map(ToOwned::to_owned).into()
    };
    argv.extend(rest);
    let why = match unreached {
        Some(problem) => format!("cannot be taken away now: {}", problem.message),
        None => "is somebody else's, and setup changed it".to_owned(),
    };
    let mut hint = Hint::text("undo it there when nobody needs the plain port any more");
    hint.commands.push(Remedy::Argv(argv));
    Problem::new(Code::LeftChanged, format!("PeerAuthentication {namespace}/{name} of the source {why}")).hint(hint)
}
