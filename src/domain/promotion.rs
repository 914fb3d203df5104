//! Promotion of the replica: what stands in its way, and the steps it takes.

use super::{
    code::Code,
    desired,
    facts::{Facts, MemberFacts},
    gtid::GtidSet,
    hint::Hint,
    lag,
    plan::{Action, FieldChange, Step, StepKind},
    problem::{Fetched, Problem},
    quote,
    spec::ReplicationLink,
};

/// What whoever promotes may decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PromoteOptions {
    /// Go on where the source cannot be closed, or has what does not arrive.
    pub force: bool,
    /// Enable the events that replication left disabled.
    pub enable_events: bool,
}

/// Whether a server takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteState {
    /// `@@read_only`: closed to accounts without CONNECTION_ADMIN.
    pub read_only: bool,
    /// `@@super_read_only`: closed to everybody.
    pub super_read_only: bool,
}

impl WriteState {
    /// Both variables by name.
    fn shown(self) -> [(&'static str, bool); 2] {
        [("read_only", self.read_only), ("super_read_only", self.super_read_only)]
    }
}

/// What closes a server to writes when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedAgain {
    /// `read_only` or `super_read_only`.
    pub variable: String,
    /// The file, or the kind of option.
    pub by: String,
}

/// An event of the server's scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventName {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// User and host as whom it runs.
    pub definer: (String, String),
}

impl EventName {
    /// As it is written in a statement.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote::identifier(&self.schema), quote::identifier(&self.name))
    }

    /// The statement that lets it run, as whom it ran before.
    pub fn enabled(&self) -> String {
        let literal = |text: &str| quote::literal(text).map(|quoted| quoted.to_string()).unwrap_or_default();
        let (user, host) = (literal(&self.definer.0), literal(&self.definer.1));
        format!("ALTER DEFINER = {user}@{host} EVENT {} ENABLE", self.quoted())
    }
}

/// A member of the source, as a promotion sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct OldSource {
    /// Its name.
    pub member: String,
    /// Whether it takes writes, and the privileges that its account lacks to change that.
    pub state: Fetched<(WriteState, Vec<String>)>,
}

/// A member of the replica, as a promotion sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSource {
    /// Its name.
    pub member: String,
    /// Whether it takes writes.
    pub state: WriteState,
    /// The privileges that the account lacks, those for events left out: they keep nobody from promoting.
    pub lacks: Vec<String>,
    /// What closes it again.
    pub closed_again: Vec<ClosedAgain>,
    /// Its disabled events.
    pub events: Vec<EventName>,
    /// Whether the account may see all of them.
    pub sees_all_events: bool,
}

/// Both sides, as a promotion sees them before it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Every member of the source that is known.
    pub sources: Vec<OldSource>,
    /// Every member of the replica.
    pub replicas: Vec<NewSource>,
}

/// The steps before the channel goes: the source is closed, and what it has is waited for.
///
/// # Errors
/// Why the promotion would lose something or leave two writers, where nobody said to go on all the same; a privilege that the
/// replica's account lacks in any case.
pub fn before(
    link: ReplicationLink<'_>,
    facts: &Facts,
    standing: &Standing,
    options: PromoteOptions,
) -> Result<Vec<Step>, Problem> {
    if let Some(one) = standing.replicas.iter().find(|one| !one.lacks.is_empty()) {
        return Err(lacking(&format!("replica {}", one.member), &link.replication.replica_account.user, &one.lacks));
    }
    if !options.force {
        closable(link, facts, standing)?;
        running(link, facts, standing)?;
    }
    let mut steps: Vec<Step> = standing
        .sources
        .iter()
        .filter_map(|one| {
            let (state, lacks) = one.state.got()?;
            let target = format!("writes on source {}", one.member);
            if state.super_read_only {
                let note = Some("closed to writes already".to_owned());
                return Some(Step { kind: StepKind::CloseSource, target, action: Action::Unchanged { note } });
            }
            lacks.is_empty().then(|| {
                let fields = vec![changed("super_read_only", "OFF", "ON, persisted")];
                Step { kind: StepKind::CloseSource, target, action: Action::Update { fields } }
            })
        })
        .collect();
    if !steps.is_empty() {
        let target = "what the source has arrives".to_owned();
        steps.push(Step { kind: StepKind::CatchUp, target, action: Action::Read });
    }
    Ok(steps)
}

