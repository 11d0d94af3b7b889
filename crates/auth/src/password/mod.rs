//! Passwords: what may be one, how it is hashed, and where.

mod blocklist;
mod hasher;
mod policy;
mod scheme;

use std::time::Duration;

pub use blocklist::Blocklist;
pub use hasher::{Hasher, HasherCounts, Refusal};
pub use policy::{Policy, normalise};
pub use scheme::Scheme;

/// What the configuration says about passwords.
#[derive(Clone, Debug)]
pub struct PasswordSettings {
    /// How new passwords are hashed.
    pub scheme: Scheme,
    /// Threads that hash.
    pub threads: usize,
    /// Longest wait for a hash to begin.
    pub queue_deadline: Duration,
    /// Fewest code points of a new password.
    pub min_length: usize,
    /// Passwords that everybody tries first.
    pub blocklist: Blocklist,
    /// Names of this service, which are no passwords either.
    pub service_names: Vec<String>,
}
