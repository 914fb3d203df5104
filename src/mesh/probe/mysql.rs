//! An authenticated query by the container's own `mysql` client, in the channel's TLS mode.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{Command, Ended, GRACE, OUTPUT, Probe};
use crate::{
    domain::{
        facts::ProbeEnd,
        spec::{ClientCertificate, Endpoint, Tls},
    },
    wait::Deadline,
};

/// What the client may take to connect and log in: longer than the sidecar's own 5 s to the endpoint, so that a sidecar that gives
/// up is seen as that.
const CONNECT: Duration = Duration::from_secs(8);

/// What a client that is connected may take to be answered, in seconds.
const ANSWERING: u64 = 4;

/// Hands its standard input to the client as its only option file. With an option file of the image or of the home directory it
/// would take options from there; the login file cannot be left out but by naming another. A client that is connected and gets no
/// answer does not give up by itself, and would stay when nobody waits for it any more: its first argument is how many seconds it
/// gets. One that fails says afterwards which version it is.
const SCRIPT: &str = "command -v mysql >/dev/null 2>&1 || exit 127
within=\"timeout $1\"; shift
command -v timeout >/dev/null 2>&1 || within=
MYSQL_TEST_LOGIN_FILE=/dev/null $within mysql --defaults-file=/dev/stdin \"$@\" && exit
code=$?
mysql --no-defaults --version </dev/null
exit $code";

/// Which server answers, and how it sees the client.
const QUERY: &str = "SELECT @@server_uuid, @@hostname, USER()";

/// The account that the receiver logs in with.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The user.
    pub user: &'a str,
    /// The password.
    pub password: &'a SecretString,
    /// What it shows beside it; paths in the container.
    pub certificate: Option<&'a ClientCertificate>,
}

/// An authenticated query from the container to `host`, a name or an address, in the channel's TLS mode. The password travels on
/// standard input only.
pub fn query(host: &str, port: u16, login: Login<'_>, tls: &Tls, deadline: Deadline) -> Probe {
    let connect = CONNECT.min(deadline.left().saturating_sub(Duration::from_secs(2))).as_secs().max(1);
    let seconds = connect + ANSWERING;
    let mut argv = ["sh", "-c", SCRIPT, "sh", &seconds.to_string()].map(ToOwned::to_owned).to_vec();
    argv.extend(options(host, port, tls, login.certificate, connect));
    let limit = Duration::from_secs(seconds) + GRACE;
    let what = format!("asking {host}:{port} with mysql");
    let password = login.password.clone();
    Probe {
        command: Command { argv, stdin: Some(option_file(login)), most: OUTPUT, limit, what },
        program: "mysql client",
        asked: format!("TLS {}", ssl_mode(tls)),
        read: Box::new(move |ended| end(ended, &password)),
    }
}

/// The same query straight to an endpoint's address: it passes no virtual address, so it tells a fault of the mesh from one of the
/// network. The certificate names the mesh host and not the address, so the name is not compared here.
pub fn direct(endpoint: Endpoint, login: Login<'_>, tls: &Tls, deadline: Deadline) -> Probe {
    let tls = match tls {
        Tls::VerifyIdentity { ca } => Tls::VerifyCa { ca: ca.clone() },
        other => other.clone(),
    };
    query(&endpoint.address.to_string(), endpoint.port, login, &tls, deadline)
}

fn ssl_mode(tls: &Tls) -> &'static str {
    match tls {
        Tls::Disabled => "DISABLED",
        Tls::Required => "REQUIRED",
        Tls::VerifyCa { .. } => "VERIFY_CA",
        Tls::VerifyIdentity { .. } => "VERIFY_IDENTITY",
    }
}

/// The client's options that are no secrets.
fn options(
    host: &str,
    port: u16,
    tls: &Tls,
    certificate: Option<&ClientCertificate>,
    connect_seconds: u64,
) -> Vec<String> {
    let mut options = vec![
        "--protocol=TCP".to_owned(),
        format!("--host={host}"),
        format!("--port={port}"),
        format!("--connect-timeout={connect_seconds}"),
        format!("--ssl-mode={}", ssl_mode(tls)),
    ];
    options.extend(tls.ca().map(|ca| format!("--ssl-ca={ca}")));
    if let Some(ClientCertificate { cert, key }) = certificate {
        options.extend([format!("--ssl-cert={cert}"), format!("--ssl-key={key}")]);
    }
    if *tls == Tls::Disabled {
        options.push("--get-server-public-key".into());
    }
    options.extend(["--batch", "--raw", "--skip-column-names", "--execute", QUERY].map(Into::into));
    options
}

/// The option file with the account. In double quotes only the backslash and the double quote are special to the client, and a
/// `#` does not begin a comment there (manual: "Using Option Files").
fn option_file(login: Login<'_>) -> SecretString {
    let line = |key: &str, value: &str| format!("{key}=\"{}\"\n", quoted(value));
    format!("[client]\n{}{}", line("user", login.user), line("password", login.password.expose_secret())).into()
}

fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            other => text.push(other),
        }
    }
    text
}

/// The client, with its version where it failed, and the probe's end.
fn end(ended: &Ended, password: &SecretString) -> (Option<String>, ProbeEnd) {
    let out = ended.out();
    let columns: Vec<&str> = out.trim_end_matches('\n').split('\t').collect();
    if ended.code == 0
        && let [server_uuid, hostname, seen_as] = columns[..]
    {
        let answer = ProbeEnd::Answered {
            server_uuid: server_uuid.to_lowercase(),
            hostname: hostname.to_owned(),
            seen_as: seen_as.to_owned(),
        };
        return (None, answer);
    }
    // timeout(1): 124, of BusyBox 143.
    if matches!(ended.code, 124 | 143) {
        return (None, ProbeEnd::TimedOut);
    }
    let version = out.rsplit_once("Ver ").and_then(|(_, rest)| rest.split_whitespace().next());
    let version = version.map(|version| format!("mysql client {version}"));
    let said = ended.err();
    let lines: Vec<&str> = said.lines().filter(|line| !line.contains("[Warning]")).collect();
    let text = if lines.is_empty() { format!("the client ended with {}", ended.code) } else { lines.join("\n") };
    (version, ProbeEnd::Error { errno: errno(&text), text: without(&text, password) })
}

/// The client never prints a password; should one do, it ends here.
fn without(text: &str, password: &SecretString) -> String {
    let secret = password.expose_secret();
    if secret.is_empty() { text.to_owned() } else { text.replace(secret, "***") }
}

/// The number in `ERROR 2013 (HY000): …`.
fn errno(text: &str) -> Option<u16> {
    let number = text.split_once("ERROR ")?.1.split(|c: char| !c.is_ascii_digit()).next()?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, stdout: &str, stderr: &str) -> Ended {
        Ended { stdout: stdout.into(), stderr: stderr.into(), code }
    }

    fn secret() -> SecretString {
        SecretString::from("s3cr3t")
    }

    const VERSION: &str = "mysql  Ver 9.7.0 for Linux on x86_64 (Source distribution)\n";

    #[test]
    fn an_answer_names_the_server_and_who_it_sees() {
        let (_, end) = end(&ended(0, "0C7A-AB\tpxc-0\trepl@198.18.0.11\n", ""), &secret());
        let wanted = ProbeEnd::Answered {
            server_uuid: "0c7a-ab".into(),
            hostname: "pxc-0".into(),
            seen_as: "repl@198.18.0.11".into(),
        };
        assert_eq!(end, wanted);
    }

    #[test]
    fn an_error_keeps_its_number_and_loses_warnings_and_secrets() {
        let said = "mysql: [Warning] something\nERROR 2013 (HY000): Lost connection to MySQL server at 'waiting for initial \
                    communication packet', system error: 110 s3cr3t\n";
        let (version, end) = end(&ended(1, VERSION, said), &secret());
        assert_eq!(version.as_deref(), Some("mysql client 9.7.0"));
        let ProbeEnd::Error { errno, text } = end else { panic!("an error expected") };
        assert_eq!(errno, Some(2013));
        assert!(text.starts_with("ERROR 2013") && text.ends_with("system error: 110 ***"), "{text}");
        assert_eq!(super::end(&ended(124, VERSION, ""), &secret()).1, ProbeEnd::TimedOut);
        let odd = super::end(&ended(7, VERSION, ""), &secret()).1;
        assert_eq!(odd, ProbeEnd::Error { errno: None, text: "the client ended with 7".into() });
    }

    #[test]
    fn each_tls_mode_is_asked_of_the_client_as_the_channel_has_it() {
        let of = |tls: &Tls| options("h", 3306, tls, None, 8).join(" ");
        assert!(of(&Tls::Disabled).contains("--ssl-mode=DISABLED --get-server-public-key"));
        assert!(of(&Tls::Required).contains("--ssl-mode=REQUIRED --batch"));
        let ca = "/ca.crt".to_owned();
        assert!(of(&Tls::VerifyIdentity { ca }).contains("--ssl-mode=VERIFY_IDENTITY --ssl-ca=/ca.crt"));
        let client = ClientCertificate { cert: "/c.crt".into(), key: "/c.key".into() };
        let shown = options("h", 3306, &Tls::Required, Some(&client), 8).join(" ");
        assert!(shown.contains("--ssl-mode=REQUIRED --ssl-cert=/c.crt --ssl-key=/c.key --batch"), "{shown}");
    }

    #[test]
    fn a_password_of_special_characters_is_one_quoted_line() {
        let password = SecretString::from(r#"a#b"c\d'e f "#);
        let file = option_file(Login { user: "repl", password: &password, certificate: None });
        assert_eq!(file.expose_secret(), "[client]\nuser=\"repl\"\npassword=\"a#b\\\"c\\\\d'e f \"\n");
    }
}
