//! The scheduling priority of the hashing threads.
//!
//! The threads start in the lowest scheduling class, where they take no time from requests. When other
//! processes use the processors, that is too little: while passwords wait and the threads get less than half
//! a core each, they are raised step by step, and lowered again afterwards. Where a lowered thread may not be
//! raised again (in most containers), none goes below the batch class.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sched_policy::{Class, Thread};
use tokio::time::Instant;

/// How often the priority is adjusted while there is work.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// The share of a core below which a thread with waiting jobs gets too little.
const ENOUGH: f64 = 0.5;
/// Looks without open jobs before the threads are lowered by a step: five seconds.
const CALM: u32 = 50;

/// Adjusts the scheduling class of the threads.
#[derive(Debug)]
pub(crate) struct WorkerPriority {
    lowest: Class,
    class: AtomicU8,
    threads: Mutex<Vec<Thread>>,
    /// The share of a core that each thread may use; `None` without a quota.
    share: Option<f64>,
}

/// The state between two looks.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    cpu: Option<(Instant, Duration)>,
    calm: u32,
}

impl Sample {
    /// Whether no job has been open for a while.
    pub(crate) fn is_calm(&self) -> bool {
        self.cpu.is_none() || self.calm >= CALM
    }
}

impl WorkerPriority {
    /// `share` is the share of a core that each thread may use, where a quota is set.
    pub(crate) fn new(share: Option<f64>) -> Self {
        let lowest = if sched_policy::may_raise() { Class::Idle } else { Class::Batch };
        Self { lowest, class: AtomicU8::new(number(lowest)), threads: Mutex::default(), share }
    }

    /// Registers the current thread; each worker calls it once.
    pub(crate) fn enter(&self) {
        let thread = Thread::current();
        set(thread, self.class());
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    /// The current scheduling class of the threads.
    pub(crate) fn class(&self) -> Class {
        match self.class.load(Ordering::Relaxed) {
            0 => Class::Idle,
            1 => Class::Batch,
            _ => Class::Normal,
        }
    }

    /// How long a thread rests after using `cpu` within `wall`, so that the quota leaves time for other
    /// threads.
    pub(crate) fn rest(&self, cpu: Duration, wall: Duration) -> Duration {
        self.share.map_or(Duration::ZERO, |share| cpu.div_f64(share.max(0.001)).saturating_sub(wall))
    }

    /// The scheduling class of the threads without work.
    pub(crate) fn lowest(&self) -> Class {
        self.lowest
    }

    /// Measures the threads once, while `busy` of them hash and `open` jobs wait or run, and raises or lowers
    /// them.
    pub(crate) fn look(&self, sample: &mut Sample, busy: usize, open: usize) {
        let now = Instant::now();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cpu = threads.iter().filter_map(|thread| thread.cpu_time().ok()).sum();
        let had = sample.cpu.replace((now, cpu)).map(|(then, before)| {
            let wall =
                now.duration_since(then).as_secs_f64() * f64::from(u32::try_from(busy).unwrap_or(1).max(1));
            cpu.saturating_sub(before).as_secs_f64() / wall.max(1e-6)
        });
        sample.calm = if open > 0 { 0 } else { sample.calm + 1 };
        let enough = ENOUGH.min(self.share.unwrap_or(1.0) * ENOUGH);
        let class = self.class();
        if had.is_some_and(|had| had < enough) && open > 0 {
            self.set(class.up(), &threads);
        } else if sample.calm >= CALM && class > self.lowest {
            self.set(class.down().max(self.lowest), &threads);
        }
    }

    /// Resets the sample and the class after a time without work.
    pub(crate) fn pause(&self, sample: &mut Sample) {
        *sample = Sample::default();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.set(self.lowest, &threads);
    }

    fn set(&self, class: Class, threads: &[Thread]) {
        if class == self.class() {
            return;
        }
        tracing::debug!(?class, "the hashing threads change their scheduling class");
        self.class.store(number(class), Ordering::Relaxed);
        for thread in threads {
            set(*thread, class);
        }
    }
}

fn set(thread: Thread, class: Class) {
    if let Err(error) = thread.set_class(class) {
        tracing::debug!(%error, ?class, "a hashing thread keeps its scheduling class");
    }
}

fn number(class: Class) -> u8 {
    match class {
        Class::Idle => 0,
        Class::Batch => 1,
        Class::Normal => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn starved_threads_are_raised_while_jobs_wait_and_lowered_afterwards() {
        let priority = WorkerPriority::new(None);
        let mut sample = Sample::default();
        // No thread is registered, so the measured time is zero.
        let mut look = async |waiting| {
            tokio::time::advance(LOOK).await;
            priority.look(&mut sample, 2, waiting);
            priority.class()
        };
        assert_eq!(look(9).await, priority.lowest, "one look is not enough");
        look(9).await;
        assert_eq!(look(9).await, Class::Normal);
        for _ in 0..2 * CALM {
            look(0).await;
        }
        assert_eq!(priority.class(), priority.lowest);
        look(0).await;
        assert_eq!(look(0).await, priority.lowest, "no job waits");
    }

    #[test]
    fn a_quota_is_kept_by_resting() {
        let millis = Duration::from_millis;
        let priority = WorkerPriority::new(Some(0.2));
        assert_eq!(priority.rest(millis(100), millis(100)), millis(400));
        // The kernel has already throttled the thread.
        assert_eq!(priority.rest(millis(100), millis(600)), millis(0));
        assert_eq!(WorkerPriority::new(None).rest(millis(100), millis(100)), millis(0));
    }
}
