//! Looking at the files that a channel's TLS names, in a member's container, by one command. No private key leaves the container:
//! of its file the labels of the PEM blocks are read, and the public half where the container has `openssl`.

use std::time::Duration;

use super::{
    Gate, Place, no_such_program,
    shell::{self, Command},
};
use crate::{
    domain::{
        code::Code,
        facts::{FileFacts, PathPart, ProcessUser, TlsFilesFacts},
        problem::Problem,
        spec::{ClientCertificate, Tls},
    },
    k8s::K8sError,
    wait::Deadline,
};

/// What is read of a file of certificates at the most: more than the public roots of an operating system take.
const MOST_BYTES: u32 = 400_000;
/// What is kept of the output: two files, and the two characters before each line of them.
const KEPT: u32 = 1 << 20;
/// What looking may take.
const LOOKING: Duration = Duration::from_secs(10);

/// Takes the paths of CA, certificate and key, empty ones for those that there are not. A line that begins with `| ` belongs to the
/// text of the file before it.
fn script() -> String {
    let label = r"s/^\(-----BEGIN [A-Z0-9 ]*-----\).*/| \1/p";
    // A key's block comes first: it may stand where a certificate was cut off.
    let certificates = format!(
        "sed -n -e '/PRIVATE KEY/,/-----END/{{' -e '{label}' -e d -e '}}' -e '/^-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/,/^-----END/{{' -e 's/^/| /p' -e d -e '}}' -e '{label}'"
    );
    let labels = format!("sed -n -e '{label}' -e 's/^Proc-Type: 4,ENCRYPTED.*/| ENCRYPTED/p'");
    format!(
        r#"for p in /proc/[0-9]*; do
  read -r name 2>/dev/null <"$p/comm" || continue
  [ "$name" = mysqld ] || continue
  while read -r field numbers; do
    case $field in Uid:|Gid:|Groups:) echo "$field $numbers" ;; esac
  done 2>/dev/null <"$p/status" && break
done
look() {{
  [ -n "$2" ] || return 0
  echo "$1"
  at=$(readlink -f -- "$2") && [ -e "$at" ] || {{ echo "absent: $(stat -- "$2" 2>&1 >/dev/null)"; return 1; }}
  file=$at
  while :; do
    stat -c 'part: %u %g %a %F|%n' -- "$at"
    [ "$at" = / ] && break
    at=${{at%/*}} at=${{at:-/}}
  done
  [ -f "$file" ] && [ -r "$file" ] && echo text
}}
look ca "$1" && head -c {MOST_BYTES} -- "$file" | {certificates}
look certificate "$2" && head -c {MOST_BYTES} -- "$file" | {certificates}
look key "$3" && head -c {MOST_BYTES} -- "$file" | {labels} &&
  command -v openssl >/dev/null 2>&1 && echo public &&
  openssl pkey -in "$file" -pubout -passin pass: 2>/dev/null </dev/null | sed 's/^/| /'
exit 0"#
    )
}

/// Looks at the files of a channel in a container of a pod.
///
/// # Errors
/// [`Code::TlsFilesUnseen`] where the container has not what the looking takes, and whatever a command in it can fail with.
pub async fn tls_files(
    place: Place<'_>,
    tls: &Tls,
    client: Option<&ClientCertificate>,
    deadline: Deadline,
) -> Result<TlsFilesFacts, Problem> {
    let paths = Paths {
        ca: tls.ca().unwrap_or_default(),
        certificate: client.map_or("", |client| &client.cert),
        key: client.map_or("", |client| &client.key),
    };
    let argv = ["sh", "-c", &script(), "sh", paths.ca, paths.certificate, paths.key].map(ToOwned::to_owned).to_vec();
    let what = "looking at the files of the channel's TLS".to_owned();
    let command = Command { argv, stdin: None, most: KEPT, limit: LOOKING, what };
    let Place { pod, container, .. } = place;
    let unseen = |why: String| {
        let message = format!("container {container} of pod {pod} does not show the files of the channel's TLS");
        Problem::new(Code::TlsFilesUnseen, message).seen(why)
    };
    let mut went = shell::run(place, &[&command], &Gate::opened(), deadline).await;
    match went.pop().expect("every command has an end").ended {
        Ok(ended) if ended.code == 0 => {
            let facts = paths.read(container, &ended.out());
            facts.ok_or_else(|| unseen(format!("`sh` and `stat` said: {}", ended.err())))
        }
        Ok(ended) if ended.code == 127 => Err(unseen("it has no `od` to tell them with".to_owned())),
        Ok(ended) => Err(unseen(format!("`sh` ended with {}: {}", ended.code, ended.err()))),
        Err(K8sError::Pod { detail, .. }) if no_such_program(&detail) => Err(unseen(detail)),
        Err(error) => Err(error.into()),
    }
}

/// The paths that were asked for, each empty where there is none.
#[derive(Clone, Copy)]
struct Paths<'a> {
    ca: &'a str,
    certificate: &'a str,
    key: &'a str,
}

impl Paths<'_> {
    /// What the script printed; `None` where something is missing from it.
    fn read(self, container: &str, out: &str) -> Option<TlsFilesFacts> {
        let file = |path: &str| {
            let (path, way) = (path.to_owned(), Vec::new());
            (!path.is_empty()).then_some(FileFacts { path, absent: None, way, text: None })
        };
        let mut facts = TlsFilesFacts {
            container: container.to_owned(),
            mysqld: None,
            ca: file(self.ca),
            certificate: file(self.certificate),
            key: file(self.key),
            public_key: None,
        };
        let (mut user, mut groups) = (None, Vec::new());
        let (mut file, mut is_public): (Option<&mut FileFacts>, bool) = (None, false);
        for line in out.lines() {
            match line {
                "ca" => file = facts.ca.as_mut(),
                "certificate" => file = facts.certificate.as_mut(),
                "key" => file = facts.key.as_mut(),
                "text" => file.as_mut()?.text = Some(String::new()),
                "public" => is_public = true,
                _ => {}
            }
            // Real, effective, saved and of the file system, of a process's user and of its group.
            let effective = |rest: &str| rest.split_whitespace().nth(1)?.parse::<u32>().ok();
            if let Some(text) = line.strip_prefix("| ") {
                let kept =
                    if is_public { facts.public_key.get_or_insert_default() } else { file.as_mut()?.text.as_mut()? };
                kept.extend([text, "\n"]);
            } else if let Some(rest) = line.strip_prefix("Uid:") {
                user = effective(rest);
            } else if let Some(rest) = line.strip_prefix("Gid:") {
                groups.extend(effective(rest));
            } else if let Some(rest) = line.strip_prefix("Groups:") {
                groups.extend(rest.split_whitespace().filter_map(|group| group.parse::<u32>().ok()));
            } else if let Some(words) = line.strip_prefix("absent: ") {
                file.as_mut()?.absent = Some(words.to_owned());
            } else if let Some(part) = line.strip_prefix("part: ") {
                file.as_mut()?.way.push(path_part(part)?);
            }
        }
        facts.mysqld = user.map(|uid| ProcessUser { uid, groups });
        let told = |file: &FileFacts| file.absent.is_some() || !file.way.is_empty();
        let all_told = [&facts.ca, &facts.certificate, &facts.key].into_iter().flatten().all(told);
        all_told.then_some(facts)
    }
}

/// `999 27 640 regular file|/tls/ca.crt`
fn path_part(text: &str) -> Option<PathPart> {
    let (numbers, path) = text.split_once('|')?;
    let mut numbers = numbers.splitn(4, ' ');
    let mut next = || numbers.next();
    let (uid, gid) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let mode = u32::from_str_radix(next()?, 8).ok()?;
    Some(PathPart { path: path.to_owned(), uid, gid, mode, is_file: next()? != "directory" })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

    /// Runs the script on this machine, as it is run in a container.
    fn looked_at(paths: Paths<'_>) -> (String, TlsFilesFacts) {
        let ran = Command::new("sh").args(["-c", &script(), "sh", paths.ca, paths.certificate, paths.key]).output();
        let out = String::from_utf8(ran.unwrap().stdout).unwrap();
        let facts = paths.read("pxc", &out).unwrap();
        (out, facts)
    }

    fn write(dir: &Path, name: &str, text: &str) -> String {
        fs::write(dir.join(name), text).unwrap();
        dir.join(name).display().to_string()
    }

    #[test]
    fn certificates_are_read_and_keys_stay_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let ca = write(&dir, "ca 'of it'.crt", &format!("CN=ca\n{CERTIFICATE}{CERTIFICATE}"));
        let both = write(&dir, "both.pem", &format!("{KEY}{CERTIFICATE}{KEY}"));
        let one_line = "-----BEGIN RSA PRIVATE KEY-----c2VjcmV0\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\nc2VjcmV0";
        let key = write(&dir, "key.pem", one_line);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let (out, facts) = looked_at(Paths { ca: &ca, certificate: &both, key: &key });
        assert!(!out.contains("c2VjcmV0"), "{out}");
        assert_eq!(facts.ca.unwrap().text.unwrap(), CERTIFICATE.repeat(2));
        let labelled = format!("-----BEGIN PRIVATE KEY-----\n{CERTIFICATE}-----BEGIN PRIVATE KEY-----\n");
        assert_eq!(facts.certificate.unwrap().text.unwrap(), labelled);
        let cut = write(&dir, "cut.pem", &format!("-----BEGIN CERTIFICATE-----\nMIIB\n{KEY}{CERTIFICATE}"));
        let (out, _) = looked_at(Paths { ca: &cut, certificate: &cut, key: "" });
        assert!(!out.contains("c2VjcmV0") && out.contains("MIIB"), "{out}");
        let file = facts.key.unwrap();
        assert_eq!(file.text.unwrap(), "-----BEGIN RSA PRIVATE KEY-----\nENCRYPTED\n");
        let way: Vec<&str> = file.way.iter().map(|part| part.path.as_str()).collect();
        assert_eq!((way[0], way.last()), (key.as_str(), Some(&"/")));
        assert_eq!((file.way[0].mode, file.way[0].is_file, file.way[1].is_file), (0o640, true, false));
    }

    #[test]
    fn links_are_followed_and_what_is_not_there_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir(dir.join("..data")).unwrap();
        let real = write(&dir.join("..data"), "ca.crt", CERTIFICATE);
        let link = dir.join("ca.crt");
        std::os::unix::fs::symlink("..data/ca.crt", &link).unwrap();
        let (link, none) = (link.display().to_string(), dir.join("none").display().to_string());
        let directory = dir.display().to_string();
        let (_, facts) = looked_at(Paths { ca: &link, certificate: &none, key: &directory });
        let ca = facts.ca.unwrap();
        assert_eq!((ca.path, &ca.way[0].path, ca.text.as_deref()), (link, &real, Some(CERTIFICATE)));
        let none = facts.certificate.unwrap();
        assert!(none.absent.unwrap().contains("No such file") && none.way.is_empty());
        let key = facts.key.unwrap();
        assert!(key.text.is_none() && !key.way[0].is_file, "{key:?}");
        assert_eq!(
            (facts.public_key, looked_at(Paths { ca: &directory, certificate: "", key: "" }).1.key),
            (None, None)
        );
    }

    #[test]
    fn whom_mysqld_runs_as_and_the_public_half_of_a_key() {
        let out = "Uid: 0 999 999 999\nGid: 0 27 27 27\nGroups: 27 1000 \nkey\npart: 0 0 400 regular file|/k\ntext\n\
                   | -----BEGIN PRIVATE KEY-----\npublic\n| -----BEGIN PUBLIC KEY-----\n| AA==\n";
        let facts = Paths { ca: "", certificate: "", key: "/k" }.read("pxc", out).unwrap();
        assert_eq!(facts.mysqld, Some(ProcessUser { uid: 999, groups: vec![27, 27, 1000] }));
        assert_eq!(facts.key.unwrap().text.unwrap(), "-----BEGIN PRIVATE KEY-----\n");
        assert_eq!(facts.public_key.unwrap(), "-----BEGIN PUBLIC KEY-----\nAA==\n");
        assert!(Paths { ca: "/ca", certificate: "", key: "" }.read("pxc", "ca\n").is_none(), "nothing was said of it");
    }
}
