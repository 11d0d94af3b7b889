//! Arenas against the `argon2` crate, on one thread:
//! `cargo bench -p argon2-arena [-- --memory 19456 --iterations 2 --pairs 31]`.
//!
//! Each ratio compares two consecutive runs, so that other load on the machine affects both alike; shown are
//! the median over the pairs, and in brackets the quartiles. Where Linux reports the time that the thread had
//! a core, this time is used, so that waiting for a core does not count. Both sides are built for the same
//! processor: baseline x86-64, unless `RUSTFLAGS` says otherwise. The crate uses AVX2 if it detects it.
#![expect(clippy::disallowed_methods, reason = "measured time belongs to benchmarks")]

use std::fmt;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Version};
use argon2_arena::{Arena, Kernel, Pages, Params};

const PASSWORD: &[u8] = b"correct horse";
const SALT: &[u8] = b"battery staple";

/// The memory handling around each hash.
#[derive(Clone, Copy)]
enum Habit {
    Keep,
    Release,
    Wipe,
}

struct Settings {
    params: Params,
    pairs: usize,
    clock: Clock,
}

fn main() -> ExitCode {
    let Some(settings) = Settings::from_arguments() else {
        eprintln!("cargo bench -p argon2-arena [-- --memory KIB --iterations 1.. --pairs 1..]");
        return ExitCode::FAILURE;
    };
    println!(
        "Argon2id, {} KiB, {} passes, one lane; {} interleaved pairs a line; median [quartiles]\n",
        settings.params.memory_kib, settings.params.iterations, settings.pairs
    );
    println!(
        "{:<10} {:<7} {:<9} {:>24} {:>24}   times as quick",
        "kernel", "pages", "memory", "ms a hash", "the crate's"
    );
    for kernel in Kernel::all() {
        for pages in [Pages::Usual, Pages::Huge] {
            for habit in [Habit::Keep, Habit::Release, Habit::Wipe] {
                settings.line(kernel, pages, habit);
            }
        }
    }
    ExitCode::SUCCESS
}

impl Settings {
    fn from_arguments() -> Option<Self> {
        let mut settings =
            Self { params: Params::argon2id(19456, 2), pairs: 31, clock: Clock(Instant::now()) };
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next()?.parse::<u32>().ok()?;
            match name.as_str() {
                "--memory" => settings.params.memory_kib = value,
                "--iterations" => settings.params.iterations = value,
                "--pairs" => settings.pairs = usize::try_from(value).ok().filter(|&pairs| pairs > 0)?,
                _ => return None,
            }
        }
        settings.params.check().ok()?;
        Some(settings)
    }

    /// One line of the table. The crate uses memory like the arena: kept, or allocated for each hash.
    fn line(&self, kernel: Kernel, pages: Pages, habit: Habit) {
        let mut arena = Arena::with(kernel, pages);
        let mut blocks = vec![Block::default(); usize::try_from(self.params.memory_kib).unwrap_or_default()];
        self.arena(&mut arena, Habit::Keep);
        let pairs: Vec<_> = (0..self.pairs)
            .map(|_| (self.the_crate(&mut blocks, habit), self.arena(&mut arena, habit)))
            .collect();
        let (ours, theirs) =
            (Spread::of(pairs.iter().map(|pair| pair.1)), Spread::of(pairs.iter().map(|pair| pair.0)));

        println!(
            "{:<10} {:<7} {:<9} {:>24} {:>24}   {}",
            kernel.name(),
            match pages {
                Pages::Usual => "usual",
                Pages::Huge => "huge",
            },
            match habit {
                Habit::Keep => "kept",
                Habit::Release => "fresh",
                Habit::Wipe => "wiped",
            },
            ours.to_string(),
            theirs.to_string(),
            Spread::of(pairs.iter().map(|(theirs, ours)| theirs / ours)),
        );
    }

    /// Milliseconds of one hash by the crate.
    fn the_crate(&self, blocks: &mut [Block], habit: Habit) -> f64 {
        let Params { memory_kib, iterations, .. } = self.params;
        let mut tag = [0; 32];
        let start = self.clock.now();
        let done = argon2::Params::new(memory_kib, iterations, 1, None).and_then(|params| {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            match habit {
                Habit::Release => argon2.hash_password_into(black_box(PASSWORD), SALT, &mut tag),
                Habit::Keep | Habit::Wipe => {
                    argon2.hash_password_into_with_memory(black_box(PASSWORD), SALT, &mut tag, &mut *blocks)
                }
            }
        });
        let elapsed = self.clock.now().saturating_sub(start);
        black_box(tag);
        assert!(done.is_ok());
        millis(elapsed)
    }

    /// Milliseconds of one hash by an arena.
    fn arena(&self, arena: &mut Arena, habit: Habit) -> f64 {
        let mut tag = [0; 32];
        let start = self.clock.now();
        let done = arena.hash(&self.params, black_box(PASSWORD), SALT, &mut tag);
        match habit {
            Habit::Keep => {}
            Habit::Release => arena.release(),
            Habit::Wipe => arena.wipe(),
        }
        let elapsed = self.clock.now().saturating_sub(start);
        black_box(tag);
        assert!(done.is_ok());
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
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [lower, median, upper] = [1, 2, 3].map(|quarters| self.quartile(quarters));
        write!(f, "{median:.2} [{lower:.2} to {upper:.2}]")
    }
}
