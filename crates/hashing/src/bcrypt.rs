//! bcrypt, several at once: what each format asks of it, and what its answer means.

use std::borrow::Cow;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcrypt_lanes::{Cost, Hash, Job, Lanes, Nul, Password, Rules as LaneRules, Truncation, Version};
use model::hex;
use protocol::wire::password_hash::{
    BcryptHash, BcryptSha256Hash, BcryptVariant, Format, Prehash, Rules, StoredHash,
};
use zeroize::Zeroize as _;

use crate::scheme::BCRYPT_BYTES;

/// One password to hash with one salt.
pub(crate) struct BcryptJob<'a> {
    cost: u8,
    salt: [u8; 16],
    bytes: Cow<'a, [u8]>,
    nul: Nul,
    /// The digest that is the right one; none for a new hash.
    wanted: Option<[u8; 23]>,
    /// Whether all of the password counts. What is not taken whole costs the same and is not right.
    whole: bool,
}

impl<'a> BcryptJob<'a> {
    /// A new hash, of a password that bcrypt takes whole.
    pub(crate) fn new_hash(cost: u8, salt: [u8; 16], password: &'a [u8]) -> Self {
        let whole = password.len() <= BCRYPT_BYTES && !password.contains(&0);
        Self { cost, salt, bytes: Cow::Borrowed(password), nul: Nul::Keep, wanted: None, whole }
    }

    /// A check of a stored hash; None when it is not of bcrypt.
    pub(crate) fn check(stored: &StoredHash, password: &'a [u8]) -> Option<Self> {
        match stored.format() {
            Format::Bcrypt(hash) => Some(Self::plain(hash, Cow::Borrowed(password), stored.rules())),
            Format::BcryptSha256(hash) => {
                Some(Self::plain(&hash.bcrypt, Cow::Owned(prehash(hash, password)), Rules::Imported))
            }
            _ => None,
        }
    }

    /// An import's password is cut after 72 bytes, as every maker cut it; one of ours was never longer.
    ///
    /// `$2y$` is crypt_blowfish's own, which takes a C string: the password ends before a NUL. To those who write
    /// `$2a$` and `$2b$` today (Go, Node, Python) a NUL is a byte like any other.
    fn plain(hash: &BcryptHash, bytes: Cow<'a, [u8]>, rules: Rules) -> Self {
        let nul = match (rules, hash.variant) {
            (Rules::Imported, BcryptVariant::Y) => Nul::Terminate,
            _ => Nul::Keep,
        };
        let whole = rules == Rules::Imported || bytes.len() <= BCRYPT_BYTES;
        Self { cost: hash.cost, salt: hash.salt, bytes, nul, wanted: Some(hash.tag), whole }
    }

    /// Whether the computed hash is the right one, in constant time.
    pub(crate) fn is_answered_by(&self, hash: &Hash) -> bool {
        let same = self.wanted.is_some_and(|tag| verify_slices_are_equal(&hash.digest(), &tag).is_ok());
        same && self.whole
    }

    /// The stored text of a computed hash, if all of the password went into it.
    pub(crate) fn text(&self, hash: &Hash) -> Option<String> {
        self.whole.then(|| BcryptHash::new(self.cost, hash.salt(), hash.digest()).to_string())
    }

    fn job(&self) -> Job<'_> {
        let rules = LaneRules { long: Truncation::Allow, nul: self.nul };
        let password = Password::new(&self.bytes, rules).unwrap_or_default();
        Job { password, salt: self.salt, version: Version::B }
    }
}

impl Drop for BcryptJob<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(bytes) = &mut self.bytes {
            bytes.zeroize();
        }
    }
}

/// What becomes of a password before bcrypt over SHA-256: any length, and NUL is a byte.
fn prehash(hash: &BcryptSha256Hash, password: &[u8]) -> Vec<u8> {
    let sha256 = || digest::digest(&digest::SHA256, password);
    let text = match hash.prehash {
        Prehash::Hex => hex::encode(sha256().as_ref()),
        Prehash::Base64 => STANDARD.encode(sha256()),
        Prehash::KeyedBase64 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, hash.bcrypt.salt_letters().as_bytes());
            STANDARD.encode(hmac::sign(&key, password))
        }
    };
    text.into_bytes()
}

/// Hashes questions of one cost together, in their order; None for those of a cost that there is not.
pub(crate) fn hash_batch(lanes: &mut Lanes, questions: &[&BcryptJob<'_>]) -> Vec<Option<Hash>> {
    let mut hashes = vec![None; questions.len()];
    let Some(cost) = questions.first().and_then(|first| Cost::new(first.cost)) else { return hashes };
    let jobs: Vec<_> = questions.iter().map(|question| question.job()).collect();
    // There is a place for each answer.
    let _ = lanes.hash_many(cost, &jobs, &mut hashes);
    hashes
}
