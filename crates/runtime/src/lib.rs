//! Types that other crates run with: a spawner of owned tasks, the audit context, the proof that no
//! connection is held, and counters for metrics.
//!
//! This crate does no I/O. It uses the values of `model` and no crate above it.

pub mod audit;
pub mod metric;
mod parked;
mod spawner;

pub use audit::{AuditContext, NoopRecorder, PendingAudit, Receipts, Recorder};
pub use parked::{Parked, ReleasesConnection};
pub use spawner::Spawner;