/// The steps after the channel is gone: the replica is opened, and its events run where that is wanted.
pub fn after(standing: &Standing, options: PromoteOptions) -> Vec<Step> {
    let opened = standing.replicas.iter().map(|one| {
        let target = format!("writes on replica {}", one.member);
        let closed = one.state.shown().into_iter().filter(|(_, on)| *on);
        let fields: Vec<FieldChange> = closed.map(|(name, _)| changed(name, "ON", "OFF, nothing persisted")).collect();
        let action = if fields.is_empty() {
            Action::Unchanged { note: Some("takes writes already".to_owned()) }
        } else {
            Action::Update { fields }
        };
        Step { kind: StepKind::OpenReplica, target, action }
    });
    let enabled = events(standing).filter(|_| options.enable_events).map(|(_, event)| Step {
        kind: StepKind::EnableEvent,
        target: format!("event {}", event.quoted()),
        action: Action::Update { fields: vec![changed("STATUS", "REPLICA_SIDE_DISABLED", "ENABLED")] },
    });
    opened.chain(enabled).collect()
}

/// The disabled events, each with the first member that has it: members of one cluster have the same.
pub fn events(standing: &Standing) -> impl Iterator<Item = (&str, &EventName)> {
    let replicas = standing.replicas.iter().enumerate();
    replicas.flat_map(|(nth, one)| {
        let earlier = &standing.replicas[..nth];
        let new = one.events.iter().filter(move |event| !earlier.iter().any(|other| other.events.contains(event)));
        new.map(|event| (one.member.as_str(), event))
    })
}

/// What the source has that can arrive through the channel: transactions that another member than the attached one made for itself
/// only cannot. Where it is not known which one that is, everything has to arrive. `None` where the source was not read.
pub fn arriving(link: ReplicationLink<'_>, facts: &Facts) -> Option<GtidSet> {
    let all = lag::source_executed(facts)?;
    let channels =
        desired::carriers(link, facts).into_iter().filter_map(MemberFacts::server).flat_map(|server| &server.channels);
    let attached: Vec<&str> = channels
        .filter(|channel| channel.name.eq_ignore_ascii_case(&link.replication.channel))
        .filter_map(|channel| channel.source_uuid.as_deref())
        .collect();
    let servers = || facts.source.members.got().into_iter().flatten().filter_map(MemberFacts::server);
    if !servers().any(|server| attached.contains(&server.server_uuid.as_str())) {
        return Some(all);
    }
    let others = servers().filter(|server| !attached.contains(&server.server_uuid.as_str()));
    let local = others.filter_map(|server| Some(all.of_uuid(server.server_uuid.parse().ok()?)));
    Some(local.fold(all.clone(), |all, local| all.subtract(&local)))
}

fn changed(field: &str, before: &str, after: &str) -> FieldChange {
    FieldChange { field: field.to_owned(), before: before.to_owned(), after: after.to_owned() }
}

fn lacking(server: &str, user: &str, grants: &[String]) -> Problem {
    let message = format!("account `{user}` on {server} lacks what a promotion needs: {}", grants.join(", "));
    let account = quote::literal(user).map(|quoted| quoted.to_string()).unwrap_or_default();
    let hint = grants.iter().fold(Hint::text("grant it as an account that may"), |hint, grant| {
        hint.sql(server, format!("GRANT {grant} TO {account}@'%'"))
    });
    Problem::new(Code::PrivilegeMissing, message).hint(hint)
}

/// Every member of the source can be closed to writes.
fn closable(link: ReplicationLink<'_>, facts: &Facts, standing: &Standing) -> Result<(), Problem> {
    let unseen = |why: &Problem, who: &str| {
        let message = format!("{who} cannot be read, so it cannot be kept from taking writes");
        let problem = Problem::new(Code::SourceOpen, message).seen(format!("{} [{}]", why.message, why.code));
        let text = "let it answer and run the same command again; if it is lost for good, promote without it";
        problem.hint(Hint::run(text, ["pxc-link", "teardown", "--source", &link.name, "--promote", "--force"]))
    };
    if let Some(why) = facts.source.members.failed() {
        return Err(unseen(why, "the source"));
    }
    if standing.sources.is_empty() {
        let why = Problem::new(Code::ServerUnreachable, "no member of the source is known here");
        return Err(unseen(&why, "the source"));
    }
    let account = link.replication.source_account.as_ref().unwrap_or(&link.replication.account);
    for one in &standing.sources {
        let server = format!("source {}", one.member);
        match &one.state {
            Fetched::Failed(why) => return Err(unseen(why, &server)),
            Fetched::Got((state, lacks)) if !state.super_read_only && !lacks.is_empty() => {
                return Err(lacking(&server, &account.user, lacks));
            }
            Fetched::Got(_) => {}
        }
    }
    Ok(())
}

