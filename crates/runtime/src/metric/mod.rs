//! Counters and histograms, which the metrics page shows.

mod page;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Now;

pub use page::{Page, float};

/// Writes the metric families of another component.
pub type Collector = Arc<dyn Fn(&mut Page) + Send + Sync>;

/// A histogram of durations.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One count for each bound, and one for durations above the last.
    counts: Vec<AtomicU64>,
    nanos: AtomicU64,
}

/// A snapshot of a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bounds in seconds, each with the number of durations up to it.
    pub buckets: Vec<(f64, u64)>,
    /// Number of durations.
    pub count: u64,
    /// Sum of the durations, in seconds.
    pub sum: f64,
}

impl HistogramSnapshot {
    /// Adds the counts of another histogram with the same bounds.
    pub fn add(&mut self, other: &Self) {
        for ((_, count), (_, more)) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
        self.count += other.count;
        self.sum += other.sum;
    }
}

impl Histogram {
    /// A histogram with these upper bounds, in seconds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1).collect();
        Self { bounds, counts, nanos: AtomicU64::new(0) }
    }

    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The current counts.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut count = 0;
        let mut totals = self.counts.iter().map(|one| {
            count += one.load(Ordering::Relaxed);
            count
        });
        let buckets = self.bounds.iter().copied().zip(totals.by_ref()).collect();
        let all = totals.last().unwrap_or(0);
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        HistogramSnapshot { buckets, count: all, sum }
    }
}

/// The outcome of a run of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunOutcome {
    /// It succeeded.
    Done,
    /// It failed and will be retried.
    Failed,
    /// Another node runs the job.
    Elsewhere,
}

impl RunOutcome {
    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// Counts the runs of this node's jobs. Runs are rare, so a lock suffices.
#[derive(Debug, Default)]
pub struct JobMetrics(Mutex<JobCounts>);

/// The counts of jobs.
#[derive(Clone, Debug, Default)]
pub struct JobCounts {
    /// Runs, by job and outcome.
    pub runs: BTreeMap<(&'static str, RunOutcome), u64>,
    /// Time of the last successful run of each job.
    pub last_success: BTreeMap<&'static str, Now>,
}

impl JobMetrics {
    /// Counts a run of a job that ended at `now`.
    pub fn ran(&self, job: &'static str, how: RunOutcome, now: Now) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.runs.entry((job, how)).or_default() += 1;
        if how == RunOutcome::Done {
            counts.last_success.insert(job, now);
        }
    }

    /// The current counts.
    pub fn counts(&self) -> JobCounts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_success_of_a_job_is_kept_while_it_fails() {
        let jobs = JobMetrics::default();
        jobs.ran("keys", RunOutcome::Done, Now::from_seconds(1));
        jobs.ran("keys", RunOutcome::Failed, Now::from_seconds(2));
        jobs.ran("cleanup", RunOutcome::Elsewhere, Now::from_seconds(3));
        let counts = jobs.counts();
        let runs: Vec<_> = counts.runs.into_iter().collect();
        assert_eq!(
            runs,
            [
                (("cleanup", RunOutcome::Elsewhere), 1),
                (("keys", RunOutcome::Done), 1),
                (("keys", RunOutcome::Failed), 1)
            ]
        );
        assert_eq!(counts.last_success.into_iter().collect::<Vec<_>>(), [("keys", Now::from_seconds(1))]);
    }

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
