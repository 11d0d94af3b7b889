//! The limiter at its boundaries, beside a list of times, and when it is full.

#[cfg(test)]
mod bounded;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod requests;

use std::time::Duration;

use rate_limit::{Capacity, Key, Limiter, Rule};

const SECOND: u64 = 1_000;

fn rule(most: u32, window_millis: u64) -> Rule {
    Rule { most, window: Duration::from_millis(window_millis) }
}

fn limiter() -> Limiter {
    Limiter::new(Capacity::of_keys(1_000))
}

/// A key and the key that it shares with 255 others.
fn keys(number: u128) -> (Key, Key) {
    (Key(number), Key(number & !0xFF))
}

/// Numbers that look random, always the same.
struct Numbers(u64);

impl Numbers {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn key(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}
