//! What the host must bring, and the one line that refuses a host which does not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::{
    sys::{
        statfs::{OVERLAYFS_SUPER_MAGIC, statfs},
        statvfs::statvfs,
    },
    unistd::geteuid,
};

use crate::prepare::{ask, on_path};

/// Programs of every Debian-like system: apt, dpkg, tar, coreutils and util-linux.
const PROGRAMS: [&str; 7] = ["apt-get", "dpkg-deb", "tar", "nice", "chroot", "unshare", "setpriv"];

/// Where Debian and its derivatives keep the keys that sign Debian's archive.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// Used where the host is like Debian, but not Debian.
const DEBIAN_MIRROR: &str = "http://deb.debian.org/debian";
const DEBIAN_STABLE: &str = "bookworm";

/// What is seen of the host; judged by [`judge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Operating system, as Rust names it.
    pub os: &'static str,
    /// Processor architecture, as Rust names it.
    pub arch: &'static str,
    /// Whether this process may do what root may.
    pub root: bool,
    /// Programs that are not on the PATH.
    pub missing_programs: Vec<&'static str>,
    /// The keys of Debian's archive.
    pub keyring: Option<PathBuf>,
    /// Space on the cache's file system that this user may fill, in bytes.
    pub free: u64,
    /// Whether the cache lies on an overlay file system, as everything in a container does that is not on a volume.
    pub overlay: bool,
}

/// The host cannot carry the sandbox; one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox cannot run here: {}", missing.join("; "))]
pub struct Refusal {
    /// What is missing, each with what would mend it.
    pub missing: Vec<String>,
}

/// Where Debian packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    /// The mirror, as the host has configured it.
    pub(crate) uri: String,
    pub(crate) keyring: PathBuf,
    /// The stable release whose programs run on this host's C library.
    pub(crate) stable: String,
}

impl HostFacts {
    /// Looks at the host; `cache` need not exist yet.
    pub fn gather(cache: &Path) -> Self {
        let existing = cache.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
        Self {
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            root: geteuid().is_root(),
            missing_programs: PROGRAMS.into_iter().filter(|name| on_path(name).is_none()).collect(),
            keyring: KEYRINGS.iter().map(PathBuf::from).find(|path| path.exists()),
            overlay: statfs(existing).is_ok_and(|fs| fs.filesystem_type() == OVERLAYFS_SUPER_MAGIC),
            free: statvfs(existing).map_or(0, |fs| fs.blocks_available() * fs.fragment_size()),
        }
    }
}

/// Refuses a host that lacks something. `needed` is the space still to be filled, in bytes.
pub fn judge(facts: &HostFacts, needed: u64) -> Result<(), Refusal> {
    let mut missing = Vec::new();
    if facts.os != "linux" || facts.arch != "x86_64" {
        missing.push(format!("it needs Linux on x86-64 (this is {} on {})", facts.os, facts.arch));
    }
    if !facts.root {
        missing.push("it needs root (run it with sudo, or in a virtual machine)".to_owned());
    }
    if !facts.missing_programs.is_empty() {
        missing.push(format!("missing programs of a Debian-like system: {}", facts.missing_programs.join(" ")));
    }
    if facts.keyring.is_none() {
        missing.push(format!("missing `{}` (package debian-archive-keyring)", KEYRINGS[0]));
    }
    if facts.overlay {
        // The kernel takes no overlay as the upper layer of another, which each container's root would need.
        missing.push(
            "its cache lies on an overlay file system (point `XDG_CACHE_HOME` at a directory on a volume)".to_owned(),
        );
    }
    if facts.free < needed {
        missing.push(format!(
            "its cache needs {} more free space, there is {}",
            gigabytes(needed),
            gigabytes(facts.free)
        ));
    }
    if missing.is_empty() { Ok(()) } else { Err(Refusal { missing }) }
}

fn gigabytes(bytes: u64) -> String {
    format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10)
}

impl Archive {
    /// The host's own mirror and release where it is Debian, else Debian's main mirror.
    pub(crate) fn of_host(keyring: PathBuf) -> Self {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        // Says what `update` would fetch, for every form that sources can be written in; fetches nothing.
        let mut say = Command::new("apt-get");
        say.args(["update", "--print-uris"]).env("LC_ALL", "C");
        let sources = ask(&mut say, Duration::from_secs(20)).unwrap_or_default();
        let (uri, stable) = debian_archive(&release, &sources);
        Self { uri, keyring, stable }
    }
}

