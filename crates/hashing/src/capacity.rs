//! The hashing speed of this node, and the waiting times that it predicts.

use std::collections::HashMap;
use std::time::Duration;

use protocol::wire::password_hash::CostClass;

/// How many times as long a batch of bcrypt takes as a single hash, for batches of one and more: the
/// assumption before this node is measured.
const CURVE: [f64; 8] = [1.0, 1.05, 1.1, 1.15, 1.25, 1.4, 1.6, 1.8];

/// The time that each class of hashes takes, as a moving average of real jobs.
#[derive(Debug)]
pub(crate) struct Capacity {
    /// Threads that hash.
    threads: f64,
    /// The duration of bcrypt batches relative to a single hash.
    curve: [f64; 8],
    /// The size of a bcrypt batch.
    width: usize,
    /// For each class, the thread time of a single hash in seconds, and the number of samples.
    single: HashMap<CostClass, (f64, u32)>,
}

impl Capacity {
    pub(crate) fn new(threads: f64) -> Self {
        Self { threads: threads.max(1.0), curve: CURVE, width: 4, single: HashMap::new() }
    }

    /// Stores the measured curve and batch size of bcrypt.
    pub(crate) fn calibrate(&mut self, curve: [f64; 8], width: usize) {
        self.curve = curve;
        self.width = width.clamp(1, curve.len());
    }

    /// The most jobs of a class that are computed in one batch.
    pub(crate) fn width(&self, class: &CostClass) -> usize {
        if is_bcrypt(class) { self.width } else { 1 }
    }

    /// Records that a batch of `jobs` took `took`. A much longer one (the machine was suspended, or another
    /// process used it) counts as at most twice the mean, so it takes several of them to move the average.
    pub(crate) fn measured(&mut self, class: &CostClass, jobs: usize, took: Duration) {
        let sample = took.as_secs_f64() / self.stretch(class, jobs);
        let (mean, samples) = self.single.entry(*class).or_insert((sample, 0));
        *samples = samples.saturating_add(1);
        let capped = sample.min(*mean * 2.0);
        *mean += (capped - *mean) / f64::from((*samples).min(8));
    }

    /// The thread time of a single hash in seconds: measured, or scaled from another cost of the same
    /// algorithm; zero without any measurement.
    fn single(&self, class: &CostClass) -> f64 {
        if let Some((mean, _)) = self.single.get(class) {
            return *mean;
        }
        let alike = self.single.iter().filter(|(known, _)| known.algorithm() == class.algorithm());
        alike.map(|(known, (mean, _))| mean * class.work() / known.work()).fold(0.0, f64::max)
    }

    /// The thread time of one job of a class in a full batch; zero without any measurement.
    pub(crate) fn unit(&self, class: &CostClass) -> Duration {
        let width = self.width(class);
        let seconds = self.single(class) * self.stretch(class, width) / float(width);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 1_000_000)
    }

    /// How long the waiting jobs will take to compute.
    pub(crate) fn wait<'a>(&self, waiting: impl Iterator<Item = (&'a CostClass, usize)>) -> Duration {
        let work: f64 = waiting.map(|(class, jobs)| self.unit(class).as_secs_f64() * float(jobs)).sum();
        Duration::try_from_secs_f64(work / self.threads).unwrap_or(Duration::MAX / 1_000_000)
    }

    /// The hashes of a class per second; `None` without any measurement.
    pub(crate) fn capacity(&self, class: &CostClass) -> Option<f64> {
        let unit = self.unit(class).as_secs_f64();
        (unit > 0.0).then(|| self.threads / unit)
    }

    /// Whether this class itself was measured.
    pub(crate) fn knows(&self, class: &CostClass) -> bool {
        self.single.contains_key(class)
    }

    /// The time between two jobs of a class that end, while all threads compute such jobs.
    pub(crate) fn step(&self, class: &CostClass) -> Duration {
        self.wait([(class, 1)].into_iter())
    }

    fn stretch(&self, class: &CostClass, jobs: usize) -> f64 {
        if is_bcrypt(class) {
            let last = self.curve.len();
            self.curve.get(jobs.clamp(1, last) - 1).copied().unwrap_or(1.0)
        } else {
            float(jobs.max(1))
        }
    }
}

/// Whether hashes of this class are computed in batches.
pub(crate) fn is_bcrypt(class: &CostClass) -> bool {
    matches!(class, CostClass::Bcrypt { .. })
}

#[expect(clippy::cast_precision_loss, reason = "a queue has at most thousands")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn argon2() -> CostClass {
        CostClass::Argon2 {
            kind: protocol::wire::password_hash::Argon2Kind::Id,
            memory: 19_456,
            iterations: 2,
            parallelism: 1,
        }
    }

    #[test]
    fn a_batch_of_bcrypt_counts_by_its_curve() {
        let mut capacity = Capacity::new(2.0);
        let class = CostClass::Bcrypt { cost: 12 };
        capacity.calibrate([1.0, 1.0, 1.0, 1.2, 2.0, 3.0, 4.0, 5.0], 4);
        capacity.measured(&class, 4, Duration::from_millis(240));
        // A single hash takes 200 ms, four together 240: 60 ms each, on two threads.
        assert_eq!(capacity.unit(&class), Duration::from_millis(60));
        assert_eq!(capacity.wait([(&class, 100)].into_iter()), 3 * SECOND);
        assert!((capacity.capacity(&class).unwrap() - 33.3).abs() < 0.1);
        assert_eq!((capacity.width(&class), capacity.width(&argon2())), (4, 1));
        // An unmeasured algorithm is not predicted.
        assert_eq!((capacity.unit(&argon2()), capacity.capacity(&argon2())), (Duration::ZERO, None));
        // Another cost of the same algorithm is scaled by its work.
        assert_eq!(capacity.unit(&CostClass::Bcrypt { cost: 13 }), Duration::from_millis(120));
        // One long sample moves the mean only a little; repeated ones move it fully.
        capacity.measured(&class, 1, 60 * SECOND);
        assert_eq!(capacity.unit(&class), Duration::from_millis(90));
        for _ in 0..40 {
            capacity.measured(&class, 1, SECOND);
        }
        assert!(capacity.unit(&class) > Duration::from_millis(290), "{:?}", capacity.unit(&class));
    }
}
