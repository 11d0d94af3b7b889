//! ASP.NET Core Identity: the table `AspNetUsers` as CSV or JSON, and `AspNetUserTokens` beside it.

use serde_json::json;

use super::fields::{Account, Fields};
use super::{Is, Side, System};

pub(super) struct AspNet;

impl System for AspNet {
    fn name(&self) -> &'static str {
        "aspnet"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("Id", Is::Id),
            ("UserName", Is::Member("username")),
            ("Email", Is::Member("email")),
            ("EmailConfirmed", Is::Member("email_verified")),
            ("PasswordHash", Is::Member("password_hash")),
            ("LockoutEnd", Is::Member("inactive_until")),
            ("Roles", Is::Roles),
            ("LockoutEnabled", Is::Nothing),
            ("AccessFailedCount", Is::Nothing),
            ("NormalizedUserName", Is::Nothing),
            ("NormalizedEmail", Is::Nothing),
            ("SecurityStamp", Is::Nothing),
            ("ConcurrencyStamp", Is::Nothing),
            ("PhoneNumberConfirmed", Is::Nothing),
        ]
    }

    fn sides(&self) -> &'static [Side] {
        &[
            Side { tables: &["aspnetusertokens", "usertokens"], key: "UserId", of: "Id" },
            Side { tables: &["aspnetuserroles", "userroles"], key: "UserId", of: "Id" },
        ]
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        // Whether it is asked for; the key is in another table.
        if account.has_factor() {
            fields.take("TwoFactorEnabled");
        }
        // A name that is another address than the email is no username.
        let name = fields.text("UserName").filter(|name| name.contains('@'));
        if let Some(name) = name {
            fields.take("UserName");
            if fields.text("Email").is_none() {
                account.set("email", name);
            }
        }
    }

    fn side(&self, table: &str, fields: &mut Fields, account: &mut Account) {
        if table.ends_with("roles") {
            if let Some(name) = fields.text("RoleName").or_else(|| fields.text("Name")) {
                account.role(name);
            }
            return;
        }
        let value = fields.text("Value").unwrap_or_default();
        match fields.text("Name").as_deref() {
            Some("AuthenticatorKey") => drop(account.totp(&value)),
            Some("RecoveryCodes") => {
                let codes: Vec<&str> = value.split(';').collect();
                account.factor(json!({"kind": "recovery_codes", "origin": "aspnet", "codes": codes}));
            }
            _ => {}
        }
    }
}
