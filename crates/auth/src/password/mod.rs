//! Passwords: the policy for new ones, checks of stored hashes, peppers, and rehashing in the background.

mod blocklist;
mod breach;
mod check;
pub mod pepper;
mod policy;
mod rehash;
mod set;

pub use blocklist::Blocklist;
pub use breach::{BREACH_BITS, BREACH_KIND, Breaches, hash as breach_hash};
pub use check::Unchecked;
pub(crate) use check::{check_password, matches_hash};
pub(crate) use pepper::open_stored;
pub use pepper::{PepperService, Unreadable};
use policy::PASSWORD_BYTES;
pub use policy::Policy;
pub(crate) use policy::received;
pub(crate) use rehash::rehash_if_outdated;
pub use rehash::{keep_rehashed, learn_kinds};
pub use set::NotHashed;
pub(crate) use set::hash_new;

/// Settings of passwords.
#[derive(Clone, Debug)]
pub struct PasswordSettings {
    /// Settings of the hashing engine.
    pub hashing: hashing::Settings,
    /// Minimum length of a new password, in code points.
    pub min_length: usize,
    /// Common passwords, which are refused.
    pub blocklist: Blocklist,
    /// Passwords that appeared in breaches.
    pub breaches: Option<Breaches>,
    /// Whether stored hashes are sealed with a pepper.
    pub pepper: bool,
    /// Names of this service, which are refused as passwords.
    pub service_names: Vec<String>,
}

impl PasswordSettings {
    /// The default settings; the host of the issuer's URL is one of the service's names.
    pub(crate) fn for_issuer(issuer: &str) -> Self {
        let host = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or_default();
        Self {
            hashing: hashing::Settings::default(),
            min_length: 8,
            blocklist: Blocklist::Common,
            breaches: None,
            pepper: false,
            service_names: ["gatewright", host].into_iter().map(str::to_owned).collect(),
        }
    }
}
