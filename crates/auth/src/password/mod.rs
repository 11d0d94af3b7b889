//! Passwords: what may be one, how it is hashed, and where.

mod bcrypt;
mod blocklist;
mod breach;
mod hasher;
mod imported;
pub mod pepper;
mod policy;
mod rehash;
mod scheme;
mod set;

use std::time::Duration;

pub use blocklist::Blocklist;
pub use breach::{BREACH_BITS, BREACH_KIND, Breaches, hash as breach_hash};
pub use hasher::{Counts, HashingMetrics, PasswordHasher, Priority, Refusal, Rehashed, Requester};
pub(crate) use pepper::open_stored;
pub use pepper::{PepperService, Unreadable};
pub(crate) use policy::received;
pub use policy::{Policy, normalise};
pub use rehash::{keep_rehashed, learn_kinds};
pub use scheme::Scheme;
pub use set::NotHashed;
pub(crate) use set::hash_new;

/// What the configuration says about passwords.
#[derive(Clone, Debug)]
pub struct PasswordSettings {
    /// How new passwords are hashed.
    pub scheme: Scheme,
    /// Threads that hash.
    pub threads: usize,
    /// How many processors they may use all together, where a quota says so.
    pub processor_share: Option<f64>,
    /// Longest wait for a hash to begin.
    pub queue_deadline: Duration,
    /// Fewest code points of a new password.
    pub min_length: usize,
    /// Passwords that everybody tries first.
    pub blocklist: Blocklist,
    /// Passwords that appeared in breaches.
    pub breaches: Option<Breaches>,
    /// Whether stored hashes are sealed with a pepper.
    pub pepper: bool,
    /// Names of this service, which are no passwords either.
    pub service_names: Vec<String>,
}
