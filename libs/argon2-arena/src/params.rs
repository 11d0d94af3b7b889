//! The input and parameters of a hash.

use std::fmt;

/// A kind of Argon2 (RFC 9106 §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Data-dependent memory access.
    D,
    /// Data-independent memory access.
    I,
    /// Independent in the first half of the first pass, dependent from there on. The variant for passwords.
    Id,
}

impl Kind {
    /// Its number, the `y` of RFC 9106 §3.1.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::D => 0,
            Self::I => 1,
            Self::Id => 2,
        }
    }
}

/// A version of Argon2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// 0x10, before the RFC: later passes replace blocks instead of mixing into them. For old hashes only.
    V10,
    /// 0x13, the one of RFC 9106.
    V13,
}

impl Version {
    /// Its number, the `v` of RFC 9106 §3.1.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::V10 => 0x10,
            Self::V13 => 0x13,
        }
    }
}

/// The parameters of a hash (RFC 9106 §3.1). The fields accept any values;
/// [`Arena::hash`](crate::Arena::hash) checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    /// The variant of Argon2.
    pub kind: Kind,
    /// The version.
    pub version: Version,
    /// Memory in KiB, `m`: at least 8 for each lane.
    pub memory_kib: u32,
    /// Passes over the memory, `t`: at least 1.
    pub iterations: u32,
    /// Lanes, `p`: 1 to 2^24 - 1. They are computed sequentially.
    pub parallelism: u32,
}

impl Params {
    /// Most lanes.
    pub const MAX_PARALLELISM: u32 = (1 << 24) - 1;
    /// Shortest salt, in bytes (the RFC sets none; the reference implementation and most others require 8).
    pub const MIN_SALT_BYTES: usize = 8;
    /// Shortest tag, in bytes.
    pub const MIN_TAG_BYTES: usize = 4;

    /// Argon2id, version 0x13, one lane.
    pub const fn argon2id(memory_kib: u32, iterations: u32) -> Self {
        Self { kind: Kind::Id, version: Version::V13, memory_kib, iterations, parallelism: 1 }
    }

    /// Checks that Argon2 allows these parameters.
    ///
    /// # Errors
    /// [`Error::Iterations`], [`Error::Parallelism`], [`Error::Memory`].
    pub fn check(&self) -> Result<(), Error> {
        if self.iterations == 0 {
            return Err(Error::Iterations);
        }
        if self.parallelism == 0 || self.parallelism > Self::MAX_PARALLELISM {
            return Err(Error::Parallelism);
        }
        if self.memory_kib / 8 < self.parallelism {
            return Err(Error::Memory);
        }
        Ok(())
    }
}

/// The input of a hash.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The password, `P`: up to 2^32 - 1 bytes, as everything here.
    pub password: &'a [u8],
    /// The salt, `S`: at least 8 bytes.
    pub salt: &'a [u8],
    /// The secret, `K`; empty for none.
    pub secret: &'a [u8],
    /// The associated data, `X`; empty for none.
    pub associated: &'a [u8],
}

impl<'a> Input<'a> {
    /// A password with its salt, no secret and no associated data.
    pub const fn new(password: &'a [u8], salt: &'a [u8]) -> Self {
        Self { password, salt, secret: &[], associated: &[] }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.salt.len() < Params::MIN_SALT_BYTES {
            return Err(Error::SaltLength);
        }
        let parts = [self.password, self.salt, self.secret, self.associated];
        if parts.iter().any(|part| u32::try_from(part.len()).is_err()) {
            return Err(Error::InputLength);
        }
        Ok(())
    }
}

/// `Debug` shows lengths only.
impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("password_bytes", &self.password.len())
            .field("salt_bytes", &self.salt.len())
            .field("secret_bytes", &self.secret.len())
            .field("associated_bytes", &self.associated.len())
            .finish()
    }
}

/// Why nothing was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// No passes.
    Iterations,
    /// No lanes, or more than 2^24 - 1.
    Parallelism,
    /// Less than 8 KiB for each lane.
    Memory,
    /// A salt shorter than 8 bytes.
    SaltLength,
    /// A tag shorter than 4 bytes, or longer than 2^32 - 1.
    TagLength,
    /// A password, salt, secret or associated data longer than 2^32 - 1 bytes.
    InputLength,
    /// The system does not provide that much memory.
    OutOfMemory,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iterations => "Argon2 needs at least one pass",
            Self::Parallelism => "Argon2 has 1 to 2^24 - 1 lanes",
            Self::Memory => "Argon2 needs at least 8 KiB for each lane",
            Self::SaltLength => "a salt has at least 8 bytes",
            Self::TagLength => "a tag has 4 to 2^32 - 1 bytes",
            Self::InputLength => "an input has at most 2^32 - 1 bytes",
            Self::OutOfMemory => "the system does not give the memory for this hash",
        })
    }
}

impl std::error::Error for Error {}
