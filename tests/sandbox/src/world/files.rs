//! Files of a world: private to their owner, replaced whole.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::WorldError;
use super::error::While;

/// Makes a directory and those above it; no error if it is there.
pub(crate) fn make_dir(path: &Path) -> Result<(), WorldError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .while_doing(|| format!("make the directory {}", path.display()))
}

/// Writes a file that only its owner reads, by renaming a finished one into place.
pub(crate) fn write(path: &Path, contents: &str) -> Result<(), WorldError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let put = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial)?;
        file.write_all(contents.as_bytes())?;
        fs::rename(partial, path)
    };
    put().while_doing(|| format!("write {}", path.display()))
}

/// Writes a value as JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), WorldError> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other);
    write(path, &text.while_doing(|| format!("write {}", path.display()))?)
}

/// Reads a value that [`write_json`] wrote; `None` if there is no file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, WorldError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|cause| WorldError::Record { path: path.to_owned(), cause: cause.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).while_doing(|| format!("read {}", path.display())),
    }
}

/// Reads a text.
pub(crate) fn read(path: &Path) -> Result<String, WorldError> {
    fs::read_to_string(path).while_doing(|| format!("read {}", path.display()))
}
