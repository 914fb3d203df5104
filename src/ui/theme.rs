//! Looks: colours and symbols, both of which a reader can do without.

use std::fmt;

use anstyle::{AnsiColor, Style};

/// What the command line says of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColourChoice {
    /// `NO_COLOR`, then `CLICOLOR_FORCE`, then whether the stream is a terminal that can show them.
    #[default]
    Auto,
    /// Even into a pipe.
    Always,
    /// Nowhere.
    Never,
}

/// What a piece of text is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Passed, created.
    Good,
    /// Warned, changed.
    Caution,
    /// Failed, errors, deleted.
    Bad,
    /// Hints and what can be copied.
    Pointer,
    /// Titles.
    Strong,
    /// What may be read past.
    Faint,
}

/// The signs in front of lines; each stands beside a word that says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Passed.
    Ok,
    /// Warned.
    Warn,
    /// Failed.
    Fail,
    /// Skipped.
    Skip,
    /// Unknown.
    Unknown,
    /// From one value to another, or from source to replica.
    Arrow,
    /// Still going on.
    Ellipsis,
}

/// How text is drawn on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Theme {
    /// Whether there are colours.
    pub colour: bool,
    /// Whether signs outside ASCII can be shown.
    pub unicode: bool,
}

impl Theme {
    /// The theme of a stream under this process's environment.
    pub fn of<S: anstream::stream::RawStream>(stream: &S, choice: ColourChoice) -> Self {
        let colour = match choice {
            ColourChoice::Always => true,
            ColourChoice::Never => false,
            ColourChoice::Auto => anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never,
        };
        Self { colour, unicode: utf8_locale(|name| std::env::var(name).ok()) }
    }

    /// The text in the colour of its tone.
    pub fn paint(self, tone: Tone, text: impl fmt::Display) -> String {
        if !self.colour {
            return text.to_string();
        }
        let style = match tone {
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Caution => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Pointer => AnsiColor::Cyan.on_default(),
            Tone::Strong => Style::new().bold(),
            Tone::Faint => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }

    /// The sign, or what stands for it in ASCII.
    pub fn sign(self, sign: Sign) -> &'static str {
        match (sign, self.unicode) {
            (Sign::Ok, true) => "✓",
            (Sign::Ok, false) => "+",
            (Sign::Warn, _) => "!",
            (Sign::Fail, true) => "✗",
            (Sign::Fail, false) => "x",
            (Sign::Skip, _) => "-",
            (Sign::Unknown, _) => "?",
            (Sign::Arrow, true) => "→",
            (Sign::Arrow, false) => "->",
            (Sign::Ellipsis, true) => "…",
            (Sign::Ellipsis, false) => "...",
        }
    }
}

/// Whether the locale is one of UTF-8: the first of the three variables that is not empty decides (POSIX, "Environment
/// Variables").
fn utf8_locale(variable: impl Fn(&str) -> Option<String>) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(variable)
        .find(|value| !value.is_empty())
        .is_some_and(|value| value.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

/// The same text with every control character but the line feed written out, so that what a server answers cannot move
/// the cursor or recolour the terminal.
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut clean, c| {
        match c {
            '\n' => clean.push(c),
            '\t' => clean.push(' '),
            c if c.is_control() => clean.extend(c.escape_unicode()),
            c => clean.push(c),
        }
        clean
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides_the_locale() {
        let locale = |all: &'static str, lang: &'static str| {
            utf8_locale(move |name| match name {
                "LC_ALL" => Some(all.into()),
                "LANG" => Some(lang.into()),
                _ => None,
            })
        };
        assert!(locale("", "de_DE.UTF-8"));
        assert!(locale("C.utf8", "C"));
        assert!(!locale("C", "de_DE.UTF-8"));
        assert!(!locale("", ""));
    }

    #[test]
    fn a_server_cannot_write_escape_sequences() {
        assert_eq!(printable("a\x1b[2Jb\tc\r\nd"), "a\\u{1b}[2Jb c\\u{d}\nd");
    }

    #[test]
    fn without_colour_there_is_no_escape() {
        assert_eq!(Theme::default().paint(Tone::Bad, "x"), "x");
        assert_eq!(Theme { colour: true, unicode: true }.paint(Tone::Good, "x"), "\x1b[32mx\x1b[0m");
    }
}
