//! Reads passwords from where the configuration says they are, and tells whether they can serve.
//!
//! No error here holds a piece of a password; a reference is named, its content never.

use std::{
    env,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::{code::Code, hint::Hint, problem::Problem, quote, spec::SecretRef};

/// MySQL's bound for the password of a channel (manual: CHANGE REPLICATION SOURCE TO, `SOURCE_PASSWORD`).
pub const LONGEST_CHANNEL_PASSWORD: usize = 32;
/// More than any password; a bound for what is read of a file.
const LONGEST_FILE: u64 = 64 * 1024;

/// Reads a secret that is on this machine; `None` for one in a cluster. `whose` says what it is for, as messages put
/// it: `the replication account`. Blocks; a named pipe blocks until its writer is done.
///
/// # Errors
/// [`Code::SecretUnreadable`] naming the reference.
pub fn read_local(whose: &str, reference: &SecretRef) -> Result<Option<SecretString>, Problem> {
    let read = match reference {
        SecretRef::Env(name) => from_variable(env::var_os(name)),
        SecretRef::File(path) => from_file(path),
        SecretRef::Secret { .. } => return Ok(None),
    };
    let hint = match reference {
        SecretRef::Env(name) => format!("set `{name}` in the environment of pxc-link"),
        _ => "write the password into that file, readable for this user only".to_owned(),
    };
    match read {
        Ok(secret) if secret.expose_secret().is_empty() => Err("it is empty".to_owned()),
        other => other,
    }
    .map(Some)
    .map_err(|seen| {
        Problem::new(Code::SecretUnreadable, format!("cannot read the password of {whose} from {reference}"))
            .seen(seen)
            .hint(Hint::text(hint))
    })
}

fn from_variable(value: Option<std::ffi::OsString>) -> Result<SecretString, String> {
    let value = value.ok_or("it is not set")?;
    // The error of `into_string` holds the value.
    value.into_string().map(SecretString::from).map_err(|_| "it is not UTF-8 text".to_owned())
}

fn from_file(path: &Path) -> Result<SecretString, String> {
    let words = |error: io::Error| error.to_string();
    let mut bytes = Vec::new();
    File::open(path).map_err(words)?.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(words)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(format!("it is longer than {LONGEST_FILE} bytes"));
    }
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    // The error of `from_utf8` holds the bytes.
    String::from_utf8(bytes).map(SecretString::from).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// What a password is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordUse {
    /// Logging in with a client.
    Login,
    /// The channel's own account, which MySQL keeps in a column of 32 bytes.
    Channel,
}

/// Whether a password can serve. Lengths are named, content never.
///
/// # Errors
/// [`Code::PasswordTooLong`] or [`Code::PasswordCharacters`].
pub fn check(whose: &str, password: &SecretString, purpose: PasswordUse) -> Result<(), Problem> {
    let text = password.expose_secret();
    let unsent = text.char_indices().find_map(|(at, character)| match character {
        '\0' => Some((at, "a NUL character")),
        '\n' | '\r' => Some((at, "a line break")),
        other if purpose == PasswordUse::Channel && !quote::is_kept(other) => Some((at, "a character beyond U+FFFF")),
        _ => None,
    });
    if let Some((at, what)) = unsent {
        let message = format!("the password of {whose} holds {what}, which cannot be sent unchanged");
        let hint = "write the secret again without it; of line breaks: `printf %s` ends without one, `echo` does not";
        return Err(Problem::new(Code::PasswordCharacters, message)
            .seen(format!("after {at} of its {} bytes", text.len()))
            .hint(Hint::text(hint)));
    }
    if purpose == PasswordUse::Channel && text.len() > LONGEST_CHANNEL_PASSWORD {
        let message = format!(
            "the password of {whose} has {} bytes, and a channel takes {LONGEST_CHANNEL_PASSWORD} at most",
            text.len()
        );
        let hint = "give the account a shorter password at the source; characters outside ASCII count 2 to 4 bytes";
        return Err(Problem::new(Code::PasswordTooLong, message).hint(Hint::text(hint)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::ffi::OsStringExt as _};

    use proptest::prelude::*;

    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, SecretRef) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, content).unwrap();
        (folder, SecretRef::File(path))
    }

    #[test]
    fn one_line_break_at_the_end_of_a_file_does_not_count() {
        for (content, secret) in
            [("hunter2\n", "hunter2"), ("hunter2", "hunter2"), ("hunter2\r\n", "hunter2"), ("hunter2\n\n", "hunter2\n")]
        {
            let (_folder, reference) = file(content.as_bytes());
            let read = read_local("x", &reference).unwrap().unwrap();
            assert_eq!(read.expose_secret(), secret);
        }
    }

    #[test]
    fn a_variable_that_is_set_is_read() {
        // `PATH` is set wherever a test runs; the environment of a process cannot be changed safely.
        let read = read_local("x", &SecretRef::Env("PATH".into())).unwrap().unwrap();
        assert_eq!(read.expose_secret(), std::env::var("PATH").unwrap());
    }

    #[test]
    fn a_secret_of_a_cluster_is_left_to_the_cluster() {
        let reference = SecretRef::Secret { name: "pxc".into(), key: "root".into() };
        assert!(read_local("x", &reference).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_read_is_named_and_never_quoted() {
        let variable = SecretRef::Env("PXC_LINK_NO_SUCH_VARIABLE".into());
        let missing = SecretRef::File("/nonexistent/repl".into());
        let mut texts = vec![
            read_local("the replication account", &variable).unwrap_err(),
            read_local("the replication account", &missing).unwrap_err(),
        ];
        for content in [&b""[..], b"\n", b"hunter2\xff", &vec![b'h'; 70_000]] {
            let (folder, reference) = file(content);
            let mut problem = read_local("the replica's account", &reference).unwrap_err();
            problem.message = problem.message.replace(folder.path().to_str().unwrap(), "/folder");
            texts.push(problem);
        }
        insta::assert_snapshot!(super::super::load::tests::render(&texts));
    }

    #[test]
    fn a_variable_that_is_no_text_is_refused_without_its_content() {
        let value = std::ffi::OsString::from_vec(b"hunter2\xff".to_vec());
        assert_eq!(from_variable(Some(value)).unwrap_err(), "it is not UTF-8 text");
    }

    #[test]
    fn bytes_are_counted_not_characters() {
        let check = |text: String, purpose| check("the replication account", &text.into(), purpose);
        assert!(check("x".repeat(32), PasswordUse::Channel).is_ok());
        assert!(check("ü".repeat(16), PasswordUse::Channel).is_ok());
        assert!(check("x".repeat(33), PasswordUse::Login).is_ok());
        let problems = [
            check("ü".repeat(17), PasswordUse::Channel).unwrap_err(),
            check("a\nb".into(), PasswordUse::Login).unwrap_err(),
            check("a\0b".into(), PasswordUse::Channel).unwrap_err(),
            check("a😀".into(), PasswordUse::Channel).unwrap_err(),
        ];
        insta::assert_snapshot!(super::super::load::tests::render(&problems));
    }

    proptest! {
        #[test]
        fn no_piece_of_a_password_is_in_a_problem(secret in "[#$%^&Q-Z5-9]{8,40}", broken in 0_usize..3) {
            let content = match broken { 0 => format!("{secret}\n{secret}"), 1 => format!("{secret}\0"), _ => secret.clone() };
            for purpose in [PasswordUse::Login, PasswordUse::Channel] {
                if let Err(problem) = check("x", &content.clone().into(), purpose) {
                    let text = format!("{problem:?}");
                    prop_assert!(!text.contains(&secret));
                }
            }
        }
    }
}
