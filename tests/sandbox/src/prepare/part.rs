//! A part of the cache: made beside its place, and put there in one step with the key of what it was made from.

use std::{fs, fs::File, io, path::Path};

use nix::unistd::syncfs;
use sha2::{Digest as _, Sha256};

use super::{
    error::{Doing as _, PrepareError, StepError},
    job::{Cancel, Job},
};
use crate::{cache::Cache, progress::Progress};

/// The file in a finished part that holds its key.
const KEY_FILE: &str = ".key";

/// Ends the name of a part that is being made, or was when something ended the making.
const UNFINISHED: &str = "partial";

/// Whether a directory of the cache is such a part.
pub(super) fn is_unfinished(dir: &Path) -> bool {
    dir.extension().is_some_and(|extension| extension == UNFINISHED)
}

/// A hash of everything a part is made from, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// The key of something made from these pieces, in this order.
    pub(super) fn of<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for piece in pieces {
            // The length keeps ["ab", "c"] and ["a", "bc"] apart.
            hash.update((piece.len() as u64).to_le_bytes());
            hash.update(piece.as_bytes());
        }
        Self(hex(&hash.finalize()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // `write!` into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A part's name and the key it must have.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) key: Key,
}

impl Part {
    pub(super) fn new<'a>(name: &'static str, pieces: impl IntoIterator<Item = &'a str>) -> Self {
        Self { name, key: Key::of(pieces) }
    }

    /// Whether the part is in the cache, whole, and made from what it would be made from now.
    pub(super) fn is_done(&self, cache: &Cache) -> bool {
        fs::read_to_string(cache.part(self.name).join(KEY_FILE)).is_ok_and(|key| key == self.key.0)
    }

    /// Makes the part if it is not done. `doing` is what the progress line says.
    pub(super) fn ensure(
        &self,
        cache: &Cache,
        progress: &Progress,
        cancel: &Cancel,
        doing: &str,
        make: impl FnOnce(&Job) -> Result<(), StepError>,
    ) -> Result<(), PrepareError> {
        if self.is_done(cache) {
            return Ok(());
        }
        let piece = progress.begin(self.name, doing);
        match self.make(cache, cancel, make) {
            Ok(()) => {
                piece.done();
                Ok(())
            }
            Err(StepError::Interrupted) => Err(PrepareError::Interrupted),
            Err(source) => {
                Err(PrepareError::Part { part: self.name, log: cache.log(self.name), source: Box::new(source) })
            }
        }
    }

    fn make(
        &self,
        cache: &Cache,
        cancel: &Cancel,
        make: impl FnOnce(&Job) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let place = cache.part(self.name);
        let partial = cache.part(self.name).with_extension(UNFINISHED);
        let log = cache.log(self.name);
        remove(&partial)?;
        fs::create_dir_all(&partial).doing("create", &partial)?;
        let logs = cache.root().join("logs");
        fs::create_dir_all(&logs).doing("create", logs)?;
        File::create(&log).doing("create", &log)?;

        let job = Job::new(partial.clone(), log, cancel.clone());
        job.go_on()?;
        make(&job)?;
        job.go_on()?;
        job.sweep()?;

        let key_file = partial.join(KEY_FILE);
        fs::write(&key_file, self.key.as_str()).doing("write", key_file)?;
        // Without this a power cut could leave the new name on files that were never written.
        File::open(&partial).and_then(|dir| syncfs(&dir).map_err(io::Error::from)).doing("flush to disk", &partial)?;
        remove(&place)?;
        fs::rename(&partial, &place).doing("rename", &partial)
    }
}

/// Removes a directory and all in it; it may be missing.
pub(super) fn remove(dir: &Path) -> Result<(), StepError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).doing("remove", dir),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(part: &Part, cache: &Cache, make: impl FnOnce(&Job) -> Result<(), StepError>) -> Result<(), PrepareError> {
        part.ensure(cache, &Progress::silent(), &Cancel::default(), "testing", make)
    }

    #[test]
    fn keys_tell_pieces_apart() {
        assert_eq!(Key::of(["ab", "c"]), Key::of(["ab", "c"]));
        assert_ne!(Key::of(["ab", "c"]), Key::of(["a", "bc"]));
        assert_ne!(Key::of(["a", "b"]), Key::of(["b", "a"]));
        assert_ne!(Key::of(["a"]), Key::of(["a", ""]));
        assert_eq!(Key::of([]).as_str(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_finished_part_is_made_once() {
        let home = tempfile::tempdir().unwrap();
        let (cache, part) = (Cache::at(home.path()), Part::new("thing", ["v1"]));
        assert!(!part.is_done(&cache));
        make(&part, &cache, |job| fs::write(job.dir.join("file"), "x").doing("write", "file")).unwrap();
        assert!(part.is_done(&cache));
        assert!(cache.part("thing").join("file").exists());
        make(&part, &cache, |_| panic!("made twice")).unwrap();
    }

    #[test]
    fn a_failed_part_is_not_done_and_leaves_the_old_one() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        let (old, new) = (Part::new("thing", ["v1"]), Part::new("thing", ["v2"]));
        make(&old, &cache, |_| Ok(())).unwrap();
        let error = make(&new, &cache, |job| {
            fs::write(job.dir.join("half"), "x").doing("write", "half")?;
            Err(StepError::Gone { what: "it".to_owned(), place: "there".to_owned() })
        })
        .unwrap_err();
        assert!(error.to_string().starts_with("part `thing` could not be made: it is gone from there"), "{error}");
        assert!(error.to_string().contains("logs/thing.log"), "{error}");
        assert!(!new.is_done(&cache));
        assert!(old.is_done(&cache));
    }

    #[test]
    fn an_interrupted_part_is_not_done_and_starts_from_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (cache, part) = (Cache::at(home.path()), Part::new("thing", ["v1"]));
        let cancel = Cancel::default();
        let error = part
            .ensure(&cache, &Progress::silent(), &cancel, "testing", |job| {
                fs::write(job.dir.join("half"), "x").doing("write", "half")?;
                cancel.cancel();
                Ok(())
            })
            .unwrap_err();
        assert!(matches!(error, PrepareError::Interrupted), "{error}");
        assert!(!part.is_done(&cache));
        make(&part, &cache, |job| {
            assert!(!job.dir.join("half").exists());
            Ok(())
        })
        .unwrap();
        assert!(part.is_done(&cache));
    }

    #[test]
    fn a_changed_key_makes_the_part_again() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        make(&Part::new("thing", ["v1"]), &cache, |_| Ok(())).unwrap();
        let new = Part::new("thing", ["v2"]);
        assert!(!new.is_done(&cache));
        make(&new, &cache, |_| Ok(())).unwrap();
        assert!(new.is_done(&cache));
    }
}
