//! The opaque refresh token: session, generation, a secret of 256 bits, and a MAC over all of them.
//!
//! ```text
//! gwr_ base64url( session id 16 | generation 8, big endian | secret 32 | MAC 16 )        100 characters
//! ```
//!
//! The MAC (HMAC-SHA-256, RFC 2104, truncated to 128 bits) proves without a look-up that a token was issued
//! here: a forged one is unknown, never a theft. Storage holds only [`RefreshToken::secret_hash`], and the
//! next token only sealed under the one before it.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Rng, Secret, SessionId};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::sealed::aead;
use crate::sealed::purpose::Purpose;

/// The prefix of every refresh token, which lets secret scanners recognise it.
pub const PREFIX: &str = "gwr_";
/// Length of an encoded token, in characters.
pub const TOKEN_CHARS: usize = PREFIX.len() + 96;
/// Length of a sealed successor, in bytes: nonce, secret, tag.
pub const SEALED_BYTES: usize = 32 + aead::OVERHEAD_BYTES;

const MAC_BYTES: usize = 16;
const BODY_BYTES: usize = 16 + 8 + 32;

/// A refresh token (RFC 6749 §1.5) in parts.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// The session that it continues.
    pub session: SessionId,
    /// The generation within the session, counted from 1; each rotation adds one.
    pub generation: i64,
    /// The random secret, 256 bits.
    pub secret: Secret<[u8; 32]>,
}

/// The text is not a refresh token of this server, or the sealed successor does not belong to the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token of this server")]
pub struct Malformed;

/// A key that authenticates refresh tokens.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl MacKey {
    /// A key of 256 bits, one of [`crate::sealed::keyring::Keyring::derive`].
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    fn mac(&self, body: &[u8]) -> [u8; MAC_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(PREFIX.as_bytes());
        context.update(body);
        let mut mac = [0; MAC_BYTES];
        mac.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        mac
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey([secret])")
    }
}

impl RefreshToken {
    /// The first token of a session, with a random secret.
    pub fn first(session: SessionId, rng: &Rng) -> Self {
        Self { session, generation: 1, secret: Secret::new(rng.bytes()) }
    }

    /// The token after this one, with a random secret.
    #[must_use]
    pub fn successor(&self, rng: &Rng) -> Self {
        self.followed_by(rng.bytes())
    }

