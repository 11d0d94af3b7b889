//! The members of a row, and what the name and the value of an unknown one look like.

use model::foreign_time::ForeignTime;
use serde_json::Value;

/// The members that a row may have.
pub const MEMBERS: [&str; 27] = [
    "id",
    "uuid",
    "external_id",
    "email",
    "username",
    "password_hash",
    "hashed_password",
    "hash",
    "password_rules",
    "password",
    "role",
    "roles",
    "state",
    "is_active",
    "is_inactive",
    "inactive_since",
    "inactive_until",
    "profile",
    "attributes",
    "country",
    "annual_income",
    "timezone",
    "email_verified_at",
    "email_verified",
    "created_at",
    "updated_at",
    "second_factors",
];

/// What an unknown member would take with it if it were ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspicion {
    /// A password hash, a part of one, or its parameters.
    Hash,
    /// Whether the user may log in.
    State,
    /// A second factor, or whether there is one.
    SecondFactor,
}

impl Suspicion {
    /// What it looks like.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Hash => "looks like a password hash",
            Self::State => "looks like the state of the account",
            Self::SecondFactor => "looks like a second factor",
        }
    }
}

/// Words in names of what says when or how something happened, and not what it is.
const ABOUT: [&str; 24] = [
    "token",
    "reset",
    "sent",
    "changed",
    "expires",
    "expiry",
    "expiration",
    "attempts",
    "attempt",
    "count",
    "by",
    "reason",
    "hint",
    "last",
    "policy",
    "ip",
    "message",
    "note",
    "history",
    "question",
    "url",
    "link",
    "id",
    "type",
];
/// Parts of names of hashes.
const HASHES: [&str; 12] = [
    "password",
    "passwd",
    "pwd",
    "passhash",
    "userpass",
    "passdigest",
    "credential",
    "pwhash",
    "bcrypt",
    "scrypt",
    "argon2",
    "pbkdf2",
];
/// Whole names, and whole words of names, of hashes.
const HASH_WORDS: [&str; 6] = ["hash", "pass", "digest", "salt", "crypt", "pepper"];
/// Parts of names of states in which a user may not log in.
const BARRED: [&str; 19] = [
    "disabled",
    "blocked",
    "banned",
    "locked",
    "lockout",
    "suspended",
    "deactivated",
    "deleted",
    "archived",
    "inactive",
    "revoked",
    "frozen",
    "removed",
    "trashed",
    "closed",
    "terminated",
    "expired",
    "disallowed",
    "unapproved",
];
/// Words of names of states in which a user may log in.
const ALLOWED: [&str; 8] =
    ["enabled", "active", "activated", "approved", "nonlocked", "nonexpired", "allowed", "unlocked"];
/// Names of states by a word or a number.
const STATES: [&str; 8] =
    ["status", "state", "userstatus", "accountstatus", "userstate", "accountstate", "ban", "spam"];
/// Parts of names of second factors.
const FACTORS: [&str; 14] = [
    "totp",
    "twofactor",
    "2fa",
    "mfa",
    "passkey",
    "webauthn",
    "authenticator",
    "recoverycode",
    "backupcode",
    "u2f",
    "fido",
    "otpsecret",
    "secondfactor",
    "onetimepassword",
];
/// Values that say "none" or "no".
const NO: [&str; 13] =
    ["", "0", "false", "f", "no", "n", "null", "none", "[]", "{}", "off", "unconfigured", "not_configured"];
const YES: [&str; 6] = ["1", "true", "t", "yes", "y", "on"];
/// Words of a state that is not lost when it is ignored.
const ORDINARY: [&str; 12] = [
    "active",
    "enabled",
    "normal",
    "ok",
    "confirmed",
    "verified",
    "approved",
    "regular",
    "staged",
    "open",
    "valid",
    "activated",
];

/// What an unknown member of a row looks like, if its value says anything that would be lost.
pub fn suspicion(name: &str, value: &Value) -> Option<Suspicion> {
    let words = words(name);
    let joined = words.concat();
    let text = plain(value);
    let says_no = says_no(&text);
    if says_no && !ALLOWED.iter().any(|part| joined.contains(part)) {
        return None;
    }
    let has = |parts: &[&str]| parts.iter().any(|part| joined.contains(part));
    let word = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let is_about = word(&ABOUT);

    // `accountNonLocked` and `credentialsNonExpired` are states, although their parts say otherwise.
    let is_allowing = ["nonlocked", "nonexpired", "unlocked"].iter().any(|part| joined.contains(part));
    if has(&FACTORS) || word(&["otp"]) {
        return (!says_no && (!is_about || has(&["secret"]))).then_some(Suspicion::SecondFactor);
    }
    if !is_allowing && !is_about && (has(&HASHES) || word(&HASH_WORDS)) && !is_time_or_truth(&text) {
        return Some(Suspicion::Hash);
    }
    if looks_like_hash(&text) && !word(&["token", "key", "stamp"]) {
        return Some(Suspicion::Hash);
    }
    if is_about && !is_allowing {
        return None;
    }
    if !is_allowing && has(&BARRED) && !word(&["enabled"]) {
        return Some(Suspicion::State);
    }
    if is_allowing || word(&ALLOWED) || joined == "isactive" {
        let is_capability = has(&["lockout", "notification", "email", "sms", "newsletter", "phone"]);
        return (!is_capability && says_no).then_some(Suspicion::State);
    }
    let is_ordinary = ORDINARY.contains(&text.as_str()) || YES.contains(&text.as_str());
    (STATES.contains(&joined.as_str()) && !(is_ordinary && joined != "ban" && joined != "spam"))
        .then_some(Suspicion::State)
}

