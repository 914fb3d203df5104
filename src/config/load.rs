//! Finds `pxc-link.yaml`, reads it and gives the links in it, or everything that is wrong with it in one go.

use std::{
    env,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy as _;

use super::{
    findings::Findings,
    raw::Document,
    schema::schema,
    show::ConfigView,
    structure,
    tree::{self, Location},
    validate::{Folders, Validator},
};
use crate::domain::{code::Code, hint::Hint, nearest::nearest, problem::Problem, spec::LinkSpec};

/// The name of the file where none is given.
pub const FILE_NAME: &str = "pxc-link.yaml";
/// The environment variable that names the file.
pub const FILE_VARIABLE: &str = "PXC_LINK_CONFIG";

/// A configuration without fault.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The links in the order of the file; at least one.
    pub links: Vec<LinkSpec>,
    /// Every value and where it came from.
    pub view: ConfigView,
}

impl Config {
    /// The link of that name; the name may be left out where there is only one link.
    ///
    /// # Errors
    /// [`Code::NoSuchLink`] with the names there are.
    pub fn link(&self, name: Option<&str>) -> Result<&LinkSpec, Problem> {
        let names = || self.links.iter().map(|link| link.name.as_str());
        let there = || format!("{} has {}", self.file.display(), names().collect::<Vec<_>>().join(", "));
        match (name, self.links.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(Problem::new(Code::NoSuchLink, "there is more than one link and none was named")
                .seen(there())
                .hint(Hint::text("name one with `--source NAME`"))),
            (Some(name), links) => links.iter().find(|link| link.name == name).ok_or_else(|| {
                let hint = match nearest(name, names()) {
                    Some(nearest) => format!("the nearest name is `{nearest}`: `--source {nearest}`"),
                    None => "name one of these with `--source NAME`, or add the link to the file".into(),
                };
                Problem::new(Code::NoSuchLink, format!("there is no link `{}`", name.escape_debug()))
                    .seen(there())
                    .hint(Hint::text(hint))
            }),
        }
    }
}

/// Why a file was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChosenBy {
    Flag,
    Variable,
    WorkingFolder,
    UserFolder,
}

impl fmt::Display for ChosenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "named by --config",
            Self::Variable => "named by PXC_LINK_CONFIG",
            Self::WorkingFolder => "found in the working folder",
            Self::UserFolder => "found in the user's configuration folder",
        })
    }
}

/// Reads the configuration: the file that `--config` names, else the one that `PXC_LINK_CONFIG` names, else
/// `./pxc-link.yaml`, else `pxc-link/config.yaml` in `$XDG_CONFIG_HOME` (`~/.config`).
///
/// # Errors
/// [`Code::ConfigNotFound`] or [`Code::ConfigSyntax`] alone, or all problems of meaning in the order of the file.
pub fn load(flag: Option<&Path>) -> Result<Config, Vec<Problem>> {
    let user = etcetera::choose_base_strategy().ok().map(|base| base.config_dir().join("pxc-link/config.yaml"));
    let (file, chosen_by) = locate(flag, env::var_os(FILE_VARIABLE), user.as_deref()).map_err(|it| vec![*it])?;
    let bytes = fs::read(&file).map_err(|error| vec![unreadable(&file, chosen_by, &error)])?;
    let text = String::from_utf8(bytes).map_err(|error| vec![not_text(&file, error.as_bytes())])?;
    let folders = Folders { base: file.parent().unwrap_or(Path::new("")).to_owned(), home: etcetera::home_dir().ok() };
    read(&text, &file, chosen_by, &folders)
}

/// The links of a text as if it were the file at `file`.
///
/// # Errors
/// As [`load`].
pub fn check(text: &str, file: &Path) -> Result<Vec<LinkSpec>, Vec<Problem>> {
    let folders = Folders { base: file.parent().unwrap_or(Path::new("")).to_owned(), home: etcetera::home_dir().ok() };
    read(text, file, ChosenBy::Flag, &folders).map(|config| config.links)
}

