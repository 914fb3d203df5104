//! What all text renderers share: lines, evidence, hints, and how a command is found again in what was printed.
//!
//! A command line of a hint is a line of at least four spaces, `$ ` and the command; a statement is a line of at least
//! four spaces, `mysql> ` and the statement up to a semicolon that ends a line, below `on SERVER:`. An argument or literal that
//! holds line feeds goes on in the following lines as it is, without an indent, so that it can be copied.

use crate::{
    domain::hint::{Hint, Remedy},
    ui::theme::{Theme, Tone, printable},
};

/// Lines of a text to be; no line ends with blanks.
#[derive(Default)]
pub(crate) struct Lines(Vec<String>);

impl Lines {
    pub(crate) fn push(&mut self, line: impl Into<String>) {
        let line = line.into();
        self.0.push(line.trim_end().to_owned());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_text(self) -> String {
        self.0.into_iter().map(|line| line + "\n").collect()
    }

    /// Exactly these characters, for what is to be copied.
    fn raw(&mut self, line: String) {
        self.0.push(line);
    }
}

/// One thing that was seen. Its further lines stand behind a bar, so that none of them looks like a command.
pub(crate) fn evidence(lines: &mut Lines, indent: usize, seen: &str, theme: Theme) {
    for (number, line) in printable(seen).lines().enumerate() {
        let lead = if number == 0 { "seen:" } else { "    |" };
        lines.push(format!("{:indent$}{} {line}", "", theme.paint(Tone::Faint, lead)));
    }
}

/// A hint with its commands, each on a line of its own that can be copied.
pub(crate) fn hint(lines: &mut Lines, indent: usize, hint: &Hint, theme: Theme) {
    let text = printable(&hint.text).replace('\n', " ");
    lines.push(format!("{:indent$}{} {text}", "", theme.paint(Tone::Pointer, "hint:")));
    let inner = indent.max(2) + 2;
    let mut on = None;
    for remedy in &hint.commands {
        let prompt = match remedy {
            Remedy::Argv(argv) => {
                on = None;
                format!("$ {}", shell_words::join(argv))
            }
            Remedy::Sql { server, statement } => {
                if on != Some(server) {
                    lines.push(format!("{:inner$}on {}:", "", printable(server)));
                    on = Some(server);
                }
                format!("mysql> {statement};")
            }
        };
        lines.raw(format!("{:inner$}{}", "", theme.paint(Tone::Pointer, prompt)));
    }
}

/// The commands in a printed text, by the rule of this module; the text must have no colours.
pub fn commands(text: &str) -> Vec<Remedy> {
    let mut found = Vec::new();
    let mut server = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let inner = line.trim_start_matches(' ');
        if line.len() - inner.len() < 4 {
            continue;
        }
        if let Some(begun) = inner.strip_prefix("$ ") {
            if let Some(argv) = until(begun, &mut lines, |whole| shell_words::split(whole).ok()) {
                found.push(Remedy::Argv(argv));
            }
        } else if let Some(begun) = inner.strip_prefix("mysql> ") {
            let whole = |text: &str| text.strip_suffix(';').map(str::to_owned);
            if let Some(statement) = until(begun, &mut lines, whole) {
                found.push(Remedy::Sql { server: server.clone(), statement });
            }
        } else if let Some(name) = inner.strip_prefix("on ").and_then(|rest| rest.strip_suffix(':')) {
            name.clone_into(&mut server);
        }
    }
    found
}

/// Adds lines until they make a whole.
fn until<'a, T>(
    begun: &str,
    lines: &mut impl Iterator<Item = &'a str>,
    whole: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let mut text = begun.to_owned();
    loop {
        if let Some(value) = whole(&text) {
            return Some(value);
        }
        text.push('\n');
        text.push_str(lines.next()?);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(commands: Vec<Remedy>, indent: usize) -> String {
        let mut lines = Lines::default();
        hint(&mut lines, indent, &Hint { text: "do this".into(), commands }, Theme::default());
        lines.into_text()
    }

    #[test]
    fn evidence_never_reads_as_a_command() {
        let mut lines = Lines::default();
        evidence(&mut lines, 10, "ERROR 1105\n    $ rm -rf /\n    mysql> DROP DATABASE x;", Theme::default());
        assert_eq!(commands(&lines.into_text()), []);
    }

    #[test]
    fn statements_of_one_server_stand_below_its_name_once() {
        let sql = |server: &str, statement: &str| Remedy::Sql { server: server.into(), statement: statement.into() };
        let given =
            vec![sql("replica pxc-0", "STOP REPLICA"), sql("replica pxc-0", "SELECT 'a\n$'"), sql("source", "DO 1")];
        let text = printed(given.clone(), 2);
        assert_eq!(text.matches("on replica pxc-0:").count(), 1);
        assert_eq!(commands(&text), given);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_what_is_run(
            argv in prop::collection::vec("[a-z${}\"'\\\\ \n#;&|*?~é]{0,12}", 1..5),
            indent in 0_usize..12,
        ) {
            let given = vec![Remedy::Argv(argv), Remedy::Argv(vec!["true".into()])];
            prop_assert_eq!(commands(&printed(given.clone(), indent)), given);
        }
    }
}
