//! `[registration]`

use super::section;

section! {
    /// Registration of users by themselves.
    pub struct RegistrationConfig in "registration." {
        /// Whether users register by themselves; otherwise every route that registers answers 403, and an
        /// operator adds them (`gatewright user add`).
        enabled: bool = auth::Settings::default().registration_enabled, example: "false";
    }
}

impl RegistrationConfig {
    pub(super) fn apply_to(&self, settings: &mut auth::Settings) {
        let Self { enabled } = self;
        settings.registration_enabled = *enabled;
    }
}
