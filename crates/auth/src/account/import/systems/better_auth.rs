//! Better Auth: its tables in one JSON object (`{"user": […], "account": […]}`), or in files of their own.

use serde_json::json;

use super::fields::{Account, Fields};
use super::{Is, Side, System};

pub(super) struct BetterAuth;

impl System for BetterAuth {
    fn name(&self) -> &'static str {
        "better-auth"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("id", Is::Id),
            ("email", Is::Member("email")),
            ("emailVerified", Is::Member("email_verified")),
            ("username", Is::Member("username")),
            ("password", Is::Member("password_hash")),
            ("createdAt", Is::Member("created_at")),
            ("updatedAt", Is::Member("updated_at")),
            ("role", Is::Roles),
            ("banReason", Is::Nothing),
            ("displayUsername", Is::Nothing),
        ]
    }

    fn wrappers(&self) -> &'static [&'static str] {
        &[
            "user",
            "users",
            "account",
            "accounts",
            "passkey",
            "passkeys",
            "twoFactor",
            "twoFactors",
            "two_factor",
            "session",
            "sessions",
            "verification",
            "verifications",
        ]
    }

    fn sides(&self) -> &'static [Side] {
        &[
            Side { tables: &["account", "accounts"], key: "userId", of: "id" },
            Side { tables: &["passkey", "passkeys"], key: "userId", of: "id" },
            Side {
                tables: &["session", "sessions", "verification", "verifications"],
                key: "userId",
                of: "id",
            },
        ]
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        let until = fields.take("banExpires");
        if fields.is_true("banned") {
            match until {
                Some(until) => account.set("inactive_until", until),
                None => account.bar(),
            }
        }
        fields.take("banned");
    }

    fn side(&self, table: &str, fields: &mut Fields, account: &mut Account) {
        if table.starts_with("account")
            && fields.text("providerId").as_deref() == Some("credential")
            && let Some(hash) = fields.take("password")
        {
            account.set("password_hash", hash);
        }
        if table.starts_with("passkey")
            && let (Some(id), Some(key)) = (fields.text("credentialID"), fields.text("publicKey"))
        {
            account.factor(json!({
                "kind": "passkey",
                "credential_id": id,
                "public_key": key,
                "sign_count": fields.get("counter"),
                "transports": fields.get("transports"),
                "aaguid": fields.get("aaguid"),
                "name": fields.get("name"),
            }));
        }
    }
}
