//! The end-to-end tests: pxc-link against two real clusters with Istio and MySQL, raised by the sandbox.
//!
//! `PXC_LINK_E2E=off` leaves them out and counts them as ignored. Every trial says itself which state of the world it needs
//! and brings it about, so that any selection of them works; they run one after the other, because they share one world.

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

/// Trials at a time. One, as no fault has a namespace of its own yet, and those that share a ground keep their order.
const SIDE_BY_SIDE: usize = 1;

fn main() -> ExitCode {
    sandbox::reexec::intercept();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(SIDE_BY_SIDE);
    let off = std::env::var("PXC_LINK_E2E").is_ok_and(|value| value == "off");
    let mut trials: Vec<Trial> = Vec::new();
    let mut add = |name: String, body: Box<dyn FnOnce(&stage::Stage) -> stage::Checked + Send>| {
        trials.push(Trial::test(name.clone(), move || stage::run(&name, body)).with_ignored_flag(off));
    };
    let listed: [(&str, &[(&str, Body)]); 9] = [
        ("refusals", refusals::TRIALS),
        ("rights", rights::TRIALS),
        ("services", services::TRIALS),
        ("link", link::TRIALS),
        ("verify", verify::TRIALS),
        ("secrets", secrets::TRIALS),
        ("endpoints", endpoints::TRIALS),
        ("trouble", trouble::TRIALS),
        ("link", link::LAST),
    ];
    for (group, list) in &listed[..3] {
        for (name, body) in *list {
            add(format!("{group}::{name}"), Box::new(*body));
        }
    }
    for fault in sandbox::faults::all().filter(|fault| matches!(fault.scope, Scope::World(_))) {
        add(format!("faults::{}", fault.name), Box::new(|stage| faults::world(stage, fault)));
    }
    for fault in sandbox::faults::all().filter(|fault| matches!(fault.scope, Scope::Pair)) {
        let name = format!("faults::{}", fault.name);
        let body = move || stage::run_beside(&format!("faults::{}", fault.name), |stage| faults::pair(stage, fault));
        trials.push(Trial::test(name, body).with_ignored_flag(off));
    }
    let mut add = |name: String, body: Box<dyn FnOnce(&stage::Stage) -> stage::Checked + Send>| {
        trials.push(Trial::test(name.clone(), move || stage::run(&name, body)).with_ignored_flag(off));
    };
    for (group, list) in &listed[3..] {
        for (name, body) in *list {
            add(format!("{group}::{name}"), Box::new(*body));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let ended = stage::strike();
    match (conclusion.has_failed(), ended) {
        (false, Ok(())) => ExitCode::SUCCESS,
        (_, Err(error)) => {
            eprintln!("the world could not be taken down: {error}");
            ExitCode::from(101)
        }
        (true, Ok(())) => ExitCode::from(101),
    }
}