/// The words of a name, in lower case: `passwordHash`, `password_hash` and `Password Hash` are the same two.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        let begins = !c.is_alphanumeric() || (c.is_uppercase() && was_lower);
        if begins {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            let lower = c.to_lowercase();
            if let Some(word) = words.last_mut() {
                word.extend(lower);
            }
        }
        was_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    for word in &mut words {
        // `hash2` is a hash, and `2fa` stays as it is.
        word.truncate(word.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A name without case and separators, by which members are compared.
pub fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}

fn says_no(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    NO.contains(&text.as_str()) || model::foreign_time::parse(&text) == Some(ForeignTime::Never)
}

/// Whether a text is a date, a count or a truth value, and so no hash.
fn is_time_or_truth(text: &str) -> bool {
    YES.contains(&text.to_ascii_lowercase().as_str()) || model::foreign_time::parse(text).is_some()
}

/// Whether a text has the form of a password hash.
pub(super) fn looks_like_hash(text: &str) -> bool {
    let dollars = text.bytes().filter(|byte| *byte == b'$').count();
    let scheme = text.strip_prefix('{').and_then(|text| text.split_once('}'));
    let is_scheme = scheme.is_some_and(|(scheme, _)| is_scheme(scheme));
    let is_framework = ["pbkdf2", "bcrypt", "scrypt", "argon2", "sha1$", "md5$", "sha256$", "sha512$"]
        .iter()
        .any(|start| text.starts_with(start));
    (text.starts_with('$') && dollars >= 2 && text.len() >= 20) || is_scheme || (is_framework && dollars >= 1)
}

fn is_scheme(word: &str) -> bool {
    const SCHEMES: [&str; 13] = [
        "ssha", "sha", "crypt", "md5", "smd5", "bcrypt", "argon2", "pbkdf2", "scrypt", "noop", "ldap", "blf",
        "sha256",
    ];
    let word = word.to_ascii_lowercase();
    SCHEMES.iter().any(|scheme| word.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hashes_states_and_second_factors_are_seen_under_any_name() {
        let text = json!("Zx8q");
        for name in [
            "encrypted_password",
            "passwordHash",
            "user_pass",
            "password_digest",
            "credentials",
            "pass",
            "PASSWD",
            "pwd",
            "PasswordSalt",
            "passwordhash",
            "crypted_password",
            "hash2",
            "userPassword",
            "salt",
        ] {
            assert_eq!(suspicion(name, &text), Some(Suspicion::Hash), "{name}");
        }
        for value in ["$2b$12$abcdefghijklmnopqrstuv", "{SSHA}abc", "pbkdf2_sha256$1$a$b", "md5$a$b"] {
            assert_eq!(suspicion("legacy", &json!(value)), Some(Suspicion::Hash), "{value}");
        }

        for (name, value) in [
            ("disabled", json!(true)),
            ("enabled", json!("f")),
            ("blocked", json!(1)),
            ("banned_until", json!("2099-01-01 00:00:00+00")),
            ("locked_at", json!("2022-01-01")),
            ("deleted_at", json!("2022-01-01 00:00:00")),
            ("DeletedAt", json!(1_641_117_600)),
            ("isActive", json!(false)),
            ("isactive", json!("0")),
            ("accountNonLocked", json!(false)),
            ("credentialsNonExpired", json!(false)),
            ("status", json!("suspended")),
            ("user_status", json!("2")),
            ("LockoutEnd", json!("2099-01-01T00:00:00Z")),
            ("approved", json!("no")),
            ("is_banned", json!("yes")),
        ] {
            assert_eq!(suspicion(name, &value), Some(Suspicion::State), "{name}");
        }
        for (name, value) in [
            ("totp", json!(true)),
            ("two_factor_secret", json!("x")),
            ("TwoFactorEnabled", json!("1")),
            ("mfaInfo", json!([{"mfaEnrollmentId": "x"}])),
            ("otp_secret", json!("x")),
            ("otpSecret", json!("x")),
            ("passkeys", json!([1])),
            ("recovery_codes", json!("a b")),
            ("two_factor_recovery_codes", json!("a b")),
        ] {
            assert_eq!(suspicion(name, &value), Some(Suspicion::SecondFactor), "{name}");
        }
    }

    #[test]
    fn what_says_nothing_and_what_is_something_else_is_not_suspicious() {
        let all = [
            ("disabled", json!(false)),
            ("disabled", json!("")),
            ("deleted_at", json!("0000-00-00 00:00:00")),
            ("banned_until", json!(null)),
            ("enabled", json!(true)),
            ("is_active", json!("t")),
            ("status", json!("active")),
            ("mfa", json!([])),
            ("TwoFactorEnabled", json!("0")),
            ("password_changed_at", json!("2022-01-01")),
            ("reset_password_token", json!("abc")),
            ("reset_password_sent_at", json!("2022-01-01")),
            ("last_password_reset", json!("2022-01-01")),
            ("confirmation_token", json!("abc")),
            ("failed_attempts", json!("3")),
            ("avatar_url", json!("https://example.org/$a$b")),
            ("shoe size", json!("38")),
            ("passport", json!("no")),
            ("last_active_at", json!("2022-01-01")),
            ("options", json!("x")),
            ("compass", json!("n")),
            ("lockout_enabled", json!("1")),
            ("hashtags", json!("x")),
        ];

        for (name, value) in all {
            assert_eq!(suspicion(name, &value), None, "{name} {value}");
        }
    }
}
