//! One HTTP request from a container, by `curl`, `wget`, `bash` or `nc`, whichever it has first.

use std::time::Duration;

use super::{Ended, Probe, excerpt};
use crate::{domain::facts::ProbeEnd, wait::Deadline};

const SCRIPT: &str = include_str!("http.sh");

/// What a request may take: longer than the three attempts of 5 s that a sidecar makes by its default before it answers 503.
const REQUEST: Duration = Duration::from_secs(18);

/// `GET /` at `host`, a name or an address.
pub fn get(host: &str, port: u16, deadline: Deadline) -> Probe {
    Probe::script(SCRIPT, REQUEST, (host, port), format!("GET http://{host}:{port}/"), end, deadline)
}

/// The program that asked, and the end of its request.
fn end(ended: &Ended) -> (Option<String>, ProbeEnd) {
    let (out, err) = (ended.out(), ended.err());
    let (program, answer) = out.split_once('\n').unwrap_or((&out, ""));
    let (said, code) = err.rsplit_once("ended with ").map_or((err.as_str(), None), |(said, code)| {
        let code: Option<i32> = code.lines().next().and_then(|code| code.trim().parse().ok());
        (said.trim(), code)
    });
    let end = response(answer, answer).or_else(|| response(said, answer)).unwrap_or_else(|| {
        if !answer.trim().is_empty() {
            return ProbeEnd::Spoke { first: excerpt(answer, 60) };
        }
        // curl(1): 28; timeout(1): 124, of BusyBox 143.
        if matches!((program.starts_with("curl"), code), (true, Some(28)) | (false, Some(124 | 143))) {
            return ProbeEnd::TimedOut;
        }
        let lower = said.to_ascii_lowercase();
        let cut = ["reset", "empty reply", "no data received", "eof", "broken pipe"];
        if said.is_empty() || cut.iter().any(|words| lower.contains(words)) {
            return ProbeEnd::Closed;
        }
        ProbeEnd::Error { errno: None, text: said.to_owned() }
    });
    (Some(program.to_owned()), end)
}

/// The response in a text: its status line, its headers, and what follows them. `wget` of BusyBox prints the headers apart from
/// the body, and indents them.
fn response(text: &str, body: &str) -> Option<ProbeEnd> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| status(line).is_none_or(|status| status < 200));
    let status = status(lines.next()?)?;
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).map(str::to_ascii_lowercase).collect();
    let has = |name: &str| headers.iter().any(|header| header.starts_with(name));
    let body = body.split_once("\r\n\r\n").or_else(|| body.split_once("\n\n")).map_or("", |(_, body)| body);
    let body = body.rsplit_once("ended with ").map_or(body, |(body, _)| body);
    Some(ProbeEnd::Http { status, upstream: has("x-envoy-upstream-service-time:"), body: excerpt(body, 200) })
}

/// The number in `HTTP/1.1 200 OK`.
fn status(line: &str) -> Option<u16> {
    let number = line.strip_prefix("HTTP/")?.split_once(' ')?.1.get(..3)?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(code: i32, stdout: &str, stderr: &str) -> (String, ProbeEnd) {
        let (program, end) = end(&Ended { stdout: stdout.into(), stderr: stderr.into(), code });
        (program.unwrap(), end)
    }

    const HEAD: &str =
        "HTTP/1.1 200 OK\r\ncontent-length: 22\r\nserver: envoy\r\nx-envoy-upstream-service-time: 0\r\n\r\n";
    const HELLO: &str = "Hello from Cluster A!\n";
    const GONE: &str = "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure";

    #[test]
    fn each_program_shows_the_same_answer() {
        let hello = || ProbeEnd::Http { status: 200, upstream: true, body: "Hello from Cluster A!".into() };
        for program in ["curl 7.88.1", "Wget 1.21.3", "bash", "nc"] {
            let out = format!("{program}\n{HEAD}{HELLO}");
            assert_eq!(seen(0, &out, "ended with 0"), (program.to_owned(), hello()));
        }
        let indented = HEAD.replace("\r\n", "\n  ");
        let (program, end) = seen(0, &format!("wget of BusyBox\n{HELLO}"), &format!("  {indented}\nended with 0"));
        assert_eq!(program, "wget of BusyBox");
        assert!(matches!(end, ProbeEnd::Http { status: 200, upstream: true, .. }), "{end:?}");
    }

    #[test]
    fn an_answer_that_the_sidecar_made_is_kept_with_its_words() {
        let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 121\r\nserver: envoy\r\n\r\n";
        let wanted = ProbeEnd::Http { status: 503, upstream: false, body: GONE.into() };
        assert_eq!(seen(0, &format!("curl 7.88.1\n{head}{GONE}"), "ended with 0").1, wanted);
        let said = "http://h:8080/:\n2026-11-21 11:58:11 ERROR 503: Service Unavailable.\nended with 8";
        assert_eq!(seen(0, &format!("Wget 1.21.3\n{head}{GONE}"), said).1, wanted);
        let said = "  HTTP/1.1 503 Service Unavailable\nwget: server returned error: HTTP/1.1 503 Service Unavailable\nended with 1";
        let (_, end) = seen(0, "wget of BusyBox\n", said);
        assert_eq!(end, ProbeEnd::Http { status: 503, upstream: false, body: String::new() });
    }

    #[test]
    fn a_connection_that_ends_without_an_answer_is_told_from_one_that_never_was() {
        for (out, said) in [
            ("curl 7.88.1\n", "curl: (56) Recv failure: Connection reset by peer\nended with 56"),
            ("curl 8.5.0\n", "curl: (52) Empty reply from server\nended with 52"),
            ("Wget 1.21.3\n", "Read error (Connection reset by peer) in headers.\nended with 4"),
            ("wget of BusyBox\n", "wget: error getting response: Connection reset by peer\nended with 1"),
            ("bash\n", "10: line 3: read: read error: 0: Connection reset by peer\nended with 0"),
            ("nc\n", "ended with 0"),
        ] {
            assert_eq!(seen(0, out, said).1, ProbeEnd::Closed, "{said}");
        }
        for (out, said) in [
            (
                "curl 7.88.1\n",
                "curl: (28) Operation timed out after 18001 milliseconds with 0 bytes received\nended with 28",
            ),
            ("bash\n", "ended with 124"),
            ("wget of BusyBox\n", "ended with 143"),
        ] {
            assert_eq!(seen(0, out, said).1, ProbeEnd::TimedOut, "{said}");
        }
        let (_, end) = seen(0, "curl 7.88.1\n", "curl: (6) Could not resolve host: nono.global\nended with 6");
        assert_eq!(end, ProbeEnd::Error { errno: None, text: "curl: (6) Could not resolve host: nono.global".into() });
    }

    #[test]
    fn what_is_no_http_is_shown_as_it_came() {
        let (_, end) = seen(0, "bash\n220 hello\n", "ended with 0");
        assert_eq!(end, ProbeEnd::Spoke { first: "220 hello".into() });
        assert_eq!(status("HTTP/1.1 404 Not Found"), Some(404));
        assert_eq!(status("HTTP/2 200"), Some(200));
        assert_eq!(status("HTTPS/1.1"), None);
    }
}
