//! `[registration]`

use model::{ReservedNames, UsernameError};

use super::section;
use crate::config::check::Report;

section! {
    /// Registration of users by themselves.
    pub struct RegistrationConfig in "registration." {
        /// Whether users register by themselves; otherwise every route that registers answers 403, and an
        /// operator adds them (`gatewright user add`).
        enabled: bool = auth::Settings::default().registration_enabled, example: "false";
        /// Usernames that no new account gets, in any spelling; names of before stay, and an import may have
        /// them.
        reserved_usernames: Vec<String> = ReservedNames::USUAL.map(str::to_owned).into(),
            example: "admin,root,support";
    }
}

impl RegistrationConfig {
    pub(super) fn apply_to(&self, settings: &mut auth::Settings) {
        let Self { enabled, reserved_usernames: _ } = self;
        settings.registration_enabled = *enabled;
        settings.reserved_usernames = self.reserved().unwrap_or_default();
    }

    fn reserved(&self) -> Result<ReservedNames, (&str, UsernameError)> {
        ReservedNames::new(self.reserved_usernames.iter().map(String::as_str))
    }

    pub(crate) fn check(&self, report: &mut Report<'_>) {
        if let Err((name, why)) = self.reserved() {
            report.error("registration.reserved_usernames", format!("{name:?} cannot be a username: {why}"));
        }
    }
}
