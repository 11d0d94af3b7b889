//! Counters and histograms of the engine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use runtime::metric::{Histogram, HistogramSnapshot};

/// Hashes since startup, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashingMetrics {
    /// Started by a thread.
    pub begun: u64,
    /// Completed.
    pub done: u64,
    /// Refused because of the deadline.
    pub shed: u64,
    /// Never started because the client had disconnected.
    pub cancelled: u64,
}

/// Counters and histograms of the engine.
#[derive(Debug)]
pub struct Counts {
    pub(crate) begun: AtomicU64,
    pub(crate) done: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) wait: Histogram,
    durations: Mutex<BTreeMap<&'static str, Histogram>>,
}

/// Upper bounds of waits and hashes, in seconds.
const BOUNDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl Default for Counts {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            begun: zero(),
            done: zero(),
            shed: zero(),
            cancelled: zero(),
            wait: Histogram::new(BOUNDS),
            durations: Mutex::default(),
        }
    }
}

impl Counts {
    /// The current counters.
    pub fn totals(&self) -> HashingMetrics {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HashingMetrics {
            begun: read(&self.begun),
            done: read(&self.done),
            shed: read(&self.shed),
            cancelled: read(&self.cancelled),
        }
    }

    /// How long jobs waited for a thread.
    pub fn waits(&self) -> HistogramSnapshot {
        self.wait.snapshot()
    }

    /// How long hashes took, by algorithm; a batch counts once.
    pub fn durations(&self) -> Vec<(&'static str, HistogramSnapshot)> {
        let durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.iter().map(|(algorithm, histogram)| (*algorithm, histogram.snapshot())).collect()
    }

    pub(crate) fn hashed(&self, algorithm: &'static str, took: Duration) {
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.entry(algorithm).or_insert_with(|| Histogram::new(BOUNDS)).observe(took);
    }
}
