//! The master keyring, and the envelopes that it seals: signing keys, peppers, and other secrets in the
//! database that a copy of it must not reveal.
//!
//! A keyring is text, one key per line, `<key-id> <base64url of 32 bytes>`; `#` begins a comment. The first
//! line seals, every line opens. A line with a third word, `retired`, opens nothing any more: it only
//! verifies refresh tokens of before. An envelope names its key:
//!
//! ```text
//! version 1 | length of key id 1 | key id | salt 16 | nonce 12 | ciphertext | tag 16
//! ```
//!
//! Each envelope has its own AES-256-GCM key, HKDF-SHA-256 of the master key with the envelope's salt
//! and its purpose, so the number of envelopes under one master key is not limited.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Rng, Secret};
use zeroize::Zeroizing;

use crate::sealed::aead;
use crate::sealed::purpose::{MovesOn, Purpose};

const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
const KEY_ID_CHARS: usize = 32;
/// The third word of a line that only verifies.
const RETIRED: &str = "retired";

/// The master keys, in the order of their file.
#[derive(Clone)]
pub struct Keyring {
    first: Entry,
    others: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    id: String,
    key: aead::Key,
    is_retired: bool,
}

/// What a line of the keyring does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    /// Seals, signs and authenticates what is new.
    First,
    /// Opens and verifies what it made.
    Opens,
    /// Verifies refresh tokens that it authenticated, and opens nothing.
    Retired,
}

impl LineState {
    /// The word of tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Opens => "opens",
            Self::Retired => RETIRED,
        }
    }
}

/// Why a text is not a keyring. Lines count from 1; the error contains no part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// No line has a key.
    #[error("the keyring has no key")]
    Empty,
    /// The line is not a key id, a key and possibly `retired`.
    #[error("line {line} is not `<key-id> <key>` or `<key-id> <key> retired`")]
    Shape {
        /// Which line.
        line: usize,
    },
    /// The key id is not 1 to 32 of `A-Z a-z 0-9 - _`.
    #[error("line {line}: a key id has 1 to {KEY_ID_CHARS} letters, digits, `-` or `_`")]
    KeyId {
        /// Which line.
        line: usize,
    },
    /// The key is not 32 bytes in base64url without padding.
    #[error("line {line}: a key is 32 bytes in base64url (43 characters)")]
    Key {
        /// Which line.
        line: usize,
    },
    /// The first line, which seals, is retired.
    #[error("line {line} is the first and seals, so it cannot be retired")]
    Retired {
        /// Which line.
        line: usize,
    },
    /// The key id, or the key itself, duplicates an earlier line.
    #[error("line {line} repeats a key id or a key of an earlier line")]
    Duplicate {
        /// Which line.
        line: usize,
    },
}

/// Why an envelope was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The bytes are not an envelope, or one of a later version.
    #[error("not a sealed envelope of a known version")]
    Malformed,
    /// The keyring does not have the key.
    #[error("sealed with master key {key_id}, which the keyring lacks")]
    UnknownKey {
        /// The id of the key that the envelope was sealed with.
        key_id: String,
    },
    /// The line of the key is retired, and opens nothing.
    #[error(
        "sealed with master key {key_id}, whose line is retired; take that word off and run `keys reseal`"
    )]
    Retired {
        /// The id of the key that the envelope was sealed with.
        key_id: String,
    },
    /// The key is there, but the envelope was changed, or sealed for another purpose or another row.
    #[error("the envelope was changed or belongs elsewhere")]
    Refused,
}

impl Keyring {
    /// Parses a keyring.
    ///
    /// # Errors
    /// The first [`KeyringError`], naming its line.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut entries: Vec<Entry> = Vec::new();
        for (index, raw) in text.lines().enumerate() {
            let line = index + 1;
            let words = raw.split('#').next().unwrap_or_default();
            let mut words = words.split_ascii_whitespace();
            let Some(id) = words.next() else { continue };
            let (Some(key), state, None) = (words.next(), words.next(), words.next()) else {
                return Err(KeyringError::Shape { line });
            };
            let is_retired = state == Some(RETIRED);
            if state.is_some() && !is_retired {
                return Err(KeyringError::Shape { line });
            }
            if !is_key_id(id) {
                return Err(KeyringError::KeyId { line });
            }

            let key = decode_key(key).ok_or(KeyringError::Key { line })?;
            if entries.iter().any(|entry| entry.id == id || entry.key == key) {
                return Err(KeyringError::Duplicate { line });
            }
            if is_retired && entries.is_empty() {
                return Err(KeyringError::Retired { line });
            }
            entries.push(Entry { id: id.to_owned(), key, is_retired });
        }

