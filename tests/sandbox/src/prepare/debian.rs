//! Debian packages, fetched by a private apt and unpacked into a directory: nothing is installed on the host.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    error::{Doing as _, StepError},
    job::{Job, nice},
    part::{hex, remove},
};
use crate::host::{self, Archive};

const UPDATE_DEADLINE: Duration = Duration::from_mins(10);
const DOWNLOAD_DEADLINE: Duration = Duration::from_mins(30);
const UNPACK_DEADLINE: Duration = Duration::from_mins(5);

/// The file in a part that says which packages it holds: file name and SHA-256, one a line.
pub(super) const PACKAGES: &str = "packages.sha256";

/// Fetches these packages with all they depend on, from this release, and unpacks them into `root`.
///
/// apt checks the archive's signature and every file's digest against it.
pub(super) fn unpack(
    job: &Job,
    archive: &Archive,
    suite: &str,
    packages: &[&str],
    root: &Path,
) -> Result<(), StepError> {
    let apt = Apt::new(job, archive, suite)?;
    let update = apt.get(job, &["update"], "read the package lists", UPDATE_DEADLINE);
    update.map_err(|error| judge(error, &job.logged(), &archive.uri, suite))?;
    let mut install = vec!["-y", "--download-only", "install"];
    install.extend(packages);
    let fetched = apt.get(job, &install, "fetch packages", DOWNLOAD_DEADLINE);
    fetched.map_err(|error| judge(error, &job.logged(), &archive.uri, suite))?;

    merge_usr(root)?;
    let mut record = String::new();
    for deb in apt.debs()? {
        job.go_on()?;
        let name = deb.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let content = fs::read(&deb).doing("read", &deb)?;
        // `writeln!` into a String cannot fail.
        let _ = writeln!(record, "{}  {name}", hex(&Sha256::digest(content)));
        extract(job, &deb, root)?;
    }
    let place = job.dir.join(PACKAGES);
    fs::write(&place, record).doing("write", place)?;
    remove(&apt.dir)
}

/// An apt with its own state, cache and sources, and an empty list of installed packages.
#[derive(Debug)]
struct Apt {
    dir: PathBuf,
}

impl Apt {
    fn new(job: &Job, archive: &Archive, suite: &str) -> Result<Self, StepError> {
        let dir = job.dir.join("apt");
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub)).doing("create", dir.join(sub))?;
        }
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).doing("write", dir.join(name));
        write("status", "")?;
        write(
            "archive.sources",
            &format!(
                "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nArchitectures: amd64\nSigned-By: {}\n",
                archive.uri,
                archive.keyring.display()
            ),
        )?;
        let at = dir.display();
        write(
            "apt.conf",
            &format!(
                // The host's hooks, which may clean or rebuild the host's own caches, are none of this apt's business.
                "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n\
                 #clear DPkg::Pre-Invoke;\n#clear DPkg::Post-Invoke;\n#clear DPkg::Pre-Install-Pkgs;\n\
                 Dir::State \"{at}/state\";\nDir::State::status \"{at}/status\";\nDir::Cache \"{at}/cache\";\n\
                 Dir::Etc::sourcelist \"{at}/archive.sources\";\nDir::Etc::sourceparts \"/dev/null\";\n\
                 Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
                 Dir::Log \"{at}\";\n\
                 APT::Architecture \"amd64\";\nAPT::Architectures \"amd64\";\nAPT::Default-Release \"\";\n\
                 APT::Install-Recommends \"false\";\nAPT::Install-Suggests \"false\";\n\
                 APT::Keep-Downloaded-Packages \"true\";\nAPT::Sandbox::User \"root\";\n\
                 APT::Update::Error-Mode \"any\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\nAcquire::http::Timeout \"60\";\n\
                 Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
                 Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled \"false\";\n\
                 Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled \"false\";\n\
                 Acquire::IndexTargets::deb::CNF::DefaultEnabled \"false\";\n\
                 // The Release file of the unstable release is at times older than it says it may be.\n\
                 Acquire::Check-Valid-Until \"false\";\n"
            ),
        )?;
        Ok(Self { dir })
    }

    fn get(&self, job: &Job, arguments: &[&str], what: &str, deadline: Duration) -> Result<(), StepError> {
        let mut apt = nice("apt-get");
        // Read last, so it wins over the host's own configuration, of which proxies and certificates stay.
        apt.arg("-c").arg(self.dir.join("apt.conf")).args(["-q"]).args(arguments);
        apt.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        job.run(what, &mut apt, deadline)
    }

    fn debs(&self) -> Result<Vec<PathBuf>, StepError> {
        let dir = self.dir.join("cache/archives");
        let mut debs = Vec::new();
        for entry in fs::read_dir(&dir).doing("list", &dir)? {
            let path = entry.doing("list", &dir)?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                debs.push(path);
            }
        }
        debs.sort();
        Ok(debs)
    }
}

