//! The state of links as a table, and the samples of `monitor` as lines.

use comfy_table::{CellAlignment, Table, presets};

use super::layout::Lines;
use crate::{
    domain::status::{LinkState, LinkStatus, Sample},
    ui::theme::{Sign, Theme, Tone, printable},
};

/// One line a link and member, under a heading; an error stands on a line of its own below the table.
pub fn table(statuses: &[LinkStatus], theme: Theme) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["LINK", "TARGET", "STATE", "LAG", "BEHIND", "RECEIVER", "APPLIER", "SOURCE"]);
    for status in statuses {
        let or_dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), printable);
        let of_replication = |text: String| if status.name.is_some() { "-".to_owned() } else { text };
        table.add_row([
            printable(&status.link),
            or_dash(if status.name.is_some() { &status.name } else { &status.member }),
            status.state.to_string(),
            of_replication(status.lag.to_string()),
            of_replication(behind(status.missing)),
            or_dash(&status.receiver),
            or_dash(&status.applier),
            or_dash(if status.source_member.is_some() { &status.source_member } else { &status.source_uuid }),
        ]);
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if matches!(place, 3 | 4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut lines = Lines::default();
    for (number, line) in table.trim_fmt().lines().enumerate() {
        lines.push(if number == 0 { theme.paint(Tone::Strong, line.trim_end()) } else { line.to_owned() });
    }
    for status in statuses {
        let Some(error) = &status.error else { continue };
        let number = if error.errno == 0 { String::new() } else { format!("error {}: ", error.errno) };
        let code = error.code.map_or_else(String::new, |code| format!(" [{code}]"));
        let place = status.member.as_deref().map_or_else(String::new, |member| format!(" on {member}"));
        let text = printable(&error.text).replace('\n', " ");
        lines.push(format!("{}: {number}{text}{code}", theme.paint(Tone::Bad, format!("{}{place}", status.link))));
    }
    lines.into_text()
}

/// One line of `monitor` for a pipe or a log: time in UTC, state, lag, behind, applied, and what stands out.
pub fn sample(sample: &Sample, theme: Theme) -> String {
    let status = &sample.status;
    let (sign, tone) = match status.state {
        LinkState::Broken | LinkState::Silent | LinkState::NotConfigured => (Sign::Fail, Tone::Bad),
        LinkState::Unknown => (Sign::Unknown, Tone::Caution),
        LinkState::Stopped | LinkState::Connecting | LinkState::CatchingUp => (Sign::Warn, Tone::Caution),
        LinkState::Replicating if sample.note.is_some() => (Sign::Warn, Tone::Caution),
        LinkState::Replicating | LinkState::Linked => (Sign::Ok, Tone::Good),
    };
    let state = theme.paint(tone, format!("{} {:<14}", theme.sign(sign), status.state));
    let applied = sample.applied_per_second.map_or_else(|| "?".to_owned(), |rate| format!("{rate:.0}"));
    let note = sample.note.as_deref().map_or_else(String::new, |note| format!("  {}", printable(note)));
    let error = status.error.as_ref().map_or_else(String::new, |error| {
        let code = error.code.map_or_else(String::new, |code| format!(" [{code}]"));
        format!("  {}{code}", printable(&error.text).replace('\n', " "))
    });
    format!(
        "{}  {}  {state}  lag {:<8}  behind {:<8}  applied {applied}/s{note}{error}\n",
        sample.at.strftime("%FT%TZ"),
        printable(&status.link),
        status.lag,
        behind(status.missing),
    )
}

fn behind(missing: Option<u128>) -> String {
    missing.map_or_else(|| "?".to_owned(), |number| number.to_string())
}
