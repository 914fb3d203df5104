//! The end-to-end tests: pxc-link against two real clusters with Istio and MySQL, raised by the sandbox.
//!
//! `PXC_LINK_E2E=off` leaves them out and counts them as ignored. Every trial says itself which state of the world it needs
//! and brings it about, so that any selection of them works. They share one world: they run one after the other, but for what
//! leaves link `production` alone, which comes last and side by side: faults that have a client and a link of their own, one of
//! the services' links at a time, a replica that is a group of its own, and what setup offers in a world without DNS capture.

mod channel;
mod duo;
mod endpoints;
mod faults;
mod gtids;
mod kills;
mod link;
mod members;
mod offers;
mod plain;
mod promote;
mod refusals;
mod rights;
mod runbook;
mod secrets;
mod services;
mod settings;
mod stage;
mod tool;
mod trouble;
mod verify;

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use libtest_mimic::{Arguments, Trial};
use sandbox::faults::Scope;
use stage::{Checked, SHARED, Scene, Stage, WITHOUT_CAPTURE};

/// A trial before it is known whether it runs.
type Body = fn(&Stage) -> Checked;

/// Trials at a time that have a ground of their own: most of their time is waiting for pods and sidecars.
const SIDE_BY_SIDE: usize = 5;

fn main() -> ExitCode {
    sandbox::reexec::intercept();
    let arguments = Arguments::from_args();
    let off = std::env::var("PXC_LINK_E2E").is_ok_and(|value| value == "off");
    let run = |trials: Vec<Trial>, threads: usize| {
        let trials = trials.into_iter().map(|trial| trial.with_ignored_flag(off)).collect();
        let arguments = Arguments { test_threads: Some(threads), ..arguments.clone() };
        libtest_mimic::run(&arguments, trials).has_failed()
    };
    // Two lists, as what shares the whole world goes one after the other and what has its own ground does not.
    let mut failed = run(in_turn(), 1) | run(side_by_side(), SIDE_BY_SIDE);
    failed |= struck(&SHARED) | struck(&WITHOUT_CAPTURE);
    if failed { ExitCode::from(101) } else { ExitCode::SUCCESS }
}

/// Takes the world of a scene down; whether that failed.
fn struck(scene: &Scene) -> bool {
    let ended = stage::strike(scene);
    if let Err(error) = &ended {
        eprintln!("the world could not be taken down: {error}");
    }
    ended.is_err()
}

/// Held by a trial that shares what it works on with others, so that they take turns.
type Turn = Mutex<()>;

fn trial(
    scene: &'static Scene,
    turn: Option<&'static Turn>,
    name: String,
    body: impl FnOnce(&Stage) -> Checked + Send + 'static,
) -> Trial {
    Trial::test(name.clone(), move || {
        let _held = turn.map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        stage::run(scene, &name, body)
    })
}

/// What needs the world or the link `production` for itself.
fn in_turn() -> Vec<Trial> {
    let faults = || {
        let of_world = sandbox::faults::all().filter(|fault| matches!(fault.scope, Scope::World(_)));
        of_world.flat_map(|fault| {
            let name = format!("faults::{}", fault.name);
            let itself = trial(&SHARED, None, name, move |stage| faults::world(stage, fault));
            let before = offers::GROUNDED.iter().filter(|(of, ..)| *of == fault.name);
            let before = before.map(|(_, name, body)| trial(&SHARED, None, format!("offers::{name}"), body));
            before.chain([itself]).collect::<Vec<_>>()
        })
    };
    let listed = |group: &'static str, list: &'static [(&str, Body)]| {
        list.iter().map(move |(name, body)| {
            // What a trial on another ground left behind, where those after it on that ground were not selected.
            let body = |stage: &Stage| faults::stand_on(stage, None).and_then(|()| body(stage));
            trial(&SHARED, None, format!("{group}::{name}"), body)
        })
    };
    let trials = listed("refusals", refusals::TRIALS)
        .chain(listed("rights", rights::TRIALS))
        .chain(faults())
        .chain(listed("link", link::TRIALS))
        .chain(listed("verify", verify::TRIALS))
        .chain(listed("gtids", gtids::TRIALS))
        .chain(listed("secrets", secrets::TRIALS))
        .chain(listed("endpoints", endpoints::TRIALS))
        .chain(listed("kills", kills::TRIALS))
        .chain(listed("trouble", trouble::TRIALS))
        .chain(listed("link", link::LAST));
    trials.collect()
}

/// What has a link and a client of its own; and, among them, what takes turns.
fn side_by_side() -> Vec<Trial> {
    static OFFERS: Turn = Mutex::new(());
    static SERVICES: Turn = Mutex::new(());
    let pairs = sandbox::faults::all().filter(|fault| matches!(fault.scope, Scope::Pair));
    let pairs = pairs.map(|fault| {
        let name = format!("faults::{}", fault.name);
        trial(&SHARED, None, name, move |stage| faults::pair(stage, fault))
    });
    let offers = offers::TRIALS
        .iter()
        .map(|(name, body)| trial(&WITHOUT_CAPTURE, Some(&OFFERS), format!("offers::{name}"), body));
    let services =
        services::TRIALS.iter().map(|(name, body)| trial(&SHARED, Some(&SERVICES), format!("services::{name}"), body));
    let members = members::TRIALS.iter().map(|(name, body)| trial(&SHARED, None, format!("members::{name}"), body));
    spread([offers.collect(), services.collect(), members.collect(), pairs.collect(), without_kubernetes().collect()])
}

/// Several lists as one in which each list's trials lie as far from each other as they can, so that one that has to wait for its
/// turn seldom keeps a thread from those that need not.
fn spread<const N: usize>(lists: [Vec<Trial>; N]) -> Vec<Trial> {
    let placed = lists.into_iter().flat_map(|list| {
        let all = list.len();
        list.into_iter().enumerate().map(move |(nth, trial)| (nth * 1000 / all, trial))
    });
    let mut placed: Vec<(usize, Trial)> = placed.collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, trial)| trial).collect()
}

/// What has two plain servers of its own and needs no world.
fn without_kubernetes() -> impl Iterator<Item = Trial> {
    let faults = sandbox::faults::all().filter(|fault| matches!(fault.scope, Scope::Plain));
    let faults = faults.map(|fault| {
        let name = format!("faults::{}", fault.name);
        Trial::test(name.clone(), move || stage::timed(&name, || faults::plain(fault)))
    });
    let listed = |group: &'static str, list: &'static [(&str, plain::Body)]| {
        list.iter().map(move |(name, body)| {
            let name = format!("{group}::{name}");
            Trial::test(name.clone(), move || stage::timed(&name, body))
        })
    };
    let listed = listed("plain", plain::TRIALS)
        .chain(listed("channel", channel::TRIALS))
        .chain(listed("settings", settings::TRIALS))
        .chain(listed("promote", promote::TRIALS))
        .chain(listed("kills", kills::PLAIN));
    listed.chain(faults)
}
