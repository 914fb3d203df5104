//! Shows domain events while a command runs: plain lines, one redrawn status line, or JSON lines, all on stderr.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::{
    printer::Printer,
    theme::{Sign, Theme, Tone, printable},
};
use crate::domain::event::Event;

/// What the command line says of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    /// A redrawn status line where stderr is a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// One line when a step starts and one when it ends: `--no-progress`, `PXC_LINK_NO_PROGRESS`.
    Plain,
    /// One JSON object a line, also when quiet: `--progress json`.
    Json,
}

/// Takes the events of a run in the order they happen and shows them. Shared by reference among tasks.
pub struct EventSink {
    printer: Printer,
    shape: Shape,
    /// What is going on, the newest last.
    running: Mutex<Vec<String>>,
}

enum Shape {
    Silent,
    Plain,
    Redrawn(ProgressBar),
    Json,
}

impl EventSink {
    /// A sink that writes through the printer.
    pub fn new(printer: &Printer, progress: Progress) -> Self {
        let shape = match progress {
            Progress::Json => Shape::Json,
            _ if printer.is_quiet() => Shape::Silent,
            Progress::Auto if printer.err_is_terminal() => {
                Shape::Redrawn(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
            }
            Progress::Auto | Progress::Plain => Shape::Plain,
        };
        if let Shape::Redrawn(bar) = &shape {
            bar.set_style(spinner(printer.err_theme()));
        }
        Self { printer: printer.clone(), shape, running: Mutex::new(Vec::new()) }
    }

    /// Shows one event.
    pub fn emit(&self, event: &Event) {
        match &self.shape {
            Shape::Silent => {}
            Shape::Plain => {
                if let Some(line) = line(event, self.printer.err_theme()) {
                    self.printer.note(&line);
                }
            }
            Shape::Redrawn(bar) => self.redraw(bar, event),
            Shape::Json => self.printer.error(&json(event, Timestamp::now())),
        }
    }

    fn redraw(&self, bar: &ProgressBar, event: &Event) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let was_idle = running.is_empty();
        match event {
            Event::Started { what } => {
                running.push(what.clone());
                bar.set_message(printable(what));
            }
            Event::Waiting { what, seen, elapsed_seconds, deadline_seconds } => {
                let text = format!("{what}: {seen}  {elapsed_seconds:.0} of {deadline_seconds:.0} s");
                bar.set_message(printable(&text).replace('\n', " "));
            }
            Event::Done { what, .. } | Event::Warned { what, .. } | Event::Failed { what, .. } => {
                running.retain(|name| name != what);
                if let Some(newest) = running.last() {
                    bar.set_message(printable(newest));
                }
            }
            Event::Target { .. } | Event::TakenBack { .. } => {}
        }
        if running.is_empty() && !was_idle {
            bar.disable_steady_tick();
            self.printer.set_bar(None);
        } else if was_idle && !running.is_empty() {
            bar.reset();
            self.printer.set_bar(Some(bar.clone()));
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        // While the status line shows what runs, a line of its own for its beginning would say it twice.
        if !matches!(event, Event::Started { .. })
            && let Some(line) = line(event, self.printer.err_theme())
        {
            self.printer.note(&line);
        }
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        if let Shape::Redrawn(bar) = &self.shape {
            bar.disable_steady_tick();
            self.printer.set_bar(None);
        }
    }
}

fn spinner(theme: Theme) -> ProgressStyle {
    let ticks = if theme.unicode { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ " } else { "-\\|/ " };
    // The template is a constant, so that the default is only ever taken in a build whose test below fails.
    ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_chars(ticks)
}

/// The line of an event; none for those that come again and again while something is waited for.
fn line(event: &Event, theme: Theme) -> Option<String> {
    let ended = |sign, word, tone, what: &str, rest: String| {
        let mark = theme.paint(tone, format!("{} {word:<4}", theme.sign(sign)));
        let gap = if rest.is_empty() { "" } else { "  " };
        Some(format!("{mark}  {}{gap}{}", printable(what), printable(&rest)))
    };
    match event {
        Event::Target { link, source, client, host } => {
            let through = host.as_ref().map(|host| format!(" through {}", printable(host)));
            Some(format!(
                "link {}: {} {} {}{}",
                theme.paint(Tone::Strong, printable(link)),
                printable(source),
                theme.sign(Sign::Arrow),
                printable(client),
                through.unwrap_or_default()
            ))
        }
        Event::Started { what } => {
            let mark = theme.paint(Tone::Faint, format!("{:<6}", theme.sign(Sign::Ellipsis)));
            Some(format!("{mark}  {}", printable(what)))
        }
        Event::Waiting { .. } => None,
        Event::Done { what, seen, took_seconds } => {
            let seen = if seen.is_empty() { String::new() } else { format!("{seen}  ") };
            ended(Sign::Ok, "ok", Tone::Good, what, format!("{seen}{took_seconds:.1}s"))
        }
        Event::Warned { what, code, seen } => {
            ended(Sign::Warn, "warn", Tone::Caution, what, format!("{seen} [{code}]"))
        }
        Event::Failed { what, code, took_seconds } => {
            ended(Sign::Fail, "fail", Tone::Bad, what, format!("[{code}]  {took_seconds:.1}s"))
        }
        Event::TakenBack { what } => ended(Sign::Skip, "undo", Tone::Caution, what, "taken back".into()),
    }
}

/// One object a line: the event's own fields, the schema and the time.
fn json(event: &Event, at: Timestamp) -> String {
    let mut object = serde_json::json!({ "schema": "pxc-link.io/event/v1", "at": at });
    if let (Some(object), Ok(serde_json::Value::Object(fields))) = (object.as_object_mut(), serde_json::to_value(event))
    {
        object.extend(fields);
    }
    object.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::code::Code,
        ui::printer::{
            Loudness,
            tests::{Page, printer},
        },
    };

    fn run_of_events() -> Vec<Event> {
        let what = || "path from pxc-0".to_owned();
        vec![
            Event::Target {
                link: "production".into(),
                source: "production/pxc/pxc".into(),
                client: "dr/pxc (pxc-0, pxc-1)".into(),
                host: Some("pxc-source.production.global:3306".into()),
            },
            Event::Started { what: what() },
            Event::Waiting { what: what(), seen: "no listener".into(), elapsed_seconds: 1.0, deadline_seconds: 30.0 },
            Event::Done { what: what(), seen: "server_uuid 3e11fa47".into(), took_seconds: 1.24 },
            Event::Started { what: "certificate".into() },
            Event::Warned {
                what: "certificate".into(),
                code: Code::TlsVerification,
                seen: "expires in 11 days".into(),
            },
            Event::Started { what: "receiver".into() },
            Event::Failed { what: "receiver".into(), code: Code::ReceiverNotConnecting, took_seconds: 30.0 },
            Event::TakenBack { what: "channel production on pxc-0".into() },
        ]
    }

    fn shown(progress: Progress, loudness: Loudness, theme: Theme) -> String {
        let (out, err) = (Page::default(), Page::default());
        let sink = EventSink::new(&printer(loudness, theme, false, out.clone(), err.clone()), progress);
        for event in &run_of_events() {
            sink.emit(event);
        }
        assert_eq!(out.text(), "", "events never go to stdout");
        err.text()
    }

    #[test]
    fn without_a_terminal_every_step_is_a_line_at_its_start_and_one_at_its_end() {
        insta::assert_snapshot!(
            "plain",
            shown(Progress::Auto, Loudness::Normal, Theme { colour: false, unicode: true })
        );
        insta::assert_snapshot!("ascii", shown(Progress::Plain, Loudness::Normal, Theme::default()));
    }

    #[test]
    fn colours_add_nothing_that_the_words_do_not_say() {
        let theme = Theme { colour: true, unicode: true };
        let coloured = shown(Progress::Plain, Loudness::Normal, theme);
        insta::assert_snapshot!("coloured", coloured.escape_debug().to_string().replace("\\n", "\n"));
        let plain = shown(Progress::Plain, Loudness::Normal, Theme { colour: false, ..theme });
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }

    #[test]
    fn quiet_silences_lines_and_keeps_json() {
        assert_eq!(shown(Progress::Auto, Loudness::Quiet, Theme::default()), "");
        let lines = shown(Progress::Json, Loudness::Quiet, Theme::default());
        let events: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), run_of_events().len());
        assert_eq!(events[7]["event"], "failed");
        assert_eq!(events[7]["code"], "PXL510");
        assert!(events.iter().all(|event| event["schema"] == "pxc-link.io/event/v1" && event["at"].is_string()));
    }

    #[test]
    fn the_status_line_is_there_exactly_while_something_runs() {
        let (out, err) = (Page::default(), Page::default());
        let printer = printer(Loudness::Normal, Theme::default(), true, out, err.clone());
        let sink = EventSink::new(&printer, Progress::Auto);
        let Shape::Redrawn(bar) = &sink.shape else { panic!("a terminal has a status line") };
        bar.set_draw_target(ProgressDrawTarget::hidden());
        for event in ["a", "b"] {
            sink.emit(&Event::Started { what: event.into() });
        }
        assert_eq!(bar.message(), "b");
        sink.emit(&Event::Done { what: "b".into(), seen: String::new(), took_seconds: 0.5 });
        assert_eq!((bar.message().as_str(), bar.is_finished()), ("a", false));
        sink.emit(&Event::Done { what: "a".into(), seen: "x".into(), took_seconds: 0.5 });
        assert!(bar.is_finished());
        assert_eq!(err.text(), "+ ok    b  0.5s\n+ ok    a  x  0.5s\n");
        sink.emit(&Event::Started { what: "c".into() });
        assert!(!bar.is_finished(), "it comes back for the next step");
    }
}
