//! Problems as text: `error: …`, what was seen, and below a blank line the hint with its commands.

use super::layout::{self, Lines};
use crate::{
    domain::problem::Problem,
    ui::theme::{Theme, Tone, printable},
};

/// One problem.
pub fn problem(problem: &Problem, theme: Theme) -> String {
    problems(std::slice::from_ref(problem), theme)
}

/// Several problems in the order given, equal ones once, a hint that several share below the last of them.
pub fn problems(problems: &[Problem], theme: Theme) -> String {
    let mut distinct: Vec<&Problem> = Vec::new();
    for problem in problems {
        if !distinct.contains(&problem) {
            distinct.push(problem);
        }
    }
    let mut lines = Lines::default();
    for (place, problem) in distinct.iter().enumerate() {
        if !lines.is_empty() {
            lines.push("");
        }
        let message = printable(&problem.message).replace('\n', " ");
        lines.push(format!("{} {message} [{}]", theme.paint(Tone::Bad, "error:"), problem.code));
        let mut seen: Vec<&String> = Vec::new();
        for line in &problem.evidence {
            if !seen.contains(&line) {
                seen.push(line);
                layout::evidence(&mut lines, 2, line, theme);
            }
        }
        let again = distinct[place + 1..].iter().any(|later| later.hint == problem.hint);
        if let Some(hint) = problem.hint.as_ref().filter(|_| !again) {
            lines.push("");
            layout::hint(&mut lines, 0, hint, theme);
        }
    }
    lines.into_text()
}
