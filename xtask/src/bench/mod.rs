//! Benchmarks: ratios over interleaved rounds, with their spread. They print; they pass no judgement.

mod audit;
mod contestant;
mod ground;
mod load;
mod million;
mod passwords;
mod rounds;
mod seam;
mod server;

use std::error::Error;
use std::process::ExitCode;

/// Whatever keeps a benchmark from its end.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs the benchmark that `arguments` name; None when there is no such.
pub(crate) fn run(arguments: &[&str]) -> Option<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| match arguments {
        ["store"] => runtime.block_on(seam::run()).map(Some),
        ["million"] => runtime.block_on(million::run(&["sqlite", "postgres"])).map(Some),
        ["million", engine @ ("sqlite" | "postgres")] => runtime.block_on(million::run(&[*engine])).map(Some),
        ["server"] => server::run(crate::root()).map(Some),
        ["passwords", part @ ..] => passwords::run(crate::root(), part).map(Some),
        ["audit", part @ ..] => audit::run(crate::root(), part).map(Some),
        ["trivial", port] => runtime.block_on(async { server::serve_trivial(port.parse()?).await.map(Some) }),
        _ => Ok(None),
    });
    match outcome {
        Ok(done) => done.map(|()| ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("bench: {error}");
            Some(ExitCode::FAILURE)
        }
    }
}
