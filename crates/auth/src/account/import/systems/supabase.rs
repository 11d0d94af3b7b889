//! Supabase: the table `auth.users` as CSV or JSON, and `auth.mfa_factors` beside it.

use super::fields::{Account, Fields};
use super::{Is, Side, System};

pub(super) struct Supabase;

/// What GoTrue itself writes into the metadata of a user.
const ITS_OWN: [&str; 14] = [
    "avatar_url",
    "email",
    "email_verified",
    "full_name",
    "iss",
    "name",
    "phone",
    "phone_verified",
    "picture",
    "preferred_username",
    "provider",
    "provider_id",
    "providers",
    "sub",
];

impl System for Supabase {
    fn name(&self) -> &'static str {
        "supabase"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("id", Is::Id),
            ("email", Is::Member("email")),
            ("encrypted_password", Is::Member("password_hash")),
            ("email_confirmed_at", Is::Member("email_verified_at")),
            ("confirmed_at", Is::Nothing),
            ("banned_until", Is::Member("inactive_until")),
            ("deleted_at", Is::Member("inactive_since")),
            ("is_super_admin", Is::Role("super_admin")),
            ("created_at", Is::Member("created_at")),
            ("updated_at", Is::Member("updated_at")),
            ("instance_id", Is::Nothing),
            ("aud", Is::Nothing),
            ("role", Is::Nothing),
            ("last_sign_in_at", Is::Nothing),
            ("is_sso_user", Is::Nothing),
            ("is_anonymous", Is::Nothing),
        ]
    }

    fn sides(&self) -> &'static [Side] {
        &[Side { tables: &["mfafactors", "authmfafactors"], key: "user_id", of: "id" }]
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        for metadata in ["raw_app_meta_data", "raw_user_meta_data"] {
            for (name, value) in fields.take_object(metadata).into_iter().flatten() {
                match name.as_str() {
                    "role" | "roles" if metadata == "raw_app_meta_data" => account.put(Is::Roles, value),
                    known if ITS_OWN.contains(&known) => {}
                    _ => account.attribute(name, value),
                }
            }
        }
    }

    fn side(&self, _: &str, fields: &mut Fields, account: &mut Account) {
        if fields.text("status").as_deref() == Some("verified")
            && let Some(secret) = fields.text("secret")
        {
            account.totp(&secret);
        }
    }
}
