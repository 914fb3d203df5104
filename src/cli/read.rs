//! Reading commands that watch: status and monitor; and what all reading commands share.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior};

use super::{
    Context, Ended, READING,
    args::{MonitorArgs, SomeLinks, StatusArgs},
    exit,
    output::Output,
};
use crate::{
    domain::{
        code::{Code, Exit},
        gtid::GtidSet,
        hint::Hint,
        problem::Problem,
        spec::LinkSpec,
        status::{Lag, LinkState, LinkStatus, Sample},
    },
    error::Failure,
    report::{json, status as shown},
    wait::Deadline,
    workflow::watch,
};

/// The links a reading command was asked for.
pub(super) fn chosen(context: &Context, links: &SomeLinks) -> Result<Vec<LinkSpec>, Failure> {
    let config = context.config()?;
    if links.all {
        return Ok(config.links);
    }
    if links.source.is_empty() {
        return Ok(vec![config.link(None)?.clone()]);
    }
    Ok(links.source.iter().map(|name| config.link(Some(name)).cloned()).collect::<Result<_, _>>()?)
}

/// How bad something is, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Good,
    TimedOut,
    Unreached,
    Bad,
}

/// The exit code of the worst.
pub(super) fn worst(verdicts: impl Iterator<Item = Verdict>) -> ExitCode {
    match verdicts.max().unwrap_or(Verdict::Good) {
        Verdict::Good => ExitCode::SUCCESS,
        Verdict::TimedOut => exit(Exit::TimedOut),
        Verdict::Unreached => exit(Exit::Unreachable),
        Verdict::Bad => exit(Exit::Checks),
    }
}

/// `pxc-link status`
pub(super) async fn status(context: &Context, args: StatusArgs) -> Ended {
    let links = chosen(context, &args.links)?;
    let output = Output { printer: context.printer.clone(), format: args.format.output };
    let (events, deadline) = (context.events(), context.deadline(READING));
    let sessions: Vec<_> = links.iter().map(|spec| context.session(spec, deadline, &events)).collect();
    let Some(first) = sessions.first().cloned() else { return Ok(ExitCode::SUCCESS) };
    let seen = first.interruptible("while links were looked at", watch::states(sessions)).await?;
    let statuses: Vec<LinkStatus> = seen.into_iter().flat_map(|seen| seen.statuses).collect();
    let document = json::StatusesDto::new(Timestamp::now(), &statuses);
    output.result(|| shown::table(&statuses, context.printer.out_theme()), &document)?;
    // A status names what is wrong in one line; what was seen and what mends it takes a look at everything.
    let wrong = statuses.iter().filter(|status| verdict_of(status.state) != Verdict::Good);
    let wrong: BTreeSet<&str> = wrong.map(|status| status.link.as_str()).collect();
    for link in wrong {
        let verify = context.command_line(&["verify", "--source", link]);
        context.printer.note(&format!("hint: what is wrong with {link} and what mends it\n    $ {verify}"));
    }
    Ok(worst(statuses.iter().map(|status| verdict_of(status.state))))
}

fn verdict_of(state: LinkState) -> Verdict {
    match state {
        LinkState::Replicating | LinkState::CatchingUp | LinkState::Linked => Verdict::Good,
        LinkState::Connecting
        | LinkState::Silent
        | LinkState::Stopped
        | LinkState::Broken
        | LinkState::NotConfigured => Verdict::Bad,
        LinkState::Unknown => Verdict::Unreached,
    }
}

/// `pxc-link monitor`
pub(super) async fn monitor(context: &Context, args: MonitorArgs) -> Ended {
    let config = context.config()?;
    let spec = config.link(args.link.source.as_deref())?;
    if spec.replication().is_none() {
        return Err(nothing_to_watch(spec).into());
    }
    let output = Output { printer: context.printer.clone(), format: args.output };
    let events = context.events();
    // Without a --timeout it goes on until it is told to stop.
    let deadline = context.global.timeout.map(|span| Deadline::after(span.0));
    let mut last: Option<(Instant, GtidSet)> = None;
    let mut ticks = tokio::time::interval(args.interval.0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let session = context.session(spec, deadline.unwrap_or(Deadline::after(READING)), &events);
    let mut watch = watch::Watch::begin(session).await;
    let (mut samples, mut worst) = (0_u64, None::<f64>);
    while args.count.is_none_or(|count| samples < count) && !context.printer.out_is_closed() {
        if deadline.is_some_and(|deadline| deadline.left().is_zero()) {
            break;
        }
        tokio::select! {
            biased;
            () = context.shutdown.requested() => break,
            _ = ticks.tick() => {}
        }
        watch.renew(Deadline::after(deadline.map_or(READING, Deadline::left).min(READING)));
        let seen = tokio::select! {
            biased;
            () = context.shutdown.requested() => break,
            seen = watch.look() => seen,
        };
        let now = Instant::now();
        let executed = executed_of(&seen);
        let rate = match (&last, &executed) {
            (Some((at, before)), Some(executed)) => Some(rate(before, executed, now.duration_since(*at))),
            _ => None,
        };
        last = executed.map(|executed| (now, executed));
        for status in seen.statuses {
            if let Lag::Exactly { seconds } | Lag::AtLeast { seconds } = status.lag {
                worst = Some(worst.map_or(seconds, |worst: f64| worst.max(seconds)));
            }
            let note = note(spec, &status);
            let sample = Sample { at: seen.facts.at, status, applied_per_second: rate, note };
            let theme = context.printer.out_theme();
            output.one_of_many(|| shown::sample(&sample, theme), &json::SampleDto::from(&sample))?;
        }
        samples += 1;
    }
    let worst = worst.map_or("not known".to_owned(), |seconds| Lag::Exactly { seconds }.to_string());
    let plural = if samples == 1 { "" } else { "s" };
    context.printer.note(&format!("{samples} sample{plural}, worst lag {worst}"));
    Ok(if samples == 0 && args.count.is_some() { exit(Exit::TimedOut) } else { ExitCode::SUCCESS })
}

fn nothing_to_watch(spec: &LinkSpec) -> Problem {
    let ports: Vec<String> = spec.ports().iter().map(|port| port.number.to_string()).collect();
    Problem::new(
        Code::NoReplication,
        format!("link `{}` carries no replication, and monitor watches nothing else", spec.name),
    )
    .seen(format!("it serves {}:{}", spec.host, ports.join(",")))
    .hint(Hint::run("ask the service through its name", ["pxc-link", "verify", "--source", &spec.name]))
}

/// What the member with the channel has executed.
fn executed_of(seen: &watch::Seen) -> Option<GtidSet> {
    let member = seen.statuses.first()?.member.as_ref()?;
    let members = seen.facts.client.members.got()?;
    Some(members.iter().find(|candidate| candidate.name() == *member)?.server()?.gtid_executed.clone())
}

fn rate(before: &GtidSet, now: &GtidSet, over: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let applied = now.subtract(before).count() as f64;
    applied / over.as_secs_f64().max(f64::EPSILON)
}

/// Which threshold a sample is above.
fn note(spec: &LinkSpec, status: &LinkStatus) -> Option<String> {
    let (Lag::Exactly { seconds } | Lag::AtLeast { seconds }) = status.lag else { return None };
    let above = |name: &str, bound: Duration| {
        (seconds >= bound.as_secs_f64())
            .then(|| format!("above {name} threshold {}", Lag::Exactly { seconds: bound.as_secs_f64() }))
    };
    let bounds = spec.replication()?.replication.lag_bounds();
    above("the critical", bounds.critical).or_else(|| above("the warning", bounds.warning))
}
