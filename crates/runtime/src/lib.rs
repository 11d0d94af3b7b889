//! What code is handed to run with: a spawner of owned tasks, the audit context, the proof that no connection is held,
//! and counters for metrics.
//!
//! Promise of this crate: no I/O. It knows the values of `model` and nothing above them.

pub mod audit;
pub mod metric;
mod parked;
mod spawner;

pub use audit::{AuditContext, NoopRecorder, PendingAudit, Receipts, Recorder};
pub use parked::{Parked, ReleasesConnection};
pub use spawner::Spawner;
