//! PocketBase: the table of an auth collection as CSV or JSON.

use super::{Is, System};

pub(super) struct PocketBase;

impl System for PocketBase {
    fn name(&self) -> &'static str {
        "pocketbase"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("id", Is::Id),
            ("email", Is::Member("email")),
            ("username", Is::Member("username")),
            ("password", Is::Member("password_hash")),
            ("passwordHash", Is::Member("password_hash")),
            ("verified", Is::Member("email_verified")),
            ("created", Is::Member("created_at")),
            ("updated", Is::Member("updated_at")),
            ("role", Is::Roles),
            ("tokenKey", Is::Nothing),
            ("emailVisibility", Is::Nothing),
            ("collectionId", Is::Nothing),
            ("collectionName", Is::Nothing),
            ("lastResetSentAt", Is::Nothing),
            ("lastVerificationSentAt", Is::Nothing),
            ("lastLoginAlertSentAt", Is::Nothing),
        ]
    }

    fn wrappers(&self) -> &'static [&'static str] {
        &["items"]
    }
}
