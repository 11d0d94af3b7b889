//! Limits of requests for many keys, in bounded memory.
//!
//! - [`Limiter::acquire`] admits at most N requests of a key in any half-open window of a length W: a request
//!   at exactly t + W does not count the one at t. Refused requests are not counted.
//! - [`Limiter::attempt`] makes attempts that fail wait longer and longer.
//!
//! Up to N = [`Rule::EXACT`] this is exact to the millisecond. Above, requests are counted in intervals of
//! 100 ms (of W / 600 for windows over a minute), and each counts until its whole interval has left the
//! window: never more than N are admitted, and a client may wait up to one interval longer.
//!
//! # Memory
//! A key takes [`Limiter::KEY_BYTES`] bytes and, with requests of more than two intervals in its window, 8
//! bytes for each of these, in blocks that double. [`Limiter::most_bytes`] is the bound for everything. When
//! histories would exceed their part of it, the requests of a history that are closest to each other are
//! counted as if they were as late as the last of them.
//!
//! A key that does not count any more leaves when others come: each call visits a few of them, and no call
//! visits many. A key that counts never leaves. When there are as many of these as there may be, a new key
//! counts in the key that it shares with its neighbours (`shared`), whose space is reserved.
//!
//! # Time
//! The caller passes the time, in milliseconds of a monotonic clock. A time before an earlier one is taken as
//! the earlier one: nothing is forgotten.
//!
//! # Keys
//! A key belongs to one rule, or to one back-off: hash the rule's name into it. It is a keyed hash that the
//! caller made, so that clients cannot choose it; here it is hashed again with a random key for its place.

mod entries;
mod limiter;
mod slot;
mod table;

use std::time::Duration;

pub use limiter::Limiter;

/// At most `most` requests in any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// How many are admitted; 0 admits none.
    pub most: u32,
    /// The length of the window: whole milliseconds, a fraction counts as one; at most [`LONGEST`].
    pub window: Duration,
}

impl Rule {
    /// The largest `most` for which times are kept to the millisecond.
    pub const EXACT: u32 = 1_000;

    /// The length of the intervals in which requests are counted together, in milliseconds.
    pub fn interval(&self) -> u64 {
        if self.most <= Self::EXACT { 1 } else { self.window_millis().div_ceil(600).max(100) }
    }

    /// The length of the window in milliseconds.
    pub fn window_millis(&self) -> u64 {
        millis(self.window)
    }

    /// When a request at `now` no longer counts.
    fn leaves(&self, now: u64) -> u64 {
        let interval = self.interval();
        let last = (now - now % interval).saturating_add(interval - 1);
        last.saturating_add(self.window_millis())
    }
}

/// Waits after attempts that fail, such as logins with a wrong password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// How many attempts need not wait.
    pub free: u32,
    /// The wait after the last of the free attempts. It doubles with each further one.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
    /// After this time without an attempt, failures are forgotten; at most [`LONGEST`].
    pub forget: Duration,
}

impl Backoff {
    /// How long the next attempt waits after the last one of `failures`.
    pub fn wait(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free.max(1)) {
            None => Duration::ZERO,
            Some(doublings) => {
                let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
                self.first.saturating_mul(factor).min(self.most)
            }
        }
    }
}

/// The longest window, and the longest time after which failures are forgotten. Longer ones count as this.
pub const LONGEST: Duration = Duration::from_hours(20 * 24);

/// What requests are counted by: a keyed hash of a client's network, an account or a session, and of the
/// rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u128);

/// A time in milliseconds of a monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

/// The answer of [`Limiter::acquire`]. The fields are those of `RateLimit`
/// (draft-ietf-httpapi-ratelimit-headers): `r` and `t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on. It is counted then, and only then.
    pub admitted: bool,
    /// How many more would be admitted now.
    pub remaining: u32,
    /// How long until the oldest counted request leaves the window, and more are admitted than `remaining`
    /// says. When refused: exactly how long until the key is admitted again, if no other request of it is
    /// admitted before.
    pub reset: Duration,
}

/// How much a [`Limiter`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The most keys that count at once.
    pub keys: usize,
    /// The most bytes for histories of more than two requests.
    pub history_bytes: usize,
}

impl Capacity {
    /// Room for `keys` keys, with histories of 96 bytes on average.
    pub const fn of_keys(keys: usize) -> Self {
        Self { keys, history_bytes: keys.saturating_mul(96) }
    }
}

/// A duration as it is counted: whole milliseconds, rounded up, at most [`LONGEST`].
pub fn millis(duration: Duration) -> u64 {
    let millis = duration.min(LONGEST).as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX)
}
