//! The `cargo sandbox` binary.

mod bench;
mod cli;
mod cli_faults;
mod cli_plain;
mod cli_soak;
mod cli_world;
mod demo;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    sandbox::reexec::intercept();
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code()
        }
    }
}
