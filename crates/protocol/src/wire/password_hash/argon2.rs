//! Argon2 (RFC 9106), version 1.3, as a PHC string: `$argon2{d,i,id}$v=19$m=…,t=…,p=…$salt$tag`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::text::{parameter, unpadded};
use super::{CostClass, Unusable};

/// Most memory of one Argon2 hash, in KiB: 1 GiB.
pub const ARGON2_MAX_MEMORY: u32 = 1 << 20;
/// Most passes of one Argon2 hash.
pub const ARGON2_MAX_ITERATIONS: u32 = 64;
/// Most lanes of one Argon2 hash.
pub const ARGON2_MAX_PARALLELISM: u32 = 16;
/// Most work of one Argon2 hash, as KiB of memory times passes over it: four passes over 1 GiB.
pub const ARGON2_MAX_WORK: u64 = 4 << 20;
/// Accepted lengths of an Argon2 salt, in bytes (RFC 9106 §3.1 begins at 8).
pub const ARGON2_SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
/// Accepted lengths of an Argon2 tag, in bytes. RFC 9106 §3.1 begins at 4, which other passwords may match by
/// chance.
pub const ARGON2_TAG_BYTES: std::ops::RangeInclusive<usize> = 12..=64;

/// A kind of Argon2 (RFC 9106 §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Argon2Kind {
    /// Data-dependent memory access.
    D,
    /// Data-independent memory access.
    I,
    /// Both; the variant for passwords.
    Id,
}

impl Argon2Kind {
    /// The identifier in a PHC string.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::D => "argon2d",
            Self::I => "argon2i",
            Self::Id => "argon2id",
        }
    }
}

/// An Argon2 hash with its parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct Argon2Hash {
    /// Which Argon2.
    pub kind: Argon2Kind,
    /// Memory, in KiB.
    pub memory: u32,
    /// Passes.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// The tag to compare with.
    pub tag: Vec<u8>,
}

impl Argon2Hash {
    /// Parses what follows the name of the kind.
    pub(super) fn read(kind: Argon2Kind, text: &str) -> Result<Self, Unusable> {
        let mut parts = text.split('$');
        let mut part = |name| parts.next().ok_or(Unusable::Malformed(name));
        if part("version")? != "v=19" {
            return Err(Unusable::Malformed("version"));
        }
        let parameters = part("parameters")?;
        let salt = unpadded(part("salt")?).ok_or(Unusable::Malformed("salt"))?;
        let tag = unpadded(part("tag")?).ok_or(Unusable::Malformed("tag"))?;
        if parts.next().is_some() {
            return Err(Unusable::Malformed("parts"));
        }

        let mut parameters = parameters.split(',');
        let mut next = |name, prefix, most| {
            parameter(name, parameters.next().and_then(|parameter| parameter.strip_prefix(prefix)), most)
        };
        let memory = next("memory", "m=", ARGON2_MAX_MEMORY)?;
        let iterations = next("iterations", "t=", ARGON2_MAX_ITERATIONS)?;
        let parallelism = next("parallelism", "p=", ARGON2_MAX_PARALLELISM)?;
        if parameters.next().is_some() {
            return Err(Unusable::Malformed("parameters"));
        }
        // RFC 9106 §3.1: at least eight blocks of 1 KiB per lane.
        if memory < 8 * parallelism {
            return Err(Unusable::Malformed("memory"));
        }
        if u64::from(memory) * u64::from(iterations) > ARGON2_MAX_WORK {
            return Err(Unusable::TooExpensive("memory times iterations"));
        }
        if !ARGON2_SALT_BYTES.contains(&salt.len()) {
            return Err(Unusable::Malformed("salt"));
        }
        if !ARGON2_TAG_BYTES.contains(&tag.len()) {
            return Err(Unusable::Malformed("tag"));
        }
        Ok(Self { kind, memory, iterations, parallelism, salt, tag })
    }

    /// The cost of one check.
    pub fn cost_class(&self) -> CostClass {
        let Self { kind, memory, iterations, parallelism, .. } = *self;
        CostClass::Argon2 { kind, memory, iterations, parallelism }
    }
}

impl fmt::Display for Argon2Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str();
        let m = self.memory;
        let t = self.iterations;
        let p = self.parallelism;
        let (salt, tag) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(&self.tag));
        write!(f, "${kind}$v=19$m={m},t={t},p={p}${salt}${tag}")
    }
}
