//! What is wrong with a configuration file, gathered with its places so that one run tells everything, in file order.

use std::collections::{HashMap, HashSet};

use super::tree::Location;
use crate::domain::{code::Code, hint::Hint, problem::Problem};

/// Where every value of a file stands, by its path (`links.production.host`), and what was found wrong so far.
#[derive(Debug)]
pub(super) struct Findings {
    file: String,
    places: HashMap<String, Location>,
    condemned: HashSet<String>,
    found: Vec<(Location, Problem)>,
}

impl Findings {
    /// Nothing found yet in a file of that name, as evidence will print it.
    pub(super) fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), places: HashMap::new(), condemned: HashSet::new(), found: Vec::new() }
    }

    /// Notes where a value stands.
    pub(super) fn place(&mut self, path: &str, at: Location) {
        self.places.insert(path.to_owned(), at);
    }

    /// Where a value stands, if it is in the file.
    pub(super) fn at(&self, path: &str) -> Option<Location> {
        self.places.get(path).copied()
    }

    /// Notes that what stands in a value was reported, so that nothing is said about what it lacks.
    pub(super) fn condemn(&mut self, path: &str) {
        self.condemned.insert(path.to_owned());
    }

    /// Whether what stands in a value was reported already.
    pub(super) fn condemned(&self, path: &str) -> bool {
        self.condemned.contains(path)
    }

    /// Whether anything stands below a value.
    pub(super) fn any_below(&self, path: &str) -> bool {
        self.places.keys().any(|key| key.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '['])))
    }

    /// Where a value stands, or the nearest value around it that is in the file.
    pub(super) fn near(&self, path: &str) -> Location {
        let mut path = path;
        loop {
            if let Some(at) = self.at(path) {
                return at;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return Location::START,
            }
        }
    }

    /// A place as evidence: `pxc-link.yaml:12:5`.
    pub(super) fn cite(&self, at: Location) -> String {
        format!("{}:{at}", self.file)
    }

    /// Adds a problem at a place.
    pub(super) fn add_at(&mut self, at: Location, code: Code, message: impl Into<String>, hint: Hint) {
        self.add(at, Problem::new(code, message).seen(self.cite(at)).hint(hint));
    }

    /// Adds a problem with a value, or with one that is missing there.
    pub(super) fn add_near(&mut self, path: &str, code: Code, message: impl Into<String>, hint: Hint) {
        self.add_at(self.near(path), code, message, hint);
    }

    /// Adds a problem that cites its place by itself.
    pub(super) fn add(&mut self, at: Location, problem: Problem) {
        self.found.push((at, problem));
    }

    /// Whether nothing is wrong so far.
    pub(super) fn none(&self) -> bool {
        self.found.is_empty()
    }

    /// Everything that is wrong, in the order of the file.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(at, _)| *at);
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }
}
