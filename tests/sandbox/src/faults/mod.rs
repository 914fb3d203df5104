//! Faults: ways to break a world on purpose, as data, and the verbs that carry them out.

mod act;
mod pair;
mod table;

pub use act::{Act, Deed, FaultError};
pub use pair::configuration;

use crate::{
    plain::Plain,
    world::{Cluster, World},
};

/// One way to break a world.
#[derive(Debug)]
pub struct Fault {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is broken, in a few words.
    pub what: &'static str,
    /// How much of the world it touches.
    pub scope: Scope,
    /// What finds it.
    pub found_by: Finder,
    /// Rows of the failure tables this covers: `mesh:36`, `repl:20`.
    pub rows: &'static [&'static str],
    /// The code that must be reported.
    pub code: &'static str,
    /// Texts that must be shown with it.
    pub evidence: &'static [&'static str],
    /// What mends it.
    pub mended_by: Mender,
    /// The `tls:` of the link between plain servers; empty for the usual one.
    pub tls: &'static str,
    /// What breaks it.
    pub apply: &'static [Act],
    /// What mends it without a look at any hint; harmless where nothing is broken.
    pub mend: &'static [Act],
}

/// How much of a world a fault touches.
#[derive(Debug, Clone, Copy)]
pub enum Scope {
    /// The link `production`, or the world itself, on a ground if it needs one: nothing else can be tried meanwhile. Neighbours
    /// in the table with the same ground share it.
    World(Option<&'static Ground>),
    /// A namespace, a mesh name and a light client of its own, linked to the service `hello`: faults of this kind stand side by
    /// side.
    Pair,
    /// Two MySQL servers of its own without Kubernetes, linked as `production`: these, too, stand side by side, and need no world.
    Plain,
}

/// What a fault is carried out on.
#[derive(Clone, Copy)]
pub enum Site<'a> {
    /// Of all but those of plain servers.
    World(&'a World),
    /// Of those.
    Plain(&'a Plain),
}

/// What finds a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finder {
    /// `setup`, from a state without the link.
    Setup,
    /// `setup` too, but only when it starts the channel, which it leaves standing for the next run.
    Start,
    /// `verify`, on a link that was good before it was broken.
    Verify,
}

/// Who mends a fault in the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mender {
    /// The commands of the printed hint, run as printed.
    Hint,
    /// [`Fault::mend`]: no single command of the user's side can (a firewall, a forgotten password).
    Table,
}

/// A state of the world that several faults build on.
#[derive(Debug)]
pub struct Ground {
    /// Its name.
    pub name: &'static str,
    /// What makes it.
    pub lay: &'static [Act],
    /// What takes it away.
    pub clear: &'static [Act],
}

impl<'a> From<&'a World> for Site<'a> {
    fn from(world: &'a World) -> Self {
        Self::World(world)
    }
}

impl<'a> From<&'a Plain> for Site<'a> {
    fn from(plain: &'a Plain) -> Self {
        Self::Plain(plain)
    }
}

/// Every fault: those that touch the whole world first, each beside those of the same ground.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    table::ALL.iter().copied().flatten()
}

/// The fault of a name.
pub fn find(name: &str) -> Option<&'static Fault> {
    all().find(|fault| fault.name == name)
}

