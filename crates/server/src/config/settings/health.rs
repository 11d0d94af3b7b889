//! `[health]`

use std::time::Duration;

use super::section;

section! {
    /// Health checks.
    pub struct HealthConfig in "health." {
        /// How long the readiness check waits for the database before it fails.
        timeout: Duration = Duration::from_millis(100), example: "100ms";
    }
}
