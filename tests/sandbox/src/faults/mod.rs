//! Faults: ways to break a world on purpose, as data, and the two verbs that carry them out.

mod act;
mod table;

pub use act::{Act, FaultError};
pub use table::FAULTS;

use crate::world::{Cluster, World};

/// One way to break a world.
#[derive(Debug)]
pub struct Fault {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is broken, in a few words.
    pub what: &'static str,
    /// What the world must have before it can be broken this way; neighbours in the table with the same ground share it.
    pub ground: Option<&'static Ground>,
    /// Rows of the failure tables this covers: `mesh:36`, `repl:20`.
    pub rows: &'static [&'static str],
    /// The code that must be reported.
    pub code: &'static str,
    /// Texts that must be shown with it.
    pub evidence: &'static [&'static str],
    /// What mends it.
    pub mended_by: Mender,
    /// What breaks it.
    pub apply: &'static [Act],
    /// What mends it without a look at any hint; harmless where nothing is broken.
    pub mend: &'static [Act],
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

/// The fault of a name.
pub fn find(name: &str) -> Option<&'static Fault> {
    FAULTS.iter().find(|fault| fault.name == name)
}

impl Fault {
    /// Breaks the world, its ground first.
    pub async fn apply(&self, world: &World) -> Result<(), FaultError> {
        if let Some(ground) = self.ground {
            act::all(world, ground.lay).await?;
        }
        self.break_only(world).await
    }

    /// Breaks a world that has the ground already.
    pub async fn break_only(&self, world: &World) -> Result<(), FaultError> {
        act::all(world, self.apply).await
    }

    /// Mends the world and takes the ground away.
    pub async fn mend(&self, world: &World) -> Result<(), FaultError> {
        self.mend_only(world).await?;
        match self.ground {
            Some(ground) => ground.clear(world).await,
            None => Ok(()),
        }
    }

    /// The clusters whose servers are restarted, and so emptied, when this is broken or mended.
    pub fn restarts(&self) -> Vec<Cluster> {
        let acts = || self.ground.iter().flat_map(|ground| ground.lay).chain(self.apply).chain(self.mend);
        let restarted = |wanted: Cluster| {
            acts().any(|act| {
                matches!(act, Act::Kubectl(cluster, args) if *cluster == wanted && args.contains(&"statefulset/pxc"))
            })
        };
        Cluster::ALL.into_iter().filter(|cluster| restarted(*cluster)).collect()
    }

    /// Mends the world but leaves the ground.
    pub async fn mend_only(&self, world: &World) -> Result<(), FaultError> {
        act::all(world, self.mend).await
    }
}

impl Ground {
    /// Makes it.
    pub async fn lay(&self, world: &World) -> Result<(), FaultError> {
        act::all(world, self.lay).await
    }

    /// Takes it away.
    pub async fn clear(&self, world: &World) -> Result<(), FaultError> {
        act::all(world, self.clear).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_fault_says_what_it_covers() {
        let names: HashSet<_> = FAULTS.iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), FAULTS.len());
        for fault in FAULTS {
            assert!(fault.code.starts_with("PXL") && !fault.evidence.is_empty(), "{}", fault.name);
            assert!(!fault.apply.is_empty() && !fault.mend.is_empty(), "{}", fault.name);
        }
    }

    #[test]
    fn faults_of_the_same_ground_stand_together() {
        let grounds: Vec<_> = FAULTS.iter().filter_map(|fault| fault.ground.map(|ground| ground.name)).collect();
        let mut once = grounds.clone();
        once.dedup();
        assert_eq!(once.iter().collect::<HashSet<_>>().len(), once.len(), "{grounds:?}");
    }
}
