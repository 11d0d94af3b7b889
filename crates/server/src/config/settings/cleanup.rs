//! `[cleanup]`

use std::time::Duration;

use jobs::RegistrySettings;

use super::section;

section! {
    /// Removal of expired, revoked and erased data.
    pub struct CleanupConfig in "cleanup." {
        /// How often expired and revoked rows are removed from the database, and the detail keys of erased
        /// users from the files of this node; it is also done at the start.
        interval: Duration = RegistrySettings::default().cleanup_interval,
            within: Duration::from_mins(1) => Duration::from_hours(24), example: "1h";
    }
}

impl From<&CleanupConfig> for RegistrySettings {
    fn from(config: &CleanupConfig) -> Self {
        let CleanupConfig { interval } = config;
        Self { cleanup_interval: *interval, ..Self::default() }
    }
}
