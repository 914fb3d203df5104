//! A report as text: grouped by milestone, good checks in one line each, bad ones with evidence and what mends them.

use std::collections::BTreeSet;

use super::layout::{self, Lines};
use crate::{
    domain::{
        check::{Change, Check, CheckId, Milestone, Outcome, Report, Side, Subject},
        hint::Hint,
    },
    ui::theme::{Sign, Theme, Tone, printable},
};

/// How much of what is good is shown; what is bad is always shown whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// Passed checks of several members in one line.
    #[default]
    Brief,
    /// A line for every check, with what was seen.
    Full,
}

/// Where the evidence and hints of a check begin.
const INDENT: usize = 13;

/// The whole report: milestones with their checks, what was written, and the counts.
pub fn report(report: &Report, detail: Detail, theme: Theme) -> String {
    let stations: Vec<(Milestone, Vec<Row<'_>>)> = Milestone::ALL
        .into_iter()
        .map(|milestone| (milestone, rows(&report.checks, milestone, detail)))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    let all = || stations.iter().flat_map(|(_, rows)| rows);
    let id_width = all().map(|row| row.id.0.len()).max().unwrap_or(0);
    let subject_width = all().map(|row| row.subject.chars().count()).max().unwrap_or(0);
    let mut lines = Lines::default();
    let mut told = Vec::new();
    lines.push(format!(
        "link {}  {}",
        theme.paint(Tone::Strong, printable(&report.link)),
        report.at.strftime("%FT%TZ")
    ));
    for (milestone, rows) in &stations {
        lines.push(theme.paint(Tone::Strong, milestone.label()));
        for Row { mark: (sign, word, tone), id, subject, text, bad } in rows {
            let mark = theme.paint(*tone, format!("{} {word}", theme.sign(*sign)));
            let gap = " ".repeat("unknown".len() - word.len());
            lines.push(format!("  {mark}{gap}  {:<id_width$}  {subject:<subject_width$}  {text}", id.0));
            if let Some(check) = bad {
                below(&mut lines, check, theme, &mut told);
            }
        }
    }
    if !report.changes.is_empty() {
        lines.push(theme.paint(Tone::Strong, "changes"));
        changes(&mut lines, &report.changes);
    }
    lines.push(summary(report, theme));
    lines.into_text()
}

/// The counts in one line: `9 ok, 1 warning, 1 failed, 2 skipped, 1 unknown`; kinds that did not occur are left out.
pub fn summary(report: &Report, theme: Theme) -> String {
    let count = |wanted: fn(&Outcome) -> bool| report.checks.iter().filter(|check| wanted(&check.outcome)).count();
    let warned = count(|outcome| matches!(outcome, Outcome::Warned(_)));
    let counts = [
        (count(|outcome| matches!(outcome, Outcome::Passed)), "ok", Tone::Good),
        (warned, if warned == 1 { "warning" } else { "warnings" }, Tone::Caution),
        (count(|outcome| matches!(outcome, Outcome::Failed(_))), "failed", Tone::Bad),
        (count(|outcome| matches!(outcome, Outcome::Skipped { .. })), "skipped", Tone::Faint),
        (count(|outcome| matches!(outcome, Outcome::Unknown(_))), "unknown", Tone::Caution),
    ];
    let shown: Vec<String> = counts
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, word, tone)| theme.paint(tone, format!("{number} {word}")))
        .collect();
    if shown.is_empty() { "nothing was checked".into() } else { shown.join(", ") }
}

/// One line of a station before it is aligned.
struct Row<'a> {
    mark: (Sign, &'static str, Tone),
    id: CheckId,
    subject: String,
    text: String,
    /// The check below whose line evidence and hint go.
    bad: Option<&'a Check>,
}

fn rows(checks: &[Check], milestone: Milestone, detail: Detail) -> Vec<Row<'_>> {
    let here: Vec<&Check> = checks.iter().filter(|check| check.milestone == milestone).collect();
    let mut summed = BTreeSet::new();
    let mut rows = Vec::new();
    for check in &here {
        let crowd = crowd(check, &here);
        let sums = detail == Detail::Brief && check.outcome == Outcome::Passed && crowd.passed > 1;
        if !sums {
            rows.push(single(check));
        } else if let Some(side) = member_side(check)
            && summed.insert((check.id, side))
        {
            rows.push(Row {
                mark: mark(&check.outcome),
                id: check.id,
                subject: format!("{}/{} {side} members", crowd.passed, crowd.all),
                text: crowd.common_evidence,
                bad: None,
            });
        }
    }
    rows
}

