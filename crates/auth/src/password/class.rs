//! What a hash costs, by its algorithm and parameters.

use std::fmt;

use protocol::password_hash::StoredHash;

use super::Scheme;

/// One algorithm with one set of parameters: hashes of one class take the same time, and those of bcrypt are computed
/// together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// bcrypt.
    Bcrypt {
        /// The logarithm of its rounds.
        cost: u8,
    },
    /// Argon2.
    Argon2 {
        /// `argon2d`, `argon2i` or `argon2id`.
        kind: &'static str,
        /// Memory, in KiB.
        memory: u32,
        /// Passes.
        iterations: u32,
        /// Lanes.
        parallelism: u32,
    },
}

impl Class {
    /// The class of a stored hash.
    pub fn of(stored: &StoredHash) -> Self {
        match stored {
            StoredHash::Argon2(hash) => Self::Argon2 {
                kind: hash.kind.as_str(),
                memory: hash.memory,
                iterations: hash.iterations,
                parallelism: hash.parallelism,
            },
            StoredHash::Bcrypt(hash) => Self::Bcrypt { cost: hash.cost },
        }
    }

    /// Whether several are computed together.
    pub(crate) fn is_bcrypt(&self) -> bool {
        matches!(self, Self::Bcrypt { .. })
    }

    /// The algorithm, as metrics name it.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Bcrypt { .. } => "bcrypt",
            Self::Argon2 { kind, .. } => kind,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bcrypt { cost } => write!(f, "bcrypt {cost}"),
            Self::Argon2 { kind, memory, iterations, parallelism } => {
                write!(f, "{kind} m={memory},t={iterations},p={parallelism}")
            }
        }
    }
}

impl Scheme {
    /// The class of new hashes.
    pub fn class(self) -> Class {
        match self {
            Self::Argon2id { memory_kib, iterations } => {
                Class::Argon2 { kind: "argon2id", memory: memory_kib, iterations, parallelism: 1 }
            }
            Self::Bcrypt { cost } => Class::Bcrypt { cost: u8::try_from(cost).unwrap_or(u8::MAX) },
        }
    }
}
