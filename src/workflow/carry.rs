//! Carrying a setup's plan out, stage by stage: mesh objects, proof of the path, channel, staged start, proof of that.

use std::{net::Ipv4Addr, time::Duration};

use secrecy::SecretString;

use super::{
    former::Former,
    gather,
    lock::Lock,
    offers, prove,
    session::Session,
    setup::{Finished, InMesh, Made, Options, refuse},
    sides::{Live, Sides},
    start::{self, Agreed},
    undo::Done,
    watch,
};
use crate::{
    domain::{
        channel::{
            PASSWORD, Restart, Round, Threads, can_be_fetched_again, channel_differences, desired_channel, options,
        },
        check::{Check, Report, Side},
        code::Code,
        desired,
        facts::{ChannelFacts, ChannelSettings, Facts, MemberFacts, ProbeEnd},
        hint::Hint,
        judge,
        plan::{self, Action, Plan, StepKind},
        problem::Problem,
        spec::{MeshLink, ReplicationLink},
    },
    error::Failure,
    k8s::apply,
    mysql::Depth,
    wait::Deadline,
};

/// What every stage needs.
pub(super) struct Run<'a> {
    pub(super) session: &'a Session,
    pub(super) sides: &'a Sides,
    pub(super) options: Options,
    /// The link's lock; none for a run that has nothing to write.
    pub(super) lock: Option<&'a Lock>,
}

