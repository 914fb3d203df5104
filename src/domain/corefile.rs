//! A stub for one name in CoreDNS's configuration: put in between two comment lines and taken out again, nothing else touched.
//!
//! What is read of a Corefile follows the lexer of Caddy 1, which CoreDNS uses: tokens between white space, text in double
//! quotes is one token, `#` begins a comment outside quotes, and a block opens with a `{` that stands alone.

use std::{net::Ipv4Addr, ops::Range};

/// The port of a server block that names none (CoreDNS: `transport.Port`).
const DNS_PORT: u16 = 53;

/// One name that CoreDNS is to answer by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stub<'a> {
    /// The link; its name stands in the comment lines.
    pub link: &'a str,
    /// The mesh name.
    pub host: &'a str,
    /// Its virtual address.
    pub vip: Ipv4Addr,
    /// The port on which the server block for every other name listens.
    pub port: u16,
}

impl Stub<'_> {
    /// The server block between its comment lines. The plugin `hosts` answers other types of the name, AAAA among them, with
    /// NOERROR and nothing.
    pub fn block(&self) -> String {
        let Self { link, host, vip, port } = self;
        let (begin, end) = (begin(link), end(link));
        format!(
            "{begin}\n{host}:{port} {{\n    errors\n    hosts {{\n        {vip} {host}\n        ttl 30\n        no_reverse\n    }}\n}}\n{end}\n"
        )
    }
}

fn begin(link: &str) -> String {
    format!("# BEGIN pxc-link {link}")
}

fn end(link: &str) -> String {
    format!("# END pxc-link {link}")
}

/// The text with the stub in it, once and as it is to be. A text that has exactly that stub stays as it is; else the stub is put
/// first, so that every byte of the rest stays, whatever the text ends with.
///
/// # Errors
/// What is wrong with the comment lines of a stub that is there.
pub fn with_stub(text: &str, stub: &Stub<'_>) -> Result<String, String> {
    let block = stub.block();
    if let Some(range) = find(text, stub.link)?
        && text[range.clone()] == block
        && find(&text[range.end..], stub.link)?.is_none()
    {
        return Ok(text.to_owned());
    }
    Ok(block + &without_stub(text, stub.link)?)
}

/// The text without any stub of the link; byte for byte what it was before the stub was put in.
///
/// # Errors
/// As [`with_stub`].
pub fn without_stub(text: &str, link: &str) -> Result<String, String> {
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(range) = find(rest, link)? {
        kept.push_str(&rest[..range.start]);
        rest = &rest[range.end..];
    }
    kept.push_str(rest);
    Ok(kept)
}

/// The stub of the link with its comment lines, if one is there.
///
/// # Errors
/// As [`with_stub`].
pub fn stub_of<'a>(text: &'a str, link: &str) -> Result<Option<&'a str>, String> {
    Ok(find(text, link)?.map(|range| &text[range]))
}

/// Where the first stub of a link is, its comment lines included.
fn find(text: &str, link: &str) -> Result<Option<Range<usize>>, String> {
    let (begin, end) = (begin(link), end(link));
    let mut start = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let next = at + line.len();
        let shown = line.trim_end_matches(['\n', '\r']);
        match start {
            None if shown == begin => start = Some(at),
            Some(start) if shown == end => return Ok(Some(start..next)),
            _ => {}
        }
        at = next;
    }
    match start {
        None => Ok(None),
        Some(_) => Err(format!("there is a line `{begin}` and none `{end}` after it")),
    }
}

/// What a Corefile says, as far as a stub has to fit in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corefile {
    /// The zones of all server blocks, in lower case, without port, scheme and closing dot; the root is `.`.
    pub zones: Vec<String>,
    /// Patterns of files that it imports beside its server blocks.
    pub imports: Vec<String>,
    /// The port of the block for every name, 53 where there is none.
    pub port: u16,
    /// CoreDNS reads the file again when it has changed.
    pub reloads: bool,
}

