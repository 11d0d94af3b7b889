//! Computes one hash on the calling thread.

pub(crate) use argon2_arena::Arena;
use argon2_arena::{Error, Kind, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bcrypt_lanes::{Lanes, Width};
use model::Rng;
use protocol::wire::password_hash::{Argon2Hash, Argon2Kind, CostClass, Format, StoredHash};
use zeroize::Zeroize;

use crate::bcrypt::{self, BcryptJob};
use crate::{digests, imported};

/// The scheme of new passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Argon2id (RFC 9106), one lane.
    Argon2id {
        /// Memory of one hash, in KiB.
        memory_kib: u32,
        /// Passes over the memory.
        iterations: u32,
    },
    /// bcrypt, version 2b.
    Bcrypt {
        /// The base-2 logarithm of the rounds.
        cost: u32,
    },
}

impl Scheme {
    /// The default memory of one Argon2id hash, in KiB.
    pub const ARGON2_MEMORY_KIB: u32 = 19 << 10;
    /// The default passes of Argon2id over the memory.
    pub const ARGON2_ITERATIONS: u32 = 2;
    /// The default cost of bcrypt.
    pub const BCRYPT_COST: u32 = 12;
}

impl Default for Scheme {
    fn default() -> Self {
        Self::Argon2id { memory_kib: Self::ARGON2_MEMORY_KIB, iterations: Self::ARGON2_ITERATIONS }
    }
}

const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;
/// bcrypt reads at most this many bytes; where it is configured, longer passwords are refused.
pub const BCRYPT_BYTES: usize = 72;

/// The buffers of a hashing thread, allocated at first use and reused.
#[derive(Default)]
pub(crate) struct WorkerBuffers {
    pub(crate) arena: Arena,
    lanes: Option<Lanes>,
}

impl WorkerBuffers {
    /// The buffers for bcrypt at full width; each batch uses as many lanes as it has jobs.
    pub(crate) fn lanes(&mut self) -> &mut Lanes {
        self.lanes.get_or_insert_with(|| {
            let mut lanes = Lanes::new();
            lanes.set_width(Width::MAX);
            lanes
        })
    }
}

impl Scheme {
    /// The cost class of new hashes.
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

    /// Whether the scheme covers all of the password.
    pub(crate) fn takes(self, password: &str) -> bool {
        match self {
            Self::Argon2id { .. } => true,
            Self::Bcrypt { .. } => {
                let bytes = crate::normalise(password);
                bytes.expose().len() <= BCRYPT_BYTES && !bytes.expose().contains(&0)
            }
        }
    }

    /// Hashes a new password; `None` when the algorithm works in batches or rejects the parameters.
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
            // The worker computes bcrypt in batches.
            Self::Bcrypt { .. } => None,
        }
    }
}

/// Whether `password` matches `stored`, by the rules of the stored hash; `None` without enough memory. This
/// computes a single bcrypt hash; the worker computes batches.
pub(crate) fn verify(stored: &StoredHash, password: &[u8], buffers: &mut WorkerBuffers) -> Option<bool> {
    match stored.format() {
        Format::Argon2(hash) => argon2(hash, password, &mut buffers.arena),
        Format::Bcrypt(_) | Format::BcryptSha256(_) => {
            let job = BcryptJob::check(stored, password)?;
            let hashes = bcrypt::hash_batch(buffers.lanes(), &[&job]);
            Some(hashes.into_iter().flatten().any(|hash| job.is_answered_by(&hash)))
        }
        Format::Pbkdf2(hash) => Some(imported::pbkdf2(hash, password)),
        Format::Scrypt(hash) => imported::scrypt(hash, password),
        Format::Firebase(hash) => imported::firebase(hash, password),
        Format::ShaCrypt(hash) => Some(imported::sha_crypt(hash, password)),
        Format::Digest(hash) => Some(digests::verify(hash, password)),
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
        // Invalid parameters match no password.
        Err(_) => Some(false),
    }
}
