//! The staged start of a channel: receiver first, then proof of whom it is attached to, only then the applier.

use std::time::Duration;

use super::{session::Session, sides::Live};
use crate::{
    domain::{
        check::Side,
        code::Code,
        errno::Cause,
        facts::{ChannelFacts, Facts, ThreadState},
        hint::Hint,
        problem::Problem,
    },
    wait::{Look, poll_until},
};

/// How long the receiver may take: a login through the path, two attempts of the server at the most.
const RECEIVER: Duration = Duration::from_secs(30);
/// How long the applier may take to begin.
const APPLIER: Duration = Duration::from_secs(10);
/// An applier can stop on its first event: it is looked at again after this.
const STEADY: Duration = Duration::from_millis(1500);
/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// Starts what does not run yet. `started` is told of each thread that this run started, as soon as it has.
///
/// # Errors
/// `ReceiverNotConnecting` or what the receiver's error means, `UnknownSource` (the receiver is stopped again, nothing was
/// applied), `ApplierStopped`.
pub(super) async fn staged(
    session: &Session,
    live: &mut Live,
    member: &str,
    facts: &Facts,
    mut started: impl FnMut(&'static str),
) -> Result<(), Problem> {
    let channel = &session.spec.replication.channel;
    let before = look(session, live).await?;
    if !before.receiver.is_on() {
        if before.receiver.is_off() {
            live.server.start_receiver(channel, session.deadline).await?;
            started("receiver");
        }
        session.stage(format!("receiver on {member} connects"), attached_to, connected(session, live, member)).await?;
    }
    let now = look(session, live).await?;
    known_source(session, live, member, facts, &now).await?;
    if !now.applier.is_on() {
        live.server.start_applier(channel, session.deadline).await?;
        started("applier");
    }
    session
        .stage(format!("applier on {member} runs"), |()| "no error".to_owned(), applying(session, live, member))
        .await
}

fn attached_to(channel: &ChannelFacts) -> String {
    format!("attached to {}", channel.source_uuid.as_deref().unwrap_or("a server that gave no UUID"))
}

async fn look(session: &Session, live: &mut Live) -> Result<ChannelFacts, Problem> {
    let name = &session.spec.replication.channel;
    let channels = live.server.channels(session.deadline).await?;
    channels.into_iter().find(|channel| channel.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        Problem::new(Code::NoChannel, format!("channel `{name}` is gone from the server"))
            .hint(Hint::text("somebody else works on this replica: find out who, then run setup again"))
    })
}

/// Waits until the receiver is on and says whom it is attached to. A refused login is retried by the server for ever, so its
/// error ends the wait.
async fn connected(session: &Session, live: &mut Live, member: &str) -> Result<ChannelFacts, Problem> {
    let what = format!("the receiver on {member}");
    let cell = tokio::sync::Mutex::new(live);
    let looked = poll_until(&what, session.deadline.at_most(RECEIVER), EVERY, session.waiting(&what), || async {
        let channel = look(session, &mut **cell.lock().await).await?;
        if channel.receiver.is_on() && channel.source_uuid.is_some() {
            return Ok(Look::Ready(channel));
        }
        match &channel.receiver.error {
            Some(_) => Err(receiver_problem(session, member, &channel.receiver)),
            None => Ok(Look::NotYet(format!("{}, no error", channel.receiver.state))),
        }
    });
    looked.await.map_err(|problem| match problem.code {
        Code::TimedOut => {
            let mut late = receiver_problem(session, member, &ThreadState { state: "CONNECTING".into(), error: None });
            late.evidence.extend(problem.evidence);
            late
        }
        _ => problem,
    })
}

fn receiver_problem(session: &Session, member: &str, receiver: &ThreadState) -> Problem {
    let channel = &session.spec.replication.channel;
    let server = format!("replica {member}");
    match &receiver.error {
        None => Problem::new(
            Code::ReceiverNotConnecting,
            format!("the receiver of channel `{channel}` on {member} did not connect to {}", session.spec.host),
        )
        .seen(format!("state {}, no error", receiver.state)),
        Some(error) => {
            let cause = Cause::of(Some(error.errno), &error.text);
            let code = cause.receiver_code().unwrap_or(Code::ReceiverStopped);
            let problem = Problem::new(
                code,
                format!("the receiver of channel `{channel}` on {member} shows error {}", error.errno),
            )
            .seen(error.text.clone());
            match cause.hint(&server, &session.spec.replication.account.user) {
                Some(hint) => problem.hint(hint),
                None => problem,
            }
        }
    }
}

/// Design: a wrong server never gets one row applied. Stops the receiver again where it is attached to one.
async fn known_source(
    session: &Session,
    live: &mut Live,
    member: &str,
    facts: &Facts,
    channel: &ChannelFacts,
) -> Result<(), Problem> {
    let uuid = channel.source_uuid.clone().unwrap_or_default();
    let of = |side: Side| {
        let members = match side {
            Side::Source => &facts.source.members,
            Side::Replica => &facts.replica.members,
        };
        let uuids =
            members.got().into_iter().flatten().filter_map(|member| Some(member.server.got()?.server_uuid.clone()));
        uuids.collect::<Vec<String>>()
    };
    let (sources, replicas) = (of(Side::Source), of(Side::Replica));
    let endpoints_only = facts.source.cluster.is_none();
    if !replicas.contains(&uuid) && (endpoints_only || sources.contains(&uuid)) {
        return Ok(());
    }
    live.server.stop_receiver(&session.spec.replication.channel, session.deadline).await?;
    let whose =
        if replicas.contains(&uuid) { "a member of the replica itself" } else { "no known member of the source" };
    Err(Problem::new(
        Code::UnknownSource,
        format!("the receiver on {member} reached {uuid}, {whose}; it was stopped again"),
    )
    .seen(format!("members of the source: {}", sources.join(", ")))
    .seen("nothing was applied: the applier had not been started")
    .hint(Hint::run("find out where the name leads", ["pxc-link", "verify", "--source", &session.spec.name])))
}

async fn applying(session: &Session, live: &mut Live, member: &str) -> Result<(), Problem> {
    let what = format!("the applier on {member}");
    let cell = tokio::sync::Mutex::new(live);
    let running = || async {
        let channel = look(session, &mut **cell.lock().await).await?;
        if let Some(error) = &channel.applier.error {
            return Err(Problem::new(
                Code::ApplierStopped,
                format!("the applier on {member} stopped with error {}", error.errno),
            )
            .seen(error.text.clone())
            .hint(Hint::run(
                "read what the number means before anything is changed",
                ["pxc-link", "explain", "PXL513"],
            )));
        }
        Ok(if channel.applier.is_on() { Look::Ready(()) } else { Look::NotYet(channel.applier.state) })
    };
    poll_until(&what, session.deadline.at_most(APPLIER), EVERY, session.waiting(&what), &running).await?;
    tokio::time::sleep(STEADY.min(session.deadline.left())).await;
    poll_until(&what, session.deadline.at_most(APPLIER), EVERY, session.waiting(&what), running).await
}