impl Corefile {
    /// Reads a Corefile.
    ///
    /// # Errors
    /// Where its blocks do not close.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut read = Self { zones: Vec::new(), imports: Vec::new(), port: DNS_PORT, reloads: false };
        let (mut depth, mut root_seen) = (0_u32, false);
        let mut keys: Vec<String> = Vec::new();
        for line in lines(text) {
            let opens = line.last().is_some_and(|token| token == "{");
            let words = if opens { &line[..line.len() - 1] } else { &line[..] };
            match (depth, words) {
                (0, [import, patterns @ ..]) if keys.is_empty() && import == "import" && !opens => {
                    read.imports.extend_from_slice(patterns);
                }
                (0, words) if words.iter().any(|word| word == "}") => {
                    return Err("a `}` that closes nothing".to_owned());
                }
                (0, words) => {
                    keys.extend(words.iter().flat_map(|word| word.split(',')).map(ToOwned::to_owned));
                    // A file without braces is one block whose directives begin on its second line.
                    if !opens && !words.last().is_none_or(|word| word.ends_with(',')) {
                        return Err("a server block without braces".to_owned());
                    }
                }
                (1, [directive, ..]) => read.reloads |= directive == "reload",
                _ => {}
            }
            if depth == 0 && opens {
                for (zone, port) in keys.drain(..).filter(|key| !key.is_empty()).filter_map(|key| zone(&key)) {
                    if zone == "." && !root_seen {
                        (read.port, root_seen) = (port, true);
                    }
                    read.zones.push(zone);
                }
            }
            if opens {
                depth += 1;
            } else if line.iter().any(|token| token == "}") {
                depth -= 1;
            }
        }
        if depth == 0 { Ok(read) } else { Err("a `{` that is not closed".to_owned()) }
    }

    /// Whether a server block answers for exactly this name.
    pub fn serves(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.zones.contains(&host)
    }
}

/// Zone and port of a server block's key; none for a snippet, `(name)`.
fn zone(key: &str) -> Option<(String, u16)> {
    if key.starts_with('(') {
        return None;
    }
    let name = key.split_once("://").map_or(key, |(_, rest)| rest);
    let (name, port) = match name.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().unwrap_or(DNS_PORT)),
        None => (name, DNS_PORT),
    };
    let bare = name.trim_end_matches('.').to_ascii_lowercase();
    Some((if bare.is_empty() { ".".to_owned() } else { bare }, port))
}

/// The tokens of every line that has any.
fn lines(text: &str) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = vec![Vec::new()];
    let (mut token, mut quoted, mut comment, mut escaped) = (String::new(), false, false, false);
    for character in text.chars() {
        if quoted {
            match character {
                '"' if !escaped => {
                    quoted = false;
                    push(&mut lines, &mut token, true);
                }
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                other => token.push(other),
            }
            escaped = false;
            continue;
        }
        if character == '\n' {
            push(&mut lines, &mut token, false);
            lines.push(Vec::new());
            comment = false;
        } else if comment {
        } else if character == '#' {
            comment = true;
        } else if character.is_whitespace() {
            push(&mut lines, &mut token, false);
        } else if character == '"' && token.is_empty() {
            quoted = true;
        } else {
            token.push(character);
        }
    }
    push(&mut lines, &mut token, false);
    lines.retain(|line| !line.is_empty());
    lines
}