impl Fault {
    /// The link that it breaks.
    pub fn link(&self) -> &'static str {
        match self.scope {
            Scope::World(_) | Scope::Plain => "production",
            Scope::Pair => self.name,
        }
    }

    /// The ground it stands on.
    pub fn ground(&self) -> Option<&'static Ground> {
        match self.scope {
            Scope::World(ground) => ground,
            Scope::Pair | Scope::Plain => None,
        }
    }

    /// Brings what it needs before it can break anything: its ground, or its own namespace and client.
    pub async fn prepare<'a>(&self, site: impl Into<Site<'a>>) -> Result<(), FaultError> {
        match (self.scope, site.into()) {
            (Scope::World(Some(ground)), Site::World(world)) => ground.lay(world).await,
            (Scope::Pair, Site::World(world)) => Ok(world.make_clients(&[&pair::namespace(self.name)]).await?),
            // Plain servers are raised for it and are all that it needs.
            _ => Ok(()),
        }
    }

    /// Whether the link that it breaks has mesh objects or, between plain servers, a channel.
    pub async fn is_linked<'a>(&self, site: impl Into<Site<'a>>) -> Result<bool, FaultError> {
        act::is_linked(site.into(), self).await
    }

    /// Breaks what is prepared.
    pub async fn apply<'a>(&self, site: impl Into<Site<'a>>) -> Result<(), FaultError> {
        act::all(site.into(), self, self.apply).await
    }

    /// Mends it but leaves what was prepared.
    pub async fn mend<'a>(&self, site: impl Into<Site<'a>>) -> Result<(), FaultError> {
        act::all(site.into(), self, self.mend).await
    }

    /// Takes away what was prepared.
    pub async fn clear<'a>(&self, site: impl Into<Site<'a>>) -> Result<(), FaultError> {
        match (self.scope, site.into()) {
            (Scope::World(Some(ground)), Site::World(world)) => ground.clear(world).await,
            (Scope::Pair, Site::World(world)) => pair::remove(world, self.name).await,
            _ => Ok(()),
        }
    }

    /// The clusters whose servers are restarted, and so emptied, when this is broken or mended.
    pub fn restarts(&self) -> Vec<Cluster> {
        let acts = || self.ground().into_iter().flat_map(|ground| ground.lay).chain(self.apply).chain(self.mend);
        let restarted = |wanted: Cluster| {
            acts().any(|act| {
                matches!(act, Act::Kubectl(cluster, args) if *cluster == wanted && args.contains(&"statefulset/pxc"))
            })
        };
        Cluster::ALL.into_iter().filter(|cluster| restarted(*cluster)).collect()
    }
}

impl Ground {
    /// Makes it.
    pub async fn lay(&self, world: &World) -> Result<(), FaultError> {
        act::without_link(world, self.lay).await
    }

    /// Takes it away.
    pub async fn clear(&self, world: &World) -> Result<(), FaultError> {
        act::without_link(world, self.clear).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_fault_says_what_it_covers() {
        let names: HashSet<_> = all().map(|fault| fault.name).collect();
        assert_eq!(names.len(), all().count());
        for fault in all() {
            assert!(fault.code.starts_with("PXL") && !fault.evidence.is_empty(), "{}", fault.name);
            assert!(!fault.apply.is_empty() && !fault.mend.is_empty(), "{}", fault.name);
        }
    }

    #[test]
    fn faults_of_the_same_ground_and_those_of_pairs_stand_together() {
        let mut kinds: Vec<_> = all()
            .map(|fault| match fault.scope {
                Scope::World(ground) => ground.map_or("world", |ground| ground.name),
                Scope::Pair => "pair",
                Scope::Plain => "plain",
            })
            .collect();
        kinds.dedup();
        let grounds: Vec<_> = kinds.iter().filter(|kind| **kind != "world").collect();
        assert_eq!(grounds.iter().collect::<HashSet<_>>().len(), grounds.len(), "{kinds:?}");
    }

    #[test]
    fn a_pair_touches_nothing_that_others_share() {
        for fault in all().filter(|fault| matches!(fault.scope, Scope::Pair)) {
            for act in fault.apply.iter().chain(fault.mend) {
                let own = match act {
                    Act::Kubectl(_, args) | Act::KubectlIfThere(_, args) => args.contains(&"${NS}"),
                    // In its own namespace, or by a name of its own in another.
                    Act::Apply(_, yaml) => {
                        ["namespace: \"${NS}\"", "name: \"${NS}\""].iter().any(|own| yaml.contains(own))
                    }
                    Act::Rule(.., rule) | Act::NoRule(.., rule) => rule.contains(&"${CLIENT_POD}"),
                    Act::Sql(..) | Act::Stop(..) | Act::Start(..) | Act::Server(..) => false,
                };
                assert!(own, "{}: {act:?}", fault.name);
            }
        }
    }

    #[test]
    fn plain_servers_are_touched_by_their_own_faults_alone() {
        for fault in all() {
            let plain = matches!(fault.scope, Scope::Plain);
            for act in fault.apply.iter().chain(fault.mend) {
                assert_eq!(matches!(act, Act::Server(..)), plain, "{}: {act:?}", fault.name);
            }
        }
    }
}
