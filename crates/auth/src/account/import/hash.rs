//! Reads the password hash of a row.

use protocol::wire::password_hash::{self, Rules, StoredHash};
use protocol::wire::strict_json;
use serde_json::Value;

use super::options::ImportOptions;

/// Why a hash of a broken kind is refused.
const WEAK: &str = "this kind is broken: --allow-weak accepts it, and the first login replaces it";

/// The hash to store; none for a text that its origin writes for "no password".
///
/// # Errors
/// Why it cannot be verified.
pub(super) fn read(
    value: Value,
    rules: Rules,
    options: &ImportOptions,
) -> Result<Option<StoredHash>, String> {
    let text = origin_text(value, options)?;
    // Django's unusable passwords, locked lines of shadow files, WordPress's refusal.
    if text.starts_with(['!', '*']) {
        return Ok(None);
    }
    // What an adapter says in place of a hash that the export does not have.
    if text.starts_with("REDACTED: ") {
        return Err(text);
    }

    let mut text = match rules {
        Rules::Imported => password_hash::from_export(&text).map_err(|why| why.to_string())?,
        Rules::Ours => text,
    };
    if let Some(pepper) = &options.pepper {
        text = password_hash::peppered(&text, pepper.expose())
            .map_err(|_| "--pepper-file fits bcrypt only, and this is another kind".to_owned())?;
    }
    let hash = StoredHash::from_origin(&text, rules).map_err(|why| why.to_string())?;
    if hash.is_weak() && !options.allow_weak {
        return Err(format!("{}: {WEAK}", hash.kind()));
    }
    Ok(Some(hash))
}

/// The text form of a hash whose source system keeps it in several members.
fn origin_text(value: Value, options: &ImportOptions) -> Result<String, String> {
    let value = match value {
        // A table's cell contains JSON.
        Value::String(text) if text.starts_with("{\"") => {
            strict_json::parse(text.as_bytes()).ok_or("it is not JSON")?
        }
        other => other,
    };

    let members = match value {
        Value::String(text) => return Ok(text),
        Value::Object(members) => members,
        _ => return Err("this has to be a string, or an object of Keycloak or Firebase".to_owned()),
    };

    let text = |name| members.get(name).and_then(Value::as_str);
    match (text("credentialData"), text("secretData"), text("passwordHash"), text("salt")) {
        (Some(credential), Some(secret), ..) => {
            password_hash::keycloak(credential, secret).map_err(|why| why.to_string())
        }
        (_, _, Some(hash), Some(salt)) => {
            let project = options.firebase.as_ref().ok_or("a Firebase hash requires --firebase-project")?;
            project.text(hash, salt).map_err(|why| why.to_string())
        }
        _ => Err(
            "it has neither credentialData and secretData (Keycloak) nor passwordHash and salt (Firebase)"
                .to_owned(),
        ),
    }
}