fn locate(
    flag: Option<&Path>,
    variable: Option<OsString>,
    user: Option<&Path>,
) -> Result<(PathBuf, ChosenBy), Box<Problem>> {
    if let Some(path) = flag {
        return Ok((path.to_owned(), ChosenBy::Flag));
    }
    if let Some(path) = variable.filter(|path| !path.is_empty()) {
        return Ok((path.into(), ChosenBy::Variable));
    }
    let mut tried = vec![FILE_NAME.to_owned()];
    if Path::new(FILE_NAME).exists() {
        return Ok((FILE_NAME.into(), ChosenBy::WorkingFolder));
    }
    if let Some(path) = user {
        if path.exists() {
            return Ok((path.to_owned(), ChosenBy::UserFolder));
        }
        tried.push(path.display().to_string());
    }
    let problem = Problem::new(Code::ConfigNotFound, "looked for a configuration file and found none");
    let problem = tried.into_iter().fold(problem, |problem, path| problem.seen(format!("{path}: no such file")));
    Err(Box::new(
        problem.hint(Hint::run("name one with `--config`, or have one written", ["pxc-link", "init", "--help"])),
    ))
}

fn unreadable(file: &Path, chosen_by: ChosenBy, error: &io::Error) -> Problem {
    let message = format!("cannot read the configuration file `{}`, {chosen_by}", file.display());
    let hint = match error.kind() {
        io::ErrorKind::NotFound => {
            Hint::run("give the path of a file that is there, or have one written", ["pxc-link", "init", "--help"])
        }
        _ => Hint::text("give the path of a file that this user may read"),
    };
    Problem::new(Code::ConfigNotFound, message).seen(error.to_string()).hint(hint)
}

fn not_text(file: &Path, bytes: &[u8]) -> Problem {
    let good = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let line = bytes[..good].split(|byte| *byte == b'\n').count();
    Problem::new(Code::ConfigSyntax, "the configuration file is not UTF-8 text")
        .seen(format!("{}:{line}", file.display()))
        .hint(Hint::text("save the file as UTF-8"))
}

/// Reads a text that was found at `file`.
fn read(text: &str, file: &Path, chosen_by: ChosenBy, folders: &Folders) -> Result<Config, Vec<Problem>> {
    let mut findings = Findings::new(file.display().to_string());
    let root = match tree::parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => {
            let hint = Hint::run("have one written", ["pxc-link", "init", "--help"]);
            findings.add_at(Location::START, Code::InvalidValue, "the configuration file is empty", hint);
            return Err(findings.into_problems());
        }
        Err(error) => {
            let hint = Hint::text("look at this line and the one above it: indentation, colons, quotes and brackets");
            let problem = Problem::new(Code::ConfigSyntax, "the configuration file is not valid YAML")
                .seen(findings.cite(error.at))
                .seen(error.reason)
                .hint(hint);
            return Err(vec![problem]);
        }
    };
    let Some(sound) = structure::check(&root, &schema(), &mut findings) else {
        return Err(findings.into_problems());
    };
    let document: Document = match serde_yaml::from_value(sound) {
        Ok(document) => document,
        // Its words may quote a value; the schema is made from the types, so that only a bug leads here.
        Err(_) if findings.none() => {
            let message = "the configuration passed its own schema and still cannot be read";
            return Err(vec![Problem::new(Code::Internal, message).seen(findings.cite(Location::START))]);
        }
        Err(_) => Document::default(),
    };
    let mut validator = Validator::new(folders, &mut findings);
    let links = validator.document(document);
    let values = validator.view;
    if !findings.none() {
        return Err(findings.into_problems());
    }
    let view = ConfigView { file: file.display().to_string(), chosen_by: chosen_by.to_string(), values };
    Ok(Config { file: file.to_owned(), links, view })
}

#[cfg(test)]
#[path = "load_tests.rs"]
pub(super) mod tests;