/// Tells "gone" and "changed" from other failures by what apt said.
fn judge(error: StepError, said: &str, uri: &str, suite: &str) -> StepError {
    if !matches!(error, StepError::Program { .. }) {
        return error;
    }
    let line = |signs: &[&str]| {
        said.lines().find(|line| {
            (line.starts_with("E:") || line.starts_with("Err:")) && signs.iter().any(|sign| line.contains(sign))
        })
    };
    let place = format!("{} ({suite})", host::without_credentials(uri));
    if let Some(line) =
        line(&["Hash Sum mismatch", "not signed", "signatures were invalid", "couldn't be verified", "NO_PUBKEY"])
    {
        return StepError::Changed {
            what: format!("the archive {place}"),
            expected: "what its signature covers".to_owned(),
            got: line.to_owned(),
        };
    }
    if let Some(line) = line(&[
        "Unable to locate package",
        "has no installation candidate",
        "was not found",
        "does not have a Release file",
        "404  Not Found",
    ]) {
        return StepError::Gone { what: missing(line), place };
    }
    error
}

/// What a line such as `E: Unable to locate package curl` says is missing.
fn missing(line: &str) -> String {
    let line = line.trim_start_matches("E: ");
    if let Some(package) = line.strip_prefix("Unable to locate package ") {
        return format!("package {package}");
    }
    match line.split('\'').collect::<Vec<_>>().as_slice() {
        ["Version ", version, " for ", package, " was not found"] => format!("version {version} of package {package}"),
        _ => line.to_owned(),
    }
}

/// The links that every package of a Debian release of today expects.
fn merge_usr(root: &Path) -> Result<(), StepError> {
    for dir in ["bin", "lib", "lib64", "sbin"] {
        let target = root.join("usr").join(dir);
        fs::create_dir_all(&target).doing("create", target)?;
        let link = root.join(dir);
        std::os::unix::fs::symlink(format!("usr/{dir}"), &link).doing("link", link)?;
    }
    Ok(())
}

/// Unpacks one package. The link `lib -> usr/lib` must outlive a package that has a directory `lib`, which `dpkg -x` does not promise.
fn extract(job: &Job, deb: &Path, root: &Path) -> Result<(), StepError> {
    let tar = job.dir.join("data.tar");
    let mut show = nice("dpkg-deb");
    show.arg("--fsys-tarfile").arg(deb);
    let name = deb.file_name().unwrap_or_default().to_string_lossy().into_owned();
    job.output_to(&format!("read {name}"), &mut show, &tar, UNPACK_DEADLINE)?;
    let mut command = Command::new("tar");
    command.args(["-x", "-p", "--numeric-owner", "--same-owner", "--keep-directory-symlink"]);
    command.args([
        "--exclude=./usr/share/doc",
        "--exclude=./usr/share/man",
        "--exclude=./usr/share/locale",
        "--exclude=./usr/share/info",
    ]);
    command.args(["--exclude=./usr/share/lintian", "--exclude=./usr/share/bug"]);
    command.arg("-f").arg(&tar).arg("-C").arg(root);
    job.run(&format!("unpack {name}"), &mut command, UNPACK_DEADLINE)?;
    fs::remove_file(&tar).doing("remove", tar)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

    use super::*;

    fn judged(said: &str) -> StepError {
        let error = StepError::Program {
            what: "x".into(),
            program: "apt-get".into(),
            status: ExitStatus::from_raw(100 << 8),
            last_line: String::new(),
        };
        judge(error, said, "http://u:p@mirror.example/debian", "sid")
    }

    #[test]
    fn gone_and_changed_are_different_errors() {
        let gone = judged("Reading…\nE: Unable to locate package mysql-server-core\n");
        assert!(
            gone.to_string().starts_with("package mysql-server-core is gone from http://mirror.example/debian (sid);"),
            "{gone}"
        );
        let older = judged("E: Version '9.7.*' for 'mysql-server-core' was not found\n");
        assert!(older.to_string().starts_with("version 9.7.* of package mysql-server-core is gone from"), "{older}");
        let changed = judged("E: Failed to fetch http://mirror.example/x.deb  Hash Sum mismatch\n");
        assert!(matches!(changed, StepError::Changed { .. }), "{changed}");
        let other = judged("E: Could not get lock\n");
        assert!(matches!(other, StepError::Program { .. }), "{other}");
    }
}
