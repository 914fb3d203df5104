//! `pxc-link verify`: looks, or reads what was seen elsewhere, judges it, and shows the report in the form that was asked for.

use std::{fs, path::Path};

use futures::future::join_all;

use super::{
    Context, Ended, READING,
    args::{VerifyArgs, VerifyFormat},
    output::Output,
    read::{Verdict, chosen, worst},
};
use crate::{
    domain::{
        check::{Check, Outcome, Report},
        code::{Code, Exit},
        facts::Facts,
        hint::Hint,
        problem::Problem,
        selection::Selection,
    },
    error::Failure,
    report::{json, junit, text},
    wait::Deadline,
    workflow::verify as verifying,
};

/// `pxc-link verify`
pub(super) async fn verify(context: &Context, args: VerifyArgs) -> Ended {
    let links = chosen(context, &args.links)?;
    let selection = Selection::of(&args.only);
    let mut seen = Vec::new();
    if let Some(file) = &args.facts {
        let facts = read_facts(file)?;
        for spec in &links {
            seen.push((verifying::report(spec, &facts, &selection), facts.clone()));
        }
    } else {
        let wait = args.wait.map(|span| span.0);
        // Each look may take what a run without --wait may take.
        let deadline = context.deadline(wait.unwrap_or_default() + READING);
        let events = context.events();
        let sessions: Vec<_> = links.iter().map(|spec| context.session(spec, deadline, &events)).collect();
        let good = |report: &Report| verdict(report, args.strict) == Verdict::Good;
        let looks = sessions.iter().map(|session| async {
            match wait {
                None => verifying::look(session, &selection).await,
                Some(span) => verifying::until(session, &selection, Deadline::after(span), good).await,
            }
        });
        let Some(first) = sessions.first() else { return Ok(std::process::ExitCode::SUCCESS) };
        seen = first.interruptible("while links were verified", join_all(looks)).await?;
    }
    let (mut reports, facts): (Vec<Report>, Vec<Facts>) = seen.into_iter().unzip();
    if let (Some(file), Some(facts)) = (&args.save, facts.first()) {
        save_facts(file, facts)?;
    }
    for report in &mut reports {
        for check in &mut report.checks {
            if let Outcome::Warned(problem) | Outcome::Failed(problem) | Outcome::Unknown(problem) = &mut check.outcome
            {
                context.complete(problem);
            }
        }
    }
    show(context, &args, &reports)?;
    Ok(worst(reports.iter().map(|report| verdict(report, args.strict))))
}

fn show(context: &Context, args: &VerifyArgs, reports: &[Report]) -> Result<(), Failure> {
    if args.output == VerifyFormat::Junit {
        let document = junit::junit(reports, args.strict).map_err(|error| {
            Problem::new(Code::Internal, "the report cannot be written as JUnit XML").seen(error.to_string())
        })?;
        return Ok(context.printer.out(&document)?);
    }
    let output = Output { printer: context.printer.clone(), format: args.output.of_errors() };
    let detail = if context.global.verbose > 0 { text::Detail::Full } else { text::Detail::Brief };
    let theme = context.printer.out_theme();
    let text = || reports.iter().map(|report| text::report(report, detail, theme)).collect::<Vec<_>>().join("\n");
    let documents: Vec<json::ReportDto> = reports.iter().map(Into::into).collect();
    match documents.as_slice() {
        [one] => output.result(text, one)?,
        all => output.result(text, &all)?,
    }
    Ok(())
}

fn verdict(report: &Report, strict: bool) -> Verdict {
    let any = |wanted: fn(&Check) -> bool| report.checks.iter().any(wanted);
    if any(|check| matches!(check.outcome, Outcome::Failed(_))) || strict && any(Check::advises) {
        return Verdict::Bad;
    }
    let unknown = report.checks.iter().filter(|check| !check.advises()).filter_map(|check| match &check.outcome {
        Outcome::Unknown(problem) if problem.code.exit() == Exit::TimedOut => Some(Verdict::TimedOut),
        Outcome::Unknown(_) => Some(Verdict::Unreached),
        _ => None,
    });
    // What nobody judged is not good.
    let nothing = if report.checks.is_empty() { Verdict::Unreached } else { Verdict::Good };
    unknown.max().unwrap_or(nothing)
}

fn read_facts(file: &Path) -> Result<Facts, Problem> {
    let wrong = |seen: String| {
        Problem::new(Code::FactsUnreadable, format!("the facts in `{}` cannot be read", file.display()))
            .seen(seen)
            .hint(Hint::text("give a file that `pxc-link verify --save FILE` of this version wrote"))
    };
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

fn save_facts(file: &Path, facts: &Facts) -> Result<(), Problem> {
    let wrong = |seen: String| {
        Problem::new(Code::OutputUnwritable, format!("the facts cannot be written to `{}`", file.display()))
            .seen(seen)
            .hint(Hint::text("give a path in a folder that this user may write to"))
    };
    let text = serde_json::to_string_pretty(facts).map_err(|error| wrong(error.to_string()))?;
    fs::write(file, text + "\n").map_err(|error| wrong(error.to_string()))
}
