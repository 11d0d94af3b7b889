//! The engine room: what happens without a request asking for it. One file per job; holder of the back pool.
//!
//! A job is idempotent and goes on in steps. It claims its work in a short write, runs without a connection where it
//! is slow, and finishes in a short write; whatever stops it half-way, the next step goes on from what the database
//! says. [`Runner`] steps it by its period; a test calls [`Runner::step`] itself.

mod cleanup;
mod job;
mod passwords;
mod poll_revocations;
mod purge_erased_keys;
mod reconcile_intents;
mod repepper_hashes;
mod rotate_signing_keys;
mod runner;
mod ship;
#[cfg(test)]
mod tests;

pub use cleanup::Cleanup;
pub use job::{Job, JobError, Runs, Step};
pub use passwords::{LearnHashMix, StoreRehashes};
pub use poll_revocations::PollRevocations;
pub use purge_erased_keys::{Destroy, KeysOnDisk, PurgeErasedKeys};
pub use reconcile_intents::ReconcileIntents;
pub use repepper_hashes::RepepperHashes;
pub use rotate_signing_keys::RotateSigningKeys;
pub use runner::{Report, Runner};
pub use ship::{
    Database, DeadLetter, Endpoint, Forget, JournalTail, JsonLines, Otlp, Refused, RemoteSink, SET_ASIDE,
    Shipper, ShipperSettings, Sink, SinkError, TRIES, Transport, Webhook, row,
};