/// Evidence and hint under a check's line. What stands above already is not written again.
fn below<'a>(lines: &mut Lines, check: &'a Check, theme: Theme, told: &mut Vec<&'a Check>) {
    let problem = check.problem();
    let same = |earlier: &&&Check| earlier.problem() == problem && earlier.evidence == check.evidence;
    if let Some(earlier) = told.iter().find(same) {
        lines.push(format!("{:INDENT$}seen and mended as {} of {}", "", earlier.id, named(&earlier.subject)));
        return;
    }
    let hinted = |hint: &Hint| told.iter().any(|check| check.problem().and_then(|it| it.hint.as_ref()) == Some(hint));
    let mut seen: Vec<&String> = Vec::new();
    for line in problem.map(|problem| &problem.evidence).into_iter().flatten().chain(&check.evidence) {
        if !seen.contains(&line) {
            seen.push(line);
            layout::evidence(lines, INDENT, line, theme);
        }
    }
    match problem.and_then(|problem| problem.hint.as_ref()) {
        Some(hint) if hinted(hint) => {
            lines.push(format!("{:INDENT$}{} as above", "", theme.paint(Tone::Pointer, "hint:")));
        }
        Some(hint) => layout::hint(lines, INDENT, hint, theme),
        None if seen.is_empty() => return,
        None => {}
    }
    told.push(check);
}

fn single(check: &Check) -> Row<'_> {
    let text = match &check.outcome {
        Outcome::Passed => one_line(&check.evidence),
        Outcome::Warned(problem) | Outcome::Failed(problem) | Outcome::Unknown(problem) => {
            format!("{} [{}]", printable(&problem.message).replace('\n', " "), problem.code)
        }
        Outcome::Skipped { because: (id, subject) } if *subject == check.subject => format!("needs: {id}"),
        Outcome::Skipped { because: (id, subject) } => format!("needs: {id} of {}", named(subject)),
    };
    let bad = check.problem().map(|_| check);
    Row { mark: mark(&check.outcome), id: check.id, subject: named(&check.subject), text, bad }
}

fn mark(outcome: &Outcome) -> (Sign, &'static str, Tone) {
    match outcome {
        Outcome::Passed => (Sign::Ok, "ok", Tone::Good),
        Outcome::Warned(_) => (Sign::Warn, "warn", Tone::Caution),
        Outcome::Failed(_) => (Sign::Fail, "fail", Tone::Bad),
        Outcome::Skipped { .. } => (Sign::Skip, "skip", Tone::Faint),
        Outcome::Unknown(_) => (Sign::Unknown, "unknown", Tone::Caution),
    }
}

/// The checks of one name for the members of one side.
struct Crowd {
    passed: usize,
    all: usize,
    /// What was seen, where all that passed saw the same.
    common_evidence: String,
}

fn crowd(of: &Check, checks: &[&Check]) -> Crowd {
    let side = member_side(of);
    let alike: Vec<_> =
        checks.iter().filter(|check| side.is_some() && check.id == of.id && member_side(check) == side).collect();
    let passed: Vec<_> = alike.iter().filter(|check| check.outcome == Outcome::Passed).collect();
    let same = passed.windows(2).all(|pair| pair[0].evidence == pair[1].evidence);
    Crowd {
        passed: passed.len(),
        all: alike.len(),
        common_evidence: if same { one_line(&of.evidence) } else { String::new() },
    }
}

fn member_side(check: &Check) -> Option<Side> {
    match check.subject {
        Subject::Member(side, _) => Some(side),
        _ => None,
    }
}

fn named(subject: &Subject) -> String {
    printable(&subject.to_string())
}

fn one_line(evidence: &[String]) -> String {
    printable(&evidence.join(", ")).replace('\n', " ")
}

fn changes(lines: &mut Lines, changes: &[Change]) {
    let width = changes.iter().map(|change| change.target.chars().count()).max().unwrap_or(0);
    for change in changes {
        lines.push(format!("  {:<width$}  {}", printable(&change.target), change.verb));
    }
}
