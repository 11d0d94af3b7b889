//! Hashes that are computed in microseconds: salted digests of directories, and those that PHP and Unix made
//! of MD5.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::hex;

use super::text::{bounded, parts};
use super::{CostClass, Unusable};

/// Accepted lengths of a salt behind a digest, in bytes.
const SALTED: std::ops::RangeInclusive<usize> = 1..=64;
/// Iterations of phpass: from 2^7 to 2^20.
const PHPASS_LOG: std::ops::RangeInclusive<u8> = 7..=20;
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The hash function of a [`DigestHash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlainDigest {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl PlainDigest {
    fn bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// How a password becomes a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestRule {
    /// The digest of password and salt, as in directories.
    PasswordSalt(PlainDigest),
    /// The digest of salt and password, as Django wrote it.
    SaltPassword(PlainDigest),
    /// phpass's portable hash: MD5, iterated this power of two times.
    Phpass(u8),
    /// MD5-crypt, with the mark of `$1$` or of Apache.
    Md5Crypt {
        /// Whether the mark is `$apr1$`.
        is_apache: bool,
    },
}

/// A hash that costs next to nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestHash {
    /// How it is computed.
    pub rule: DigestRule,
    /// The salt.
    pub salt: Vec<u8>,
    /// The tag to compare with.
    pub tag: Vec<u8>,
}

impl DigestHash {
    /// Parses a text behind a scheme of RFC 2307 in capitals; `None` for a scheme of another kind.
    pub(super) fn read_scheme(scheme: &str, text: &str) -> Option<Result<Self, Unusable>> {
        let (digest, is_salted) = match scheme {
            "SSHA" => (PlainDigest::Sha1, true),
            "SSHA256" => (PlainDigest::Sha256, true),
            "SSHA512" => (PlainDigest::Sha512, true),
            "SMD5" => (PlainDigest::Md5, true),
            "SHA" => (PlainDigest::Sha1, false),
            "MD5" => (PlainDigest::Md5, false),
            _ => return None,
        };
        Some(Self::read_base64(digest, is_salted, text))
    }

    fn read_base64(digest: PlainDigest, is_salted: bool, text: &str) -> Result<Self, Unusable> {
        let bytes = STANDARD.decode(text).map_err(|_| Unusable::Malformed("tag"))?;
        let (tag, salt) = bytes.split_at_checked(digest.bytes()).ok_or(Unusable::Malformed("tag"))?;
        let allowed = if is_salted { SALTED } else { 0..=0 };
        let salt = bounded("salt", Some(salt.to_vec()), &allowed)?;
        Ok(Self { rule: DigestRule::PasswordSalt(digest), salt, tag: tag.to_vec() })
    }

    /// Parses what follows Django's `md5$` or `sha1$`: the salt, and the digest in hex.
    pub(super) fn read_django(digest: PlainDigest, text: &str) -> Result<Self, Unusable> {
        let [salt, tag] = parts(text, '$')?;
        let tag = hex::decode_lower(tag).filter(|tag| tag.len() == digest.bytes());
        let tag = tag.ok_or(Unusable::Malformed("tag"))?;
        let salt = bounded("salt", Some(salt.into()), &(0..=64))?;
        Ok(Self { rule: DigestRule::SaltPassword(digest), salt, tag })
    }

    /// Parses what follows phpass's `$P$` or `$H$`: a letter for the iterations, 8 of salt, 22 of digest.
    pub(super) fn read_phpass(text: &str) -> Result<Self, Unusable> {
        let (log, rest) = text.split_at_checked(1).ok_or(Unusable::Malformed("iterations"))?;
        let log = log.bytes().next().and_then(value).ok_or(Unusable::Malformed("iterations"))?;
        if log < *PHPASS_LOG.start() {
            return Err(Unusable::Malformed("iterations"));
        }
        if log > *PHPASS_LOG.end() {
            return Err(Unusable::TooExpensive("iterations"));
        }
        let (salt, tag) = rest.split_at_checked(8).ok_or(Unusable::Malformed("salt"))?;
        let tag = decode(tag, &PHPASS_ORDER)?;
        Ok(Self { rule: DigestRule::Phpass(log), salt: salt.as_bytes().to_vec(), tag })
    }

    /// Parses what follows `$1$` or `$apr1$`: up to 8 letters of salt, 22 of digest.
    pub(super) fn read_md5_crypt(is_apache: bool, text: &str) -> Result<Self, Unusable> {
        let [salt, tag] = parts(text, '$')?;
        let is_salt = salt.len() <= 8 && salt.bytes().all(|byte| byte.is_ascii_graphic());
        let salt = Some(salt.as_bytes().to_vec()).filter(|_| is_salt).ok_or(Unusable::Malformed("salt"))?;
        Ok(Self { rule: DigestRule::Md5Crypt { is_apache }, salt, tag: decode(tag, &MD5_CRYPT_ORDER)? })
    }

    /// Whether it is of a kind that is broken: MD5 alone, a digest without salt, or Django's of before 2011.
    pub(super) fn is_weak(&self) -> bool {
        match self.rule {
            DigestRule::PasswordSalt(digest) => digest == PlainDigest::Md5 || self.salt.is_empty(),
            DigestRule::SaltPassword(_) | DigestRule::Md5Crypt { .. } => true,
            DigestRule::Phpass(_) => false,
        }
    }

    /// Its name in metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self.rule {
            DigestRule::PasswordSalt(digest) | DigestRule::SaltPassword(digest) => match digest {
                PlainDigest::Md5 => "salted-md5",
                PlainDigest::Sha1 => "salted-sha1",
                PlainDigest::Sha256 => "salted-sha256",
                PlainDigest::Sha512 => "salted-sha512",
            },
            DigestRule::Phpass(_) => "phpass",
            DigestRule::Md5Crypt { .. } => "md5-crypt",
        }
    }

    /// The cost of one check.
    pub fn cost_class(&self) -> CostClass {
        let rounds = match self.rule {
            DigestRule::PasswordSalt(_) | DigestRule::SaltPassword(_) => 1,
            DigestRule::Phpass(log) => 1_u32.checked_shl(log.into()).unwrap_or(u32::MAX),
            DigestRule::Md5Crypt { .. } => 1000,
        };
        CostClass::Digest { rounds }
    }
}

/// phpass writes the bytes of a digest in their order, groups of three with the lowest first.
const PHPASS_ORDER: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// MD5-crypt's order of the bytes of a digest.
const MD5_CRYPT_ORDER: [usize; 16] = [12, 6, 0, 13, 7, 1, 14, 8, 2, 15, 9, 3, 5, 10, 4, 11];

/// Decodes 22 letters, the lowest six bits first, to the 16 bytes of a digest, which come in this order.
fn decode(text: &str, order: &[usize; 16]) -> Result<Vec<u8>, Unusable> {
    if text.len() != 22 {
        return Err(Unusable::Malformed("tag"));
    }
    let mut digest = vec![0; 16];
    let mut places = order.iter();
    for group in text.as_bytes().chunks(4) {
        let mut number = 0_u32;
        for (&letter, shift) in group.iter().zip((0..).step_by(6)) {
            number |= u32::from(value(letter).ok_or(Unusable::Malformed("tag"))?) << shift;
        }
        for _ in 0..(group.len() * 6 / 8) {
            let slot =
                places.next().and_then(|place| digest.get_mut(*place)).ok_or(Unusable::Malformed("tag"))?;
            *slot = u8::try_from(number & 0xFF).unwrap_or_default();
            number >>= 8;
        }
        if number != 0 {
            return Err(Unusable::Malformed("tag"));
        }
    }
    Ok(digest)
}

fn value(letter: u8) -> Option<u8> {
    LETTERS.iter().position(|known| *known == letter).and_then(|at| u8::try_from(at).ok())
}
