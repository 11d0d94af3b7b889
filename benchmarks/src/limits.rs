//! The rate limiter: alone with a million keys, and what it costs a request.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use rate_limit::{Capacity, Key, Limiter, Millis, Rule};
use tokio::time::Instant;

use crate::Outcome;
use crate::contestant::{Contestant, me, processor_seconds, resident};
use crate::load::load;
use crate::rounds::{Figures, quantile};

const KEYS: u64 = 1_000_000;
const ROUNDS: usize = 9;
const DECISIONS: u64 = 100_000;
const RULE: Rule = Rule { most: 200, window: Duration::from_mins(1) };

/// Prints the time of a decision and the bytes of a million keys, with one request in the window of each, and
/// with five.
pub(super) fn run() -> Outcome<()> {
    println!("200 requests a minute, {KEYS} keys, one thread; {ROUNDS} rounds of {DECISIONS} decisions");
    let before = resident(std::process::id())?;
    // With a tenth more room than keys, since the tables fill unevenly.
    let capacity = Capacity::of_keys(usize::try_from(KEYS + KEYS / 10)?);
    let limiter = Limiter::new(capacity);
    for requests in [1, 5] {
        fill(&limiter, if requests == 1 { 0..1 } else { 1..requests });
        decisions(&limiter, requests, Millis(requests * 1_000 + 1_000));
        let resident = resident(std::process::id())? - before;
        println!(
            "  {:>10} bytes counted of {} keys, {resident:.1} MiB resident",
            limiter.bytes(),
            limiter.keys()
        );
    }
    println!(
        "  {:>10} bytes at most; {} decisions in shared keys",
        Limiter::most_bytes(capacity),
        limiter.overflows()
    );
    Ok(())
}

/// Prints how many `/me` a second a server answers with and without limits, by turns, and the processor time
/// of one, which depends less on what else runs on the machine.
pub(super) fn whole(root: &Path) -> Outcome<()> {
    const PAIRS: usize = 31;
    const SPAN: Duration = Duration::from_secs(1);
    let binary = root.join("target/release/gatewright");
    let on = [("GATEWRIGHT_RATE_LIMITS__GLOBAL", "10000000/minute")];
    let mut contestants = [
        Contestant::open("me, limits off", &binary, &binary, None, &[])?,
        Contestant::open("me, limits on", &binary, &binary, None, &on)?,
    ];
    for contestant in &mut contestants {
        contestant.settle()?;
    }

    let mut rates = contestants.each_ref().map(|one| Figures::new(one.name, "/s"));
    let mut times = contestants.each_ref().map(|one| Figures::new(one.name, "us of a processor"));
    let mut ratios = Figures::new("processor time, on / off, of each pair", "x");
    for pair in 0..PAIRS {
        let mut turn = [0.0; 2];
        for at in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (Some(contestant), Some(rates), Some(times), Some(turn)) =
                (contestants.get_mut(at), rates.get_mut(at), times.get_mut(at), turn.get_mut(at))
            else {
                continue;
            };
            let before = processor_seconds(contestant.server.pid())?;
            let rate = load(contestant.address, &mut contestant.clients, SPAN, me)?.rate;
            *turn = (processor_seconds(contestant.server.pid())? - before) / (rate * SPAN.as_secs_f64());
            rates.push(rate);
            times.push(*turn * 1e6);
        }
        let [off, on] = turn;
        ratios.push(on / off);
    }
    rates.iter().chain(&times).chain([&ratios]).for_each(|figures| figures.print(None));
    Ok(())
}

/// Each round is one request of every key, in a second.
fn fill(limiter: &Limiter, rounds: std::ops::Range<u64>) {
    for round in rounds {
        for number in 0..KEYS {
            let _ = limiter.acquire(
                &RULE,
                key(number),
                Key(number.into()),
                Millis(round * 1_000 + number / 1_000),
            );
        }
    }
}

/// Times single decisions of keys in no order.
fn decisions(limiter: &Limiter, requests: u64, now: Millis) {
    let mut medians = Figures::new(format!("decision, {requests} in the window, median"), "ns");
    let mut slow = Figures::new(format!("decision, {requests} in the window, 99 of 100"), "ns");
    for round in 0..ROUNDS as u64 {
        let times = (0..DECISIONS).map(|number| {
            let Key(any) = key(number + round * DECISIONS + 77);
            let key = key(u64::try_from(any >> 64).unwrap_or_default() % KEYS);
            let begun = Instant::now();
            black_box(limiter.acquire(&RULE, key, Key(0), now));
            begun.elapsed()
        });
        let times: Vec<Duration> = times.collect();
        medians.push(quantile(times.iter().copied(), 0.5) * 1e6);
        slow.push(quantile(times, 0.99) * 1e6);
    }
    medians.print(None);
    slow.print(None);
}

/// A key that looks random (SplitMix64).
fn key(number: u64) -> Key {
    let mut bits = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    Key(u128::from(bits) << 64 | u128::from(bits.rotate_left(17)))
}
