//! The long texts of the codes, as `explain` prints them.

use super::layout::Lines;
use crate::{
    domain::code::Code,
    ui::theme::{Theme, Tone},
};

/// The text of one code. Markdown stays readable as it is; only its headings and labels are drawn.
pub fn explain(code: Code, theme: Theme) -> String {
    let mut lines = Lines::default();
    for line in code.text().lines() {
        lines.push(match (line.strip_prefix("# "), label(line)) {
            (Some(title), _) => theme.paint(Tone::Strong, title),
            (None, Some((label, rest))) => format!("{}{}", theme.paint(Tone::Strong, label), spans(rest, theme)),
            (None, None) => spans(line, theme),
        });
    }
    lines.into_text()
}

/// Every code with its title and the exit code of a run that ends with it.
pub fn list(theme: Theme) -> String {
    let mut lines = Lines::default();
    lines.push(theme.paint(Tone::Strong, "CODE    EXIT  MEANING"));
    for code in Code::ALL {
        lines.push(format!("{code}  {:>4}  {}", code.exit() as i32, code.title()));
    }
    lines.into_text()
}

/// `**Label**` at the beginning of a line, and what follows.
fn label(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("**")?.split_once("**")
}

/// Colours what stands between backticks; without colours the backticks stay, since they tell where a name ends.
fn spans(line: &str, theme: Theme) -> String {
    if !theme.colour || line.matches('`').count() % 2 == 1 {
        return line.to_owned();
    }
    line.split('`')
        .enumerate()
        .map(|(place, part)| if place % 2 == 1 { theme.paint(Tone::Pointer, part) } else { part.to_owned() })
        .collect()
}
