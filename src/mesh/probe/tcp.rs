//! One connection from a container that says nothing and listens, by `bash`, `nc` or `curl`, whichever it has first.

use std::time::Duration;

use super::{Ended, Probe, excerpt};
use crate::{domain::facts::ProbeEnd, wait::Deadline};

const SCRIPT: &str = include_str!("tcp.sh");

/// How long a server may take to speak first: a greeting that looks the client's address up comes late.
const LISTEN: Duration = Duration::from_secs(3);

/// Connects to `host`, a name or an address, and listens.
pub fn listen(host: &str, port: u16, deadline: Deadline) -> Probe {
    let asked = format!("TCP to {host}:{port}, {} s of listening", LISTEN.as_secs());
    Probe::script(SCRIPT, LISTEN, (host, port), asked, end, deadline)
}

/// The program that connected, and the end of its connection.
fn end(ended: &Ended) -> (Option<String>, ProbeEnd) {
    let (out, said) = (ended.out(), ended.err());
    let (program, rest) = out.split_once('\n').unwrap_or((&out, ""));
    let (first, last) = rest.trim_end_matches('\n').rsplit_once('\n').unwrap_or(("", rest.trim_end()));
    let end = match last {
        "open" | "closed" if !first.trim_matches('\n').is_empty() => {
            ProbeEnd::Spoke { first: excerpt(first.trim_matches('\n'), 60) }
        }
        "open" => ProbeEnd::Open,
        "closed" if said.is_empty() || said.contains("reset by peer") => ProbeEnd::Closed,
        _ if ended.code == 124 || ended.code == 143 => ProbeEnd::TimedOut,
        _ => ProbeEnd::Error { errno: None, text: said },
    };
    (Some(program.to_owned()), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(code: i32, stdout: &str, stderr: &str) -> ProbeEnd {
        end(&Ended { stdout: stdout.into(), stderr: stderr.into(), code }).1
    }

    #[test]
    fn bytes_silence_and_an_end_are_told_apart() {
        let spoke = || ProbeEnd::Spoke { first: "220 hello".into() };
        assert_eq!(seen(0, "bash\n220 hello\n\nopen\n", ""), spoke());
        assert_eq!(seen(0, "nc\n220 hello\n\nclosed\n", ""), spoke(), "it spoke and left");
        assert_eq!(seen(0, "bash\n\nopen\n", ""), ProbeEnd::Open);
        assert_eq!(seen(0, "nc\n\nopen\n", ""), ProbeEnd::Open);
        assert_eq!(seen(0, "bash\n\nclosed\n", ""), ProbeEnd::Closed);
        assert_eq!(
            seen(0, "bash\n\nclosed\n", "10: line 3: read: read error: 0: Connection reset by peer"),
            ProbeEnd::Closed
        );
        assert_eq!(seen(124, "bash\n", ""), ProbeEnd::TimedOut);
        let said = "3: line 1: nono.global: Name or service not known";
        assert_eq!(seen(1, "bash\n", said), ProbeEnd::Error { errno: None, text: said.into() });
        let said = "nc: bad address 'nono.global'";
        assert_eq!(seen(0, "nc\n\nclosed\n", said), ProbeEnd::Error { errno: None, text: said.into() });
    }

    #[test]
    fn a_binary_greeting_is_shown_escaped() {
        let ProbeEnd::Spoke { first } = seen(0, "bash\nJ\u{0}\u{0}\n9.7.0\nopen\n", "") else { panic!("bytes came") };
        assert_eq!(first, "J\\u{0}\\u{0}\\n9.7.0");
    }
}
