//! Second factors of another system. They are kept, sealed, and not used yet.

use protocol::wire::strict_json;
use serde_json::{Map, Value, json};

/// Most second factors of one account.
const MOST: usize = 50;
/// Longest second factor, in bytes of JSON.
const BYTES: usize = 16 * 1024;

/// What a second factor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A secret of one-time passwords (RFC 6238).
    Totp,
    /// A public key of WebAuthn.
    Passkey,
    /// Codes that replace another factor once each.
    RecoveryCodes,
}

impl Kind {
    /// Its name in files and in the database.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Passkey => "passkey",
            Self::RecoveryCodes => "recovery_codes",
        }
    }
}

/// One second factor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SecondFactor {
    /// What it is.
    pub(super) kind: Kind,
    /// Its members, as JSON; a secret.
    pub(super) data: String,
}

/// The second factors of a row: a list of objects with `kind`, or one secret of one-time passwords, as
/// Base32 or as an `otpauth` URL.
///
/// # Errors
/// Why they cannot be kept.
pub(super) fn second_factors(value: Value) -> Result<Vec<SecondFactor>, String> {
    let value = match value {
        Value::String(text) if text.trim_start().starts_with(['[', '{']) => {
            strict_json::parse(text.as_bytes()).ok_or("it is not JSON")?
        }
        other => other,
    };
    let items = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    if items.len() > MOST {
        return Err(format!("an account has at most {MOST}"));
    }
    items.into_iter().map(one).collect()
}

fn one(value: Value) -> Result<SecondFactor, String> {
    let members = match value {
        Value::String(text) => {
            Map::from_iter([("kind".to_owned(), json!("totp")), ("secret".to_owned(), json!(text))])
        }
        Value::Object(members) => members,
        _ => return Err("this has to be a list of objects with kind".to_owned()),
    };
    let kind = members.get("kind").and_then(Value::as_str);
    let all = [Kind::Totp, Kind::Passkey, Kind::RecoveryCodes];
    let kind = all.into_iter().find(|known| Some(known.as_str()) == kind);
    let kind = kind.ok_or("kind has to be totp, passkey or recovery_codes")?;

    let members = match kind {
        Kind::Totp => totp(members)?,
        Kind::Passkey => {
            let has = |name| members.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
            if !has("credential_id") || !has("public_key") {
                return Err("a passkey has credential_id and public_key".to_owned());
            }
            members
        }
        Kind::RecoveryCodes => members,
    };
    let data = Value::Object(members).to_string();
    if data.len() > BYTES {
        Err(format!("one has at most {BYTES} bytes"))
    } else {
        Ok(SecondFactor { kind, data })
    }
}

/// The members of a secret of one-time passwords: an `otpauth` URL is taken apart.
fn totp(mut members: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let text = members.get("secret").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut secret = text.clone();
    if let Some(rest) = text.strip_prefix("otpauth://totp/") {
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "secret" => secret = value.replace("%3D", ""),
                "algorithm" => drop(members.insert("algorithm".to_owned(), json!(value))),
                "digits" | "period" => {
                    let number: u64 =
                        value.parse().map_err(|_| format!("{name} of the otpauth URL is no number"))?;
                    members.insert(name.to_owned(), json!(number));
                }
                _ => {}
            }
        }
    }

    let secret: String = secret.chars().filter(|c| !matches!(c, ' ' | '-' | '=')).collect();
    let secret = secret.to_ascii_uppercase();
    let is_base32 = secret.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte));
    if secret.len() < 16 || !is_base32 {
        return Err("the secret of one-time passwords has to be Base32, at least 80 bits".to_owned());
    }
    members.insert("secret".to_owned(), json!(secret));
    for (name, usual) in [("algorithm", json!("SHA1")), ("digits", json!(6)), ("period", json!(30))] {
        members.entry(name).or_insert(usual);
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_in_their_spellings() {
        let wanted = json!({
            "kind": "totp", "secret": "JBSWY3DPEHPK3PXP", "algorithm": "SHA1", "digits": 6, "period": 30
        });
        for value in [
            json!("JBSWY3DPEHPK3PXP"),
            json!("jbsw y3dp ehpk 3pxp"),
            json!("otpauth://totp/App:a@example.org?secret=JBSWY3DPEHPK3PXP&issuer=App"),
            json!([{"kind": "totp", "secret": "JBSWY3DPEHPK3PXP=="}]),
            json!("[{\"kind\": \"totp\", \"secret\": \"JBSWY3DPEHPK3PXP\"}]"),
        ] {
            let found = second_factors(value.clone()).unwrap();
            let data: Value = serde_json::from_str(&found[0].data).unwrap();
            assert_eq!((found[0].kind, &data), (Kind::Totp, &wanted), "{value}");
        }
        let eight =
            second_factors(json!("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&digits=8&algorithm=SHA256"));
        assert!(eight.unwrap()[0].data.contains("\"digits\":8"));
    }

    #[test]
    fn what_is_no_second_factor_is_refused() {
        for (value, why) in [
            (json!("eyJpdiI6"), "Base32"),
            (json!(true), "list of objects"),
            (json!([{"kind": "sms"}]), "kind has to be"),
            (json!([{"kind": "passkey", "credential_id": "x"}]), "public_key"),
            (json!("[1"), "not JSON"),
        ] {
            assert!(second_factors(value.clone()).unwrap_err().contains(why), "{value}");
        }
    }
}
