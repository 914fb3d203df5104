//! Results and failures in the form that was asked for.

use std::process::ExitCode;

use serde::Serialize;

use super::args::Format;
use crate::{
    config,
    domain::{check::Change, code::Code, problem::Problem},
    error::Failure,
    report::{json, problem},
    ui::printer::Printer,
};

/// Where results go, and their form.
pub(super) struct Output {
    pub(super) printer: Printer,
    pub(super) format: Format,
}

impl Output {
    /// One document: as text for people, or as JSON or YAML of its own shape.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(super) fn result(&self, text: impl FnOnce() -> String, document: &impl Serialize) -> Result<(), Problem> {
        let text = match self.format {
            Format::Text => text(),
            Format::Yaml => config::to_yaml(document),
            Format::Json => json::text(document).map_err(|error| not_json(&error))?,
        };
        self.printer.out(&text)
    }

    /// One document of a stream: a line of text, a line of JSON, or a YAML document with its separator.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(super) fn one_of_many(&self, text: impl FnOnce() -> String, document: &impl Serialize) -> Result<(), Problem> {
        let text = match self.format {
            Format::Text => text(),
            Format::Yaml => format!("---\n{}", config::to_yaml(document)),
            Format::Json => json::line(document).map_err(|error| not_json(&error))?,
        };
        self.printer.out(&text)
    }

    /// Shows what would end a command, to the person who is asked about it.
    pub(super) fn stopped_by(&self, failure: &Failure) {
        self.printer.error(&problem::problems(&failure.problems, self.printer.err_theme()));
    }

    /// Shows a failure: to people on standard error, as a document on standard output too. Gives its exit code.
    pub(super) fn fail(&self, failure: &Failure) -> ExitCode {
        let mut text = problem::problems(&failure.problems, self.printer.err_theme());
        if !failure.taken_back.is_empty() {
            text.push_str(&listed("taken back, nothing is left of it", &failure.taken_back));
        }
        if !failure.stands.is_empty() {
            text.push_str(&listed(
                "done until then, and left standing for the next run to go on from",
                &failure.stands,
            ));
        }
        self.printer.error(&text);
        if self.format != Format::Text {
            // Standard output is the only other channel: where it cannot be written, the text above has been.
            let _ = self.result(String::new, &json::ErrorDto::from(failure.problems.as_slice()));
        }
        super::exit(failure.exit())
    }
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(Code::Internal, "the result cannot be written as JSON").seen(error.to_string())
}

fn listed(what: &str, changes: &[Change]) -> String {
    let mut targets: Vec<&str> = Vec::new();
    for change in changes {
        if !targets.contains(&change.target.as_str()) {
            targets.push(&change.target);
        }
    }
    format!("{what}: {}\n", targets.join(", "))
}
