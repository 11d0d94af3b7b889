//! Ory Kratos: a list of identities with their credentials (`include_credential`).

use serde_json::{Map, Value, json};

use super::fields::{Account, Fields, text};
use super::{Is, System};

pub(super) struct Kratos;

impl System for Kratos {
    fn name(&self) -> &'static str {
        "kratos"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("id", Is::Id),
            ("created_at", Is::Member("created_at")),
            ("updated_at", Is::Member("updated_at")),
            ("metadata_public", Is::Attributes),
            ("metadata_admin", Is::Attributes),
            ("schema_id", Is::Nothing),
            ("schema_url", Is::Nothing),
            ("state_changed_at", Is::Nothing),
            ("recovery_addresses", Is::Nothing),
            ("organization_id", Is::Nothing),
        ]
    }

    fn wrappers(&self) -> &'static [&'static str] {
        &["identities"]
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        if fields.text("state").is_some_and(|state| state != "active") {
            account.bar();
        }
        fields.take("state");
        traits(fields, account);
        verified(fields, account);
        for (kind, credential) in fields.take_object("credentials").into_iter().flatten() {
            let config = credential.get("config").cloned().unwrap_or_default();
            if !is_kept(&kind, &config, account) {
                fields.put_back(&format!("credential {kind}"), Value::Bool(true));
            }
            if !account.has("email") && !account.has("username") {
                identify(&credential, account);
            }
        }
    }
}

fn traits(fields: &mut Fields, account: &mut Account) {
    for (name, value) in fields.take_object("traits").into_iter().flatten() {
        match name.as_str() {
            "email" | "username" => account.set(&name, value),
            // A name to show is no attribute that an application decides by.
            "name" | "picture" | "phone" => fields.put_back(&format!("traits.{name}"), value),
            "role" | "roles" => account.put(Is::Roles, value),
            _ => account.attribute(name, value),
        }
    }
}

fn verified(fields: &mut Fields, account: &mut Account) {
    for address in fields.take_list("verifiable_addresses") {
        let is_email = address.get("via").and_then(Value::as_str) == Some("email");
        let is_verified = address.get("verified").and_then(Value::as_bool) == Some(true);
        if is_email && is_verified {
            let at = address.get("verified_at").filter(|at| !at.is_null());
            account.set("email_verified", at.cloned().unwrap_or(json!(true)));
        }
    }
}

/// The identifiers of a credential, for a schema with traits of other names.
fn identify(credential: &Value, account: &mut Account) {
    let names = credential.get("identifiers").and_then(Value::as_array);
    for name in names.into_iter().flatten().filter_map(text) {
        account.set(if name.contains('@') { "email" } else { "username" }, name);
    }
}

fn is_kept(kind: &str, config: &Value, account: &mut Account) -> bool {
    let member = |name: &str| config.get(name).and_then(text);
    match kind {
        "password" => {
            if let Some(hash) = member("hashed_password") {
                account.set("password_hash", hash);
            }
            true
        }
        "totp" => member("totp_url").is_some_and(|url| account.totp(&url)),
        "webauthn" | "passkey" => {
            let keys = config.get("credentials").and_then(Value::as_array);

            for key in keys.into_iter().flatten() {
                passkey(key, account);
            }
            true
        }
        "lookup_secret" => {
            account.factor(json!({"kind": "recovery_codes", "origin": "kratos", "data": config}));
            true
        }
        // Logins at other providers, codes by mail.
        "oidc" | "saml" | "code" | "link" | "link_recovery" | "code_recovery" => true,
        _ => false,
    }
}

fn passkey(key: &Value, account: &mut Account) {
    let text = |name: &str| key.get(name).and_then(text);
    let (Some(id), Some(public)) = (text("id"), text("public_key")) else { return };
    let mut members = Map::new();
    members.insert("kind".to_owned(), json!("passkey"));
    members.insert("credential_id".to_owned(), json!(id));
    members.insert("public_key".to_owned(), json!(public));
    for name in ["display_name", "added_at", "is_passwordless", "authenticator", "flags"] {
        members.extend(key.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    account.factor(Value::Object(members));
}
