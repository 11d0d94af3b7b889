//! How the shipping of the journal is, as metrics and health read it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counts what was shipped, and what was not. Cheap to read.
#[derive(Debug, Default)]
pub struct Shipping {
    shipped: AtomicU64,
    dead: AtomicU64,
    backlog: AtomicU64,
    batches: AtomicU64,
    batch_micros: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Shipping {
    /// Records that arrived since the start.
    pub fn shipped(&self) -> u64 {
        self.shipped.load(Ordering::Relaxed)
    }

    /// Records that were set aside since the start.
    pub fn dead(&self) -> u64 {
        self.dead.load(Ordering::Relaxed)
    }

    /// Records that were ready and had not arrived when it was last looked.
    pub fn backlog(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed)
    }

    /// How many batches arrived, and how long all of them took to be stored.
    pub fn batches(&self) -> (u64, Duration) {
        let micros = self.batch_micros.load(Ordering::Relaxed);
        (self.batches.load(Ordering::Relaxed), Duration::from_micros(micros))
    }

    /// Why the last step failed; None when it did not.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A batch of so many records arrived.
    pub fn arrived(&self, records: u64, took: Duration) {
        self.shipped.fetch_add(records, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batch_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// So many records were set aside.
    pub fn set_aside(&self, records: u64) {
        self.dead.fetch_add(records, Ordering::Relaxed);
    }

    /// So many records are ready.
    pub fn left(&self, records: u64) {
        self.backlog.store(records, Ordering::Relaxed);
    }

    /// How the last step went.
    pub fn tell(&self, error: Option<String>) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}
