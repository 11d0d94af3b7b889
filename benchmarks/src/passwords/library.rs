//! The hashing libraries alone.

use std::hint::black_box;
use std::time::Duration;

use argon2_arena::{Arena, Params};
use bcrypt_lanes::{Cost, Job, Lanes, Password, Rules, Version, Width};
use sched_policy::Thread;
use tokio::time::Instant;

use super::instance::Scheme;
use crate::rounds::Figures;

const COST: u8 = 12;
const PAIRS: usize = 9;
const ARGON2_PAIRS: usize = 101;

/// Lanes with the width that the engine chooses.
pub(super) fn lanes() -> Lanes {
    let mut lanes = Lanes::new();
    let begun = Instant::now();
    let width = lanes.calibrate(|| begun.elapsed()).best(1.35);
    lanes.set_width(width);
    lanes
}

/// Computes one batch of the lanes' width.
pub(super) fn batch(lanes: &mut Lanes, cost: u8) -> usize {
    let width = lanes.width().get();
    let (Some(cost), Ok(password)) =
        (Cost::new(cost), Password::new(b"a rather long password", Rules::STRICT))
    else {
        return 0;
    };
    let jobs: Vec<_> =
        (0..).take(width).map(|n| Job { password, salt: [n; 16], version: Version::B }).collect();
    let mut hashes = vec![None; width];
    let _ = black_box(lanes.hash_many(cost, &jobs, &mut hashes));
    width
}

/// Prints the speed of one core, in processor time of this thread.
pub(super) fn run() {
    bcrypt();
    argon2();
}

/// The processor time of `work`: other processes affect it less than the wall-clock time.
fn time(work: impl FnOnce()) -> Duration {
    let thread = Thread::current();
    let before = thread.cpu_time().unwrap_or_default();
    work();
    thread.cpu_time().unwrap_or_default().saturating_sub(before)
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn bcrypt() {
    let mut many = lanes();
    let mut single = Lanes::new();
    single.set_width(Width::MIN);
    let width = many.width().get();
    println!("bcrypt cost {COST}, one core, {PAIRS} interleaved rounds; the engine takes {width} together");

    let mut theirs = Figures::new("bcrypt crate, one hash", "ms");
    let mut one = Figures::new("bcrypt-lanes, one hash", "ms");
    let mut batched = Figures::new(format!("bcrypt-lanes, a batch of {width}"), "ms");
    let mut rate = Figures::new("hashes a second, batch / crate", "x");
    let mut alone = Figures::new("a single hash, crate / lanes", "x");
    let mut latency = Figures::new("latency, batch / single of lanes", "x");

    let wide = f64::from(u32::try_from(width).unwrap_or(1));
    for _ in 0..PAIRS {
        let crate_took = millis(time(|| {
            let _ = black_box(bcrypt::hash_with_salt("a rather long password", u32::from(COST), [7; 16]));
        }));
        let one_took = millis(time(|| {
            batch(&mut single, COST);
        }));
        let batch_took = millis(time(|| {
            batch(&mut many, COST);
        }));
        theirs.push(crate_took);
        one.push(one_took);
        batched.push(batch_took);
        rate.push(crate_took * wide / batch_took);
        alone.push(crate_took / one_took);
        latency.push(batch_took / one_took);
    }

    for figures in [&theirs, &one, &batched, &rate, &alone, &latency] {
        figures.print(None);
    }
}

fn argon2() {
    println!("Argon2id 19 MiB t=2 p=1, one core, {ARGON2_PAIRS} interleaved rounds");
    let mut theirs = Figures::new("argon2 crate, memory kept", "ms");
    let mut ours = Figures::new("argon2-arena", "ms");
    let mut ratio = Figures::new("hashes a second, arena / crate", "x");
    let mut blocks = vec![argon2::Block::default(); 19 << 10];
    let mut arena = Arena::new();
    let (password, salt) = (b"a rather long password", [7; 16]);

    for _ in 0..ARGON2_PAIRS {
        let crate_took = millis(time(|| {
            let params = argon2::Params::new(19 << 10, 2, 1, Some(32)).unwrap_or_default();
            let crate_ = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
            let mut tag = [0; 32];
            let _ = black_box(crate_.hash_password_into_with_memory(password, &salt, &mut tag, &mut blocks));
        }));
        let arena_took = millis(time(|| {
            let mut tag = [0; 32];
            let _ = black_box(arena.hash(&Params::argon2id(19 << 10, 2), password, &salt, &mut tag));
        }));
        theirs.push(crate_took);
        ours.push(arena_took);
        ratio.push(crate_took / arena_took);
    }

    println!("  kernel {:?}", arena.kernel());
    for figures in [&theirs, &ours, &ratio] {
        figures.print(None);
    }
}

/// A closure that computes hashes of a scheme with one call each of the ordinary crate.
pub(super) fn plain(scheme: Scheme) -> Box<dyn FnMut() -> usize> {
    match scheme {
        Scheme::Bcrypt12 => Box::new(|| {
            let hashed = bcrypt::hash_with_salt("a rather long password", u32::from(COST), [7; 16]);
            usize::from(black_box(hashed).is_ok())
        }),
        Scheme::Argon2id => {
            let mut blocks = vec![argon2::Block::default(); 19 << 10];
            Box::new(move || {
                let params = argon2::Params::new(19 << 10, 2, 1, Some(32)).unwrap_or_default();
                let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
                let (password, mut tag) = (b"a rather long password", [0; 32]);
                let hashed = argon2.hash_password_into_with_memory(password, &[7; 16], &mut tag, &mut blocks);
                usize::from(black_box(hashed).is_ok())
            })
        }
    }
}

/// A closure that computes hashes of a scheme and returns their number.
pub(super) fn hasher(scheme: Scheme) -> Box<dyn FnMut() -> usize> {
    match scheme {
        Scheme::Bcrypt12 => {
            let mut lanes = lanes();
            Box::new(move || batch(&mut lanes, COST))
        }
        Scheme::Argon2id => {
            let mut arena = Arena::new();
            Box::new(move || {
                let mut tag = [0; 32];
                let hashed =
                    arena.hash(&Params::argon2id(19 << 10, 2), b"a rather long password", &[7; 16], &mut tag);
                usize::from(black_box(hashed).is_ok())
            })
        }
    }
}
