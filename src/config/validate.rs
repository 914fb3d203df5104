//! The tools of validation: a value is required or optional, has a form, and is remembered with where it came from.

use std::{fmt::Display, path::PathBuf};

use super::{
    findings::Findings,
    names::Fault,
    show::{Origin, ValueView},
};
use crate::domain::{code::Code, hint::Hint, problem::Problem};

/// Longer values are not quoted in a message.
const LONGEST_QUOTE: usize = 80;

/// Where relative paths and `~/` begin.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    /// The configuration file's own folder.
    pub(super) base: PathBuf,
    /// The home folder, if there is one.
    pub(super) home: Option<PathBuf>,
}

/// Checks values one by one. Nothing ends at the first fault: all go to the findings, and whoever asks for the result
/// looks there first.
#[derive(Debug)]
pub(super) struct Validator<'a> {
    folders: &'a Folders,
    pub(super) findings: &'a mut Findings,
    pub(super) view: Vec<ValueView>,
}

impl<'a> Validator<'a> {
    pub(super) fn new(folders: &'a Folders, findings: &'a mut Findings) -> Self {
        Self { folders, findings, view: Vec::new() }
    }

    /// Whether the key is in the file, with a good value or not.
    pub(super) fn written(&self, path: &str) -> bool {
        self.findings.at(path).is_some()
    }

    /// Remembers a value that is used and where it came from.
    pub(super) fn note(&mut self, path: &str, value: impl Display, origin: Origin) {
        self.view.push(ValueView { key: path.to_owned(), value: value.to_string(), origin });
    }

    /// Remembers a value of the file.
    pub(super) fn note_written(&mut self, path: &str, value: impl Display) {
        let at = self.findings.near(path);
        self.note(path, value, Origin::File { line: at.line, column: at.column });
    }

    /// A value that must be there; reported unless something worse was reported about it already.
    pub(super) fn need<T>(&mut self, path: &str, value: Option<T>, how: &str) -> Option<T> {
        if value.is_none() && !self.written(path) {
            self.findings.add_near(path, Code::InvalidValue, format!("`{path}` is missing"), Hint::text(how));
        }
        value
    }

    /// A value of a form that may be left out.
    pub(super) fn optional(
        &mut self,
        path: &str,
        value: Option<String>,
        form: impl Fn(&str) -> Result<(), Fault>,
        how: &str,
    ) -> Option<String> {
        let value = value?;
        match form(&value) {
            Ok(()) => {
                self.note_written(path, &value);
                Some(value)
            }
            Err(fault) => {
                self.fault(path, fault, Some(&value), how);
                None
            }
        }
    }

    /// A value of a form that must be there.
    pub(super) fn required(
        &mut self,
        path: &str,
        value: Option<String>,
        form: impl Fn(&str) -> Result<(), Fault>,
        how: &str,
    ) -> Option<String> {
        let value = self.need(path, value, how);
        self.optional(path, value, form, how)
    }

    /// Something is wrong with a value. It is quoted unless a password may be in it.
    pub(super) fn fault(&mut self, path: &str, fault: &str, value: Option<&str>, how: &str) {
        let at = self.findings.near(path);
        let mut problem = Problem::new(Code::InvalidValue, format!("`{path}` {fault}"))
            .seen(self.findings.cite(at))
            .hint(Hint::text(how));
        if let Some(value) = value.filter(|value| may_be_quoted(path, value)) {
            problem = problem.seen(format!("written is `{value}`"));
        }
        self.findings.add(at, problem);
    }

    /// A path of this machine: relative ones begin at the configuration file, `~/` at home.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), &self.folders.home) {
            (Some(below), Some(home)) => home.join(below),
            _ => self.folders.base.join(text),
        }
    }
}

/// Whether a value can be shown: nothing from a password's place, nothing that looks like `user:password@host`.
fn may_be_quoted(path: &str, value: &str) -> bool {
    !path.contains(".password")
        && !value.is_empty()
        && value.chars().count() <= LONGEST_QUOTE
        && !value.contains('@')
        && !value.chars().any(char::is_control)
}
