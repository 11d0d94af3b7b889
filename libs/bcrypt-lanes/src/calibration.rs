//! Measures how fast each width is on this machine.

use core::time::Duration;

use crate::kernel::Kernel;
use crate::lane::Lane;
use crate::lanes::Width;

/// Samples of each width. They are interleaved, so that other load on the machine affects all widths alike,
/// and the fastest counts, so that the choice depends less on that load.
const SAMPLES: usize = 25;

/// Key expansions in a sample: a few hundred microseconds.
const SWEEPS: usize = 8;

/// The duration of a batch of each width, measured on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// The fastest sample of the widths from one up.
    fastest: [Duration; Width::MAX.get()],
}

impl Calibration {
    pub(crate) fn measure(kernel: Kernel, lanes: &mut [Lane], mut clock: impl FnMut() -> Duration) -> Self {
        for (seed, lane) in (1..).zip(lanes.iter_mut()) {
            lane.reset();
            lane.mix(&[seed; 18]);
        }
        kernel.sweep(lanes);
        let mut fastest = [Duration::MAX; Width::MAX.get()];
        for _ in 0..SAMPLES {
            for (width, fastest) in (1..).zip(&mut fastest) {
                let Some(lanes) = lanes.get_mut(..width) else { continue };
                let start = clock();
                for _ in 0..SWEEPS {
                    kernel.sweep(lanes);
                }
                *fastest = clock().saturating_sub(start).min(*fastest);
            }
        }
        Self { fastest }
    }

    /// The latency of a batch of this width, relative to a single hash.
    pub fn latency(&self, width: Width) -> f64 {
        let [single, ..] = self.fastest;
        let batch = self.fastest.get(width.get() - 1).copied().unwrap_or(single);
        if single.is_zero() { 1.0 } else { batch.as_secs_f64() / single.as_secs_f64() }
    }

    /// The hashes per second of a batch of this width, relative to a single hash.
    #[expect(clippy::cast_precision_loss, reason = "one to eight")]
    pub fn throughput(&self, width: Width) -> f64 {
        width.get() as f64 / self.latency(width).max(f64::MIN_POSITIVE)
    }

    /// The width with the most hashes a second among those whose latency is at most `limit` times a single
    /// hash's.
    pub fn best(&self, limit: f64) -> Width {
        let mut best = Width::MIN;
        for width in Width::all().filter(|&width| self.latency(width) <= limit) {
            if self.throughput(width) > self.throughput(best) {
                best = width;
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::Calibration;
    use crate::{Lanes, Width};

    fn of(millis: [u64; 8]) -> Calibration {
        Calibration { fastest: millis.map(Duration::from_millis) }
    }

    fn best(calibration: &Calibration, limit: f64) -> usize {
        calibration.best(limit).get()
    }

    #[test]
    fn the_limit_on_latency_is_kept() {
        let calibration = of([187, 190, 195, 203, 217, 240, 272, 296]);
        assert_eq!(best(&calibration, 1.35), 6);
        assert_eq!(best(&calibration, 1.5), 7);
        assert_eq!(best(&calibration, 2.0), 8);
        assert_eq!(best(&calibration, 1.0), 1);
        assert_eq!(best(&calibration, 0.5), 1);
    }

    #[test]
    fn a_width_without_gain_is_not_chosen() {
        let calibration = of([100, 210, 310, 410, 510, 610, 710, 810]);
        assert_eq!(best(&calibration, 99.0), 1);
        assert_eq!(best(&of([0; 8]), 1.35), 8, "a clock that stands still");
    }

    #[test]
    #[cfg_attr(miri, ignore = "a thousand key expansions")]
    fn the_clock_is_read_before_and_after_each_sample() {
        let mut now = Duration::ZERO;
        let mut readings = 0;
        let calibration = Lanes::new().calibrate(|| {
            readings += 1;
            now += Duration::from_millis(1);
            now
        });
        assert_eq!(readings, 2 * 8 * super::SAMPLES);
        assert!(Width::all().all(|width| (calibration.latency(width) - 1.0).abs() < 1e-9));
    }
}
