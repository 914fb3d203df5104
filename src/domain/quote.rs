//! The one way in which a value becomes a string literal of an SQL statement.

use secrecy::zeroize::Zeroizing;

/// A value that no literal can carry to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// `CHANGE REPLICATION SOURCE` refuses it with error 1525, whose text repeats the value (seen on MySQL 9.7).
    #[error("it holds a newline")]
    Newline,
    /// The server keeps only what stands before it and says nothing (seen on MySQL 9.7).
    #[error("it holds a NUL character")]
    Nul,
    /// `mysql.slave_master_info` keeps three bytes a character: the server stores a `?` in its place and says nothing (seen on MySQL
    /// 9.7).
    #[error("it holds a character beyond U+FFFF")]
    Supplementary,
}

/// Whether the server keeps a character of a channel's settings.
pub fn is_kept(character: char) -> bool {
    character <= '\u{ffff}'
}

/// A [`literal`] for a setting of a channel.
///
/// # Errors
/// The value holds a character that cannot be sent, or that would not be kept.
pub fn channel_literal(value: &str) -> Result<Zeroizing<String>, Unsendable> {
    if value.chars().all(is_kept) { literal(value) } else { Err(Unsendable::Supplementary) }
}

/// A string literal for a session with `SET NAMES utf8mb4` and an `sql_mode` without `NO_BACKSLASH_ESCAPES`, which is
/// how every session of this tool is set. It holds what it was given, so it is wiped when it goes.
///
/// # Errors
/// The value holds a character that cannot be sent.
pub fn literal(value: &str) -> Result<Zeroizing<String>, Unsendable> {
    // Room for the worst case: a buffer that grows leaves copies behind that nobody wipes.
    let mut quoted = Zeroizing::new(String::with_capacity(2 * value.len() + 2));
    quoted.push('\'');
    for c in value.chars() {
        match c {
            '\n' => return Err(Unsendable::Newline),
            '\0' => return Err(Unsendable::Nul),
            '\'' | '\\' => {
                quoted.push(c);
                quoted.push(c);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    Ok(quoted)
}

/// An identifier in backticks, as any name may be written (manual: "Schema Object Names").
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads one whole literal as the server does; `None` where the text is anything else than exactly one literal.
    fn unquote(text: &str) -> Option<String> {
        let mut inner = text.strip_prefix('\'')?.chars();
        let mut value = String::new();
        loop {
            match inner.next()? {
                '\'' => match inner.next() {
                    None => return Some(value),
                    Some('\'') => value.push('\''),
                    Some(_) => return None,
                },
                '\\' => value.push(match inner.next()? {
                    '0' => '\0',
                    'b' => '\u{8}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'Z' => '\u{1a}',
                    other => other,
                }),
                c => value.push(c),
            }
        }
    }

    #[test]
    fn quotes_and_backslashes_are_doubled() {
        assert_eq!(*literal(r"a'b\n").unwrap(), r"'a''b\\n'");
        assert_eq!(*literal("").unwrap(), "''");
    }

    #[test]
    fn a_name_is_one_identifier() {
        assert_eq!(identifier("shop"), "`shop`");
        assert_eq!(identifier("a`b; --"), "`a``b; --`");
    }

    #[test]
    fn what_the_server_would_refuse_or_cut_is_refused() {
        assert_eq!(literal("a\nb").unwrap_err(), Unsendable::Newline);
        assert_eq!(literal("a\0b").unwrap_err(), Unsendable::Nul);
        assert_eq!(channel_literal("a😀").unwrap_err(), Unsendable::Supplementary);
        assert_eq!(*channel_literal("ü漢\u{ffff}").unwrap(), "'ü漢\u{ffff}'");
    }

    proptest! {
        #[test]
        fn reads_back_as_one_literal(value in r#"[!#$%&()*+,\-.<=>?@\[\]^_{}~'"\\`a-z0-9]{0,40}|[^\n\x00]{0,40}"#) {
            let quoted = literal(&value).unwrap();
            prop_assert_eq!(unquote(&quoted), Some(value.clone()));
            prop_assert!(quoted.len() <= 2 * value.len() + 2);
        }
    }
}