/// The mirror and the stable release's name, from `/etc/os-release` and the output of `apt-get update --print-uris`.
fn debian_archive(os_release: &str, sources: &str) -> (String, String) {
    let field = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"'))
    };
    let mut mirrors = sources.lines().filter_map(|line| {
        let address = line.strip_prefix('\'')?.split('\'').next()?;
        let (mirror, rest) = address.split_once("/dists/")?;
        Some((mirror, rest.strip_suffix("/InRelease")?))
    });
    let debian = field("ID") == Some("debian");
    let codename = field("VERSION_CODENAME").filter(|_| debian);
    let own = codename.and_then(|codename| mirrors.find(|(_, suite)| *suite == codename));
    match own {
        Some((mirror, suite)) => (mirror.to_owned(), suite.to_owned()),
        None => (DEBIAN_MIRROR.to_owned(), codename.unwrap_or(DEBIAN_STABLE).to_owned()),
    }
}

/// An address as it may be shown: one behind a login has its credentials in it.
pub(crate) fn without_credentials(address: &str) -> String {
    match (address.find("://"), address.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}{}", &address[..scheme + 3], &address[at + 1..]),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> HostFacts {
        HostFacts {
            os: "linux",
            arch: "x86_64",
            root: true,
            missing_programs: vec![],
            keyring: Some("/k".into()),
            free: 20_000_000_000,
            overlay: false,
        }
    }

    fn refusal(facts: &HostFacts) -> String {
        judge(facts, 18_000_000_000).unwrap_err().to_string()
    }

    #[test]
    fn a_good_host_is_accepted() {
        assert_eq!(judge(&good(), 18_000_000_000), Ok(()));
    }

    #[test]
    fn refusals_are_one_line_that_says_what_is_missing() {
        assert_eq!(
            refusal(&HostFacts { arch: "aarch64", ..good() }),
            "the sandbox cannot run here: it needs Linux on x86-64 (this is linux on aarch64)"
        );
        assert_eq!(
            refusal(&HostFacts { root: false, ..good() }),
            "the sandbox cannot run here: it needs root (run it with sudo, or in a virtual machine)"
        );
        assert_eq!(
            refusal(&HostFacts { missing_programs: vec!["apt-get", "dpkg-deb"], keyring: None, ..good() }),
            "the sandbox cannot run here: missing programs of a Debian-like system: apt-get dpkg-deb; \
             missing `/usr/share/keyrings/debian-archive-keyring.gpg` (package debian-archive-keyring)"
        );
        assert_eq!(
            refusal(&HostFacts { overlay: true, ..good() }),
            "the sandbox cannot run here: its cache lies on an overlay file system \
             (point `XDG_CACHE_HOME` at a directory on a volume)"
        );
        assert_eq!(
            refusal(&HostFacts { free: 3_140_000_000, ..good() }),
            "the sandbox cannot run here: its cache needs 18.0 GB more free space, there is 3.1 GB"
        );
    }

    #[test]
    fn the_host_s_mirror_is_taken() {
        let release = "ID=debian\nVERSION_CODENAME=bookworm\n";
        let sources = "'https://deb.other.example/x/dists/nodistro/InRelease' a 0 \n'http://mirror.example/debian/dists/bookworm/InRelease' b 0 \n";
        assert_eq!(
            debian_archive(release, sources),
            ("http://mirror.example/debian".to_owned(), "bookworm".to_owned())
        );
        assert_eq!(debian_archive(release, ""), (DEBIAN_MIRROR.to_owned(), "bookworm".to_owned()));
        let ubuntu = "ID=ubuntu\nVERSION_CODENAME=noble\n";
        assert_eq!(
            debian_archive(ubuntu, "'http://u.example/ubuntu/dists/noble/InRelease' b 0 \n"),
            (DEBIAN_MIRROR.to_owned(), DEBIAN_STABLE.to_owned())
        );
    }

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(without_credentials("https://user:pa@ss@host.example/simple"), "https://host.example/simple");
        assert_eq!(without_credentials("https://host.example/simple"), "https://host.example/simple");
    }
}
