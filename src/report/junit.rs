//! Reports as JUnit XML: a suite a link, a case a check and subject, so that a pipeline shows what is wrong where it shows its tests.

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::layout::{self, Lines};
use crate::{
    domain::{
        check::{Check, Outcome, Report},
        problem::Problem,
    },
    ui::theme::Theme,
};

/// The document. `strict`: warnings are failures, as they are for the exit code; else a warning is a success that says so.
///
/// # Errors
/// Never for what reports hold: the writer is memory, and characters that XML lacks are left out.
pub fn junit(reports: &[Report], strict: bool) -> Result<String, quick_junit::SerializeError> {
    let mut document = Document::new("pxc-link verify");
    for report in reports {
        let mut suite = TestSuite::new(report.link.as_str());
        suite.extra.insert("timestamp".into(), report.at.to_string().into());
        let mut checks: Vec<&Check> = report.checks.iter().collect();
        checks.sort_by_key(|check| check.milestone);
        suite.add_test_cases(checks.into_iter().map(|check| case(report, check, strict)));
        document.add_test_suite(suite);
    }
    document.to_string()
}

fn case(report: &Report, check: &Check, strict: bool) -> TestCase {
    let status = match &check.outcome {
        Outcome::Warned(problem) if strict => bad(NonSuccessKind::Failure, problem),
        Outcome::Passed | Outcome::Warned(_) => TestCaseStatus::success(),
        Outcome::Failed(problem) => bad(NonSuccessKind::Failure, problem),
        // A check that only advises leaves the exit code alone where it could not see.
        Outcome::Unknown(problem) if check.advises() && !strict => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(problem.message.clone());
            skipped
        }
        Outcome::Unknown(problem) => bad(NonSuccessKind::Error, problem),
        Outcome::Skipped { because: (id, subject) } => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(format!("needs: {id} of {subject}"));
            skipped
        }
    };
    let mut case = TestCase::new(format!("{} of {}", check.id, check.subject), status);
    case.set_classname(format!("{}.{}", report.link, check.milestone.label()));
    let mut lines = Lines::default();
    if let Outcome::Warned(problem) = &check.outcome {
        lines.push(format!("warning: {} [{}]", problem.message, problem.code));
    }
    let seen = check.problem().into_iter().flat_map(|problem| &problem.evidence).chain(&check.evidence);
    seen.for_each(|seen| layout::evidence(&mut lines, 0, seen, Theme::default()));
    if !lines.is_empty() {
        case.set_system_out(lines.into_text());
    }
    case
}

/// A case that did not succeed: the code as its type, the sentence as its message, what mends it as its text.
fn bad(kind: NonSuccessKind, problem: &Problem) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(problem.code.to_string()).set_message(problem.message.as_str());
    if let Some(hint) = &problem.hint {
        let mut lines = Lines::default();
        layout::hint(&mut lines, 0, hint, Theme::default());
        status.set_description(lines.into_text());
    }
    status
}
