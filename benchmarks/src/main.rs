//! Benchmarks: ratios over interleaved rounds, with their spread. They print figures without a verdict.

mod audit;
mod bench_db;
mod contestant;
mod limits;
mod load;
mod million;
mod passwords;
mod rounds;
mod server;
mod storage;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

/// The result of a benchmark.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: cargo run --release -p benchmarks -- BENCHMARK

  server [OTHER]    start, memory, size and requests per second of the release binary, beside another build
  passwords [PART]  logins per second, overload, neighbours, enumeration, of the release binary
  audit [PART]      overhead, outages, locks and months of the audit trail, of the release binary
  store             what round trips, pools, batches and group commit are worth
  limits            decisions of the rate limiter with a million keys, and what they take
  limits server     /me of the release binary with limits on and off
  million [ENGINE]  operations with a million users beside an empty database; sqlite, postgres or both";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("benchmarks: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the benchmark that `arguments` name; false for an unknown one.
fn run(arguments: &[&str]) -> Outcome<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments {
        ["store"] => runtime.block_on(storage::run())?,
        ["limits"] => limits::run()?,
        ["limits", "server"] => limits::whole(root())?,
        ["million"] => runtime.block_on(million::run(&["sqlite", "postgres"]))?,
        ["million", engine @ ("sqlite" | "postgres")] => runtime.block_on(million::run(&[*engine]))?,
        ["server"] => server::run(root(), None)?,
        // Another build of the server, under the same load in turn.
        ["server", other] => server::run(root(), Some(Path::new(other)))?,
        ["passwords", part @ ..] => passwords::run(root(), part)?,
        ["audit", part @ ..] => audit::run(root(), part)?,
        ["trivial", port] => runtime.block_on(async { server::serve_trivial(port.parse()?).await })?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The root of the workspace, independent of the working directory.
fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}
