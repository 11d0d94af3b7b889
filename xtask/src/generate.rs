//! Writes the generated documents, by running the server's example.

use std::path::Path;
use std::process::{Command, ExitCode};

/// Runs the generator in the workspace.
pub(crate) fn run(root: &Path) -> ExitCode {
    let arguments = ["run", "-q", "-p", "gatewright", "--example", "generate"];
    match Command::new("cargo").args(arguments).current_dir(root).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
