//! Passwords: what may be one, checks of stored hashes, peppers, and better hashes in the background.

mod blocklist;
mod breach;
mod check;
pub mod pepper;
mod policy;
mod rehash;
mod set;

pub use blocklist::Blocklist;
pub use breach::{BREACH_BITS, BREACH_KIND, Breaches, hash as breach_hash};
pub(crate) use check::check_password;
pub(crate) use pepper::open_stored;
pub use pepper::{PepperService, Unreadable};
pub use policy::Policy;
pub(crate) use policy::received;
pub(crate) use rehash::rehash_if_outdated;
pub use rehash::{keep_rehashed, learn_kinds};
pub use set::NotHashed;
pub(crate) use set::hash_new;

/// What the configuration says about passwords.
#[derive(Clone, Debug)]
pub struct PasswordSettings {
    /// How they are hashed.
    pub hashing: hashing::Settings,
    /// Fewest code points of a new password.
    pub min_length: usize,
    /// Common passwords, which are refused.
    pub blocklist: Blocklist,
    /// Passwords that appeared in breaches.
    pub breaches: Option<Breaches>,
    /// Whether stored hashes are sealed with a pepper.
    pub pepper: bool,
    /// Names of this service, which are no passwords either.
    pub service_names: Vec<String>,
}
