//! PBKDF2 (RFC 8018 §5.2) over HMAC, in the formats of Django, passlib and Werkzeug. Keycloak's becomes
//! passlib's.

use model::hex;

use super::text::{SALT_BYTES, TAG_BYTES, ab64, bounded, padded, parameter, parts};
use super::{CostClass, Unusable};

/// Most iterations of one PBKDF2 hash, those of every block of its tag together.
pub const PBKDF2_MAX_ITERATIONS: u32 = 5_000_000;

/// The hash function of the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// SHA-1: broken for signatures, not in an HMAC.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Digest {
    /// Bytes of its output.
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// A PBKDF2 hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Pbkdf2Hash {
    /// The hash function.
    pub digest: Digest,
    /// Iterations of each block, 1 or more.
    pub iterations: std::num::NonZeroU32,
    /// The salt.
    pub salt: Vec<u8>,
    /// The tag to compare with.
    pub tag: Vec<u8>,
}

impl Pbkdf2Hash {
    fn new(
        digest: Digest,
        iterations: &str,
        salt: Option<Vec<u8>>,
        tag: Option<Vec<u8>>,
    ) -> Result<Self, Unusable> {
        let iterations = parameter("iterations", Some(iterations), PBKDF2_MAX_ITERATIONS)?;
        let salt = bounded("salt", salt, &SALT_BYTES)?;
        let tag = bounded("tag", tag, &TAG_BYTES)?;
        let blocks = tag.len().div_ceil(digest.bytes());
        if usize::try_from(iterations).map_or(usize::MAX, |each| each.saturating_mul(blocks))
            > PBKDF2_MAX_ITERATIONS as usize
        {
            return Err(Unusable::TooExpensive("iterations"));
        }
        let iterations = iterations.try_into().map_err(|_| Unusable::Malformed("iterations"))?;
        Ok(Self { digest, iterations, salt, tag })
    }

    /// Parses what follows passlib's `$pbkdf2-sha256$`: `29000$salt$tag`, both in ab64.
    pub(super) fn read_passlib(digest: Digest, text: &str) -> Result<Self, Unusable> {
        let [iterations, salt, tag] = parts(text, '$')?;
        Self::new(digest, iterations, ab64(salt), ab64(tag))
    }

    /// Parses what follows Django's `pbkdf2_sha256$`: `600000$salt$tag`, the salt as it is, the tag in
    /// Base64.
    pub(super) fn read_django(digest: Digest, text: &str) -> Result<Self, Unusable> {
        let [iterations, salt, tag] = parts(text, '$')?;
        Self::new(digest, iterations, Some(salt.into()), padded(tag))
    }

    /// Parses what follows Werkzeug's `pbkdf2:`: `sha256:600000$salt$tag`, the salt as it is, the tag in hex.
    pub(super) fn read_werkzeug(text: &str) -> Result<Self, Unusable> {
        let [method, salt, tag] = parts(text, '$')?;
        let [digest, iterations] = parts(method, ':')?;
        let digest = match digest {
            "sha1" => Digest::Sha1,
            "sha256" => Digest::Sha256,
            "sha512" => Digest::Sha512,
            _ => return Err(Unusable::Malformed("digest")),
        };
        Self::new(digest, iterations, Some(salt.into()), hex::decode_lower(tag))
    }

    /// Its name in metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self.digest {
            Digest::Sha1 => "pbkdf2-sha1",
            Digest::Sha256 => "pbkdf2-sha256",
            Digest::Sha512 => "pbkdf2-sha512",
        }
    }

    /// The cost of one check.
    pub fn cost_class(&self) -> CostClass {
        let blocks = self.tag.len().div_ceil(self.digest.bytes());
        CostClass::Pbkdf2 { digest: self.digest, iterations: self.iterations.get(), blocks }
    }
}
