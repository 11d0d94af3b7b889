//! Jobs: periodic background work, independent of requests. One module per job, one list of them
//! ([`Registry`]).
//!
//! A job is idempotent and works in steps. A step claims its work in a short write, runs slow work without a
//! connection, and finishes in a short write; after an interruption the next step continues from the state of
//! the database. [`Runner`] steps each job at its period; tests call [`Runner::step`] directly.

mod cleanup;
mod job;
mod keep_clock;
mod learn_hash_mix;
mod poll_revocations;
mod purge_erased_keys;
mod reconcile_intents;
mod record_repeated;
mod registry;
mod repepper_hashes;
mod rotate_signing_keys;
mod runner;
mod ship_audit;
mod store_logins;
mod store_rehashes;
mod watch_logins;

pub use cleanup::Cleanup;
pub use job::{Job, JobError, Runs, Step};
pub use keep_clock::KeepClock;
pub use learn_hash_mix::LearnHashMix;
pub use poll_revocations::PollRevocations;
pub use purge_erased_keys::{Destroy, KeysOnDisk, PurgeErasedKeys};
pub use reconcile_intents::{ReconcileIntents, reconcile};
pub use record_repeated::RecordRepeated;
pub use registry::{AnyJob, Registry, RegistrySettings};
pub use repepper_hashes::RepepperHashes;
pub use rotate_signing_keys::RotateSigningKeys;
pub use runner::{Report, Runner};
pub use store_logins::StoreLogins;
pub use store_rehashes::StoreRehashes;
pub use watch_logins::WatchLogins;
