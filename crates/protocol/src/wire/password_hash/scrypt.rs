//! scrypt (RFC 7914), in the formats of PHC strings, Werkzeug and Django; and Firebase's, which encrypts with
//! its output.

use model::hex;

use super::text::{SALT_BYTES, TAG_BYTES, bounded, decimal, padded, parameter, parts, unpadded};
use super::{CostClass, Unusable};

/// Most work of one scrypt hash, in bytes: 128 times N times r times p. Its memory is never more than that.
pub const SCRYPT_MAX_BYTES: u64 = 256 << 20;
/// Largest block size, and largest parallelism, of one scrypt hash.
pub const SCRYPT_MAX_FACTOR: u32 = 64;
/// Accepted lengths of a Firebase tag, in bytes: those of a signer key.
pub const FIREBASE_TAG_BYTES: std::ops::RangeInclusive<usize> = 32..=128;

/// The cost of scrypt (RFC 7914 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScryptCost {
    /// The logarithm of N.
    pub log_n: u8,
    /// The block size.
    pub r: u32,
    /// The parallelism; computed sequentially here.
    pub p: u32,
}

impl ScryptCost {
    /// Parses `ln=15,r=8,p=1`.
    fn read(text: &str) -> Result<Self, Unusable> {
        let [log_n, r, p] = parts(text, ',').map_err(|_| Unusable::Malformed("parameters"))?;
        let log_n = log_n.strip_prefix("ln=").and_then(decimal).ok_or(Unusable::Malformed("memory"))?;
        Self::new(log_n, r.strip_prefix("r="), p.strip_prefix("p="))
    }

    /// Parses N itself, a power of two.
    fn from_n(n: &str, r: &str, p: &str) -> Result<Self, Unusable> {
        let n = decimal(n).filter(|n| n.is_power_of_two()).ok_or(Unusable::Malformed("memory"))?;
        Self::new(n.trailing_zeros(), Some(r), Some(p))
    }

    fn new(log_n: u32, r: Option<&str>, p: Option<&str>) -> Result<Self, Unusable> {
        let r = parameter("block size", r, SCRYPT_MAX_FACTOR)?;
        let p = parameter("parallelism", p, SCRYPT_MAX_FACTOR)?;
        if log_n == 0 {
            return Err(Unusable::Malformed("memory"));
        }
        // The shift is checked for its count alone: 2^63 is one bit, and does not fit below the cap.
        let memory = 1_u64.checked_shl(log_n).and_then(|n| n.checked_mul(128)?.checked_mul(r.into()));
        let memory = memory.filter(|memory| *memory <= SCRYPT_MAX_BYTES);
        let memory = memory.ok_or(Unusable::TooExpensive("memory"))?;
        if memory * u64::from(p) > SCRYPT_MAX_BYTES {
            return Err(Unusable::TooExpensive("parallelism"));
        }
        let log_n = u8::try_from(log_n).map_err(|_| Unusable::TooExpensive("memory"))?;
        Ok(Self { log_n, r, p })
    }
}

/// A scrypt hash.
#[derive(Clone, PartialEq, Eq)]
pub struct ScryptHash {
    /// Memory and work.
    pub cost: ScryptCost,
    /// The salt.
    pub salt: Vec<u8>,
    /// The tag to compare with.
    pub tag: Vec<u8>,
    /// Whether the password is in NFKC.
    pub is_nfkc: bool,
}

impl ScryptHash {
    fn new(cost: ScryptCost, salt: Option<Vec<u8>>, tag: Option<Vec<u8>>) -> Result<Self, Unusable> {
        let salt = bounded("salt", salt, &SALT_BYTES)?;
        Ok(Self { cost, salt, tag: bounded("tag", tag, &TAG_BYTES)?, is_nfkc: false })
    }

    /// Parses what follows `$scrypt-nfkc$`: as `$scrypt$`, of the password in NFKC.
    pub(super) fn read_nfkc(text: &str) -> Result<Self, Unusable> {
        Ok(Self { is_nfkc: true, ..Self::read_phc(text)? })
    }

    /// Parses what follows `$scrypt$`: `ln=15,r=8,p=1$salt$tag`.
    pub(super) fn read_phc(text: &str) -> Result<Self, Unusable> {
        let [cost, salt, tag] = parts(text, '$')?;
        Self::new(ScryptCost::read(cost)?, unpadded(salt), unpadded(tag))
    }

    /// Parses what follows Werkzeug's `scrypt:`: `32768:8:1$salt$tag`, the salt as it is, the tag in hex.
    pub(super) fn read_werkzeug(text: &str) -> Result<Self, Unusable> {
        let [cost, salt, tag] = parts(text, '$')?;
        let [n, r, p] = parts(cost, ':')?;
        Self::new(ScryptCost::from_n(n, r, p)?, Some(salt.into()), hex::decode_lower(tag))
    }

    /// Parses what follows Django's `scrypt$`: `16384$salt$8$5$tag`, the salt as it is, the tag in Base64.
    pub(super) fn read_django(text: &str) -> Result<Self, Unusable> {
        let [n, salt, r, p, tag] = parts(text, '$')?;
        Self::new(ScryptCost::from_n(n, r, p)?, Some(salt.into()), padded(tag))
    }
}

/// A Firebase hash: AES-256 in counter mode, under the first 32 bytes of scrypt's output, from counter zero.
///
/// Firebase encrypts its project's signer key this way. Only the key stream is stored here, without the
/// signer key: it verifies the same password, and a copy of the database does not contain the signer key.
#[derive(Clone, PartialEq, Eq)]
pub struct FirebaseHash {
    /// Memory and work.
    pub cost: ScryptCost,
    /// The user's salt, and after it the project's separator.
    pub salt: Vec<u8>,
    /// The key stream to compare with.
    pub tag: Vec<u8>,
}

impl FirebaseHash {
    /// Parses what follows `$firebase-scrypt$`: `ln=14,r=8,p=1$salt$tag`.
    pub(super) fn read(text: &str) -> Result<Self, Unusable> {
        let [cost, salt, tag] = parts(text, '$')?;
        let salt = bounded("salt", unpadded(salt), &SALT_BYTES)?;
        let tag = bounded("tag", unpadded(tag), &FIREBASE_TAG_BYTES)?;
        Ok(Self { cost: ScryptCost::read(cost)?, salt, tag })
    }
}

impl From<ScryptCost> for CostClass {
    fn from(cost: ScryptCost) -> Self {
        Self::Scrypt(cost)
    }
}