fn push(lines: &mut [Vec<String>], token: &mut String, empty_too: bool) {
    if (empty_too || !token.is_empty())
        && let Some(line) = lines.last_mut()
    {
        line.push(std::mem::take(token));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KUBEADM: &str = "\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
    }
    loop
    reload
    loadbalance
}
";

    fn stub(link: &str) -> Stub<'_> {
        Stub { link, host: "pxc-source.production.global", vip: Ipv4Addr::new(240, 0, 0, 7), port: 53 }
    }

    #[test]
    fn a_stub_is_a_server_block_of_its_own_before_the_rest() {
        let text = with_stub(KUBEADM, &stub("production")).unwrap();
        assert_eq!(
            text.strip_suffix(KUBEADM).unwrap(),
            "# BEGIN pxc-link production\n\
             pxc-source.production.global:53 {\n    errors\n    hosts {\n        240.0.0.7 pxc-source.production.global\n\
             \x20       ttl 30\n        no_reverse\n    }\n}\n\
             # END pxc-link production\n"
        );
        let read = Corefile::read(&text).unwrap();
        assert_eq!(read.zones, ["pxc-source.production.global", "."]);
        assert!(read.serves("PXC-source.production.global.") && !read.serves("production.global"));
    }

    #[test]
    fn a_stub_of_before_is_brought_in_line_and_one_that_fits_stays_where_it_is() {
        let old = Stub { vip: Ipv4Addr::new(240, 0, 0, 9), ..stub("production") };
        let text = with_stub(&with_stub(KUBEADM, &old).unwrap(), &stub("production")).unwrap();
        assert_eq!(text, with_stub(KUBEADM, &stub("production")).unwrap());
        let moved = format!("{KUBEADM}{}", stub("production").block());
        assert_eq!(with_stub(&moved, &stub("production")).unwrap(), moved);
        let twice = format!("{0}{KUBEADM}{0}", stub("production").block());
        assert_eq!(with_stub(&twice, &stub("production")).unwrap(), text);
        assert_eq!(without_stub(&twice, "production").unwrap(), KUBEADM);
    }

    #[test]
    fn a_stub_whose_end_is_gone_is_left_alone() {
        let broken = format!("# BEGIN pxc-link production\n{KUBEADM}");
        assert!(with_stub(&broken, &stub("production")).unwrap_err().contains("# END pxc-link production"));
        assert!(without_stub(&broken, "production").is_err() && stub_of(&broken, "production").is_err());
        assert_eq!(stub_of(&broken, "prod"), Ok(None), "another link's line is not this one's");
    }

    #[test]
    fn zones_ports_imports_and_reload_are_read() {
        let read = Corefile::read(KUBEADM).unwrap();
        assert_eq!((read.port, read.reloads, read.imports.len()), (53, true, 0));
        let text = "(log) {\n  errors\n}\n\
                    dns://a.example.:1053, B.example {\n  import log\n  forward . 10.0.0.1 # reload\n}\n\
                    .:1053 {\n  cache \"{\" {\n    reload\n  }\n}\nimport custom/*.server\n";
        let read = Corefile::read(text).unwrap();
        assert_eq!(read.zones, ["a.example", "b.example", "."]);
        assert_eq!((read.port, read.reloads), (1053, false), "{read:?}");
        assert_eq!(read.imports, ["custom/*.server"]);
    }

    #[test]
    fn what_is_no_corefile_is_not_taken_for_one() {
        for (text, why) in [
            (". {\n errors\n", "not closed"),
            ("}\n", "closes nothing"),
            (".:53\nerrors\nforward . 10.0.0.1\n", "without braces"),
        ] {
            assert!(Corefile::read(text).unwrap_err().contains(why), "{text}");
        }
    }

    fn corefile() -> impl Strategy<Value = String> {
        let block = "[a-z]{1,8}(\\.[a-z]{1,4})?(:[1-9][0-9]{1,3})? \\{\n(    [a-z]{1,8}( [a-z0-9./]{1,9}){0,3}( # [a-z {}]{0,9})?\n){0,4}\\}\n";
        prop::collection::vec(block, 0..4).prop_map(|blocks| blocks.concat())
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out_and_nothing_else_changes(text in any::<String>(), lines in prop::collection::vec("[ -~]{0,20}\r?", 0..8)) {
            for text in [text, lines.join("\n")] {
                let (one, other) = (stub("production"), stub("staging"));
                let with = with_stub(&text, &one).unwrap();
                prop_assert_eq!(&with_stub(&with, &one).unwrap(), &with);
                prop_assert_eq!(&without_stub(&with, "production").unwrap(), &text);
                let both = with_stub(&with, &other).unwrap();
                let first = without_stub(&without_stub(&both, "production").unwrap(), "staging").unwrap();
                let second = without_stub(&without_stub(&both, "staging").unwrap(), "production").unwrap();
                prop_assert_eq!(&first, &text);
                prop_assert_eq!(&second, &text);
            }
        }

        #[test]
        fn a_stub_adds_its_zone_and_leaves_the_others(text in corefile()) {
            let before = Corefile::read(&text).unwrap();
            let after = Corefile::read(&with_stub(&text, &stub("production")).unwrap()).unwrap();
            prop_assert!(after.serves("pxc-source.production.global"));
            prop_assert_eq!(&after.zones[1..], before.zones.as_slice());
            prop_assert_eq!((after.port, after.reloads, after.imports), (before.port, before.reloads, before.imports));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = Corefile::read(&text);
        }
    }
}
