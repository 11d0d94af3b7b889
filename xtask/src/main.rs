//! The project's own tools: `cargo xtask NAME`.

mod common_passwords;
mod generate;
mod services;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  tidy                     check the house style; prints file:line and what to do instead
  gen                      write the documents that are made of the code
  common-passwords FILE…   make the built-in list of common passwords of text files, one a line
  long                     the long forms of tests: 20 kills on each engine, 100 of which the trail is compared with the
                           database, 10,000 refreshes of two tabs at once
  services -- CMD ARGS…    run a command beside a throwaway PostgreSQL and Redis
                           (GATEWRIGHT_TEST_POSTGRES, GATEWRIGHT_TEST_REDIS)";

/// What `./test` runs in short.
const LONG: [&str; 9] = [
    "GATEWRIGHT_TEST_KILLS=20",
    "GATEWRIGHT_TEST_TRAIL_KILLS=100",
    "GATEWRIGHT_TEST_PAIRS=10000",
    "cargo",
    "nextest",
    "run",
    "--package=tests",
    "--filterset",
    "test(kill_9) or test(two_tabs)",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["tidy", options @ ..] => tidy::run(root(), options),
        ["gen"] => generate::run(root()),
        ["common-passwords", lists @ ..] if !lists.is_empty() => match common_passwords::run(root(), lists) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        ["long"] => services::run("env", &LONG),
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

/// The workspace, wherever the command was called from.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}
