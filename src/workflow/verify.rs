//! Verifying: the whole link looked at and judged again; writes nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    gather::{self, Extent},
    prove,
    session::Session,
    sides::Sides,
    wanted,
};
use crate::{
    domain::{
        check::{Check, Report},
        code::Code,
        desired,
        event::Event,
        facts::Facts,
        judge,
        selection::Selection,
        spec::LinkSpec,
    },
    wait::Deadline,
};

/// Between two looks while a link is waited for.
const EVERY: Duration = Duration::from_secs(2);

/// Looks at both sides, walks the path from every member where what is asked for needs it, and judges.
pub async fn look(session: &Session, selection: &Selection) -> (Report, Facts) {
    let sides = Sides::connect(session).await;
    let mut facts = gather::facts(session, &sides, Extent::Whole).await;
    if let Ok((vip, _)) = desired::desired_vip(&session.spec, &facts) {
        let paths = async {
            if selection.walks() {
                prove::paths(session, &sides, &facts, vip, prove::UNCHANGED).await
            } else {
                Vec::new()
            }
        };
        let objects = wanted::compared(session, &sides, &facts);
        (facts.paths, facts.objects) = tokio::join!(paths, objects);
    }
    (report(&session.spec, &facts, selection), facts)
}

/// Looks again and again until a report is good or the time is over, and tells what stands in the way meanwhile.
pub async fn until(
    session: &Session,
    selection: &Selection,
    deadline: Deadline,
    good: impl Fn(&Report) -> bool,
) -> (Report, Facts) {
    let mut waiting = Waiting { session, deadline, now: None };
    loop {
        let (report, facts) = look(session, selection).await;
        let well = good(&report);
        waiting.tell(&report, well);
        if well || deadline.left().is_zero() || session.deadline.left().is_zero() {
            waiting.over();
            return (report, facts);
        }
        sleep(EVERY.min(deadline.left())).await;
    }
}

/// Judges facts, from here or from a file.
pub fn report(spec: &LinkSpec, facts: &Facts, selection: &Selection) -> Report {
    let checks = judge::judge(spec, facts);
    let mut report = Report { link: spec.name.clone(), at: facts.at, checks, changes: Vec::new() };
    selection.apply(&mut report);
    report
}

/// What is waited for: always the first thing that is wrong, told when it changes.
struct Waiting<'a> {
    session: &'a Session,
    deadline: Deadline,
    now: Option<(String, Code, Instant)>,
}

impl Waiting<'_> {
    fn tell(&mut self, report: &Report, well: bool) {
        let first = report.first_problem().or_else(|| report.checks.iter().find(|check| check.problem().is_some()));
        let problem = if well { None } else { first.and_then(Check::problem) };
        let what = first.zip(problem).map_or_else(String::new, |(check, problem)| {
            format!("waiting for {} of {}: {}", check.id, check.subject, problem.message)
        });
        let same = self.now.as_ref().is_some_and(|(known, ..)| *known == what);
        if !same && let Some((known, _, since)) = self.now.take() {
            let took_seconds = since.elapsed().as_secs_f64();
            self.session.events.tell(Event::Done { what: known, seen: String::new(), took_seconds });
        }
        let Some(problem) = problem else { return };
        if !same {
            self.session.events.tell(Event::Started { what: what.clone() });
            self.now = Some((what.clone(), problem.code, Instant::now()));
        }
        self.session.events.tell(Event::Waiting {
            what,
            seen: problem.code.to_string(),
            elapsed_seconds: self.deadline.elapsed().as_secs_f64(),
            deadline_seconds: self.deadline.span().as_secs_f64(),
        });
    }

    fn over(&mut self) {
        if let Some((what, code, since)) = self.now.take() {
            let took_seconds = since.elapsed().as_secs_f64();
            self.session.events.tell(Event::Failed { what, code, took_seconds });
        }
    }
}
