//! The engine room: what happens without a request asking for it. One file per job; holder of the back pool.
//!
//! A job is idempotent and goes on in steps. It claims its work in a short write, runs without a connection where it
//! is slow, and finishes in a short write; whatever stops it half-way, the next step goes on from what the database
//! says. [`Runner`] steps it by its period; a test calls [`Runner::step`] itself.

mod cleanup;
mod erasures;
mod job;
mod keys;
mod passwords;
mod peppers;
mod revocations;
mod runner;
mod settling;
mod ship;
#[cfg(test)]
mod tests;

pub use cleanup::Cleanup;
pub use erasures::{Destroy, ErasedKeys, KeysOnDisk};
pub use job::{Job, JobError, Runs, Step};
pub use keys::Keys;
pub use passwords::{HashKinds, Rehashes};
pub use peppers::PepperedHashes;
pub use revocations::Revocations;
pub use runner::{Report, Runner};
pub use settling::Settling;
pub use ship::{
    Carrier, Database, DeadLetter, End, Endpoint, Forget, Lines, Logs, Outside, Refused, SET_ASIDE, Shipper,
    ShipperSettings, Sink, SinkError, TRIES, Webhook, row,
};
