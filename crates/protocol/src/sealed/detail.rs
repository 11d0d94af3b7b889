//! Details of audit events, encrypted under a key for the user whom they concern. Destroying the key erases
//! the user from the audit trail; the hash chain covers the ciphertext, so the proofs stay valid.

use model::{Rng, UserUuid};
use zeroize::Zeroizing;

use crate::sealed::aead;
use crate::sealed::keyring::{Keyring, SealError};
use crate::sealed::purpose::Purpose;

/// Names a [`DetailKey`] in a record: random.
pub type DetailKeyId = [u8; 8];

/// The key for one user.
#[derive(Clone)]
pub struct DetailKey {
    id: DetailKeyId,
    key: aead::Key,
}

impl DetailKey {
    /// A new random key.
    pub fn generate(rng: &Rng) -> Self {
        Self { id: rng.bytes(), key: Zeroizing::new(rng.bytes()) }
    }

    /// A stored key.
    pub fn new(id: DetailKeyId, key: [u8; 32]) -> Self {
        Self { id, key: Zeroizing::new(key) }
    }

    /// Its name.
    pub fn id(&self) -> DetailKeyId {
        self.id
    }

    /// The key itself, to be sealed and stored.
    pub fn expose(&self) -> &[u8; 32] {
        &self.key
    }

    /// Encrypts a detail of an event about `user`: `nonce | ciphertext | tag` of AES-256-GCM, bound to key
    /// and user.
    pub fn seal(&self, user: UserUuid, plain: &[u8], rng: &Rng) -> Vec<u8> {
        aead::seal(&self.key, &self.aad(user), plain, rng)
    }

    /// Decrypts it; `None` if key, user or text differ.
    pub fn open(&self, user: UserUuid, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        aead::open(&self.key, &self.aad(user), sealed)
    }

    fn aad(&self, user: UserUuid) -> Vec<u8> {
        [Purpose::AuditDetail.label(), b"\0", &self.id, user.0.as_bytes()].concat()
    }
}

/// A detail key as it is stored, in a file and in the database: an envelope of the master key in Base64,
/// bound to the key's name and user.
pub mod stored {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::{DetailKey, DetailKeyId, Keyring, Purpose, Rng, SealError, UserUuid};

    /// Seals a key with the first line of the keyring.
    pub fn seal(keyring: &Keyring, user: UserUuid, key: &DetailKey, rng: &Rng) -> String {
        STANDARD.encode(keyring.seal(Purpose::AuditDetailKey, &aad(key.id(), user), key.expose(), rng))
    }

    /// Opens a key.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(
        keyring: &Keyring,
        id: DetailKeyId,
        user: UserUuid,
        text: &[u8],
    ) -> Result<DetailKey, SealError> {
        let sealed = STANDARD.decode(text).map_err(|_| SealError::Malformed)?;
        let key = keyring.open(Purpose::AuditDetailKey, &aad(id, user), &sealed)?;
        let key = key.expose().as_slice().try_into().map_err(|_| SealError::Malformed)?;
        Ok(DetailKey::new(id, key))
    }

    /// The id of the master key that has sealed a key.
    ///
    /// # Errors
    /// [`SealError::Malformed`].
    pub fn sealed_by(text: &[u8]) -> Result<String, SealError> {
        let sealed = STANDARD.decode(text).map_err(|_| SealError::Malformed)?;
        Keyring::sealed_by(&sealed).map(str::to_owned)
    }

    fn aad(id: DetailKeyId, user: UserUuid) -> Vec<u8> {
        [id.as_slice(), user.0.as_bytes()].concat()
    }
}

/// Shows the name only.
impl std::fmt::Debug for DetailKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DetailKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_opens_for_its_user_and_key_only() {
        let rng = Rng::seeded(3);
        let user = |n| UserUuid(uuid::Uuid::from_u128(n));
        let key = DetailKey::generate(&rng);
        let sealed = key.seal(user(1), b"192.0.2.7", &rng);
        assert_eq!(key.open(user(1), &sealed).unwrap().as_slice(), b"192.0.2.7");
        assert!(key.open(user(2), &sealed).is_none());
        assert!(DetailKey::generate(&rng).open(user(1), &sealed).is_none());
        let kept = DetailKey::new(key.id(), *key.expose());
        assert!(kept.open(user(1), &sealed).is_some());
        assert!(!format!("{key:?}").contains("key:"));
    }
}