impl Run<'_> {
    /// All stages. `done` knows at any moment what was written.
    pub(super) async fn stages(&self, made: Made, done: &mut Done) -> Result<Finished, Failure> {
        let Made { mut facts, plan, in_mesh, carrier, .. } = made;
        let session = self.session;
        if let (Some(mesh), Some(InMesh { vip, objects, taken })) = (session.spec.mesh(), &in_mesh) {
            self.apply_policies(&plan, taken, &mut facts, done).await?;
            self.apply_objects(&plan, objects, done).await?;
            self.put_stub(&plan, taken, &facts, *vip, done).await?;
            self.prove_path(mesh, &mut facts, *vip, done).await?;
        }
        let (facts, status) = if let (Some(link), Some(member)) = (session.spec.replication(), carrier) {
            self.replicate(link, &member, &facts, &plan, done).await?;
            let until = self.options.until_caught_up;
            let (facts, status) = watch::settled(session, link, self.sides, facts, until).await?;
            (facts, Some(status))
        } else {
            // Judged is what is there now: the mesh objects too.
            (gather::again(session, self.sides, &facts).await, None)
        };
        let judged = if self.options.only_mesh { judge::way } else { judge::judge };
        let checks = judged(&session.spec, &facts);
        refuse(&checks)?;
        let report = Report { link: session.spec.name.clone(), at: facts.at, checks, changes: done.changes() };
        Ok(Finished { report, status })
    }

    /// The channel and its threads, on the member that carries them.
    async fn replicate(
        &self,
        link: ReplicationLink<'_>,
        member: &str,
        facts: &Facts,
        plan: &Plan,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let session = self.session;
        for copy in desired::surplus(link, facts) {
            self.fence(link, copy, member, facts, done).await?;
        }
        let mut live = self.sides.open_judged(Side::Replica, member, facts, session.deadline).await?;
        let changed = changed(link, facts, plan, member);
        let former = match &changed {
            Some((existing, restart)) => Some(Former::of(&mut live, existing, restart, session.deadline).await),
            None => None,
        };
        let restart = changed.as_ref().map(|(_, restart)| restart);
        let mark = done.mark();
        let end = async {
            self.configure(link, &mut live, facts, plan, member, restart, done).await?;
            let agreed = Agreed {
                start: plan.writes(StepKind::Start),
                fresh: existing(link, facts, member).is_none(),
                holds_applier: restart.is_none_or(|restart| restart.holds_applier),
            };
            start::staged(session, link, &mut live, member, facts, agreed, async |thread, verb| {
                self.may_go_on("before replication was started").await?;
                done.thread(verb, thread, &link.replication.channel, member);
                Ok(())
            })
            .await
        };
        if let Err(mut failure) = end.await {
            // Where nothing was changed nothing is put back, nor where somebody else has the lock by now.
            let own = match self.lock {
                Some(lock) => lock.check().await.is_ok(),
                None => true,
            };
            if let Some(former) = former
                && done.since(mark)
                && own
                && former.put_back(session, self.sides, (member, facts), &mut failure).await
            {
                done.back_to(mark);
            }
            return Err(failure);
        }
        live.close(session.deadline).await;
        Ok(())
    }

    /// Takes a copy of the channel away from a member that is not to have it.
    async fn fence(
        &self,
        link: ReplicationLink<'_>,
        copy: &MemberFacts,
        stays: &str,
        facts: &Facts,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let (name, deadline) = (&link.replication.channel, self.session.deadline);
        let target = format!("channel {name} on {}", copy.name());
        self.may_go_on("before a second copy of the channel was taken away").await?;
        let work = async {
            let mut live = self.sides.open_judged(Side::Replica, copy.name(), facts, deadline).await?;
            done.stopped(&target);
            live.server.stop(name, Threads::Both, deadline).await?;
            // More may have come in since it was judged.
            let now = live.observe(Depth::Brief, deadline).await?;
            let own = |channel: &&ChannelFacts| channel.name.eq_ignore_ascii_case(name);
            let members = facts.client.members.got().into_iter().flatten();
            let stays = members.into_iter().find(|one| one.name() == stays).ok_or_else(|| {
                Problem::new(Code::Internal, format!("{stays}, which keeps the channel, is no member of the replica"))
            })?;
            if let Some(channel) = now.channels.iter().find(own) {
                plan::may_go(facts, channel, (copy.name(), &now), stays)?;
            }
            done.fenced();
            live.server.reset_all(name, deadline).await?;
            live.close(deadline).await;
            Ok(())
        };
        self.session.stage(target.clone(), |()| "stopped and deleted".to_owned(), work).await?;
        Ok(())
    }

    /// Between steps a signal is heeded and the lock looked at; a step itself is never cut.
    pub(super) async fn may_go_on(&self, during: &str) -> Result<(), Failure> {
        if self.session.shutdown.is_requested() {
            return Err(Failure::interrupted(during));
        }
        match self.lock {
            Some(lock) => Ok(lock.check().await?),
            None => Ok(()),
        }
    }

    async fn apply_objects(
        &self,
        plan: &Plan,
        objects: &[serde_json::Value; 2],
        done: &mut Done,
    ) -> Result<(), Failure> {
        let cluster = self.sides.client()?;
        for (kind, object) in [StepKind::ServiceEntry, StepKind::DestinationRule].into_iter().zip(objects) {
            let Some(step) = plan.steps.iter().find(|step| step.kind == kind && step.action.writes()) else {
                continue;
            };
            self.may_go_on("before a mesh object was applied").await?;
            // Noted before it is tried: a request without an answer may have been carried out.
            match step.action {
                Action::Create { .. } => done.created(Side::Replica, &step.target, object),
                _ => done.changed(&step.target),
            }
            self.session
                .stage(step.target.clone(), |_| "applied".to_owned(), async {
                    let writer = offers::writer(self.session, self.options);
                    Ok(apply::apply(cluster, object, &writer, self.session.deadline).await?)
                })
                .await?;
        }
        Ok(())
    }

    async fn prove_path(
        &self,
        spec: MeshLink<'_>,
        facts: &mut Facts,
        vip: Ipv4Addr,
        done: &Done,
    ) -> Result<(), Failure> {
        let patience = if done.is_empty() { prove::UNCHANGED } else { prove::AFTER_A_CHANGE };
        let members: Vec<String> =
            facts.client.members.got().into_iter().flatten().map(|member| member.name().to_owned()).collect();
        let settling = Deadline::after(if done.is_empty() { Duration::ZERO } else { prove::SETTLING });
        let ports: Vec<String> = spec.ports().iter().map(|port| port.number.to_string()).collect();
        let what = format!("path from {} to {}:{}", members.join(", "), spec.host, ports.join(","));
        let mut waiting = self.session.waiting(&what);
        let proof = async {
            loop {
                let way = prove::Way::wanted(spec, facts, vip);
                let paths = prove::paths(self.session, self.sides, &way, patience).await;
                let walked = Facts { paths, ..facts.clone() };
                let checks = judge::paths(spec, &walked, members.iter().map(String::as_str));
                match judge::blocking(&checks).and_then(Check::problem) {
                    None => return Ok(walked),
                    Some(problem) if prove::may_settle(problem.code) && !settling.left().is_zero() => {
                        waiting(&problem.message, settling);
                        tokio::time::sleep(prove::EVERY).await;
                    }
                    Some(problem) => return Err(problem.clone()),
                }
            }
        };
        let proven = self.session.stage(what.as_str(), answered_by, proof);
        *facts = self.session.interruptible("while the path was proven", proven).await??;
        Ok(())
    }

    /// Makes or changes the channel as planned and reads it back. `restart` says what of one that is there runs meanwhile.
    #[expect(clippy::too_many_arguments, reason = "a step of a run, with everything that the plan was made from")]
    async fn configure(
        &self,
        link: ReplicationLink<'_>,
        live: &mut Live,
        facts: &Facts,
        plan: &Plan,
        member: &str,
        restart: Option<&Restart>,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let Some(step) = plan.steps.iter().find(|step| step.kind == StepKind::Channel && step.action.writes()) else {
            return Ok(());
        };
        self.may_go_on("before the channel was configured").await?;
        let deadline = self.session.deadline;
        let name = &link.replication.channel;
        let wanted = desired_channel(link);
        let password = self.sides.replication_password()?;
        let existing = existing(link, facts, member);
        if restart.is_some_and(|restart| restart.drops_relay_logs) {
            may_drop_relay_logs(facts, name, member)?;
        }
        let work = async {
            if let (Some(restart), Some(existing)) = (restart, existing) {
                done.changed(&step.target);
                for round in &restart.rounds {
                    let channel = Changed { name, member, existing, wanted: &wanted };
                    channel.round(live, round, password, deadline, done).await?;
                }
            } else {
                match self.session.spec.mesh() {
                    Some(_) => done.created_channel(&step.target),
                    None => done.created_unproven_channel(&step.target, name, member),
                }
                live.server.change_source(name, &options(&wanted), Some(password), deadline).await?;
            }
            let channels = live.server.channels(deadline).await?;
            let have = channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name));
            let differences = have.map(|have| channel_differences(&have.settings, &wanted)).unwrap_or_default();
            if have.is_some() && differences.is_empty() {
                return Ok(());
            }
            let message = format!("channel `{name}` on {member} does not read back as it was set");
            let problem =
                differences.iter().fold(Problem::new(Code::ChannelDiffers, message), |problem, difference| {
                    let (field, is, set) = (&difference.field, &difference.before, &difference.after);
                    problem.seen(format!("{field} is `{is}`, was set to `{set}`"))
                });
            Err(problem.hint(Hint::text("somebody else works on this channel: find out who, then run setup again")))
        };
        Ok(self.session.stage(step.target.clone(), |()| "configured and read back".to_owned(), work).await?)
    }
}

