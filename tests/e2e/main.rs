//! The end-to-end tests: pxc-link against two real clusters with Istio and MySQL, raised by the sandbox.
//!
//! `PXC_LINK_E2E=off` leaves them out and counts them as ignored. Every trial says itself which state of the world it needs
//! and brings it about, so that any selection of them works. They share one world: they run one after the other, but for
//! faults that have a client and a link of their own, which come last and side by side.

mod endpoints;
mod faults;
mod link;
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

/// A trial before it is known whether it runs.
type Body = fn(&stage::Stage) -> stage::Checked;

/// Pairs at a time: most of their time is waiting for pods and sidecars.
const SIDE_BY_SIDE: usize = 4;

fn main() -> ExitCode {
    sandbox::reexec::intercept();
    let arguments = Arguments::from_args();
    let off = std::env::var("PXC_LINK_E2E").is_ok_and(|value| value == "off");
    // Two lists, as what shares the whole world goes one after the other and what has its own ground does not.
    let lists = [(in_turn(off), 1), (side_by_side(off), SIDE_BY_SIDE)];
    let failed = lists.map(|(trials, threads)| {
        let arguments = Arguments { test_threads: Some(threads), ..arguments.clone() };
        libtest_mimic::run(&arguments, trials).has_failed()
    });
    if let Err(error) = stage::strike() {
        eprintln!("the world could not be taken down: {error}");
        return ExitCode::from(101);
    }
    if failed.contains(&true) { ExitCode::from(101) } else { ExitCode::SUCCESS }
}

/// What needs the world or the link `production` for itself.
fn in_turn(off: bool) -> Vec<Trial> {
    let faults = || {
        let of_world = sandbox::faults::all().filter(|fault| matches!(fault.scope, Scope::World(_)));
        of_world.map(|fault| {
            let name = format!("faults::{}", fault.name);
            Trial::test(name.clone(), move || stage::run(&name, |stage| faults::world(stage, fault)))
        })
    };
    let listed = |group: &'static str, list: &'static [(&str, Body)]| {
        list.iter().map(move |(name, body)| {
            let name = format!("{group}::{name}");
            Trial::test(name.clone(), move || stage::run(&name, body))
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
    trials.map(|trial| trial.with_ignored_flag(off)).collect()
}

/// What has a link and a client of its own.
fn side_by_side(off: bool) -> Vec<Trial> {
    let pairs = sandbox::faults::all().filter(|fault| matches!(fault.scope, Scope::Pair));
    pairs
        .map(|fault| {
            let name = format!("faults::{}", fault.name);
            let body = move || stage::run(&name, |stage| faults::pair(stage, fault));
            Trial::test(format!("faults::{}", fault.name), body).with_ignored_flag(off)
        })
        .collect()
}
