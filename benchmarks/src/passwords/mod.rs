//! The password engine: the speed of the libraries, the share of it that the server achieves, and the effect
//! on other work.

mod enumeration;
mod instance;
mod library;
mod neighbours;
mod overload;
mod whole;

use std::path::Path;

use super::Outcome;

/// Runs one part or all parts.
pub(super) fn run(root: &Path, part: &[&str]) -> Outcome<()> {
    let binary = root.join("target/release/gatewright");
    if !binary.is_file() {
        return Err("build it first: cargo build --release --locked -p gatewright".into());
    }

    match part {
        [] => {
            library::run();
            whole::run(&binary, None)?;
            overload::run(&binary)?;
            neighbours::run(&binary)?;
            enumeration::run(&binary)
        }
        ["library"] => {
            library::run();
            Ok(())
        }
        ["whole"] => whole::run(&binary, None),
        // Another build of the server, under the same load in turn.
        ["whole", other] => whole::run(&binary, Some(Path::new(other))),
        ["overload"] => overload::run(&binary),
        ["neighbours"] => neighbours::run(&binary),
        ["enumeration"] => enumeration::run(&binary),
        _ => Err("parts: library, whole [OTHER-BINARY], overload, neighbours, enumeration".into()),
    }
}
