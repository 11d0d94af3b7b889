//! Django: `dumpdata` in JSON or JSON Lines, or the table `auth_user` as CSV.

use model::hex;
use serde_json::{Map, Value, json};

use super::fields::{Account, Fields, base32, object};
use super::{Is, Side, System};

pub(super) struct Django;

impl System for Django {
    fn name(&self) -> &'static str {
        "django"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("id", Is::Id),
            ("email", Is::Member("email")),
            ("username", Is::Member("username")),
            ("password", Is::Member("password_hash")),
            ("is_active", Is::Member("is_active")),
            ("is_superuser", Is::Role("superuser")),
            ("is_staff", Is::Role("staff")),
            ("groups", Is::Roles),
            ("user_permissions", Is::Nothing),
            ("date_joined", Is::Member("created_at")),
            ("last_login", Is::Nothing),
        ]
    }

    fn sides(&self) -> &'static [Side] {
        &[
            Side { tables: &["accountemailaddress"], key: "user", of: "id" },
            Side { tables: &["otptotptotpdevice"], key: "user", of: "id" },
            Side { tables: &["mfaauthenticator"], key: "user", of: "id" },
        ]
    }

    fn is_account_table(&self, name: &str) -> bool {
        name.is_empty()
    }

    /// An object of `dumpdata` has the model, the primary key and the fields.
    fn place(
        &self,
        table: Option<&str>,
        mut row: Map<String, Value>,
    ) -> (Option<String>, Map<String, Value>) {
        let Some(model) = row.get("model").and_then(Value::as_str).map(str::to_owned) else {
            return (table.map(str::to_owned), row);
        };
        let Some(mut fields) = row.remove("fields").and_then(object) else {
            return (table.map(str::to_owned), row);
        };
        if let Some(key) = row.remove("pk") {
            fields.insert("id".to_owned(), key);
        }
        // The model of users may have any name.
        let is_user = fields.contains_key("password") && fields.contains_key("last_login");
        (if is_user { None } else { Some(model) }, fields)
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        // A dump with natural keys names the user instead of the number.
        if fields.get("id").is_none()
            && let Some(name) = fields.text("username")
        {
            account.set("external_id", name);
        }
    }

    fn side(&self, table: &str, fields: &mut Fields, account: &mut Account) {
        match table {
            "accountemailaddress" if fields.is_true("primary") => {
                account.set("email_verified", fields.is_true("verified"));
            }
            "otptotptotpdevice" if fields.is_true("confirmed") => {
                if let Some(key) = fields.text("key").and_then(|key| hex::decode(&key)) {
                    let number =
                        |name: &str, usual: u64| fields.get(name).and_then(Value::as_u64).unwrap_or(usual);
                    account.factor(json!({
                        "kind": "totp",
                        "secret": base32(&key),
                        "digits": number("digits", 6),

                        "period": number("step", 30),
                    }));
                }
            }
            "mfaauthenticator" => {
                let data = fields.take_object("data").unwrap_or_default();
                match fields.text("type").as_deref() {
                    Some("totp") => {
                        account.totp(data.get("secret").and_then(Value::as_str).unwrap_or_default());
                    }
                    Some("recovery_codes") => {
                        account.factor(json!({"kind": "recovery_codes", "origin": "allauth", "data": data}));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}
