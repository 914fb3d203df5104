//! Changing commands: setup and teardown. They show a plan, ask, and hand it to the workflow.

use std::process::ExitCode;

use super::{
    CHANGING, Context, Ended,
    args::{Dns, Keep, Part, SetupArgs, TeardownArgs, WaitFor},
    offer,
    output::Output,
};
use crate::{
    domain::{
        channel::Password,
        code::Code,
        event::Event,
        hint::Hint,
        offered::{DnsWay, Offers},
        plan::Plan,
        problem::Problem,
        promotion::PromoteOptions,
        spec::{LinkSpec, ServiceSpec},
        status::{Lag, LinkStatus},
    },
    report::{json, plan as planned, text},
    ui::confirm::{self, Answer},
    wait::Deadline,
    workflow::{setup as setting_up, teardown as tearing_down},
};

/// `pxc-link setup`
pub(super) async fn setup(context: &Context, args: SetupArgs) -> Ended {
    let config = context.config()?;
    let spec = config.link(args.link.source.as_deref())?;
    let output = Output { printer: context.printer.clone(), format: args.format.output };
    let events = context.events();
    let mut session = context.session(spec, context.deadline(CHANGING), &events);
    let mut options = setting_up::Options {
        force_conflicts: args.force_conflicts,
        only_mesh: args.only == Some(Part::Mesh),
        until_caught_up: args.wait == WaitFor::CaughtUp,
        password: if args.rotate_password { Password::Anew } else { Password::Kept },
        offers: offers(&args),
    };
    let asks = !args.yes && !args.dry_run;
    let planned = loop {
        match setting_up::plan(session.clone(), options).await {
            Ok(planned) => break planned,
            Err(failure) if asks && offer::mends(&failure, options.offers) => {
                let asked = offer::ask(context, &output, spec, &failure, options.offers);
                options.offers = unhurried(&mut session.deadline, asked).await?;
            }
            Err(failure) => return Err(failure),
        }
    };
    for check in planned.warnings() {
        if let Some(problem) = check.problem() {
            let (what, seen) = (format!("{} {}", check.subject, check.id), problem.message.clone());
            events.tell(Event::Warned { what, code: problem.code, seen });
        }
    }
    if args.dry_run {
        show_plan(&output, planned.plan())?;
        let changes = args.exit_code && !planned.plan().is_empty();
        return Ok(if changes { ExitCode::from(1) } else { ExitCode::SUCCESS });
    }
    if planned.plan().is_empty() {
        context.printer.note("nothing to change; proving that the link works");
    } else {
        show_before(context, planned.plan(), args.yes);
        if !args.yes {
            let changes = planned.plan().changes();
            let plural = if changes == 1 { "" } else { "s" };
            let question =
                format!("Make {changes} change{plural} on the {}'s side of link {}?", spec.client_side(), spec.name);
            let answer = confirm::confirm(&context.printer, &question, context.shutdown.requested());
            agreed(unhurried(&mut session.deadline, answer).await?)?;
        }
    }
    let finished = planned.execute(session.deadline).await?;
    let theme = context.printer.out_theme();
    output.result(
        || {
            let verb = if finished.report.changes.is_empty() { "nothing to change" } else { "set up" };
            let summary = text::summary(&finished.report, theme);
            let (name, host) = (&spec.name, spec.dialled());
            match &finished.status {
                Some(status) => {
                    let watch = context.command_line(&["monitor", "--source", name]);
                    let followed = followed(status);
                    format!("{summary}\nok: link {name} follows {host} ({verb}): {followed}\nwatch it with `{watch}`")
                }
                None if options.only_mesh && spec.replication().is_some() => {
                    format!("{summary}\nok: link {name} answers as {host} ({verb}); its replication was left alone")
                }
                None => format!("{summary}\nok: link {name} answers as {host} ({verb})"),
            }
        },
        &json::ReportDto::from(&finished.report),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for a person's answer and moves the deadline by the time that took: it is not the command's.
async fn unhurried<T>(deadline: &mut Deadline, answer: impl Future<Output = T>) -> T {
    let left = deadline.left();
    let answer = answer.await;
    *deadline = Deadline::after(left);
    answer
}

/// What the end of a link means.
fn ending(spec: &LinkSpec, options: tearing_down::Options) -> &'static str {
    match spec.service {
        _ if options.keep == Some(tearing_down::Keep::Replication) => {
            "its name leads nowhere any more; its channel stays"
        }
        ServiceSpec::Replication(_) if options.promote.is_some() => {
            "its channel is stopped and forgotten, and applications may write to the replica and not to the source"
        }
        ServiceSpec::Replication(_) => "its channel is stopped and forgotten; rows stay as they are",
        ServiceSpec::Ports(_) => "its name leads nowhere any more",
    }
}

/// How a replica follows.
fn followed(status: &LinkStatus) -> String {
    let missing = status.missing.map_or("an unknown number of".to_owned(), |missing| missing.to_string());
    let lag = match status.lag {
        Lag::Unknown => "lag not known yet".to_owned(),
        lag => format!("lag {lag}"),
    };
    let member = status.member.as_deref().unwrap_or("no member");
    format!("{} on {member}, {missing} transactions missing, {lag}", status.state)
}

fn offers(args: &SetupArgs) -> Offers {
    let dns = args.dns.map(|way| match way {
        Dns::CorednsStub => DnsWay::CorednsStub,
        Dns::RestartMembers => DnsWay::RestartMembers,
    });
    Offers { dns, disable_source_mtls: args.disable_source_mtls }
}

fn show_plan(output: &Output, plan: &Plan) -> Result<(), Problem> {
    output.result(|| planned::plan(plan, output.printer.out_theme()), &json::PlanDto::from(plan))
}

/// The plan before it is carried out: a question about it shows it also when quiet.
fn show_before(context: &Context, plan: &Plan, yes: bool) {
    let text = planned::plan(plan, context.printer.err_theme());
    if yes { context.printer.note(&text) } else { context.printer.error(&text) }
}

fn agreed(answer: Answer) -> Result<(), Problem> {
    match answer {
        Answer::Yes => Ok(()),
        Answer::No => Err(Problem::new(Code::NotApproved, "not agreed to; nothing was changed")
            .hint(Hint::text("run it again and answer y, or give --yes"))),
    }
}

/// `pxc-link teardown`
pub(super) async fn teardown(context: &Context, args: TeardownArgs) -> Ended {
    let config = context.config()?;
    let spec = config.link(args.link.source.as_deref())?;
    let output = Output { printer: context.printer.clone(), format: args.format.output };
    let events = context.events();
    let mut deadline = context.deadline(CHANGING);
    let promotion = &args.promotion;
    let options = tearing_down::Options {
        keep: args.keep.map(|keep| match keep {
            Keep::Mesh => tearing_down::Keep::Mesh,
            Keep::Replication => tearing_down::Keep::Replication,
        }),
        promote: promotion
            .promote
            .then_some(PromoteOptions { force: promotion.force, enable_events: promotion.enable_events }),
    };
    if promotion.promote && spec.replication().is_none() {
        let message = format!("link `{}` carries no replication, so there is no replica to promote", spec.name);
        return Err(Problem::new(Code::NoReplication, message).into());
    }
    let planned = tearing_down::plan(context.session(spec, deadline, &events), options).await?;
    for problem in planned.left() {
        let undone = problem.hint.iter().flat_map(|hint| &hint.commands).map(|command| format!("; undo: {command}"));
        let seen = problem.message.clone() + &undone.collect::<String>();
        events.tell(Event::Warned { what: "left as it is".to_owned(), code: problem.code, seen });
    }
    if planned.plan().is_empty() {
        let nothing = json::PlanDto::from(planned.plan());
        output.result(|| format!("nothing of link {} is left to take away", spec.name), &nothing)?;
        return Ok(ExitCode::SUCCESS);
    }
    show_before(context, planned.plan(), args.yes);
    if !args.yes {
        let question = format!("Link {} ends: {}.", spec.name, ending(spec, options));
        let answer = confirm::confirm_name(&context.printer, &question, &spec.name, context.shutdown.requested());
        agreed(unhurried(&mut deadline, answer).await?)?;
    }
    let report = planned.execute(deadline).await?;
    output.result(
        || {
            let gone: Vec<&str> = report.changes.iter().map(|change| change.target.as_str()).collect();
            let theme = context.printer.out_theme();
            let judged = (!report.checks.is_empty()).then(|| text::report(&report, text::Detail::Full, theme) + "\n");
            let end = if options.promote.is_some() { "ended and its replica takes writes" } else { "taken away" };
            format!("{}ok: link {} is {end} ({})", judged.unwrap_or_default(), spec.name, gone.join(", "))
        },
        &json::ReportDto::from(&report),
    )?;
    Ok(ExitCode::SUCCESS)
}
