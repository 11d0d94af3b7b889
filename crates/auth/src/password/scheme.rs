//! One hash, computed on the calling thread.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bcrypt_lanes::{Lanes, Width};
use model::Rng;
use protocol::password_hash::{Argon2Hash, Argon2Kind, CostClass, Format, StoredHash};
use zeroize::Zeroize;

use super::bcrypt::{self, Question};
use super::foreign;

/// How new passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Argon2id (RFC 9106), one lane.
    Argon2id {
        /// Memory of one hash, in KiB.
        memory_kib: u32,
        /// Passes over it.
        iterations: u32,
    },
    /// bcrypt, version 2b.
    Bcrypt {
        /// The logarithm of its rounds.
        cost: u32,
    },
}

const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;
/// bcrypt reads no more than this; longer passwords are refused where it is selected.
pub(crate) const BCRYPT_BYTES: usize = 72;

/// A thread's memory for Argon2, kept from hash to hash.
#[derive(Default)]
pub(crate) struct Arena(Vec<Block>);

impl Arena {
    /// The memory of `blocks` KiB, grown when it is too small.
    fn blocks(&mut self, blocks: usize) -> &mut [Block] {
        if self.0.len() < blocks {
            self.0.resize(blocks, Block::default());
        }
        self.0.get_mut(..blocks).unwrap_or_default()
    }
}

/// What a thread hashes with, made at first use and kept from hash to hash.
#[derive(Default)]
pub(crate) struct Tools {
    pub(super) arena: Arena,
    lanes: Option<Lanes>,
}

impl Tools {
    /// The memory for bcrypt, as wide as it gets: whoever uses it says how many go together.
    pub(super) fn lanes(&mut self) -> &mut Lanes {
        self.lanes.get_or_insert_with(|| {
            let mut lanes = Lanes::new();
            lanes.set_width(Width::MAX);
            lanes
        })
    }
}

impl Scheme {
    /// The class of new hashes.
    pub fn class(self) -> CostClass {
        match self {
            Self::Argon2id { memory_kib, iterations } => {
                CostClass::Argon2 { kind: Argon2Kind::Id, memory: memory_kib, iterations, parallelism: 1 }
            }
            Self::Bcrypt { cost } => CostClass::Bcrypt { cost: u8::try_from(cost).unwrap_or(u8::MAX) },
        }
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Argon2id { .. } => "argon2id",
            Self::Bcrypt { .. } => "bcrypt",
        }
    }

    /// Hashes a new password on its own; None when the algorithm is one of batches, or does not allow the parameters.
    pub(crate) fn hash(self, password: &[u8], rng: &Rng, arena: &mut Arena) -> Option<String> {
        let salt = rng.bytes::<SALT_BYTES>();
        match self {
            Self::Argon2id { memory_kib, iterations } => {
                let params = Params::new(memory_kib, iterations, 1, Some(OUTPUT_BYTES)).ok()?;
                let blocks = params.block_count();
                let mut output = [0; OUTPUT_BYTES];
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into_with_memory(password, &salt, &mut output, arena.blocks(blocks))
                    .ok()?;
                let hash = Argon2Hash {
                    kind: Argon2Kind::Id,
                    memory: memory_kib,
                    iterations,
                    parallelism: 1,
                    salt: salt.to_vec(),
                    tag: output.to_vec(),
                };
                output.zeroize();
                Some(hash.to_string())
            }
            // Computed in lock-step with others, by the thread that took them together.
            Self::Bcrypt { .. } => None,
        }
    }
}

/// Whether `password` is the one behind `stored`: its bytes by the rules of the stored hash. bcrypt is checked on its
/// own here; the engine takes several together.
pub(crate) fn verify(stored: &StoredHash, password: &[u8], tools: &mut Tools) -> bool {
    match stored.format() {
        Format::Argon2(hash) => {
            let algorithm = match hash.kind {
                Argon2Kind::D => Algorithm::Argon2d,
                Argon2Kind::I => Algorithm::Argon2i,
                Argon2Kind::Id => Algorithm::Argon2id,
            };
            let Ok(params) =
                Params::new(hash.memory, hash.iterations, hash.parallelism, Some(hash.tag.len()))
            else {
                return false;
            };
            let blocks = params.block_count();
            let mut output = vec![0; hash.tag.len()];
            let computed = Argon2::new(algorithm, Version::V0x13, params).hash_password_into_with_memory(
                password,
                &hash.salt,
                &mut output,
                tools.arena.blocks(blocks),
            );
            let same = verify_slices_are_equal(&output, &hash.tag).is_ok();
            output.zeroize();
            computed.is_ok() && same
        }
        Format::Bcrypt(_) | Format::BcryptSha256(_) => {
            let question = Question::check(stored, password);
            let hashes = question.as_ref().map(|question| bcrypt::many(tools.lanes(), &[question]));
            let hash = hashes.and_then(|hashes| hashes.into_iter().next().flatten());
            question.is_some_and(|question| hash.is_some_and(|hash| question.is_answered_by(&hash)))
        }
        Format::Pbkdf2(hash) => foreign::pbkdf2(hash, password),
        Format::Scrypt(hash) => foreign::scrypt(hash, password),
        Format::Firebase(hash) => foreign::firebase(hash, password),
        Format::ShaCrypt(hash) => foreign::sha_crypt(hash, password),
    }
}