/// A channel that is changed.
struct Changed<'a> {
    name: &'a str,
    member: &'a str,
    /// As it was.
    existing: &'a ChannelFacts,
    wanted: &'a ChannelSettings,
}

impl Changed<'_> {
    /// One statement, with the threads that read its options off. An applier that has nothing else to wait for goes on at once.
    async fn round(
        &self,
        live: &mut Live,
        round: &Round,
        password: &SecretString,
        deadline: Deadline,
        done: &mut Done,
    ) -> Result<(), Problem> {
        let Self { name, member, existing, wanted } = self;
        let stopped = [
            ("receiver", round.threads.receiver() && !existing.receiver.is_off()),
            ("applier", round.threads.applier() && !existing.applier.is_off()),
        ];
        for (thread, _) in stopped.into_iter().filter(|(_, stops)| *stops) {
            done.thread("stopped", thread, name, member);
        }
        live.server.stop(name, round.threads, deadline).await?;
        let options: Vec<_> =
            options(wanted).into_iter().filter(|(option, _)| round.options.contains(option)).collect();
        let password = round.options.contains(&PASSWORD).then_some(password);
        live.server.change_source(name, &options, password, deadline).await?;
        if round.threads == Threads::Applier && !existing.applier.is_off() {
            done.thread("started", "applier", name, member);
            live.server.start_applier(name, deadline).await?;
        }
        Ok(())
    }
}

/// The link's channel as the member has it.
fn existing<'a>(link: ReplicationLink<'_>, facts: &'a Facts, member: &str) -> Option<&'a ChannelFacts> {
    let server = facts.client.members.got()?.iter().find(|one| one.name() == member)?.server()?;
    server.channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(&link.replication.channel))
}

/// The channel that the plan changes, and what that means for its threads.
fn changed<'a>(
    link: ReplicationLink<'_>,
    facts: &'a Facts,
    plan: &Plan,
    member: &str,
) -> Option<(&'a ChannelFacts, Restart)> {
    let step = plan.steps.iter().find(|step| step.kind == StepKind::Channel)?;
    let Action::Update { fields } = &step.action else { return None };
    let existing = existing(link, facts, member)?;
    Some((existing, Restart::of(existing, fields)))
}

/// CHANGE with both threads stopped deletes the relay logs (manual: CHANGE REPLICATION SOURCE TO).
///
/// Judged by facts of one moment, in which the source was read after the replica: all that came in by then, it had sent.
pub(super) fn may_drop_relay_logs(facts: &Facts, name: &str, member: &str) -> Result<(), Problem> {
    let members = facts.client.members.got().into_iter().flatten();
    let server = members.filter(|candidate| candidate.name() == member).find_map(MemberFacts::server);
    let Some(server) = server else { return Ok(()) };
    let channel = server.channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(name));
    let waiting = channel.map(|channel| channel.received.subtract(&server.gtid_executed)).unwrap_or_default();
    if waiting.is_empty() || can_be_fetched_again(facts, &server.gtid_executed, &waiting) {
        return Ok(());
    }
    let message = format!(
        "channel `{name}` on {member} cannot be changed: its relay logs hold the only copy of what was received"
    );
    Err(Problem::new(Code::ApplierStopped, message)
        .seen(format!(
            "{} transactions received and not applied, and not on every member of the source: {waiting}",
            waiting.count()
        ))
        .hint(Hint::text(
            "let the applier finish first: START REPLICA SQL_THREAD for this channel, and see what stops it",
        )))
}

fn answered_by(walked: &Facts) -> String {
    let answers = walked.paths.iter().filter_map(|path| match &path.probe.got()?.end {
        ProbeEnd::Answered { hostname, server_uuid, .. } => Some(format!("{hostname} ({server_uuid})")),
        ProbeEnd::Http { status, .. } => Some(format!("HTTP {status}")),
        ProbeEnd::Spoke { first } => Some(first.clone()),
        ProbeEnd::Open => Some("a connection that stands".to_owned()),
        _ => None,
    });
    format!("answered by {}", answers.collect::<Vec<_>>().join(", "))
}