        let mut entries = entries.into_iter();
        let first = entries.next().ok_or(KeyringError::Empty)?;
        Ok(Self { first, others: entries.collect() })
    }

    /// A new line for a keyring, without a line end: a random key id of 8 characters and a random key.
    pub fn generate_line(rng: &Rng) -> Secret<String> {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let letter = |byte: &u8| LETTERS.get(usize::from(byte & 31)).copied().map_or('a', char::from);
        let id: String = rng.bytes::<8>().iter().map(letter).collect();
        let key = Zeroizing::new(rng.bytes::<32>());
        Secret::new(line(&Entry { id, key, is_retired: false }))
    }

    /// The keyring as text that [`Keyring::parse`] reads; comments are not kept.
    pub fn to_text(&self) -> Secret<String> {
        let mut text = String::with_capacity((1 + self.others.len()) * (KEY_ID_CHARS + 53));
        for entry in self.entries() {
            let line = Zeroizing::new(line(entry));
            text.push_str(&line);
            text.push('\n');
        }
        Secret::new(text)
    }

    /// The id of the key that seals.
    pub fn first_key_id(&self) -> &str {
        &self.first.id
    }

    /// The ids of all keys, the one that seals first.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|entry| entry.id.as_str())
    }

    /// The lines, the one that seals first: the id of the key, and what the line does.
    pub fn lines(&self) -> impl Iterator<Item = (&str, LineState)> {
        let first = (self.first.id.as_str(), LineState::First);
        let state = |is_retired| if is_retired { LineState::Retired } else { LineState::Opens };
        let others = self.others.iter().map(move |entry| (entry.id.as_str(), state(entry.is_retired)));
        std::iter::once(first).chain(others)
    }

    /// What the line of a key does; `None` where the keyring does not have it.
    pub fn state_of(&self, key_id: &str) -> Option<LineState> {
        self.lines().find(|(id, _)| *id == key_id).map(|(_, state)| state)
    }

    /// The id of the key that an envelope was sealed with.
    ///
    /// # Errors
    /// [`SealError::Malformed`].
    pub fn sealed_by(envelope: &[u8]) -> Result<&str, SealError> {
        split(envelope).map(|(key_id, _)| key_id).ok_or(SealError::Malformed)
    }

    /// Seals `plain` with the first key, for a purpose. `aad` names the row, so that an envelope moved to
    /// another row does not open.
    pub fn seal(&self, purpose: Purpose, aad: &[u8], plain: &[u8], rng: &Rng) -> Vec<u8> {
        let mut envelope = vec![VERSION, u8::try_from(self.first.id.len()).unwrap_or_default()];
        envelope.extend_from_slice(self.first.id.as_bytes());
        let data = [envelope.as_slice(), aad].concat();
        let salt = rng.bytes::<SALT_BYTES>();
        envelope.extend_from_slice(&salt);
        let key = aead::derive(self.first.key.as_slice(), &salt, purpose);
        envelope.extend(aead::seal(&key, &data, plain, rng));
        envelope
    }

    /// Opens an output of [`Keyring::seal`] with any line that is not retired, for the same purpose and
    /// `aad`.
    ///
    /// # Errors
    /// [`SealError`]; an unknown or retired key is named.
    pub fn open(&self, purpose: Purpose, aad: &[u8], envelope: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
        let (key_id, rest) = split(envelope).ok_or(SealError::Malformed)?;
        let Some(entry) = self.entries().find(|entry| entry.id == key_id) else {
            return Err(SealError::UnknownKey { key_id: key_id.to_owned() });
        };
        if entry.is_retired {
            return Err(SealError::Retired { key_id: key_id.to_owned() });
        }
        let (header, _) = envelope.split_at_checked(2 + key_id.len()).ok_or(SealError::Malformed)?;
        let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>().ok_or(SealError::Malformed)?;
        let key = aead::derive(entry.key.as_slice(), salt, purpose);
        let mut plain = aead::open(&key, &[header, aad].concat(), sealed).ok_or(SealError::Refused)?;
        Ok(Secret::new(std::mem::take(&mut *plain)))
    }

    /// A key for `purpose` from each line, in their order: the first makes what is new, the others verify
    /// what was made before a rotation. A retired line takes part only in purposes that are kept for it.
    pub fn derive(&self, purpose: Purpose) -> Vec<[u8; 32]> {
        let takes_part =
            |entry: &&Entry| !entry.is_retired || purpose.moves_on() == MovesOn::KeptWhileRetired;
        self.entries().filter(takes_part).map(|entry| derived(entry, purpose)).collect()
    }

    /// The key for `purpose` from the first line.
    pub fn derive_first(&self, purpose: Purpose) -> [u8; 32] {
        derived(&self.first, purpose)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

fn derived(entry: &Entry, purpose: Purpose) -> [u8; 32] {
    *aead::derive(entry.key.as_slice(), b"", purpose)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")?;
        f.debug_list().entries(self.key_ids()).finish()
    }
}

