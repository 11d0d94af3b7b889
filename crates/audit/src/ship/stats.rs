//! Statistics of shipping, for metrics and health.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::metric::{Histogram, HistogramSnapshot};

/// Counts shipped records and failures. Cheap to read.
#[derive(Debug, Default)]
pub struct ShipStats {
    shipped: AtomicU64,
    dead: AtomicU64,
    backlog: AtomicU64,
    batches: Batches,
    last_error: Mutex<Option<String>>,
    parts: Mutex<Vec<Arc<ShipStats>>>,
}

/// Durations of storing a batch.
#[derive(Debug)]
struct Batches(Histogram);

impl Default for Batches {
    fn default() -> Self {
        Self(Histogram::new(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]))
    }
}

impl ShipStats {
    /// Statistics of another journal that is shipped to the same sink: its counts are included here.
    pub fn part(&self) -> Arc<Self> {
        let part = Arc::<Self>::default();
        self.parts().push(Arc::clone(&part));
        part
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Arc<Self>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sum(&self, count: fn(&Self) -> u64) -> u64 {
        self.parts().iter().map(|part| count(part)).sum()
    }

    /// Records that arrived since the start.
    pub fn shipped(&self) -> u64 {
        self.shipped.load(Ordering::Relaxed) + self.sum(Self::shipped)
    }

    /// Records that became dead letters since the start.
    pub fn dead(&self) -> u64 {
        self.dead.load(Ordering::Relaxed) + self.sum(Self::dead)
    }

    /// Records that were ready and had not arrived at the last check.
    pub fn backlog(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed) + self.sum(Self::backlog)
    }

    /// Durations of storing the batches.
    pub fn batches(&self) -> HistogramSnapshot {
        let mut all = self.batches.0.snapshot();
        for part in self.parts().iter() {
            all.add(&part.batches());
        }
        all
    }

    /// The error of the last step; None when it succeeded.
    pub fn last_error(&self) -> Option<String> {
        let own = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        own.or_else(|| self.parts().iter().find_map(|part| part.last_error()))
    }

    /// Counts a batch that arrived.
    pub fn arrived(&self, records: u64, took: Duration) {
        self.shipped.fetch_add(records, Ordering::Relaxed);
        self.batches.0.observe(took);
    }

    /// Counts dead letters.
    pub fn set_aside(&self, records: u64) {
        self.dead.fetch_add(records, Ordering::Relaxed);
    }

    /// Sets the number of ready records.
    pub fn left(&self, records: u64) {
        self.backlog.store(records, Ordering::Relaxed);
    }

    /// Records the result of the last step.
    pub fn tell(&self, error: Option<String>) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}
