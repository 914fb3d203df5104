//! Verifying: the whole link looked at and judged again; writes nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    gather::{self, Extent},
    prove::{self, Way},
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
    k8s::{apply, pods},
    wait::Deadline,
};

/// What reading the link's own objects may take.
const READING: Duration = Duration::from_secs(10);
/// Between two looks while a link is waited for.
const EVERY: Duration = Duration::from_secs(2);

/// Looks at both sides, walks the path from every member where what is asked for needs it, and judges.
pub async fn look(session: &Session, selection: &Selection) -> (Report, Facts) {
    let sides = Sides::connect(session).await;
    let walks = selection.walks();
    // Alone, as the walk is what takes longest and everything else would only be in its way now.
    let described = if walks { described(session, &sides).await } else { None };
    let ((mut facts, objects), ahead) = tokio::join!(
        async {
            let facts = gather::facts(session, &sides, Extent::Whole { files: selection.looks_at_files() }).await;
            let objects = wanted::compared(session, &sides, &facts).await;
            (facts, objects)
        },
        async {
            let way = described?;
            let paths = prove::paths(session, &sides, &way, prove::UNCHANGED).await;
            Some((way, paths))
        },
    );
    facts.objects = objects;
    if walks
        && let Some(mesh) = session.spec.mesh()
        && let Ok((vip, _)) = desired::desired_vip(mesh, &facts)
    {
        let wanted = Way::wanted(mesh, &facts, vip);
        facts.paths = match ahead {
            Some((way, paths)) if way.is(&wanted) => paths,
            _ => prove::paths(session, &sides, &wanted, prove::UNCHANGED).await,
        };
    }
    (report(&session.spec, &facts, selection), facts)
}

/// The path that the link's own ServiceEntry describes: on a link in order it is the one that is wanted, and can be walked beside
/// everything else that is looked at. `None` where there is no such entry to be read, not in `v1` either, which older meshes do
/// not serve.
async fn described(session: &Session, sides: &Sides) -> Option<Way> {
    let (spec, cluster, deadline) = (session.spec.mesh()?, sides.client().ok()?, session.deadline.at_most(READING));
    let (pods, objects) = tokio::try_join!(
        pods::pods(cluster, &spec.client.selector, deadline),
        apply::inventory(cluster, &spec.name, "v1", deadline),
    )
    .ok()?;
    Way::described(spec, objects.iter().find(|object| object["kind"] == "ServiceEntry")?, pods)
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
