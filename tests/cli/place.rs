//! A place to run the binary in, and how such a run ended.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// The configuration of the end-to-end tests, from whose world the recorded facts are.
pub(crate) const LINK: &str = include_str!("../e2e/pxc-link.yaml");
/// What `verify` saw of that link, in order.
pub(crate) const FACTS: &str = include_str!("facts.json");

/// A folder that is home and working folder, and a run of the binary in it with nothing of this process's environment.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// With this configuration where it is looked for.
    pub(crate) fn with(config: &str) -> Self {
        let place = Self::empty();
        place.write("pxc-link.yaml", config);
        place
    }

    pub(crate) fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// With the passwords that [`LINK`] refers to.
    pub(crate) fn with_passwords(self) -> Self {
        self.set("PXC_SOURCE_PASSWORD", "a").set("PXC_REPLICA_PASSWORD", "b").set("PXC_REPLICATION_PASSWORD", "c")
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pxc-link"));
        command.args(arguments).current_dir(self.path()).env_clear().env("HOME", self.path()).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.command(arguments).output().unwrap(), arguments)
    }
}

impl Ended {
    pub(crate) fn of(output: &Output, arguments: &[&str]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let ended = Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) };
        println!("{arguments:?} ended with {:?}\n{}{}", ended.code, ended.out, ended.err);
        ended
    }

    /// The one document on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }

    pub(crate) fn errors(&self) -> Vec<&str> {
        self.err.lines().filter(|line| line.starts_with("error: ")).collect()
    }
}
