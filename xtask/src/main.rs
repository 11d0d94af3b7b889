//! The project's tools: `cargo xtask NAME`.

mod clients;
mod common_passwords;
mod generate;
mod nodes;
mod services;
mod tidy;
mod trials;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  tidy                     check the style rules; print file:line and how to fix it
  gen                      write the generated documents
  clients                  install the libraries that tests use as clients, in target/clients
  common-passwords FILE…   build the list of common passwords from text files, one per line
  trials [NAME]            run the long form of a group of tests; without a name, list them
  nodes COUNT nginx|haproxy [-- CMD ARGS…]
                           run nodes, PostgreSQL, Redis and a balancer on loopback, for a command or until
                           Ctrl-C (GATEWRIGHT_URL, GATEWRIGHT_NODES, GATEWRIGHT_PIDS)
  services -- CMD ARGS…    run a command beside a throwaway PostgreSQL and Redis
                           (GATEWRIGHT_TEST_POSTGRES, GATEWRIGHT_TEST_REDIS)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

    match arguments.as_slice() {
        ["tidy", options @ ..] => tidy::run(root(), options),
        ["gen"] => generate::run(root()),
        ["clients"] => outcome(clients::run(root())),
        ["common-passwords", lists @ ..] if !lists.is_empty() => {
            outcome(common_passwords::run(root(), lists).map(|()| ExitCode::SUCCESS))
        }
        ["trials"] => trials::list(),
        ["trials", name] => trials::run(name),
        ["nodes", count, balancer] => outcome(nodes::run(count, balancer, &[])),
        ["nodes", count, balancer, "--", command @ ..] => outcome(nodes::run(count, balancer, command)),
        ["services", "--", command, arguments @ ..] => services::run(command, arguments),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn outcome(done: Result<ExitCode, impl std::fmt::Display>) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

/// The root of the workspace, independent of the working directory.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}
