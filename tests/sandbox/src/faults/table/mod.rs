//! The faults, in an order in which those that need the same ground stand together, and those of pairs too.

/// Changes the broken link's ServiceEntry.
macro_rules! entry {
    ($patch:literal) => {
        $crate::faults::Act::Kubectl(
            $crate::world::Cluster::Dr,
            &["-n", "${NS}", "patch", "serviceentry", "${ENTRY}", "--type=merge", "-p", $patch],
        )
    };
}

/// Changes its DestinationRule.
macro_rules! rule {
    ($patch:literal) => {
        $crate::faults::Act::Kubectl(
            $crate::world::Cluster::Dr,
            &["-n", "${NS}", "patch", "destinationrule", "${RULE}", "--type=merge", "-p", $patch],
        )
    };
}

/// Statements as root on the plain source.
macro_rules! source {
    ($sql:expr) => {
        $crate::faults::Act::Server($crate::plain::End::Source, $crate::faults::Deed::Sql($sql))
    };
}

/// Statements as root on the plain source that reach no binary log.
macro_rules! source_alone {
    ($sql:literal) => {
        source!(concat!("SET sql_log_bin=0; ", $sql))
    };
}

/// Statements as root on the plain replica.
macro_rules! replica {
    ($sql:expr) => {
        $crate::faults::Act::Server($crate::plain::End::Replica, $crate::faults::Deed::Sql($sql))
    };
}

/// Statements as root on the plain replica that reach no binary log.
macro_rules! replica_alone {
    ($sql:literal) => {
        replica!(concat!("SET sql_log_bin=0; ", $sql))
    };
}

mod applier;
mod data;
mod entries;
mod linked;
mod pods;
mod replication;
mod roads;
mod visible;
mod world;

use super::{Act, Fault, Finder, Mender, Scope};
use crate::world::Cluster::Dr;

/// Every fault, by what it touches.
pub(super) const ALL: [&[Fault]; 11] = [
    world::WORLD,
    linked::LINKED,
    entries::ENTRIES,
    roads::ROADS,
    visible::VISIBLE,
    pods::PODS,
    roads::CUT_OFF,
    replication::RECEIVER,
    replication::SETTINGS,
    applier::APPLIER,
    data::DATA,
];

/// Takes the link's own objects away, whatever became of them; `setup` makes them anew.
const NO_OWN_OBJECTS: Act = Act::KubectlIfThere(
    Dr,
    &["-n", "${NS}", "delete", "serviceentry,destinationrule", "-l", "pxc-link.io/link=${LINK}", "--ignore-not-found"],
);

/// What most faults of pairs have.
const PAIR: Fault = Fault {
    name: "",
    what: "",
    scope: Scope::Pair,
    found_by: Finder::Setup,
    rows: &[],
    code: "",
    evidence: &[],
    mended_by: Mender::Hint,
    tls: "",
    apply: &[],
    mend: &[],
};

/// What most faults of the mesh have: they need no MySQL and are tried on the link that is there.
const MESH: Fault = Fault { scope: Scope::World(None), ..PAIR };

/// What most faults of the link `production` have that break it when it is up.
const CHANGED: Fault = Fault { scope: Scope::World(None), found_by: Finder::Verify, mended_by: Mender::Table, ..PAIR };

/// What most faults of replication have.
const REPLICATION: Fault = Fault { scope: Scope::Plain, found_by: Finder::Verify, ..PAIR };
