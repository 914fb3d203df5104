//! Carrying out what was asked for beside the link: members made anew, policies of the source, the stub in CoreDNS.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;

use super::{
    carry::Run,
    offers::{self, Restart, Taken},
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
        policy_record::PolicyRecord,
        problem::Problem,
        spec::SourceLocation,
    },
    error::Failure,
    k8s::{
        apply,
        coredns::{self, CoreDns},
        observe::{self, PEER_RECORD, STUB_RECORD},
        pods, templates,
    },
    mesh::{objects, probe},
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
    pub(super) async fn restart_members(&self, restarts: &[Restart], done: &mut Done) -> Result<(), Failure> {
        let (session, cluster) = (self.session, self.sides.client()?);
        for restart in restarts {
            self.may_go_on("before the members were made anew").await?;
            done.changed_beside(&restart.title, "changed");
            let now = Timestamp::now().to_string();
            let value = restart.value.as_deref().unwrap_or(&now);
            let write =
                async { Ok(templates::write(cluster, &restart.annotation, value, false, session.deadline).await?) };
            session.stage(restart.title.clone(), |()| "changed, a rolling restart begins".to_owned(), write).await?;
        }
        let what = "the members are back and answer DNS".to_owned();
        let look = || async {
            for restart in restarts {
                let place = &restart.annotation.place;
                if let Some(left) = templates::left_to_do(cluster, place, session.deadline.at_most(QUESTION)).await? {
                    return Ok(Look::NotYet(format!("{}: {left}", place.title())));
                }
            }
            let selector = &session.mesh()?.client.selector;
            let pods = pods::pods(cluster, selector, session.deadline.at_most(QUESTION)).await?;
            let back = |pod: &&PodFacts| {
                pod.ready && pod.dns_capture == Some(true) && pod.sidecar == (Sidecar::Present { ready: true })
            };
            let rest: Vec<&str> = pods.iter().filter(|pod| !back(pod)).map(|pod| pod.name.as_str()).collect();
            Ok(if rest.is_empty() { Look::Ready(()) } else { Look::NotYet(format!("not yet: {}", rest.join(", "))) })
        };
        let waiting = poll_until(&what, session.deadline, EVERY, session.waiting(&what), look);
        let stage = session.stage(what.clone(), |()| "with DNS capture on".to_owned(), waiting);
        Ok(session.interruptible("while the members were made anew", stage).await??)
    }

    /// Applies the PeerAuthentications at the source.
    pub(super) async fn apply_policies(
        &self,
        plan: &Plan,
        taken: &Taken,
        facts: &mut Facts,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let deadline = self.session.deadline;
        for ((object, record), preview) in taken.policies.iter().zip(&taken.offered.policies) {
            let target = apply::title(object) + OF_THE_SOURCE;
            let of_it = |step: &&Step| {
                step.kind == StepKind::PeerAuthentication && step.target == target && step.action.writes()
            };
            let Some(step) = plan.steps.iter().find(of_it) else { continue };
            self.may_go_on("before a policy of the source was applied").await?;
            let cluster = self.sides.cluster(Side::Source)?;
            if matches!(step.action, Action::Create { .. }) {
                done.created(Side::Source, &target, object);
            } else {
                done.changed_beside(&target, "changed");
                if record.changed.is_some() {
                    done.left(stays(self.session, record, Some(&preview.after), STANDS));
                }
            }
            let writer = offers::policy_writer(self.session, self.options);
            let apply = async { Ok(apply::apply(cluster, object, &writer, deadline).await?) };
            self.session.stage(target, |_| "applied".to_owned(), apply).await?;
            // The path is judged by the policies as they are now.
            facts.source.policies = Some(observe::policies(cluster, deadline).await.into());
        }
        Ok(())
    }

    /// Puts the stub in and waits until it is answered in every member that needs it.
    pub(super) async fn put_stub(
        &self,
        plan: &Plan,
        taken: &Taken,
        facts: &Facts,
        vip: Ipv4Addr,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let (session, cluster) = (self.session, self.sides.client()?);
        let Some((part, text)) = &taken.stub else { return Ok(()) };
        let mut waiting = offers::unresolved(facts, vip);
        let writes = |kind: StepKind| plan.steps.iter().find(|step| step.kind == kind && step.action.writes());
        if let Some(step) = writes(StepKind::CorednsStub) {
            self.may_go_on("before CoreDNS was given a stub").await?;
            if matches!(step.action, Action::Create { .. }) {
                done.created_stub(&step.target);
            } else {
                done.changed(&step.target);
            }
            let link = session.spec.name.as_str();
            let write = async { Ok(coredns::write(cluster, link, part, Some(text), false, session.deadline).await?) };
            session.stage(step.target.clone(), |()| "written".to_owned(), write).await?;
            waiting = offers::without_capture(facts);
        }
        if let Some(step) = writes(StepKind::CorednsRestart)
            && let Some(deployment) = taken.offered.stub.as_ref().and_then(|stub| stub.restart.as_ref())
        {
            self.may_go_on("before CoreDNS was restarted").await?;
            done.changed_beside(&step.target, "restarted");
            let restart = async { Ok(coredns::restart(cluster, deployment, session.deadline).await?) };
            session.stage(step.target.clone(), |()| "restart begun".to_owned(), restart).await?;
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let pods: Vec<String> = waiting.into_iter().map(|pod| pod.name.clone()).collect();
        let what = format!("{} resolves to {vip} in {}", session.spec.host, pods.join(", "));
        let waiting = resolved(session, self.sides, &pods, vip.into(), &what);
        let stage = session.stage(what.clone(), |()| "answered by CoreDNS".to_owned(), waiting);
        Ok(session.interruptible("while the stub came into effect", stage).await??)
    }
}

