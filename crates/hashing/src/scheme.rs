//! One hash, computed on the calling thread.

pub(crate) use argon2_arena::Arena;
use argon2_arena::{Error, Kind, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bcrypt_lanes::{Lanes, Width};
use model::Rng;
use protocol::wire::password_hash::{Argon2Hash, Argon2Kind, CostClass, Format, StoredHash};
use zeroize::Zeroize;

use crate::bcrypt::{self, BcryptJob};
use crate::imported;

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
pub const BCRYPT_BYTES: usize = 72;

/// What a thread hashes with, made at first use and kept from hash to hash.
#[derive(Default)]
pub(crate) struct WorkerBuffers {
    pub(crate) arena: Arena,
    lanes: Option<Lanes>,
}

impl WorkerBuffers {
    /// The memory for bcrypt, as wide as it gets: whoever uses it says how many go together.
    pub(crate) fn lanes(&mut self) -> &mut Lanes {
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

    /// Memory of one hash, in bytes.
    pub(crate) fn memory_bytes(self) -> usize {
        match self {
            Self::Argon2id { memory_kib, .. } => usize::try_from(memory_kib).unwrap_or(0) << 10,
            Self::Bcrypt { .. } => 0,
        }
    }

    /// Whether it takes the whole of a password.
    pub(crate) fn takes(self, password: &str) -> bool {
        match self {
            Self::Argon2id { .. } => true,
            Self::Bcrypt { .. } => {
                let bytes = crate::normalise(password);
                bytes.expose().len() <= BCRYPT_BYTES && !bytes.expose().contains(&0)
            }
        }
    }

    /// Hashes a new password on its own; None when the algorithm is one of batches, or does not allow the parameters.
    pub(crate) fn hash(self, password: &[u8], rng: &Rng, arena: &mut Arena) -> Option<String> {
        let salt = rng.bytes::<SALT_BYTES>();
        match self {
            Self::Argon2id { memory_kib, iterations } => {
                let mut output = [0; OUTPUT_BYTES];
                arena.hash(&Params::argon2id(memory_kib, iterations), password, &salt, &mut output).ok()?;
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

/// Whether `password` is the one behind `stored`: its bytes by the rules of the stored hash. None when there is no
/// memory to find out. bcrypt is checked on its own here; the engine takes several together.
pub(crate) fn verify(stored: &StoredHash, password: &[u8], buffers: &mut WorkerBuffers) -> Option<bool> {
    match stored.format() {
        Format::Argon2(hash) => argon2(hash, password, &mut buffers.arena),
        Format::Bcrypt(_) | Format::BcryptSha256(_) => {
            let question = BcryptJob::check(stored, password)?;
            let hashes = bcrypt::hash_batch(buffers.lanes(), &[&question]);
            Some(hashes.into_iter().flatten().any(|hash| question.is_answered_by(&hash)))
        }
        Format::Pbkdf2(hash) => Some(imported::pbkdf2(hash, password)),
        Format::Scrypt(hash) => imported::scrypt(hash, password),
        Format::Firebase(hash) => imported::firebase(hash, password),
        Format::ShaCrypt(hash) => Some(imported::sha_crypt(hash, password)),
    }
}

fn argon2(hash: &Argon2Hash, password: &[u8], arena: &mut Arena) -> Option<bool> {
    let params = Params {
        kind: match hash.kind {
            Argon2Kind::D => Kind::D,
            Argon2Kind::I => Kind::I,
            Argon2Kind::Id => Kind::Id,
        },
        version: Version::V13,
        memory_kib: hash.memory,
        iterations: hash.iterations,
        parallelism: hash.parallelism,
    };
    let mut output = vec![0; hash.tag.len()];
    let computed = arena.hash(&params, password, &hash.salt, &mut output);
    let same = verify_slices_are_equal(&output, &hash.tag).is_ok();
    output.zeroize();
    match computed {
        Ok(()) => Some(same),
        Err(Error::OutOfMemory) => None,
        // Parameters that nothing can be hashed with are nobody's.
        Err(_) => Some(false),
    }
}
