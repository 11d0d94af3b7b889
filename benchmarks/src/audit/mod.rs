//! What auditing costs, and what stops when the trail's database does.

mod lock;
mod months;
mod outage;
mod overhead;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Outcome;

/// Pairs of a comparison, and how long each half of one takes.
const PAIRS: usize = 10;
const SPAN: Duration = Duration::from_secs(2);

/// The builds of the server.
struct Builds {
    gatewright: PathBuf,
    /// The same with a trail that leads nowhere.
    unaudited: PathBuf,
}

/// Runs one part, or all of them.
pub(super) fn run(root: &Path, part: &[&str]) -> Outcome<()> {
    let release = root.join("target/release");
    let builds =
        Builds { gatewright: release.join("gatewright"), unaudited: release.join("examples/unaudited") };
    if !builds.gatewright.is_file() || !builds.unaudited.is_file() {
        return Err("build it first: cargo build --release --locked -p gatewright --bins --examples".into());
    }
    match part {
        [] => {
            overhead::run(&builds, &[])?;
            lock::run(&builds)?;
            outage::run(&builds)?;
            months::run(&builds)
        }
        ["overhead", only @ ..] => overhead::run(&builds, only),
        ["lock"] => lock::run(&builds),
        ["outage"] => outage::run(&builds),
        ["months"] => months::run(&builds),
        _ => Err("parts: overhead [sqlite] [postgres] [login] [login-cheap] [refresh], lock, outage, months"
            .into()),
    }
}