/// The link runs, so that what the source still has can arrive; or there is nothing any more that could.
fn running(link: ReplicationLink<'_>, facts: &Facts, standing: &Standing) -> Result<(), Problem> {
    if all_arrived(link, facts, standing) {
        return Ok(());
    }
    let channel = &link.replication.channel;
    let carrier = desired::carriers(link, facts).into_iter().find_map(|member| Some((member, member.server()?)));
    let found = carrier.and_then(|(member, server)| {
        let channel = server.channels.iter().find(|found| found.name.eq_ignore_ascii_case(channel))?;
        Some((member, channel))
    });
    let not_arriving = |message: String| {
        let text = "start the link and let it catch up first; `--force` promotes without what did not arrive";
        Problem::new(Code::NotArrived, message).hint(Hint::run(text, ["pxc-link", "setup", "--source", &link.name]))
    };
    match found {
        None => Err(not_arriving(format!("no member of the replica has channel `{channel}`, so nothing arrives"))),
        Some((member, found)) if !found.receiver.is_on() || !found.applier.is_on() => Err(not_arriving(format!(
            "channel `{channel}` on {} does not run (receiver {}, applier {}), so what the source still has does not arrive",
            member.name(),
            found.receiver.state,
            found.applier.state
        ))),
        Some(_) => Ok(()),
    }
}