/// Waits until the mesh name resolves to the virtual address, and to nothing else, in every one of the pods.
async fn resolved(session: &Session, sides: &Sides, pods: &[String], vip: IpAddr, what: &str) -> Result<(), Problem> {
    let mesh = session.mesh()?;
    let look = || async {
        let ask = |pod: &String| {
            let pod = pod.clone();
            async move {
                let seen =
                    probe::resolve(sides.place(mesh, &pod)?, &session.spec.host, session.deadline.at_most(QUESTION))
                        .await?;
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
#[derive(Default)]
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
        let mut beside = Self::default();
        if record(STUB_RECORD).is_some()
            && let Some((found, parts)) = stubs(session, sides, session.deadline).await?
        {
            beside.restart = (!found.read.reloads).then(|| found.deployment.clone());
            beside.stubs = parts;
        }
        for record in record(PEER_RECORD).into_iter().flat_map(PolicyRecord::parse) {
            let named = objects::policy_named(&record.namespace, &record.name);
            let seen = match sides.cluster(Side::Source) {
                Ok(cluster) => apply::now(cluster, &named, session.deadline).await.map_err(Problem::from),
                Err(problem) => Err(problem),
            };
            match seen {
                Ok(None) => {}
                Ok(Some(object)) if record.changed.is_some() => {
                    if record.undo(Some(&object)).is_some() {
                        beside.left.push(stays(session, &record, Some(&object), STANDS));
                    }
                }
                Ok(Some(object)) if objects::is_own(&object, &session.spec.name) => beside.policies.push(object),
                Ok(Some(object)) => {
                    let why = "was made for this link and does not carry its label any more";
                    beside.left.push(stays(session, &record, Some(&object), why));
                }
                Err(problem) if matches!(problem.code, Code::ApiUnreachable | Code::ApiTimedOut) => {
                    let why = format!("cannot be looked at now: {}", problem.message);
                    beside.left.push(stays(session, &record, None, &why));
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
                let restarted = self.restart.iter().map(|deployment| restart_step(deployment).target);
                gone.extend(restarted.map(|target| Change { target, verb: "restarted" }));
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

/// Why a policy of somebody else is left as it is.
const STANDS: &str = "is somebody else's, and setup changed it";

/// A policy of the source that is left as it is, with the command that undoes what setup did to it.
fn stays(session: &Session, record: &PolicyRecord, policy: Option<&serde_json::Value>, why: &str) -> Problem {
    let mut argv = vec!["kubectl".to_owned()];
    if let Some(SourceLocation::Kubernetes { cluster, .. }) = session.spec.mesh().map(|mesh| mesh.source) {
        let kubeconfig = cluster.kubeconfig.iter().map(|path| path.display().to_string());
        argv.extend(kubeconfig.flat_map(|path| ["--kubeconfig".to_owned(), path]));
        argv.extend(cluster.context.iter().flat_map(|context| ["--context".to_owned(), context.clone()]));
    }
    let (namespace, name, kind) =
        (record.namespace.as_str(), record.name.as_str(), "peerauthentications.security.istio.io");
    let rest: Vec<String> = match record.undo(policy).map(|patch| patch.to_string()) {
        Some(patch) => {
            ["-n", namespace, "patch", kind, name, "--type", "merge", "-p", &patch].map(ToOwned::to_owned).into()
        }
        None => ["-n", namespace, "delete", kind, name].map(ToOwned::to_owned).into(),
    };
    argv.extend(rest);
    let mut hint = Hint::text("undo it there when nobody needs the plain port any more");
    hint.commands.push(Remedy::Argv(argv));
    Problem::new(Code::LeftChanged, format!("PeerAuthentication {} of the source {why}", record.place())).hint(hint)
}
