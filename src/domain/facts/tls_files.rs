//! What was seen of the files that a channel's TLS names, on one member.

use serde::{Deserialize, Serialize};

/// The files, as the member's container has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFilesFacts {
    /// The container that was asked.
    pub container: String,
    /// Whom mysqld runs as there; `None` where it does not run in that container.
    pub mysqld: Option<ProcessUser>,
    /// The CA file, where the channel has one.
    pub ca: Option<FileFacts>,
    /// The client certificate, where the channel has one.
    pub certificate: Option<FileFacts>,
    /// Its key: of its text the labels of its blocks only.
    pub key: Option<FileFacts>,
    /// The public half of the key, PEM; `None` where the container has no `openssl`, or that cannot read the key.
    #[serde(default)]
    pub public_key: Option<String>,
}

/// Whom a process runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessUser {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group, and its other ones.
    pub groups: Vec<u32>,
}

/// A file, there or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Its path in the configuration.
    pub path: String,
    /// What the system says of one that cannot be found.
    pub absent: Option<String>,
    /// The file that the path leads to, and the directories above it, from the file up.
    pub way: Vec<PathPart>,
    /// What matters of its text; `None` where the container's user may not read it.
    pub text: Option<String>,
}

/// A file or a directory, and who may use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathPart {
    /// Its path.
    pub path: String,
    /// Whose it is.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits, such as `0o640`.
    pub mode: u32,
    /// It is an ordinary file, and no directory.
    pub is_file: bool,
}

impl PathPart {
    /// Whether the user may read it, a directory: go through it.
    fn lets_in(&self, user: &ProcessUser) -> bool {
        let class = if user.uid == self.uid {
            6
        } else if user.groups.contains(&self.gid) {
            3
        } else {
            0
        };
        let needed = if self.is_file { 0o4 } else { 0o1 };
        user.uid == 0 || (self.mode >> class) & needed != 0
    }

    /// As `ls -ln` would show it.
    pub fn shown(&self) -> String {
        format!("{}: mode {:o}, user {}, group {}", self.path, self.mode, self.uid, self.gid)
    }
}

impl FileFacts {
    /// What keeps a user from reading the file, if anything does: it, or a directory above it. Access lists beside the permission
    /// bits are not seen.
    pub fn closed_to(&self, user: &ProcessUser) -> Option<&PathPart> {
        self.way.iter().rev().find(|part| !part.lets_in(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(path: &str, (uid, gid): (u32, u32), mode: u32) -> PathPart {
        PathPart { path: path.to_owned(), uid, gid, mode, is_file: !path.ends_with('/') }
    }

    #[test]
    fn bits_of_the_file_and_of_every_directory_above_decide() {
        let file = |mode, dir_mode| FileFacts {
            path: "/tls/key".to_owned(),
            absent: None,
            way: vec![part("/tls/key", (0, 27), mode), part("/tls/", (0, 0), dir_mode), part("/", (0, 0), 0o755)],
            text: None,
        };
        let mysqld = ProcessUser { uid: 999, groups: vec![999, 27] };
        let other = ProcessUser { uid: 999, groups: vec![999] };
        let closed = |file: &FileFacts, user: &ProcessUser| file.closed_to(user).map(|part| part.path.clone());
        assert_eq!(closed(&file(0o640, 0o755), &mysqld), None, "by its group");
        assert_eq!(closed(&file(0o640, 0o755), &other).as_deref(), Some("/tls/key"));
        assert_eq!(
            closed(&file(0o604, 0o755), &mysqld).as_deref(),
            Some("/tls/key"),
            "the group's bits, not the others'"
        );
        assert_eq!(closed(&file(0o644, 0o700), &mysqld).as_deref(), Some("/tls/"));
        assert_eq!(closed(&file(0o644, 0o711), &other), None, "going through needs no reading");
        assert_eq!(closed(&file(0o000, 0o000), &ProcessUser { uid: 0, groups: vec![0] }), None);
        let own = FileFacts { way: vec![part("/k", (999, 0), 0o044)], ..file(0, 0) };
        assert_eq!(closed(&own, &mysqld).as_deref(), Some("/k"), "the owner's bits alone");
        assert_eq!(own.way[0].shown(), "/k: mode 44, user 999, group 0");
    }
}
