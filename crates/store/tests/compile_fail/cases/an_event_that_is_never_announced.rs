//! Events that no transaction records have no intent.

use model::intent::{self, Announced as _};

fn main() {
    let _ = intent::ServerStarted {}.intent();
}
