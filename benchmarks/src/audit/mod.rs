//! The cost of auditing, and the effect of an outage of the trail's database.

mod lock;
mod months;
mod outage;
mod overhead;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Outcome;

/// Pairs of a comparison.
const PAIRS: usize = 10;
/// The duration of each half of a pair.
const SPAN: Duration = Duration::from_secs(2);

/// The builds of the server.
struct Builds {
    gatewright: PathBuf,
    /// The same server without an audit trail.
    unaudited: PathBuf,
}

/// Runs one part or all parts.
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
