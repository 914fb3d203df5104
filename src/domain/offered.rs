//! What `setup` offers and never does unasked: the steps beside the link's own, each shown before it is agreed to.

use serde::Serialize;

use super::plan::{Action, FieldChange, Plan, Preview, Step, StepKind, object_step};

/// How a mesh name is to resolve in members whose sidecars do not capture DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsWay {
    /// CoreDNS answers it.
    CorednsStub,
    /// The members' sidecars are made to capture DNS, which makes the pods anew.
    RestartMembers,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offers {
    /// A way for the mesh name to resolve.
    pub dns: Option<DnsWay>,
    /// Take the source's port out of mutual TLS.
    pub disable_source_mtls: bool,
}

impl Offers {
    /// The flags of `setup` that ask for them.
    pub fn flags(self) -> Vec<&'static str> {
        let dns = self.dns.map(|way| match way {
            DnsWay::CorednsStub => ["--dns", "coredns-stub"],
            DnsWay::RestartMembers => ["--dns", "restart-members"],
        });
        let mtls = self.disable_source_mtls.then_some("--disable-source-mtls");
        dns.into_iter().flatten().chain(mtls).collect()
    }
}

/// A stub in CoreDNS's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StubPreview {
    /// Where it goes: ConfigMap and key.
    pub place: String,
    /// The lines there are now, none where there is no stub of the link.
    pub before: String,
    /// The lines there are to be.
    pub after: String,
    /// The Deployment that has to be restarted for it, because it does not read its configuration again.
    pub restart: Option<String>,
}

/// A template of members' pods that is to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestartPreview {
    /// `Kind/name` of what holds the template.
    pub target: String,
    /// The annotation that changes.
    pub annotation: FieldChange,
    /// The pods that are made anew.
    pub pods: Vec<String>,
}

impl RestartPreview {
    /// As plans and reports call it.
    pub fn title(&self) -> String {
        format!("{} ({})", self.target, self.pods.join(", "))
    }
}

/// What tells a PeerAuthentication of the source from an object of the client's side.
pub const OF_THE_SOURCE: &str = " of the source";

/// Everything asked for, as far as there is something to do or to show.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Offered {
    /// Templates that change, so that the members' pods are made anew.
    pub restarts: Vec<RestartPreview>,
    /// PeerAuthentications of the source, and what applying them would do.
    pub policies: Vec<Preview>,
    /// The stub.
    pub stub: Option<StubPreview>,
}

impl Plan {
    /// The plan with the steps that were asked for beside the link's own: members are made anew before everything else, policies
    /// come before the mesh objects, and the stub before the path is proven, which proves it too.
    #[must_use]
    pub fn with(mut self, offered: &Offered) -> Self {
        let first = offered.restarts.iter().map(members_step).chain(offered.policies.iter().map(policy_step));
        self.steps.splice(0..0, first.collect::<Vec<_>>());
        let path = self.steps.iter().position(|step| step.kind == StepKind::Path).unwrap_or(self.steps.len());
        self.steps.splice(path..path, offered.stub.iter().flat_map(stub_steps).collect::<Vec<_>>());
        self
    }
}

fn members_step(restart: &RestartPreview) -> Step {
    Step {
        kind: StepKind::RestartMembers,
        target: restart.title(),
        action: Action::Update { fields: vec![restart.annotation.clone()] },
    }
}

fn policy_step(preview: &Preview) -> Step {
    let mut step = object_step(StepKind::PeerAuthentication, "PeerAuthentication", preview);
    step.target += OF_THE_SOURCE;
    step
}

fn stub_steps(stub: &StubPreview) -> Vec<Step> {
    let lines = |text: &str| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>();
    let action = if stub.before == stub.after {
        Action::Unchanged { note: None }
    } else if stub.before.is_empty() {
        Action::Create { with: lines(&stub.after) }
    } else {
        let (before, after) = (stub.before.clone(), stub.after.clone());
        Action::Update { fields: vec![FieldChange { field: "lines".to_owned(), before, after }] }
    };
    let restart = stub.restart.iter().map(|deployment| restart_step(deployment));
    let stub = Step { kind: StepKind::CorednsStub, target: stub_title(&stub.place), action };
    std::iter::once(stub).chain(restart).collect()
}

