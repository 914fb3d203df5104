//! The end-to-end tests: pxc-link against two real clusters with Istio and MySQL, raised by the sandbox.
//!
//! `PXC_LINK_E2E=off` leaves them out and counts them as ignored. Every trial says itself which state of the world it needs
//! and brings it about, so that any selection of them works. They share one world: they run one after the other, but for
//! faults that have a client and a link of their own, which come last and side by side. After that comes a world without DNS
//! capture, for what setup offers there.

mod endpoints;
mod faults;
mod link;
mod offers;
mod refusals;
mod rights;
mod secrets;
mod services;
mod stage;
mod tool;
mod trouble;
mod verify;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use sandbox::faults::Scope;
use stage::{Checked, SHARED, Scene, Stage, WITHOUT_CAPTURE};

/// A trial before it is known whether it runs.
type Body = fn(&Stage) -> Checked;

/// Pairs at a time: most of their time is waiting for pods and sidecars.
const SIDE_BY_SIDE: usize = 4;

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
    // No trial shares the processors with a world that it does not need.
    failed |= struck(&SHARED);
    failed |= run(listed(&WITHOUT_CAPTURE, "offers", offers::TRIALS), 1) | struck(&WITHOUT_CAPTURE);
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

fn listed(scene: &'static Scene, group: &str, list: &'static [(&str, Body)]) -> Vec<Trial> {
    list.iter().map(|(name, body)| trial(scene, format!("{group}::{name}"), body)).collect()
}

fn trial(scene: &'static Scene, name: String, body: impl FnOnce(&Stage) -> Checked + Send + 'static) -> Trial {
    Trial::test(name.clone(), move || stage::run(scene, &name, body))
}

/// What needs the world or the link `production` for itself.
fn in_turn() -> Vec<Trial> {
    let faults = || {
        let of_world = sandbox::faults::all().filter(|fault| matches!(fault.scope, Scope::World(_)));
        of_world.flat_map(|fault| {
            let name = format!("faults::{}", fault.name);
            let itself = trial(&SHARED, name, move |stage| faults::world(stage, fault));
            let before = offers::GROUNDED.iter().filter(|(of, ..)| *of == fault.name);
            let before = before.map(|(_, name, body)| trial(&SHARED, format!("offers::{name}"), body));
            before.chain([itself]).collect::<Vec<_>>()
        })
    };
    let listed = |group: &'static str, list: &'static [(&str, Body)]| {
        list.iter().map(move |(name, body)| {
            // What a trial on another ground left behind, where those after it on that ground were not selected.
            let body = |stage: &Stage| faults::stand_on(stage, None).and_then(|()| body(stage));
            trial(&SHARED, format!("{group}::{name}"), body)
        })
    };
    let trials = listed("refusals", refusals::TRIALS)
        .chain(listed("rights", rights::TRIALS))
        .chain(listed("services", services::TRIALS))
        .chain(faults())
        .chain(listed("link", link::TRIALS))
        .chain(listed("verify", verify::TRIALS))
        .chain(listed("secrets", secrets::TRIALS))
        .chain(listed("endpoints", endpoints::TRIALS))
        .chain(listed("trouble", trouble::TRIALS))
        .chain(listed("link", link::LAST));
    trials.collect()
}

/// What has a link and a client of its own.
fn side_by_side() -> Vec<Trial> {
    let pairs = sandbox::faults::all().filter(|fault| matches!(fault.scope, Scope::Pair));
    pairs
        .map(|fault| trial(&SHARED, format!("faults::{}", fault.name), move |stage| faults::pair(stage, fault)))
        .collect()
}
