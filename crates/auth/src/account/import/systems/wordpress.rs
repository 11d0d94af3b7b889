//! WordPress: the table `wp_users` as CSV or JSON (also of phpMyAdmin), `wp_usermeta`, or `wp user list`.

use serde_json::Value;

use super::fields::{Account, Fields};
use super::{Is, Side, System};

pub(super) struct WordPress;

impl System for WordPress {
    fn name(&self) -> &'static str {
        "wordpress"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("ID", Is::Id),
            ("user_login", Is::Member("username")),
            ("user_email", Is::Member("email")),
            ("user_registered", Is::Member("created_at")),
            ("roles", Is::Roles),
            ("user_activation_key", Is::Nothing),
        ]
    }

    fn sides(&self) -> &'static [Side] {
        &[Side { tables: &["usermeta", "wpusermeta"], key: "user_id", of: "ID" }]
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        if let Some(Value::String(hash)) = fields.take("user_pass") {
            // The oldest accounts have the bare digest.
            let is_md5 = hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            account.set("password_hash", if is_md5 { format!("md5$${}", hash.to_lowercase()) } else { hash });
        }
        if fields.is_true("spam") || fields.is_true("deleted") {
            account.bar();
        }
        fields.take("spam");
        fields.take("deleted");
    }

    fn side(&self, _: &str, fields: &mut Fields, account: &mut Account) {
        let is_roles = fields.text("meta_key").is_some_and(|key| key.ends_with("capabilities"));
        if let Some(serialised) = fields.text("meta_value").filter(|_| is_roles) {
            // `a:1:{s:13:"administrator";b:1;}`
            let mut pieces = serialised.split('"').skip(1);
            while let Some(role) = pieces.next() {
                if pieces.next().is_some_and(|value| value.starts_with(";b:1")) {
                    account.role(role);
                }
            }
        }
    }
}
