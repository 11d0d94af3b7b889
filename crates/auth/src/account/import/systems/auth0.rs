//! Auth0: the export of users, the file of password hashes that its support makes, or the format of its
//! import.

use serde_json::Value;

use super::fields::{Account, Fields};
use super::{Is, System};

pub(super) struct Auth0;

impl System for Auth0 {
    fn name(&self) -> &'static str {
        "auth0"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("user_id", Is::Id),
            ("Id", Is::Id),
            ("email", Is::Member("email")),
            ("email_verified", Is::Member("email_verified")),
            ("username", Is::Member("username")),
            ("passwordHash", Is::Member("password_hash")),
            ("blocked", Is::Member("is_inactive")),
            ("created_at", Is::Member("created_at")),
            ("updated_at", Is::Member("updated_at")),
            ("roles", Is::Roles),
            ("identities", Is::Nothing),
            ("tenant", Is::Nothing),
            ("connection", Is::Nothing),
            ("password_set_date", Is::Nothing),
            ("last_password_reset", Is::Nothing),
            ("last_login", Is::Nothing),
            ("last_ip", Is::Nothing),
            ("logins_count", Is::Nothing),
            ("_tmp_is_unique", Is::Nothing),
            ("user_metadata", Is::Attributes),
        ]
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        // The file of hashes has the part of the identifier behind the name of the connection.
        if let Some(id) = fields.take("_id") {
            let part = id.get("$oid").unwrap_or(&id);
            account.set("external_id", format!("auth0|{}", part.as_str().unwrap_or_default()));
        }
        for (name, value) in fields.take_object("app_metadata").into_iter().flatten() {
            match name.as_str() {
                "role" | "roles" => account.put(Is::Roles, value),
                _ => account.attribute(name, value),
            }
        }
        if let Some(custom) = fields.take_object("custom_password_hash") {
            let value = custom.get("hash").and_then(|hash| hash.get("value")).cloned();
            account.set("password_hash", value.unwrap_or_default());
        }
        for factor in fields.take_list("mfa_factors") {
            let secret = factor.get("totp").and_then(|totp| totp.get("secret")).and_then(Value::as_str);
            if !secret.is_some_and(|secret| account.totp(secret)) {
                fields.put_back("mfa_factors", Value::Array(vec![factor]));
            }
        }
    }
}
