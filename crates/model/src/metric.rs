//! Numbers that are counted where things happen and shown on the page of metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Durations, counted by upper bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above the last.
    counts: Vec<AtomicU64>,
    micros: AtomicU64,
}

/// A histogram as it stood.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bounds in seconds, each with how many durations were at most so long.
    pub buckets: Vec<(f64, u64)>,
    /// How many durations there were.
    pub count: u64,
    /// All of them together, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// A histogram with these upper bounds, in seconds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1).collect();
        Self { bounds, counts, micros: AtomicU64::new(0) }
    }

    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The histogram as it stands.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut count = 0;
        let mut totals = self.counts.iter().map(|one| {
            count += one.load(Ordering::Relaxed);
            count
        });
        let buckets = self.bounds.iter().copied().zip(totals.by_ref()).collect();
        let all = totals.last().unwrap_or(0);
        let sum = Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64();
        HistogramSnapshot { buckets, count: all, sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_every_bucket_that_holds_it() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for millis in [50, 100, 101, 1000, 5000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets, [(0.1, 2), (1.0, 4)]);
        assert_eq!(snapshot.count, 5);
        assert!((snapshot.sum - 6.251).abs() < 1e-9);
    }
}
