//! `[cleanup]`

use std::time::Duration;

use super::section;

section! {
    /// Removal of expired, revoked and erased data.
    pub struct CleanupConfig in "cleanup." {
        /// How often expired and revoked rows are removed from the database, and the detail keys of erased
        /// users from the files of this node; it is also done at the start.
        interval: Duration = Duration::from_hours(1), example: "1h";
    }
}
