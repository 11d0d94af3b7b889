//! Keycloak: an exported realm, or one of its files of users.

use protocol::wire::strict_json;
use serde_json::{Map, Value, json};

use super::fields::{Account, Fields, base32, text};
use super::{Is, System};

pub(super) struct Keycloak;

impl System for Keycloak {
    fn name(&self) -> &'static str {
        "keycloak"
    }

    fn names(&self) -> &'static [(&'static str, Is)] {
        &[
            ("id", Is::Id),
            ("username", Is::Member("username")),
            ("email", Is::Member("email")),
            ("emailVerified", Is::Member("email_verified")),
            ("enabled", Is::Member("is_active")),
            ("createdTimestamp", Is::Member("created_at")),
            ("realmRoles", Is::Roles),
            ("clientRoles", Is::Nothing),
            ("groups", Is::Nothing),
            ("requiredActions", Is::Nothing),
            ("disableableCredentialTypes", Is::Nothing),
            ("federatedIdentities", Is::Nothing),
            ("clientConsents", Is::Nothing),
            ("notBefore", Is::Nothing),
            ("access", Is::Nothing),
            ("totp", Is::Nothing),
        ]
    }

    fn wrappers(&self) -> &'static [&'static str] {
        &["users"]
    }

    fn is_no_person(&self, fields: &Fields) -> bool {
        fields.get("serviceAccountClientId").is_some_and(|client| !client.is_null())
    }

    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        for (name, value) in fields.take_object("attributes").into_iter().flatten() {
            // Every attribute is a list.
            let value = match value {
                Value::Array(mut items) if items.len() == 1 => items.pop().unwrap_or_default(),
                other => other,
            };
            account.attribute(name, value);
        }

        for credential in fields.take_list("credentials") {
            let kind = credential.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
            let parsed = |name: &str| match credential.get(name) {
                Some(Value::String(text)) => strict_json::parse(text.as_bytes()).unwrap_or_default(),
                Some(other) => other.clone(),
                None => Value::Null,
            };
            let (data, secret) = (parsed("credentialData"), parsed("secretData"));
            let is_kept = match kind.as_str() {
                "password" => {
                    account.set("password_hash", password(&credential));
                    true
                }
                "otp" | "totp" => otp(&credential, &data, &secret, account),
                "webauthn" | "webauthn-passwordless" => passkey(&data, account),
                "recovery-authn-codes" => {
                    account.factor(json!({
                        "kind": "recovery_codes", "origin": "keycloak", "credentialData": data,
                         "secretData": secret,
                    }));
                    true
                }
                _ => false,
            };
            if !is_kept {
                fields.put_back(&format!("credential {kind}"), Value::Bool(true));
            }
        }
    }
}

/// The hash of a password, also as versions before 4.8 wrote it.
fn password(credential: &Value) -> Value {
    let member = |name: &str| credential.get(name).and_then(text).unwrap_or_default();
    if credential.get("hashedSaltedValue").is_none() {
        return json!({"credentialData": member("credentialData"), "secretData": member("secretData")});
    }
    let iterations = member("hashIterations").parse::<u32>().unwrap_or_default();
    let algorithm = member("algorithm");
    json!({
        "credentialData": json!({"hashIterations": iterations, "algorithm": algorithm}).to_string(),
        "secretData": json!({"value": member("hashedSaltedValue"), "salt": member("salt")}).to_string(),
    })
}

/// A secret of one-time passwords: its bytes, or Base32 of them. One with a counter is not kept.
fn otp(credential: &Value, data: &Value, secret: &Value, account: &mut Account) -> bool {
    let member = |name: &str| data.get(name).or_else(|| credential.get(name));
    let value = secret.get("value").or_else(|| credential.get("value")).and_then(Value::as_str);
    let Some(value) = value.filter(|_| member("subType").and_then(Value::as_str) != Some("hotp")) else {
        return false;
    };
    let is_base32 = member("secretEncoding").and_then(Value::as_str) == Some("BASE32");
    let algorithm = member("algorithm").and_then(Value::as_str).unwrap_or("HmacSHA1").replace("Hmac", "");
    let mut factor = Map::new();
    factor.insert("kind".to_owned(), json!("totp"));
    let secret = if is_base32 { value.to_owned() } else { base32(value.as_bytes()) };
    factor.insert("secret".to_owned(), json!(secret));
    factor.insert("algorithm".to_owned(), json!(algorithm));
    for name in ["digits", "period"] {
        factor.extend(member(name).map(|value| (name.to_owned(), value.clone())));
    }
    account.factor(Value::Object(factor));
    true
}

fn passkey(data: &Value, account: &mut Account) -> bool {
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    let (Some(id), Some(key)) = (text("credentialId"), text("credentialPublicKey")) else { return false };
    account.factor(json!({
        "kind": "passkey",
        "credential_id": id,
        "public_key": key,
        "sign_count": data.get("counter"),
        "aaguid": data.get("aaguid"),
        "transports": data.get("transports"),
    }));
    true
}