    /// The token as the client stores it: [`TOKEN_CHARS`] characters.
    pub fn encode(&self, key: &MacKey) -> Secret<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BODY_BYTES + MAC_BYTES));
        bytes.extend_from_slice(self.session.0.as_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(self.secret.expose());
        let mac = key.mac(&bytes);
        bytes.extend_from_slice(&mac);
        let mut text = String::with_capacity(TOKEN_CHARS);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        Secret::new(text)
    }

    /// Parses a token that any of `keys` authenticates. MACs are compared in constant time.
    ///
    /// # Errors
    /// [`Malformed`] for every other text.
    pub fn decode(token: &str, keys: &[MacKey]) -> Result<Self, Malformed> {
        let text = token.strip_prefix(PREFIX).filter(|_| token.len() == TOKEN_CHARS).ok_or(Malformed)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed)?);
        let (body, mac) = bytes.split_at_checked(BODY_BYTES).ok_or(Malformed)?;
        let matches = |key: &MacKey| constant_time::verify_slices_are_equal(&key.mac(body), mac).is_ok();
        if !keys.iter().any(matches) {
            return Err(Malformed);
        }
        let (session, rest) = body.split_first_chunk::<16>().ok_or(Malformed)?;
        let (generation, secret) = rest.split_first_chunk::<8>().ok_or(Malformed)?;
        let generation = i64::from_be_bytes(*generation);
        if generation < 0 {
            return Err(Malformed);
        }
        let secret = Secret::new(secret.try_into().map_err(|_| Malformed)?);
        Ok(Self { session: SessionId(Uuid::from_bytes(*session)), generation, secret })
    }

    /// SHA-256 of the secret: what storage compares with. A secret of 256 random bits needs no slow hash.
    pub fn secret_hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        let digest = digest::digest(&digest::SHA256, self.secret.expose());
        hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        hash
    }

    /// Seals the secret of the next token so that only the holder of this one opens it: [`SEALED_BYTES`]
    /// bytes. The key is HKDF of this token's secret, salted with the session; session and next generation
    /// are also authenticated, so a sealed successor moved to another row or generation does not open.
    pub fn seal_successor(&self, successor_secret: &[u8; 32], rng: &Rng) -> Vec<u8> {
        aead::seal(&self.successor_key(), &self.successor_data(), successor_secret, rng)
    }

    /// The token after this one, from what [`RefreshToken::seal_successor`] made.
    ///
    /// # Errors
    /// [`Malformed`] if it was sealed under another token or has been changed.
    pub fn open_successor(&self, sealed: &[u8]) -> Result<Self, Malformed> {
        let opened = aead::open(&self.successor_key(), &self.successor_data(), sealed).ok_or(Malformed)?;
        Ok(self.followed_by(opened.as_slice().try_into().map_err(|_| Malformed)?))
    }

    fn followed_by(&self, secret: [u8; 32]) -> Self {
        Self {
            session: self.session,
            generation: self.generation.saturating_add(1),
            secret: Secret::new(secret),
        }
    }

    fn successor_key(&self) -> aead::Key {
        aead::derive(self.secret.expose(), self.session.0.as_bytes(), Purpose::RefreshSuccessor)
    }

    fn successor_data(&self) -> Vec<u8> {
        let generation = self.generation.saturating_add(1).to_be_bytes();
        [self.session.0.as_bytes().as_slice(), &generation].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn key(byte: u8) -> MacKey {
        MacKey::new(&[byte; 32])
    }

    fn token(generation: i64) -> RefreshToken {
        let rng = Rng::seeded(7);
        RefreshToken {
            session: SessionId(Uuid::from_bytes(rng.bytes())),
            generation,
            secret: Secret::new(rng.bytes()),
        }
    }

    #[test]
    fn reads_what_it_wrote() {
        for generation in [0, 1, 41, i64::MAX] {
            let token = token(generation);
            let text = token.encode(&key(1));
            assert_eq!(text.expose().len(), TOKEN_CHARS);
            let read = RefreshToken::decode(text.expose(), &[key(2), key(1)]).unwrap();
            assert_eq!((read.session, read.generation), (token.session, generation));
            assert_eq!(read.secret_hash(), token.secret_hash());
            assert_eq!(RefreshToken::decode(text.expose(), &[key(2)]).unwrap_err(), Malformed);
            assert_eq!(RefreshToken::decode(text.expose(), &[]).unwrap_err(), Malformed);
        }
        assert!(RefreshToken::decode(token(-1).encode(&key(1)).expose(), &[key(1)]).is_err());
    }

    #[test]
    fn every_changed_character_is_refused() {
        let text = token(3).encode(&key(1));
        for index in 0..TOKEN_CHARS {
            let mut bytes = text.expose().clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(RefreshToken::decode(&changed, &[key(1)]).is_err(), "{index}");
            assert!(RefreshToken::decode(&text.expose()[..index], &[key(1)]).is_err(), "{index}");
        }
    }

    #[test]
    fn only_the_token_before_opens_its_successor() {
        let rng = Rng::seeded(9);
        let old = token(5);
        let next = old.successor(&rng);
        let sealed = old.seal_successor(next.secret.expose(), &rng);
        assert_eq!(sealed.len(), SEALED_BYTES);
        let opened = old.open_successor(&sealed).unwrap();
        assert_eq!((opened.session, opened.generation), (old.session, 6));
        assert_eq!(opened.secret_hash(), next.secret_hash());

        let other_session = RefreshToken { session: SessionId(Uuid::nil()), ..old.clone() };
        let other_generation = RefreshToken { generation: 6, ..old.clone() };
        for stranger in [next, other_session, other_generation] {
            assert_eq!(stranger.open_successor(&sealed).unwrap_err(), Malformed);
        }
        assert!(old.open_successor(&sealed[1..]).is_err());
        assert!(old.open_successor(b"").is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = token(1);
        let shown = format!("{token:?} {:?}", key(1));
        assert!(shown.contains("[secret]") && !shown.contains(&format!("{:?}", token.secret.expose())));
    }

    proptest! {
        #[test]
        fn decode_never_panics(text in any::<String>(), tail in "[A-Za-z0-9_=-]{90,100}") {
            prop_assert!(RefreshToken::decode(&text, &[key(1)]).is_err());
            let prefixed = [PREFIX, &tail].concat();
            prop_assert!(RefreshToken::decode(&prefixed, &[key(1)]).is_err());
        }

        #[test]
        fn open_never_panics(sealed in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(token(1).open_successor(&sealed).is_err());
        }
    }
}
