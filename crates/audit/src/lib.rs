//! The audit trail: every event becomes a record of a hash-chained journal, and one background worker ships the journal
//! to the database and to sinks elsewhere. What a record says of a person is encrypted under a key that can be destroyed.
//!
//! Promise of this crate: recording never blocks a request, and it knows no rule of accounts, sessions or tokens.

mod dead_letters;
mod detail_keys;
pub mod details;
mod intent_log;
pub mod metrics;
mod record;
mod recorder;
pub mod ship;
pub mod sinks;
pub mod verify;

use std::io;

use sched_policy::{Class, Thread};

pub use self::dead_letters::{Refused, SET_ASIDE};
pub use self::detail_keys::DetailKeyFile;
pub use self::intent_log::{IntentLog, SEGMENTS};
pub use self::record::{markdown, row};
pub use self::recorder::{Auditor, Condition};

/// A thread of the trail that wakes up displaces no request that runs: under load it comes a moment later, and finds
/// more to do at once.
fn step_aside() {
    // Where that is not to be had it is as every other thread.
    let _ = Thread::current().set_class(Class::Batch);
}

/// Does something with files where a disk that hangs holds up nothing else.
///
/// # Errors
/// When the thread that does it has ended.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
