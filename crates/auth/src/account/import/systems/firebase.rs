//! Firebase: `auth:export` in JSON, or in CSV without a row of names.

use serde_json::{Value, json};

use super::fields::{Account, Fields};
use super::{Is, System};

pub(super) struct Firebase;

/// What an export contains in place of hashes that its operator may not see: `REDACTED` in Base64.
const REDACTED: &str = "UkVEQUNURUQ=";

/// The columns of an export in CSV, which does not name them.
const COLUMNS: &[&str] = &[
    "localId",
    "email",
    "emailVerified",
    "passwordHash",
    "salt",
    "displayName",
    "photoUrl",
    "googleId",
    "googleEmail",
    "googleName",
    "googlePhotoUrl",
    "facebookId",
    "facebookEmail",
    "facebookName",
    "facebookPhotoUrl",
    "twitterId",
    "twitterEmail",
    "twitterName",
    "twitterPhotoUrl",
    "githubId",
    "githubEmail",
    "githubName",
    "githubPhotoUrl",
    "createdAt",
    "lastSignedInAt",
    "phoneNumber",
    "disabled",
    "customAttributes",
    // Every row ends with a comma.
    "end",
];

impl System for Firebase {
    fn name(&self) -> &'static str {
        "firebase"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("localId", Is::Id),
            ("email", Is::Member("email")),
            ("emailVerified", Is::Member("email_verified")),
            ("disabled", Is::Member("is_inactive")),
            ("createdAt", Is::Member("created_at")),
            ("lastSignedInAt", Is::Nothing),
            ("lastLoginAt", Is::Nothing),
            ("lastRefreshAt", Is::Nothing),
            ("passwordUpdatedAt", Is::Nothing),
            ("validSince", Is::Nothing),
            ("version", Is::Nothing),
            ("providerUserInfo", Is::Nothing),
        ]
    }

    fn wrappers(&self) -> &'static [&'static str] {
        &["users"]
    }

    fn columns(&self) -> Option<&'static [&'static str]> {
        Some(COLUMNS)
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        let salt = fields.take("salt");
        match fields.take("passwordHash") {
            Some(Value::String(hash)) if hash == REDACTED => account.set(
                "password_hash",
                "REDACTED: the export was made without the right to see hashes \
                 (firebaseauth.configs.getHashConfig)",
            ),
            Some(hash) => account.set("password_hash", json!({"passwordHash": hash, "salt": salt})),
            None => {}
        }
        for (name, value) in fields.take_object("customAttributes").into_iter().flatten() {
            match name.as_str() {
                "role" | "roles" => account.put(Is::Roles, value),
                _ => account.attribute(name, value),
            }
        }
    }
}
