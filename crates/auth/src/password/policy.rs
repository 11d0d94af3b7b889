//! The policy for new passwords (NIST SP 800-63B-4 §3.1.1.2: length and a blocklist, no composition rules).

use hashing::{BCRYPT_BYTES, Scheme, normalise};
use model::bounds::PASSWORD_CHARS;
use model::profile::FieldError;
use model::{Email, Secret, Username};
use protocol::wire::password_hash::Rules;

use super::PasswordSettings;

/// The longest password, in bytes of the form that is hashed: a code point has at most four.
pub(crate) const PASSWORD_BYTES: usize = PASSWORD_CHARS * 4;

/// The policy for new passwords.
pub struct Policy<'a>(pub &'a PasswordSettings);

/// The bytes to compare with a stored hash: normalised by our rules, or as received for imported hashes. The
/// work is the same for both.
pub(crate) fn received(password: &str, rules: Rules) -> Secret<Vec<u8>> {
    let (ours, theirs) = (normalise(password), Secret::new(password.as_bytes().to_vec()));
    match rules {
        Rules::Ours => ours,
        Rules::Imported => theirs,
    }
}

impl Policy<'_> {
    /// Checks a new password against its length, the account's own names and the blocklist, and returns the
    /// bytes to hash.
    ///
    /// # Errors
    /// The reason, for the member `field`.
    pub fn accept(
        &self,
        field: &'static str,
        password: &str,
        email: Option<&Email>,
        username: Option<&Username>,
    ) -> Result<Secret<Vec<u8>>, FieldError> {
        let refuse = |kind, message: String| Err(FieldError { field, kind, message });
        // Every check looks at the form that is hashed.
        let bytes = normalise(password);
        let password = std::str::from_utf8(bytes.expose()).unwrap_or_default();
        let chars = password.chars().count();
        if chars < self.0.min_length {
            return refuse(
                "password_too_short",
                format!("must be at least {} characters", self.0.min_length),
            );
        }

        if chars > PASSWORD_CHARS {
            return refuse("password_too_long", format!("must be at most {PASSWORD_CHARS} characters"));
        }
        if password.contains('\0') {
            return refuse("password_invalid", "must not contain a NUL character".into());
        }
        if matches!(self.0.hashing.scheme, Scheme::Bcrypt { .. }) && bytes.expose().len() > BCRYPT_BYTES {
            return refuse("password_too_long", format!("must be at most {BCRYPT_BYTES} bytes of UTF-8"));
        }

        let folded = Secret::new(password.to_lowercase());
        let own = |word: &str| *folded.expose() == word.to_lowercase();
        if email.is_some_and(|email| own(email.address()) || own(email.local_part())) {
            return refuse("password_blocklisted", "must not be the email address or its first part".into());
        }
        if username.is_some_and(|username| own(username.name()) || own(username.key())) {
            return refuse("password_blocklisted", "must not be the username".into());
        }
        if self.0.service_names.iter().any(|name| own(name)) {
            return refuse("password_blocklisted", "must not be the name of the service".into());
        }

        if self.0.blocklist.contains(folded.expose()) {
            return refuse(
                "password_blocklisted",
                "is on the list of common passwords, which attackers try first".into(),
            );
        }

        Ok(bytes)
    }
}