/// CoreDNS is restarted, where it does not read its configuration again.
pub fn restart_step(deployment: &str) -> Step {
    let pods =
        FieldChange { field: "pods".to_owned(), before: "as they run".to_owned(), after: "made anew".to_owned() };
    Step {
        kind: StepKind::CorednsRestart,
        target: format!("Deployment/{deployment} in kube-system"),
        action: Action::Update { fields: vec![pods] },
    }
}

/// The stub as plans and reports call it.
pub fn stub_title(place: &str) -> String {
    format!("CoreDNS stub in ConfigMap {place}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        channel::Password,
        plan::{self, MeshPreviews},
        sample,
    };

    fn plan_with(offered: &Offered) -> Vec<(StepKind, String, bool)> {
        let after = serde_json::json!({"metadata": {"name": "pxc-source-production"}, "spec": {}});
        let preview = Preview { before: None, after };
        let previews = MeshPreviews { service_entry: preview.clone(), destination_rule: preview };
        let plan = plan::plan(sample::spec().replication(), &sample::unlinked(), Some(&previews), Password::Kept)
            .unwrap()
            .with(offered);
        plan.steps.iter().map(|step| (step.kind, step.target.clone(), step.action.writes())).collect()
    }

    fn stub(before: &str) -> StubPreview {
        StubPreview {
            place: "kube-system/coredns key Corefile".to_owned(),
            before: before.to_owned(),
            after: "a {\n}\n".to_owned(),
            restart: Some("coredns".to_owned()),
        }
    }

    #[test]
    fn what_was_asked_for_can_be_asked_for_again() {
        let both = Offers { dns: Some(DnsWay::CorednsStub), disable_source_mtls: true };
        assert_eq!(both.flags(), ["--dns", "coredns-stub", "--disable-source-mtls"]);
        assert!(Offers::default().flags().is_empty());
    }

    #[test]
    fn nothing_asked_for_is_nothing_more() {
        assert_eq!(plan_with(&Offered::default()).len(), 5);
    }

    #[test]
    fn what_was_asked_for_stands_where_it_is_carried_out() {
        let annotation =
            FieldChange { field: "proxy.istio.io/config".to_owned(), before: String::new(), after: "x".to_owned() };
        let restart = RestartPreview {
            target: "StatefulSet/pxc".to_owned(),
            annotation,
            pods: vec!["pxc-0".to_owned(), "pxc-1".to_owned()],
        };
        let policy = Preview { before: None, after: serde_json::json!({"metadata": {"name": "pxc-link-production"}}) };
        let offered = Offered { restarts: vec![restart], policies: vec![policy], stub: Some(stub("")) };
        let steps = plan_with(&offered);
        let kinds: Vec<StepKind> = steps.iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(
            kinds,
            [
                StepKind::RestartMembers,
                StepKind::PeerAuthentication,
                StepKind::ServiceEntry,
                StepKind::DestinationRule,
                StepKind::CorednsStub,
                StepKind::CorednsRestart,
                StepKind::Path,
                StepKind::Channel,
                StepKind::Start
            ]
        );
        assert_eq!(steps[0].1, "StatefulSet/pxc (pxc-0, pxc-1)");
        assert_eq!(steps[1].1, "PeerAuthentication/pxc-link-production of the source");
    }

    #[test]
    fn a_stub_that_fits_is_not_written_and_one_that_was_never_read_is_restarted_for() {
        let writes = |stub: StubPreview| {
            let steps = plan_with(&Offered { stub: Some(stub), ..Offered::default() });
            let of = |wanted: StepKind| steps.iter().find(|(kind, ..)| *kind == wanted).map(|(.., writes)| *writes);
            (of(StepKind::CorednsStub), of(StepKind::CorednsRestart))
        };
        assert_eq!(writes(StubPreview { restart: None, ..stub("a {\n}\n") }), (Some(false), None));
        assert_eq!(writes(stub("a {\n}\n")), (Some(false), Some(true)));
        assert_eq!(writes(stub("b {\n}\n")), (Some(true), Some(true)));
    }
}
