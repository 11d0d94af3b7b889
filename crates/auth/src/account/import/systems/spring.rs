//! Spring Security: the table `users` of its JDBC schema or of an application, and `authorities` beside it.

use super::fields::{Account, Fields};
use super::{Is, Side, System};

pub(super) struct Spring;

impl System for Spring {
    fn name(&self) -> &'static str {
        "spring"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("id", Is::Id),
            ("username", Is::Member("username")),
            ("email", Is::Member("email")),
            ("password", Is::Member("password_hash")),
            ("enabled", Is::Member("is_active")),
            ("authorities", Is::Roles),
            ("authority", Is::Roles),
            ("roles", Is::Roles),
            ("role", Is::Roles),
            ("created_at", Is::Member("created_at")),
            ("updated_at", Is::Member("updated_at")),
        ]
    }

    fn sides(&self) -> &'static [Side] {
        &[Side { tables: &["authorities"], key: "username", of: "username" }]
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        // A password that has expired is right, and is replaced at the first login.
        fields.take("credentialsNonExpired");
        for name in ["accountNonLocked", "accountNonExpired"] {
            if fields.get(name).is_some_and(|value| !value.is_null()) && !fields.is_true(name) {
                account.bar();
            }
            fields.take(name);
        }
        // A username that is an address is the email.
        let name = fields.text("username").filter(|name| name.contains('@'));
        if let Some(name) = name.filter(|_| fields.text("email").is_none()) {
            fields.take("username");
            account.set("email", name);
        }
    }

    fn side(&self, _: &str, fields: &mut Fields, account: &mut Account) {
        if let Some(name) = fields.text("authority") {
            account.role(name);
        }
    }
}
