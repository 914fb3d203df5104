//! A plan as text: what would be made, changed, started or deleted, and what stays.

use super::layout::Lines;
use crate::{
    domain::plan::{Action, Plan, Step},
    ui::theme::{Sign, Theme, Tone, printable},
};

/// The plan, one line a step and the fields below it.
pub fn plan(plan: &Plan, theme: Theme) -> String {
    let mut lines = Lines::default();
    lines.push(format!(
        "{}  {}, {}",
        theme.paint(Tone::Strong, "Plan"),
        counted(plan.steps.len(), "step"),
        counted(plan.changes(), "change")
    ));
    let width = plan.steps.iter().map(|step| step.target.chars().count()).max().unwrap_or(0);
    for step in &plan.steps {
        show(&mut lines, step, width, theme);
    }
    lines.into_text()
}

fn show(lines: &mut Lines, step: &Step, width: usize, theme: Theme) {
    let (sign, tone, verb) = match &step.action {
        Action::Create { .. } => ("+", Tone::Good, "create".to_owned()),
        Action::Update { .. } => ("~", Tone::Caution, "change".to_owned()),
        Action::Stop { threads } => ("~", Tone::Caution, format!("stop {}", threads.join(" and "))),
        Action::Start { threads } => (">", Tone::Good, format!("start {}", threads.join(", then "))),
        Action::Delete => ("-", Tone::Bad, "delete".to_owned()),
        Action::Unchanged { note: None } => ("=", Tone::Faint, "unchanged".to_owned()),
        Action::Unchanged { note: Some(note) } => ("=", Tone::Faint, format!("unchanged ({note})")),
        Action::Read => ("=", Tone::Faint, "read only".to_owned()),
    };
    lines.push(format!("  {} {:<width$}  {}", theme.paint(tone, sign), printable(&step.target), printable(&verb)));
    let meaning = step.meaning();
    let below = match &step.action {
        Action::Create { with } => with.clone(),
        Action::Update { fields } => fields
            .iter()
            .map(|field| format!("{}: {} {} {}", field.field, field.before, theme.sign(Sign::Arrow), field.after))
            .collect(),
        _ => Vec::new(),
    };
    let below: Vec<String> = meaning.map(ToOwned::to_owned).into_iter().chain(below).collect();
    for line in below.iter().flat_map(|text| text.lines()) {
        lines.push(format!("      {}", printable(line)));
    }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
