//! Bugs of Percona XtraDB Cluster that end or spoil asynchronous replication, by the releases that have them.

use super::super::{Asked, access::parse_version, named};
use crate::domain::{
    check::{Check, Side},
    code::Code,
    facts::{MemberFacts, ServerFacts},
    hint::Hint,
    problem::Problem,
};

type Version = (u32, u32, u32);

/// A bug, and the releases that have it.
struct Bug {
    /// Its number in Percona's tracker.
    number: &'static str,
    /// What it does.
    effect: &'static str,
    /// Whether it matters for a source as well.
    source_too: bool,
    /// The first release with it and the first without it, one pair a series.
    releases: &'static [(Version, Version)],
}

/// The series 8.0, from the oldest version that a link can have, until the release that mended it.
const fn until(patch: u32) -> (Version, Version) {
    ((8, 0, 26), (8, 0, patch))
}

/// As in the release notes of PXC 8.0 and 8.4. Bugs whose mending release is not known for certain are not here.
const BUGS: &[Bug] = &[
    Bug {
        number: "PXC-3923",
        effect: "ANALYZE TABLE under super_read_only evicts the member",
        source_too: false,
        releases: &[until(28)],
    },
    Bug {
        number: "PXC-3982",
        effect: "the applier fails at the member's start (WSREP not prepared)",
        source_too: false,
        releases: &[until(29)],
    },
    Bug {
        number: "PXC-4077",
        effect: "an injected empty transaction leaves the members with different GTIDs",
        source_too: true,
        releases: &[until(31)],
    },
    Bug { number: "PXC-4116", effect: "parallel appliers stall", source_too: false, releases: &[until(31)] },
    Bug {
        number: "PXC-4219",
        effect: "START REPLICA and a backup wait for each other",
        source_too: false,
        releases: &[until(34)],
    },
    Bug {
        number: "PXC-4238",
        effect: "the functions of the failover list make GTIDs of the member's own",
        source_too: false,
        releases: &[until(34)],
    },
    Bug {
        number: "PXC-4318",
        effect: "the member is stuck when a row was changed on both sides",
        source_too: false,
        releases: &[until(35)],
    },
    Bug {
        number: "PXC-4034",
        effect: "sql_log_bin=0 still makes GTIDs of the member's own",
        source_too: true,
        releases: &[until(35)],
    },
    Bug {
        number: "PXC-4312, PXC-4313",
        effect: "DROP EVENT and modes that are not replicated make GTIDs of the member's own",
        source_too: true,
        releases: &[until(37)],
    },
    Bug {
        number: "PXC-4173",
        effect: "DDL and parallel workers wait for each other",
        source_too: false,
        releases: &[until(37)],
    },
    Bug {
        number: "PXC-4504, PXC-4506, PXC-4509, PXC-4515, PXC-4516",
        effect: "the applier hangs after an error was mended, at a GTID that is known already, or with several sources",
        source_too: false,
        releases: &[((8, 0, 37), (8, 0, 41)), ((8, 4, 0), (8, 4, 4))],
    },
    Bug {
        number: "PXC-4664, PXC-4688",
        effect: "the same GTID on two members crashes one, an empty transaction stalls the replica",
        source_too: false,
        releases: &[until(42)],
    },
];

/// Judges a server by its release. Only PXC's bugs are listed: of other builds nothing is claimed.
pub(super) fn bugs(side: Side, one: &MemberFacts, server: &ServerFacts, asked: Asked) -> Check {
    let settings = &server.settings;
    let is_pxc = settings.pxc_strict_mode.is_some() || settings.version_comment.contains("XtraDB Cluster");
    let Some(version) = parse_version(&server.version).filter(|_| is_pxc) else {
        return asked.passed(["not PXC; the bugs known here are PXC's"]);
    };
    let fixed_in = |bug: &Bug| {
        let has = bug.releases.iter().find(|(first, fixed)| (*first..*fixed).contains(&version));
        has.map(|(_, fixed)| *fixed)
    };
    let found: Vec<(&Bug, Version)> = BUGS
        .iter()
        .filter(|bug| bug.source_too || side != Side::Source)
        .filter_map(|bug| Some((bug, fixed_in(bug)?)))
        .collect();
    let Some((_, (major, minor, patch))) = found.iter().max_by_key(|(_, fixed)| *fixed) else {
        return asked.passed([format!("no bug of PXC {} is known here", server.version)]);
    };
    let message =
        format!("PXC {} on {} has {} known bug(s) of replication", server.version, named(side, one), found.len());
    let problem = found.iter().fold(Problem::new(Code::KnownServerBug, message), |problem, (bug, fixed)| {
        problem.seen(format!("{}: {} (until {}.{}.{})", bug.number, bug.effect, fixed.0, fixed.1, fixed.2))
    });
    asked.warned(problem.hint(Hint::text(format!("upgrade this side to PXC {major}.{minor}.{patch} or later"))))
}
