//! `[health]`

use std::time::Duration;

use super::section;

section! {
    /// Health checks.
    pub struct HealthConfig in "health." {
        /// How long the readiness check waits for the database before it fails.
        timeout: Duration = web::Settings::default().health_timeout,
            within: Duration::from_millis(10) => Duration::from_secs(30), example: "100ms";
    }
}

impl HealthConfig {
    pub(super) fn apply_to(&self, settings: &mut web::Settings) {
        let Self { timeout } = self;
        settings.health_timeout = *timeout;
    }
}
