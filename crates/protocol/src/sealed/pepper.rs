//! The pepper: keys that seal stored password hashes, so that a copy of the database does not allow guesses
//! at them.
//!
//! A sealed hash is stored as `pepper:VERSION:BODY`. The body is base64url without padding of nonce,
//! ciphertext and tag of AES-256-GCM, under a key for this user: HKDF-SHA-256 of the pepper, with the user's
//! uuid as salt. The kind of credential (a password), the version and the user are authenticated, so that the
//! text opens in no other row.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Rng, UserUuid};
use zeroize::Zeroizing;

use crate::sealed::aead;
use crate::sealed::keyring::{Keyring, SealError};
use crate::sealed::purpose::Purpose;

const PREFIX: &str = "pepper:";
/// The kind of credential.
const KIND: &[u8] = b"password";

/// The stored text of a password: its hash, sealed or not. Only [`Peppers::store`] creates one from a hash,
/// so no code can store a hash that bypasses the pepper; a text from a row is opened by [`Peppers::open`].
#[derive(Clone, PartialEq, Eq)]
pub struct StoredText {
    text: String,
    pepper: Option<i64>,
}

impl StoredText {
    /// The text of a row, as stored.
    pub fn from_row(text: String) -> Self {
        let pepper = split(&text).map(|(version, _)| version);
        Self { text, pepper }
    }

    /// The text, as stored.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The version of the pepper that it was sealed with.
    pub fn pepper(&self) -> Option<i64> {
        self.pepper
    }
}

/// A hash allows guesses at the password: `Debug` shows only how it was sealed.
impl fmt::Debug for StoredText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredText").field("pepper", &self.pepper).finish_non_exhaustive()
    }
}

/// One version of the pepper.
#[derive(Clone)]
pub struct Pepper {
    version: i64,
    key: aead::Key,
}

impl Pepper {
    /// A new random pepper.
    pub fn generate(version: i64, rng: &Rng) -> Self {
        Self { version, key: Zeroizing::new(rng.bytes()) }
    }

    /// Its version, from 1.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Seals it with the first master key.
    pub fn seal(&self, keyring: &Keyring, rng: &Rng) -> Vec<u8> {
        keyring.seal(Purpose::Pepper, &self.version.to_be_bytes(), self.key.as_slice(), rng)
    }

    /// Opens the output of [`Pepper::seal`] for this version.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(keyring: &Keyring, version: i64, envelope: &[u8]) -> Result<Self, SealError> {
        let plain = keyring.open(Purpose::Pepper, &version.to_be_bytes(), envelope)?;
        let key = plain.expose().as_slice().try_into().map_err(|_| SealError::Malformed)?;
        Ok(Self { version, key: Zeroizing::new(key) })
    }

    fn key(&self, user: UserUuid) -> aead::Key {
        aead::derive(self.key.as_slice(), user.0.as_bytes(), Purpose::PasswordHash)
    }

    fn data(&self, user: UserUuid) -> Vec<u8> {
        [KIND, &self.version.to_be_bytes(), user.0.as_bytes()].concat()
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pepper").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Every version that can be opened, and the one that seals, if hashes are sealed at all.
#[derive(Clone, Debug, Default)]
pub struct Peppers {
    all: BTreeMap<i64, Pepper>,
    sealing: Option<i64>,
}

/// Why a stored text was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PepperError {
    /// This version of the pepper is not known, or not yet.
    #[error("sealed with pepper {0}, which cannot be opened here")]
    Unknown(i64),
    /// It has the prefix of a sealed text, and is malformed.
    #[error("not a sealed password hash")]
    Malformed,
    /// It was changed, or it was sealed for another user.
    #[error("the sealed password hash was changed or belongs to another user")]
    Refused,
}

impl Peppers {
    /// These versions, of which `sealing` seals; with `None` hashes are stored unsealed.
    pub fn new(all: impl IntoIterator<Item = Pepper>, sealing: Option<i64>) -> Self {
        let all: BTreeMap<_, _> = all.into_iter().map(|pepper| (pepper.version, pepper)).collect();
        let sealing = sealing.filter(|version| all.contains_key(version));
        Self { all, sealing }
    }

    /// The version that seals, if one does.
    pub fn sealing(&self) -> Option<i64> {
        self.sealing
    }

    /// The text to store for the password of `user` with this hash.
    pub fn store(&self, user: UserUuid, hash: &str, rng: &Rng) -> StoredText {
        let Some(pepper) = self.sealing.and_then(|version| self.all.get(&version)) else {
            return StoredText { text: hash.to_owned(), pepper: None };
        };
        let sealed = aead::seal(&pepper.key(user), &pepper.data(user), hash.as_bytes(), rng);
        let text = format!("{PREFIX}{}:{}", pepper.version, URL_SAFE_NO_PAD.encode(sealed));
        StoredText { text, pepper: Some(pepper.version) }
    }