/// An earlier promotion that was cut came as far as that: every member of the source is closed, and every one of the replica has
/// executed what can arrive of it.
fn all_arrived(link: ReplicationLink<'_>, facts: &Facts, standing: &Standing) -> bool {
    let closed = |one: &OldSource| one.state.got().is_some_and(|(state, _)| state.super_read_only);
    let replicas = facts.client.members.got().map_or(&[][..], Vec::as_slice);
    let has_all = |source: &GtidSet| {
        let has =
            |member: &MemberFacts| member.server().is_some_and(|server| source.is_subset_of(&server.gtid_executed));
        !replicas.is_empty() && replicas.iter().all(has)
    };
    !standing.sources.is_empty()
        && standing.sources.iter().all(closed)
        && arriving(link, facts).is_some_and(|all| has_all(&all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        facts::ThreadState,
        sample::{self, SOURCE, facts, gtids, spec},
    };

    const CLOSED: WriteState = WriteState { read_only: true, super_read_only: true };
    const OPEN: WriteState = WriteState { read_only: false, super_read_only: false };

    fn standing() -> Standing {
        let source = |member: &str| OldSource { member: member.into(), state: Fetched::Got((OPEN, Vec::new())) };
        let definer = ("app".into(), "%".into());
        let event = EventName { schema: "shop".into(), name: "clean`up".into(), definer };
        let replica = |member: &str| NewSource {
            member: member.into(),
            state: CLOSED,
            lacks: Vec::new(),
            closed_again: Vec::new(),
            events: vec![event.clone()],
            sees_all_events: true,
        };
        Standing { sources: vec![source("pxc-0"), source("pxc-1")], replicas: vec![replica("pxc-0"), replica("pxc-1")] }
    }

    fn refused(standing: &Standing, facts: &Facts) -> Problem {
        let spec = spec();
        let link = spec.replication().unwrap();
        before(link, facts, standing, PromoteOptions::default()).unwrap_err()
    }

    fn shown(steps: &[Step]) -> Vec<String> {
        steps.iter().map(|step| format!("{:?} {} {}", step.kind, step.target, step.action.writes())).collect()
    }

    #[test]
    fn the_source_is_closed_before_and_the_replica_opened_after() {
        let (spec, standing) = (spec(), standing());
        let steps = before(spec.replication().unwrap(), &facts(), &standing, PromoteOptions::default()).unwrap();
        assert_eq!(
            shown(&steps),
            [
                "CloseSource writes on source pxc-0 true",
                "CloseSource writes on source pxc-1 true",
                "CatchUp what the source has arrives false"
            ]
        );
        let opened = ["OpenReplica writes on replica pxc-0 true", "OpenReplica writes on replica pxc-1 true"];
        assert_eq!(shown(&after(&standing, PromoteOptions::default())), opened);
        let with_events = after(&standing, PromoteOptions { enable_events: true, force: false });
        assert_eq!(shown(&with_events)[2..], ["EnableEvent event `shop`.`clean``up` true"], "once for both members");
    }

    #[test]
    fn a_source_that_cannot_be_closed_stops_it_unless_forced() {
        let gone = Problem::new(Code::ServerUnreachable, "no route");
        let mut unread = standing();
        unread.sources[1].state = Fetched::Failed(gone.clone());
        let problem = refused(&unread, &facts());
        assert_eq!(problem.code, Code::SourceOpen);
        assert!(problem.message.contains("source pxc-1") && problem.evidence[0].contains("no route"), "{problem:?}");
        let mut nobody = facts();
        nobody.source.members = Fetched::Failed(gone);
        assert_eq!(refused(&Standing { sources: Vec::new(), ..standing() }, &nobody).code, Code::SourceOpen);
        assert_eq!(refused(&Standing { sources: Vec::new(), ..standing() }, &facts()).code, Code::SourceOpen);
        let spec = spec();
        let options = PromoteOptions { force: true, enable_events: false };
        let steps = before(spec.replication().unwrap(), &facts(), &unread, options).unwrap();
        assert_eq!(
            shown(&steps)[0],
            "CloseSource writes on source pxc-0 true",
            "those that answer are closed all the same"
        );
        assert_eq!(steps.len(), 2);
    }

    #[test]
    fn a_missing_privilege_is_named_with_its_grant() {
        let mut bare = standing();
        bare.sources[0].state = Fetched::Got((OPEN, vec!["SYSTEM_VARIABLES_ADMIN ON *.*".into()]));
        let problem = refused(&bare, &facts());
        assert_eq!(problem.code, Code::PrivilegeMissing);
        let printed = problem.hint.unwrap().commands[0].to_string();
        assert_eq!(printed, "GRANT SYSTEM_VARIABLES_ADMIN ON *.* TO 'pxc_link'@'%';  -- on source pxc-0");
        bare.sources[0].state = Fetched::Got((CLOSED, vec!["SYSTEM_VARIABLES_ADMIN ON *.*".into()]));
        let spec = spec();
        assert!(
            before(spec.replication().unwrap(), &facts(), &bare, PromoteOptions::default()).is_ok(),
            "closed already"
        );
        bare.replicas[1].lacks = vec!["SYSTEM_VARIABLES_ADMIN ON *.*".into()];
        let forced = PromoteOptions { force: true, enable_events: false };
        let problem = before(spec.replication().unwrap(), &facts(), &bare, forced).unwrap_err();
        assert!(problem.message.contains("replica pxc-1"), "no force opens a server: {problem:?}");
    }

    #[test]
    fn a_link_that_does_not_run_brings_nothing_more() {
        let mut stopped = facts();
        sample::replica(&mut stopped, 0).channels[0].applier = ThreadState { state: "OFF".into(), error: None };
        assert_eq!(refused(&standing(), &stopped).code, Code::NotArrived);
        assert_eq!(refused(&standing(), &sample::unlinked()).code, Code::NotArrived);
    }

    #[test]
    fn a_promotion_that_was_cut_goes_on_without_its_channel() {
        let (spec, mut cut, mut closed) = (spec(), sample::unlinked(), standing());
        for one in &mut closed.sources {
            one.state = Fetched::Got((CLOSED, Vec::new()));
        }
        let all = "11111111-1111-1111-1111-111111111111:1-9";
        for number in 0..SOURCE.len() {
            sample::source(&mut cut, number).gtid_executed = gtids(all);
        }
        for number in 0..sample::REPLICA.len() {
            sample::replica(&mut cut, number).gtid_executed = gtids(all);
        }
        let link = spec.replication().unwrap();
        assert!(before(link, &cut, &closed, PromoteOptions::default()).is_ok());
        // It is not known to have been cut there as long as somebody may still write, or something is missing.
        assert_eq!(refused(&standing(), &cut).code, Code::NotArrived);
        sample::replica(&mut cut, 1).gtid_executed = gtids("11111111-1111-1111-1111-111111111111:1-8");
        assert_eq!(refused(&closed, &cut).code, Code::NotArrived);
    }

    #[test]
    fn what_another_member_made_for_itself_is_not_waited_for() {
        let (spec, mut facts) = (spec(), facts());
        let all = "11111111-1111-1111-1111-111111111111:1-9";
        let local = format!("{}:1-3", SOURCE[1]);
        sample::source(&mut facts, 0).gtid_executed = gtids(all);
        sample::source(&mut facts, 1).gtid_executed = gtids(&format!("{all},{local}"));
        sample::replica(&mut facts, 0).channels[0].source_uuid = Some(SOURCE[0].into());
        assert_eq!(arriving(spec.replication().unwrap(), &facts), Some(gtids(all)));
        sample::replica(&mut facts, 0).channels[0].source_uuid = Some(SOURCE[1].into());
        assert_eq!(arriving(spec.replication().unwrap(), &facts), Some(gtids(&format!("{all},{local}"))));
        sample::replica(&mut facts, 0).channels[0].source_uuid = None;
        let everything = gtids(&format!("{all},{local}"));
        assert_eq!(arriving(spec.replication().unwrap(), &facts), Some(everything), "nothing is given up unseen");
        sample::sources(&mut facts).clear();
        assert_eq!(arriving(spec.replication().unwrap(), &facts), None);
    }
}
