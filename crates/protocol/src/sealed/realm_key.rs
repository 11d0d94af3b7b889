//! The realm's own key: random, sealed by the master key, and never replaced. What is made with the keys
//! that are derived from it outlives a rotation of the master key, which seals this one key again.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use model::{Rng, Secret, UserUuid};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::sealed::aead;
use crate::sealed::keyring::{Keyring, SealError};
use crate::sealed::purpose::Purpose;

/// The realm's own key.
#[derive(Clone)]
pub struct RealmKey {
    key: aead::Key,
    // A key of HMAC is large, and the realm's is a part of many futures.
    origin_hashes: Arc<hmac::Key>,
    erased_emails: Arc<hmac::Key>,
}

impl RealmKey {
    fn new(key: [u8; 32]) -> Self {
        let mac = |purpose| {
            Arc::new(hmac::Key::new(hmac::HMAC_SHA256, aead::derive(&key, b"", purpose).as_slice()))
        };
        Self {
            origin_hashes: mac(Purpose::OriginHashDigest),
            erased_emails: mac(Purpose::ErasedEmailDigest),
            key: Zeroizing::new(key),
        }
    }

    /// A new random key.
    pub fn generate(rng: &Rng) -> Self {
        Self::new(rng.bytes())
    }

    /// Seals it with the first master key.
    pub fn seal(&self, keyring: &Keyring, rng: &Rng) -> Vec<u8> {
        keyring.seal(Purpose::RealmKey, b"", self.key.as_slice(), rng)
    }

    /// Opens the output of [`RealmKey::seal`].
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(keyring: &Keyring, envelope: &[u8]) -> Result<Self, SealError> {
        let plain = keyring.open(Purpose::RealmKey, b"", envelope)?;
        plain.expose().as_slice().try_into().map(Self::new).map_err(|_| SealError::Malformed)
    }

    /// The digest of a password hash as another system had it, by which the next import recognises it.
    pub fn origin_hash_digest(&self, hash: &str) -> [u8; 32] {
        digest(&self.origin_hashes, hash)
    }

    /// The digest of the canonical email of an erased account.
    pub fn erased_email_digest(&self, email_key: &str) -> [u8; 32] {
        digest(&self.erased_emails, email_key)
    }

    /// Seals the data of a second factor of a user.
    pub fn seal_second_factor(&self, id: Uuid, user: UserUuid, kind: &str, data: &str, rng: &Rng) -> Vec<u8> {
        aead::seal(&self.factor_key(id), &bound(id, user, kind), data.as_bytes(), rng)
    }

    /// Opens the output of [`RealmKey::seal_second_factor`]; `None` if it was changed or belongs elsewhere.
    pub fn open_second_factor(
        &self,
        id: Uuid,
        user: UserUuid,
        kind: &str,
        sealed: &[u8],
    ) -> Option<Secret<String>> {
        let plain = aead::open(&self.factor_key(id), &bound(id, user, kind), sealed)?;
        String::from_utf8(plain.to_vec()).ok().map(Secret::new)
    }

    fn factor_key(&self, id: Uuid) -> aead::Key {
        aead::derive(self.key.as_slice(), id.as_bytes(), Purpose::SecondFactor)
    }
}

fn bound(id: Uuid, user: UserUuid, kind: &str) -> Vec<u8> {
    [id.as_bytes().as_slice(), user.0.as_bytes(), kind.as_bytes()].concat()
}

fn digest(key: &hmac::Key, text: &str) -> [u8; 32] {
    hmac::sign(key, text.as_bytes()).as_ref().first_chunk().copied().unwrap_or_default()
}

impl fmt::Debug for RealmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RealmKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_factor_opens_only_where_it_belongs_and_after_the_key_was_sealed_again() {
        let rng = Rng::seeded(1);
        let line = |rng: &Rng| Keyring::parse(Keyring::generate_line(rng).expose()).unwrap();
        let (keyring, key) = (line(&rng), RealmKey::generate(&rng));
        let (id, user) = (Uuid::from_u128(1), UserUuid(Uuid::from_u128(2)));
        let sealed = key.seal_second_factor(id, user, "totp", "{}", &rng);
        let again = RealmKey::open(&keyring, &key.seal(&keyring, &rng)).unwrap();
        let open = |id, user, kind| again.open_second_factor(id, user, kind, &sealed);
        assert_eq!(open(id, user, "totp").unwrap().expose(), "{}");
        assert!(open(Uuid::nil(), user, "totp").is_none());
        assert!(open(id, UserUuid(Uuid::nil()), "totp").is_none());
        assert!(open(id, user, "passkey").is_none());
        assert_eq!(key.erased_email_digest("a@b.c"), again.erased_email_digest("a@b.c"));
        assert_ne!(key.erased_email_digest("a@b.c"), key.origin_hash_digest("a@b.c"));
        assert!(RealmKey::open(&line(&rng), &key.seal(&keyring, &rng)).is_err());
    }
}
