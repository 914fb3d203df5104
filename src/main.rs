//! The `pxc-link` binary: picks the TLS provider, parses the command line, runs it, turns its end into an exit code.

use std::process::ExitCode;

use pxc_link::cli::{self, args::Cli};

fn main() -> ExitCode {
    // Two rustls users (kube and mysql_async) share one provider; it must be chosen before either makes a client.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    cli::run(cli)
}