    /// The hash that was stored for the password of `user`.
    ///
    /// # Errors
    /// [`PepperError`].
    pub fn open(&self, user: UserUuid, stored: &StoredText) -> Result<Zeroizing<String>, PepperError> {
        if !stored.text.starts_with(PREFIX) {
            return Ok(Zeroizing::new(stored.text.clone()));
        }
        let (version, body) = split(&stored.text).ok_or(PepperError::Malformed)?;
        let pepper = self.all.get(&version).ok_or(PepperError::Unknown(version))?;
        let sealed = URL_SAFE_NO_PAD.decode(body).map_err(|_| PepperError::Malformed)?;
        let plain = aead::open(&pepper.key(user), &pepper.data(user), &sealed).ok_or(PepperError::Refused)?;
        let text = std::str::from_utf8(&plain).map_err(|_| PepperError::Malformed)?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// Version and body of a sealed text.
fn split(text: &str) -> Option<(i64, &str)> {
    let (version, body) = text.strip_prefix(PREFIX)?.split_once(':')?;
    let number: i64 = version.parse().ok()?;
    (number > 0 && number.to_string() == version).then_some((number, body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use uuid::Uuid;

    use super::*;
    use crate::wire::password_hash::{StoredHash, Unusable};

    const HASH: &str = "$2b$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie";

    fn user(number: u128) -> UserUuid {
        UserUuid(Uuid::from_u128(number))
    }

    fn peppers(versions: &[i64], sealing: Option<i64>) -> Peppers {
        let of = |version: &i64| Pepper::generate(*version, &Rng::seeded(version.unsigned_abs()));
        Peppers::new(versions.iter().map(of), sealing)
    }

    #[test]
    fn a_sealed_hash_shows_no_hash_and_opens_only_for_its_user() {
        let both = peppers(&[1, 2], Some(2));
        let stored = both.store(user(7), HASH, &Rng::seeded(1));
        assert_eq!(stored.pepper(), Some(2));
        assert!(stored.as_str().starts_with("pepper:2:") && !stored.as_str().contains("$2b$"));
        assert_eq!(StoredHash::parse(stored.as_str()), Err(Unusable::Unknown));
        let read = StoredText::from_row(stored.as_str().to_owned());
        assert_eq!(read, stored);
        assert_eq!(both.open(user(7), &read).unwrap().as_str(), HASH);
        assert_eq!(both.open(user(8), &read), Err(PepperError::Refused));
        assert_eq!(peppers(&[1], Some(1)).open(user(7), &read), Err(PepperError::Unknown(2)));
        let renamed = StoredText::from_row(stored.as_str().replace("pepper:2", "pepper:1"));
        assert_eq!(both.open(user(7), &renamed), Err(PepperError::Refused));
        assert!(!format!("{stored:?} {both:?}").contains(stored.as_str().split(':').nth(2).unwrap()));
    }

    #[test]
    fn without_a_version_that_seals_a_hash_is_stored_as_it_is() {
        for none in [peppers(&[1], None), peppers(&[1], Some(3)), Peppers::default()] {
            let stored = none.store(user(7), HASH, &Rng::seeded(1));
            assert_eq!((stored.as_str(), stored.pepper()), (HASH, None));
            assert_eq!(none.open(user(8), &stored).unwrap().as_str(), HASH);
        }
    }

    #[test]
    fn a_pepper_is_sealed_for_its_version() {
        let rng = Rng::seeded(3);
        let keyring = Keyring::parse(Keyring::generate_line(&rng).expose()).unwrap();
        let envelope = Pepper::generate(1, &rng).seal(&keyring, &rng);
        let opened = Pepper::open(&keyring, 1, &envelope).unwrap();
        let stored = Peppers::new([opened], Some(1)).store(user(1), HASH, &rng);
        let again = Peppers::new([Pepper::open(&keyring, 1, &envelope).unwrap()], None);
        assert_eq!(again.open(user(1), &stored).unwrap().as_str(), HASH);
        assert!(matches!(Pepper::open(&keyring, 2, &envelope), Err(SealError::Refused)));
    }

    #[test]
    fn every_changed_letter_is_refused() {
        let one = peppers(&[1], Some(1));
        let stored = one.store(user(7), HASH, &Rng::seeded(1));
        for at in 7..stored.as_str().len() {
            let mut text = stored.as_str().as_bytes().to_vec();
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            let changed = StoredText::from_row(String::from_utf8(text).unwrap());
            assert!(one.open(user(7), &changed).is_err(), "{at}");
        }
        for text in ["pepper:", "pepper:1", "pepper:01:AA", "pepper:0:AA", "pepper:-1:AA", "pepper:x:AA"] {
            let malformed = StoredText::from_row(text.to_owned());
            assert_eq!(
                (one.open(user(7), &malformed), malformed.pepper()),
                (Err(PepperError::Malformed), None)
            );
        }
    }

    proptest! {
        #[test]
        fn opening_never_panics(text in any::<String>()) {
            let _ = peppers(&[1], None).open(user(1), &StoredText::from_row(text.clone()));
            let _ = peppers(&[1], None).open(user(1), &StoredText::from_row(format!("pepper:1:{text}")));
        }
    }
}
