//! Devise: the table of its model as CSV or JSON.

use serde_json::Value;

use super::fields::{Account, Fields};
use super::{Is, System};

pub(super) struct Devise;

impl System for Devise {
    fn name(&self) -> &'static str {
        "devise"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("id", Is::Id),
            ("email", Is::Member("email")),
            ("username", Is::Member("username")),
            ("login", Is::Member("username")),
            ("encrypted_password", Is::Member("password_hash")),
            ("confirmed_at", Is::Member("email_verified_at")),
            ("locked_at", Is::Member("inactive_since")),
            ("deleted_at", Is::Member("inactive_since")),
            ("discarded_at", Is::Member("inactive_since")),
            ("created_at", Is::Member("created_at")),
            ("updated_at", Is::Member("updated_at")),
            ("role", Is::Roles),
            ("admin", Is::Role("admin")),
            ("failed_attempts", Is::Nothing),
            ("consumed_timestep", Is::Nothing),
        ]
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        // A secret that the application encrypts is no Base32, and stays for the survey to see.
        let Some(secret) = fields.take("otp_secret") else { return };
        if secret.as_str().is_some_and(|secret| account.totp(secret)) {
            fields.take("otp_required_for_login");
        } else if secret != Value::Null {
            fields.put_back("otp_secret", secret);
        }
    }
}
