//! The cost of one check of a stored hash, as text.

use std::fmt;

use super::{CostClass, Digest};

impl CostClass {
    /// The algorithm, as metrics name it.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Argon2 { kind, .. } => kind.as_str(),
            Self::Bcrypt { .. } => "bcrypt",
            Self::Pbkdf2 { digest: Digest::Sha1, .. } => "pbkdf2-sha1",
            Self::Pbkdf2 { digest: Digest::Sha256, .. } => "pbkdf2-sha256",
            Self::Pbkdf2 { digest: Digest::Sha512, .. } => "pbkdf2-sha512",
            Self::Scrypt(_) => "scrypt",
            Self::ShaCrypt { wide: false, .. } => "sha256-crypt",
            Self::ShaCrypt { wide: true, .. } => "sha512-crypt",
            Self::Digest { .. } => "digest",
        }
    }

    /// The work, relative to other costs of the same algorithm.
    pub fn work(&self) -> f64 {
        match self {
            Self::Argon2 { memory, iterations, .. } => f64::from(*memory) * f64::from(*iterations),
            Self::Bcrypt { cost } => f64::from(*cost).exp2(),
            Self::Pbkdf2 { iterations, blocks, .. } => {
                f64::from(*iterations) * f64::from(u32::try_from(*blocks).unwrap_or(u32::MAX))
            }
            Self::Scrypt(cost) => f64::from(cost.log_n).exp2() * f64::from(cost.r) * f64::from(cost.p),
            Self::ShaCrypt { rounds, .. } | Self::Digest { rounds } => f64::from(*rounds),
        }
    }
}

/// The algorithm with its parameters: `bcrypt 12`, `argon2id m=19456,t=2,p=1`.
impl fmt::Display for CostClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = self.algorithm();
        match self {
            Self::Argon2 { memory, iterations, parallelism, .. } => {
                write!(f, "{algorithm} m={memory},t={iterations},p={parallelism}")
            }
            Self::Bcrypt { cost } => write!(f, "{algorithm} {cost}"),
            Self::Pbkdf2 { iterations, blocks, .. } => {
                write!(f, "{algorithm} i={iterations},blocks={blocks}")
            }
            Self::Scrypt(cost) => write!(f, "{algorithm} ln={},r={},p={}", cost.log_n, cost.r, cost.p),
            Self::ShaCrypt { rounds, .. } | Self::Digest { rounds } => {
                write!(f, "{algorithm} rounds={rounds}")
            }
        }
    }
}
