//! The audit trail: every event becomes a record of a hash-chained journal, and background jobs ship the
//! journal to the database and to other sinks. Personal data in a record is encrypted with a key that can be
//! destroyed.
//!
//! Recording never blocks a request, and this crate has no rules of accounts, sessions or tokens.

mod dead_letters;
mod detail_keys;
pub mod details;
mod intent_log;
mod journaled;
pub mod metrics;
mod record;
mod recorder;
mod repeated;
pub mod ship;
pub mod sinks;
mod statement;
mod user_numbers;
pub mod verify;

use std::io;

use sched_policy::{Class, Thread};

pub use self::dead_letters::{Refused, SET_ASIDE};
pub use self::detail_keys::DetailKeyFile;
pub use self::intent_log::{IntentLog, SEGMENTS};
pub use self::journaled::{ReadJournal, read_journaled};
pub use self::record::{CHECKPOINT, markdown, row};
pub use self::recorder::{Auditor, Condition};
pub use self::statement::{Statement, Voucher, latest_statement};
pub use self::user_numbers::highest_user;

/// Sets batch scheduling for an audit thread, so that it does not preempt request threads: under load it runs
/// a moment later, with a larger batch.
fn step_aside() {
    // Where that is not permitted, the thread has the default policy.
    let _ = Thread::current().set_class(Class::Batch);
}

/// Runs file operations on a separate thread, so that a disk that hangs blocks nothing else.
///
/// # Errors
/// When that thread has ended.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