/// Key id and what follows it.
fn split(envelope: &[u8]) -> Option<(&str, &[u8])> {
    let (&[version, length], rest) = envelope.split_first_chunk::<2>()?;
    let (key_id, rest) = rest.split_at_checked(usize::from(length))?;
    let key_id = std::str::from_utf8(key_id).ok()?;
    (version == VERSION && is_key_id(key_id)).then_some((key_id, rest))
}

fn is_key_id(word: &str) -> bool {
    (1..=KEY_ID_CHARS).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn decode_key(word: &str) -> Option<aead::Key> {
    if word.len() != 43 {
        return None;
    }
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(word).ok()?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

fn line(entry: &Entry) -> String {
    let mut line = String::with_capacity(entry.id.len() + 52);
    line.push_str(&entry.id);
    line.push(' ');
    URL_SAFE_NO_PAD.encode_string(*entry.key, &mut line);
    if entry.is_retired {
        line.push(' ');
        line.push_str(RETIRED);
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const ONES: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

    fn two() -> Keyring {
        Keyring::parse(&format!("# master keys\n\nnew {ONES} # since May\r\n  old\t{ZEROS}\n")).unwrap()
    }

    #[test]
    fn reads_and_writes_its_text() {
        let keyring = two();
        assert_eq!(keyring.key_ids().collect::<Vec<_>>(), ["new", "old"]);
        assert_eq!(keyring.first_key_id(), "new");
        assert_eq!(keyring.to_text().expose(), &format!("new {ONES}\nold {ZEROS}\n"));
        assert_eq!(format!("{keyring:?}"), r#"Keyring["new", "old"]"#);
        let line = Keyring::generate_line(&Rng::seeded(1));
        assert_eq!(Keyring::parse(line.expose()).unwrap().first_key_id().len(), 8);
    }

    #[test]
    fn errors_name_their_line() {
        let id = "x".repeat(33);
        for (text, error) in [
            (String::new(), KeyringError::Empty),
            ("# nothing\n\n".to_owned(), KeyringError::Empty),
            ("alone".to_owned(), KeyringError::Shape { line: 1 }),
            (format!("a {ZEROS} more"), KeyringError::Shape { line: 1 }),
            (format!("a {ZEROS} retired more"), KeyringError::Shape { line: 1 }),
            (format!("a {ZEROS} retired\nb {ONES}"), KeyringError::Retired { line: 1 }),
            (format!("\nä {ZEROS}"), KeyringError::KeyId { line: 2 }),
            (format!("{id} {ZEROS}"), KeyringError::KeyId { line: 1 }),
            ("a AAAA".to_owned(), KeyringError::Key { line: 1 }),
            (format!("a {ZEROS}="), KeyringError::Key { line: 1 }),
            (format!("a {}B", ZEROS.split_at(42).0), KeyringError::Key { line: 1 }),
            (format!("a {ZEROS}\n\na {ONES}"), KeyringError::Duplicate { line: 3 }),
            (format!("a {ZEROS}\nb {ZEROS}"), KeyringError::Duplicate { line: 2 }),
        ] {
            let found = Keyring::parse(&text).unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(!found.to_string().contains("AAAA"));
        }
    }

    #[test]
    fn opens_with_any_key_only_for_its_purpose_and_row() {
        let rng = Rng::seeded(3);
        let old = Keyring::parse(&format!("old {ZEROS}")).unwrap();
        let envelope = old.seal(Purpose::SigningKey, b"row 1", b"plain", &rng);
        assert_eq!(split(&envelope).map(|(id, _)| id), Some("old"));
        assert_eq!(two().open(Purpose::SigningKey, b"row 1", &envelope).unwrap().expose(), b"plain");
        assert_eq!(two().open(Purpose::Pepper, b"row 1", &envelope).unwrap_err(), SealError::Refused);
        assert_eq!(two().open(Purpose::SigningKey, b"row 2", &envelope).unwrap_err(), SealError::Refused);
        let new = two().seal(Purpose::SigningKey, b"row 1", b"plain", &rng);
        let unknown = old.open(Purpose::SigningKey, b"row 1", &new).unwrap_err();
        assert_eq!(unknown, SealError::UnknownKey { key_id: "new".to_owned() });
        assert!(unknown.to_string().contains("new"));
        for index in 0..envelope.len() {
            let mut changed = envelope.clone();
            changed[index] ^= 1;
            assert!(two().open(Purpose::SigningKey, b"row 1", &changed).is_err());
        }
    }

    /// Bytes must not move between the header, which is authenticated, and the caller's data.
    #[test]
    fn the_header_is_authenticated() {
        let keyring = Keyring::parse(&format!("a {ZEROS}")).unwrap();
        let envelope = keyring.seal(Purpose::Pepper, b"", b"", &Rng::seeded(1));
        let renamed = Keyring::parse(&format!("b {ZEROS}")).unwrap();
        let mut changed = envelope;
        changed[2] = b'b';
        assert_eq!(renamed.open(Purpose::Pepper, b"", &changed).unwrap_err(), SealError::Refused);
    }

    #[test]
    fn derives_one_key_for_each_master_key_and_purpose() {
        let keys = two().derive(Purpose::RefreshTokenMac);
        assert_eq!(keys.len(), 2);
        assert_ne!(keys[0], keys[1]);
        assert_eq!(
            keys[1],
            Keyring::parse(&format!("x {ZEROS}")).unwrap().derive(Purpose::RefreshTokenMac)[0]
        );
        assert_ne!(keys, two().derive(Purpose::IdentifierDigest));
    }

    #[test]
    fn a_retired_line_opens_nothing_and_verifies_refresh_tokens() {
        let text = format!("new {ONES}\nold {ZEROS} retired\n");
        let keyring = Keyring::parse(&text).unwrap();
        let states: Vec<_> = keyring.lines().collect();
        assert_eq!(states, [("new", LineState::First), ("old", LineState::Retired)]);
        assert_eq!((keyring.state_of("old"), keyring.state_of("x")), (Some(LineState::Retired), None));
        assert_eq!(keyring.to_text().expose(), &text);

        let old = Keyring::parse(&format!("old {ZEROS}")).unwrap();
        let envelope = old.seal(Purpose::Pepper, b"1", b"plain", &Rng::seeded(1));
        assert_eq!(Keyring::sealed_by(&envelope), Ok("old"));
        let refused = keyring.open(Purpose::Pepper, b"1", &envelope).unwrap_err();
        assert_eq!(refused, SealError::Retired { key_id: "old".to_owned() });

        for purpose in Purpose::ALL {
            let lines = if purpose.moves_on() == MovesOn::KeptWhileRetired { 2 } else { 1 };
            assert_eq!(keyring.derive(*purpose).len(), lines, "{purpose:?}");
            assert_eq!(keyring.derive(*purpose)[0], keyring.derive_first(*purpose));
        }
        assert_eq!(keyring.derive(Purpose::RefreshTokenMac)[1], old.derive_first(Purpose::RefreshTokenMac));
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in any::<String>()) {
            let _ = Keyring::parse(&text);
        }

        #[test]
        fn open_never_panics(envelope in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(two().open(Purpose::Pepper, b"", &envelope).is_err());
            let _ = split(&envelope);
        }
    }
}
