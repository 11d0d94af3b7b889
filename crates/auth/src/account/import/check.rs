//! The check of one person's known password against the file, before anything is imported.

use hashing::Refusal;
use model::Secret;
use protocol::wire::password_hash::{Rules, StoredHash};
use serde_json::{Map, Value};

use super::options::ImportOptions;
use super::row;
use crate::OpContext;
use crate::password::matches_hash;

/// Why a password could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The row cannot be imported.
    #[error("{0}")]
    Row(String),
    /// The row has no password.
    #[error("the row has no password")]
    NoPassword,
    /// The password does not match the hash; what may be the cause.
    #[error("{0}")]
    Mismatch(String),
    /// It was not hashed.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Checks a known password against the hash of a row; returns the kind of the hash.
///
/// # Errors
/// [`CheckError`]; a mismatch says which part does not fit, as far as it can be found out.
pub async fn check_import(
    ctx: &mut OpContext<'_>,
    row: Map<String, Value>,
    options: &ImportOptions,
    password: &Secret<String>,
) -> Result<&'static str, CheckError> {
    let ready = row::read(ctx, row, options).map_err(CheckError::Row)?;
    let hash = ready.hash.ok_or(CheckError::NoPassword)?;
    if matches_hash(ctx, &hash, password.expose()).await? {
        return Ok(hash.kind());
    }
    for (text, what) in other_hashes(hash.origin_text()) {
        let Ok(other) = StoredHash::from_origin(&text, Rules::Imported) else { continue };
        if matches_hash(ctx, &other, password.expose()).await? {
            return Err(CheckError::Mismatch(what.to_owned()));
        }
    }
    for (other, what) in other_passwords(password.expose()) {
        if matches_hash(ctx, &hash, other.expose()).await? {
            return Err(CheckError::Mismatch(what.to_owned()));
        }
    }

    let what = match hash.kind() {
        "firebase-scrypt" => {
            "the password does not match: it is another one, or base64_signer_key, \
             base64_salt_separator, rounds or \
             mem_cost of --firebase-project are not those of this project"
        }
        "bcrypt-peppered" => {
            "the password does not match, neither with the pepper of --pepper-file nor without: it is \
             another one, \
             or the pepper is"
        }
        "bcrypt" => {
            "the password does not match: it is another one, or the system added a secret (a pepper: \
             --pepper-file), \
             or hashed it before bcrypt"
        }
        _ => {
            "the password does not match: it is another one, or the system added a secret, or a part of \
             the hash was \
             changed on the way"
        }
    };
    Err(CheckError::Mismatch(what.to_owned()))
}

/// What a hash may have been before a prefix or a secret was lost, and what to say then.
fn other_hashes(text: &str) -> Vec<(String, &'static str)> {
    let at = ["$2a$", "$2b$", "$2y$"].into_iter().filter_map(|mark| text.rfind(mark)).max();
    let bcrypt = at.and_then(|at| text.get(at..)).unwrap_or_default();
    let mut all = Vec::new();
    if text.starts_with("$bcrypt-pepper$") {
        all.push((bcrypt.to_owned(), "the password matches without a pepper: leave --pepper-file out"));
    }
    if !bcrypt.is_empty() {
        all.push((
            format!("$wp{bcrypt}"),
            "the prefix `$wp` of the hash was taken off: the file has to keep it",
        ));
        all.push((
            format!("bcrypt_sha256${bcrypt}"),
            "the prefix `bcrypt_sha256$` of the hash was taken off: the file has to keep it",
        ));
        all.push((
            bcrypt.to_owned(),
            "the hash has a prefix that is not its own: the bare bcrypt hash matches",
        ));
    }

    for (one, other) in [("sha256", "sha512"), ("sha512", "sha256"), ("sha256", "sha1")] {
        let what = "the password matches with another hash function: the name in the hash is wrong";
        if text.contains("pbkdf2") && text.contains(one) {
            all.push((text.replace(one, other), what));
        }
    }
    if let Some(rest) = text.strip_prefix("$scrypt$") {
        let what = "the password matches in NFKC: the hash is of better-auth, Oslo or Lucia and has to \
        stay as `salt:key`";
        all.push((format!("$scrypt-nfkc${rest}"), what));
    }
    all.retain(|(other, _)| other != text);
    all
}

/// What a system may have made of a password, and what to say then.
fn other_passwords(password: &str) -> Vec<(Secret<String>, &'static str)> {
    let composed = hashing::normalise(password);
    let composed = std::str::from_utf8(composed.expose()).unwrap_or_default().to_owned();
    let all = [
        (composed, "the password matches in NFC only: the system normalised passwords before it hashed them"),
        (
            password.trim().to_owned(),
            "the password matches without the blanks at its ends: the system took them off",
        ),
        (password.to_lowercase(), "the password matches in lower case only: the system ignored case"),
    ];
    let others = all.into_iter().filter(|(other, _)| other != password);
    others.map(|(other, what)| (Secret::new(other), what)).collect()
}
