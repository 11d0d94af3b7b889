//! bcrypt in batches: the input of each hash format, and the evaluation of its result.

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
    /// The expected digest; `None` for a new hash.
    wanted: Option<[u8; 23]>,
    /// Whether all of the password counts. An over-long password is still hashed, to keep timing constant,
    /// and never matches.
    whole: bool,
}

impl<'a> BcryptJob<'a> {
    /// Prepares a new hash. Its text is `None` if the password exceeds bcrypt's limits.
    pub(crate) fn new_hash(cost: u8, salt: [u8; 16], password: &'a [u8]) -> Self {
        let whole = password.len() <= BCRYPT_BYTES && !password.contains(&0);
        Self { cost, salt, bytes: Cow::Borrowed(password), nul: Nul::Keep, wanted: None, whole }
    }

    /// Prepares a check of a stored hash; `None` when it is not a bcrypt hash.
    pub(crate) fn check(stored: &StoredHash, password: &'a [u8]) -> Option<Self> {
        match stored.format() {
            Format::Bcrypt(hash) => Some(Self::plain(hash, Cow::Borrowed(password), stored.rules())),
            Format::BcryptSha256(hash) => {
                Some(Self::plain(&hash.bcrypt, Cow::Owned(prehash(hash, password)), Rules::Imported))
            }
            _ => None,
        }
    }

    /// An imported password is cut after 72 bytes, as every origin did; one of Gatewright was never longer.
    ///
    /// `$2y$` is crypt_blowfish's own version, which takes a C string: the password ends before a NUL. The
    /// libraries that write `$2a$` and `$2b$` today (Go, Node, Python) treat a NUL as an ordinary byte.
    fn plain(hash: &BcryptHash, bytes: Cow<'a, [u8]>, rules: Rules) -> Self {
        let nul = match (rules, hash.variant) {
            (Rules::Imported, BcryptVariant::Y) => Nul::Terminate,
            _ => Nul::Keep,
        };
        let whole = rules == Rules::Imported || bytes.len() <= BCRYPT_BYTES;
        Self { cost: hash.cost, salt: hash.salt, bytes, nul, wanted: Some(hash.tag), whole }
    }

    /// Whether the computed hash matches, in constant time.
    pub(crate) fn is_answered_by(&self, hash: &Hash) -> bool {
        let same = self.wanted.is_some_and(|tag| verify_slices_are_equal(&hash.digest(), &tag).is_ok());
        same && self.whole
    }

    /// The text to store for a computed hash, if all of the password went into it.
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

/// What goes into bcrypt in place of the password, which has any length; NUL is an ordinary byte.
fn prehash(hash: &BcryptSha256Hash, password: &[u8]) -> Vec<u8> {
    let sha256 = || digest::digest(&digest::SHA256, password);
    let text = match &hash.prehash {
        Prehash::Peppered(pepper) => return [password, pepper].concat(),
        Prehash::WordPress => {
            let key = hmac::Key::new(hmac::HMAC_SHA384, b"wp-sha384");
            STANDARD.encode(hmac::sign(&key, trimmed(password)))
        }
        Prehash::Hex => hex::encode(sha256().as_ref()),
        Prehash::Base64 => STANDARD.encode(sha256()),
        Prehash::KeyedBase64 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, hash.bcrypt.salt_letters().as_bytes());
            STANDARD.encode(hmac::sign(&key, password))
        }
    };
    text.into_bytes()
}

/// A password without what PHP's `trim` takes off its ends.
pub(crate) fn trimmed(password: &[u8]) -> &[u8] {
    let is_kept = |byte: &u8| !b" \t\n\r\0\x0b".contains(byte);
    let from = password.iter().position(is_kept).unwrap_or(password.len());
    let to = password.iter().rposition(is_kept).map_or(from, |last| last + 1);
    password.get(from..to).unwrap_or_default()
}

/// Hashes jobs of one cost together and in order; `None` for jobs of an invalid cost.
pub(crate) fn hash_batch(lanes: &mut Lanes, jobs: &[&BcryptJob<'_>]) -> Vec<Option<Hash>> {
    let mut hashes = vec![None; jobs.len()];
    let Some(cost) = jobs.first().and_then(|first| Cost::new(first.cost)) else { return hashes };
    let jobs: Vec<_> = jobs.iter().map(|job| job.job()).collect();
    // The slices have equal lengths.
    let _ = lanes.hash_many(cost, &jobs, &mut hashes);
    hashes
}
