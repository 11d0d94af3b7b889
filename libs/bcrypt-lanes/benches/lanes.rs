//! Lanes against the `bcrypt` crate, on one thread: `cargo bench -p bcrypt-lanes [-- --cost 12 --pairs 9]`.
//!
//! Each ratio compares two consecutive runs, so that other load on the machine affects both alike; shown are
//! the median over the pairs, and in brackets the lowest, the quartiles and the highest. Where Linux reports
//! the time that the thread had a core, this time is used, so that waiting for a core does not count. Both
//! sides are built for the same processor: baseline x86-64, unless `RUSTFLAGS` says otherwise.
#![expect(clippy::disallowed_methods, reason = "measured time belongs to benchmarks")]

use std::fmt;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use bcrypt_lanes::{Cost, Job, Kernel, Lanes, Password, Rules, Version, Width};

/// The engine's limit on the latency of a batch, in latencies of a single hash.
const LATENCY_LIMIT: f64 = 1.35;

struct Settings {
    cost: Cost,
    pairs: usize,
    clock: Clock,
}

fn main() -> ExitCode {
    let Some(settings) = Settings::from_arguments() else {
        eprintln!("cargo bench -p bcrypt-lanes [-- --cost 4..31 --pairs 1..]");
        return ExitCode::FAILURE;
    };

    println!(
        "cost {}, {} interleaved pairs a line; median [lowest, quartiles, highest]",
        settings.cost.get(),
        settings.pairs
    );

    let mut fast = Lanes::new();
    for lanes in [&mut fast, &mut Lanes::with_kernel(Kernel::PORTABLE)] {
        println!("\n{} kernel against the `bcrypt` crate", lanes.kernel().name());
        for width in Width::all() {
            settings.against_the_crate(lanes, width);
        }
    }

    println!(
        "\n{} kernel: latency of a batch against a single hash of the same kernel",
        fast.kernel().name()
    );

    for width in Width::all().skip(1) {
        settings.against_a_single_hash(&mut fast, width);
    }
    let start = Instant::now();
    let calibration = fast.calibrate(|| start.elapsed());
    println!("\ncalibration, {:.0} ms", millis(start.elapsed()));

    for limit in [LATENCY_LIMIT, f64::INFINITY] {
        let best = calibration.best(limit);
        println!(
            "  latency up to {limit:.2}x: {} lanes, {:.2}x the hashes a second of one lane at {:.2}x its \
             latency",
            best.get(),
            calibration.throughput(best),
            calibration.latency(best),
        );
    }
    ExitCode::SUCCESS
}

impl Settings {
    fn from_arguments() -> Option<Self> {
        let mut settings = Self { cost: Cost::new(12)?, pairs: 9, clock: Clock(Instant::now()) };
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next()?;
            match name.as_str() {
                "--cost" => settings.cost = Cost::new(value.parse().ok()?)?,
                "--pairs" => settings.pairs = value.parse().ok().filter(|&pairs| pairs > 0)?,
                _ => return None,
            }
        }
        Some(settings)
    }

    fn against_the_crate(&self, lanes: &mut Lanes, width: Width) {
        let pairs: Vec<_> = (0..self.pairs).map(|_| (self.the_crate(), self.batch(lanes, width))).collect();
        let hashes = f64::from(u32::try_from(width.get()).unwrap_or(u32::MAX));
        println!(
            "  {} lanes  {:>6.1} ms a hash, the crate's {:>6.1}   hashes a second {}   latency {}",
            width.get(),
            Spread::of(pairs.iter().map(|(_, batch)| batch / hashes)).median(),
            Spread::of(pairs.iter().map(|(single, _)| *single)).median(),
            Spread::of(pairs.iter().map(|(single, batch)| single * hashes / batch)),
            Spread::of(pairs.iter().map(|(single, batch)| batch / single)),
        );
    }

    fn against_a_single_hash(&self, lanes: &mut Lanes, width: Width) {
        let pairs = (0..self.pairs).map(|_| (self.batch(lanes, Width::MIN), self.batch(lanes, width)));
        println!("  {} lanes  {}", width.get(), Spread::of(pairs.map(|(single, batch)| batch / single)));
    }

    /// Milliseconds of one hash by the crate.
    fn the_crate(&self) -> f64 {
        let start = self.clock.now();
        let hash = bcrypt::hash_with_salt(black_box(b"correct horse"), self.cost.get().into(), [9; 16]);
        drop(black_box(hash));
        millis(self.clock.now().saturating_sub(start))
    }

    /// Milliseconds of the same number of hashes at once.
    fn batch(&self, lanes: &mut Lanes, width: Width) -> f64 {
        lanes.set_width(width);
        let password = Password::new(b"correct horse", Rules::BYTES).unwrap_or_default();
        let job = Job { password, salt: [9; 16], version: Version::B };
        let jobs = [job; Width::MAX.get()];
        let mut hashes = [None; Width::MAX.get()];
        let (Some(jobs), Some(hashes)) = (jobs.get(..width.get()), hashes.get_mut(..width.get())) else {
            return f64::NAN;
        };
        let start = self.clock.now();
        let done = lanes.hash_many(self.cost, black_box(jobs), hashes);
        let elapsed = self.clock.now().saturating_sub(start);
        assert!(done.is_ok() && hashes.iter().all(Option::is_some));
        millis(elapsed)
    }
}

/// Advances while the thread has a core; always, if that cannot be measured.
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Duration {
        thread::yield_now(); // updates the kernel's accounting
        Self::on_a_core().unwrap_or_else(|| self.0.elapsed())
    }

    fn on_a_core() -> Option<Duration> {
        let account = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        account.split_ascii_whitespace().next()?.parse().map(Duration::from_nanos).ok()
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Sorted measurements.
struct Spread(Vec<f64>);

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<_> = figures.collect();
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    /// The quantile in quarters: 2 is the median.
    fn quartile(&self, quarters: usize) -> f64 {
        self.0.get(self.0.len().saturating_sub(1) * quarters / 4).copied().unwrap_or(f64::NAN)
    }

    fn median(&self) -> f64 {
        self.quartile(2)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [lowest, lower, median, upper, highest] = [0, 1, 2, 3, 4].map(|quarters| self.quartile(quarters));
        write!(f, "{median:.2}x [{lowest:.2}, {lower:.2} to {upper:.2}, {highest:.2}]")
    }
}
