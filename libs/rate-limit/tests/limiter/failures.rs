use std::time::Duration;

use proptest::prelude::*;
use rate_limit::{Backoff, Key, Limiter, Millis};

use super::{SECOND, keys, limiter};

const LOGINS: Backoff = Backoff {
    free: 5,
    first: Duration::from_secs(1),
    most: Duration::from_secs(30),
    forget: Duration::from_mins(15),
};

fn attempt(limiter: &Limiter, number: u128, now: u64) -> Result<(), Duration> {
    let (key, shared) = keys(number);
    limiter.attempt(&LOGINS, key, shared, Millis(now))
}

fn wait(seconds: u64) -> Result<(), Duration> {
    Err(Duration::from_secs(seconds))
}

#[test]
fn after_five_failures_each_wait_is_twice_the_last_up_to_thirty_seconds() {
    // given five attempts at once
    let limiter = limiter();
    for _ in 0..5 {
        assert_eq!(attempt(&limiter, 1, 0), Ok(()));
    }

    // when further ones come as early as they may
    let mut now = 0;
    for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
        // then each is refused until its wait is over, and refused attempts move nothing
        for _ in 0..10 {
            assert_eq!(attempt(&limiter, 1, now), wait(seconds));
        }
        now += seconds * SECOND;
        assert_eq!(attempt(&limiter, 1, now - 1), Err(Duration::from_millis(1)));
        assert_eq!(attempt(&limiter, 1, now), Ok(()));
    }
    assert_eq!(attempt(&limiter, 2, now), Ok(()));
}

#[test]
fn failures_are_forgotten_after_a_quarter_of_an_hour_or_a_success() {
    let limiter = limiter();
    let forget = 15 * 60 * SECOND;
    for start in [0, forget] {
        for _ in 0..5 {
            assert_eq!(attempt(&limiter, 1, start), Ok(()));
        }
        assert_eq!(attempt(&limiter, 1, start), wait(1));
    }
    limiter.succeeded(Key(1));
    for _ in 0..5 {
        assert_eq!(attempt(&limiter, 1, forget), Ok(()));
    }
    limiter.succeeded(Key(2));
    assert_eq!(attempt(&limiter, 1, forget), wait(1));
}

#[test]
fn an_attempt_that_was_not_decided_is_taken_back() {
    // given six attempts, of which the last would make the next one wait for two seconds
    let limiter = limiter();
    for _ in 0..5 {
        assert_eq!(attempt(&limiter, 1, 0), Ok(()));
    }
    assert_eq!(attempt(&limiter, 1, 3 * SECOND), Ok(()));
    assert_eq!(attempt(&limiter, 1, 3 * SECOND), wait(2));

    // when it is taken back, the next one need not wait, and the one after it waits as long as it would have
    limiter.refund(Key(1));
    assert_eq!(attempt(&limiter, 1, 3 * SECOND), Ok(()));
    assert_eq!(attempt(&limiter, 1, 3 * SECOND), wait(2));

    // then taking back more than there is leaves nothing
    for _ in 0..10 {
        limiter.refund(Key(1));
    }
    for _ in 0..5 {
        assert_eq!(attempt(&limiter, 1, 3 * SECOND), Ok(()));
    }
    assert_eq!(attempt(&limiter, 1, 3 * SECOND), wait(1));
}

#[test]
fn a_wait_does_not_outlast_the_time_after_which_failures_are_forgotten() {
    let limiter = limiter();
    let short = Backoff { free: 1, forget: Duration::from_millis(500), ..LOGINS };
    assert_eq!(limiter.attempt(&short, Key(1), Key(0), Millis(0)), Ok(()));
    assert_eq!(limiter.attempt(&short, Key(1), Key(0), Millis(0)), Err(Duration::from_millis(500)));
    assert_eq!(limiter.attempt(&short, Key(1), Key(0), Millis(500)), Ok(()));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Attempt,
    Succeeded,
    Refund,
}

/// All attempts since the last success, and when they were.
#[derive(Default)]
struct Naive {
    failures: Vec<u64>,
    refunded: bool,
}

impl Naive {
    fn attempt(&mut self, now: u64) -> Result<(), Duration> {
        if self.failures.last().is_some_and(|last| now >= last + 15 * 60 * SECOND) {
            self.failures.clear();
        }
        let count = u32::try_from(self.failures.len()).unwrap();
        let seconds = if count < 5 || self.refunded { 0 } else { 2_u64.saturating_pow(count - 5).min(30) };
        let until = self.failures.last().map_or(0, |last| last + seconds * SECOND);
        if now < until {
            return Err(Duration::from_millis(until - now));
        }
        self.refunded = false;
        self.failures.push(now);
        Ok(())
    }

    /// The failure before the last one is as late as the last now: it was the last time that was heard of.
    fn refund(&mut self) {
        if let Some(last) = self.failures.pop()
            && let Some(before) = self.failures.last_mut()
        {
            *before = last;
            self.refunded = true;
        }
    }
}

proptest! {
    #[test]
    fn every_history_of_failures_is_decided_as_a_list_of_times_decides_it(
        history in prop::collection::vec(
            (
                prop_oneof![Just(0), 0..3 * SECOND, 0..60 * SECOND, 0..1_000 * SECOND, Just(SECOND)],
                prop_oneof![8 => Just(Step::Attempt), 1 => Just(Step::Succeeded), 1 => Just(Step::Refund)],
            ),
            1..60,
        ),
        begin in prop_oneof![Just(0), Just((1 << 32) - 5_000), 0..1_u64 << 50],
    ) {
        let limiter = limiter();
        let mut naive = Naive::default();
        let mut now = begin;

        for (pause, step) in history {
            now += pause;
            match step {
                Step::Attempt => prop_assert_eq!(attempt(&limiter, 1, now), naive.attempt(now), "at {}", now),
                Step::Succeeded => {
                    limiter.succeeded(Key(1));
                    naive = Naive::default();
                }
                Step::Refund => {
                    limiter.refund(Key(1));
                    naive.refund();
                }
            }
        }
    }
}
