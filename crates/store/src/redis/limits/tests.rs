//! The scripts decide as the library does.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rate_limit::{Capacity, Limiter, Millis};
use testkit::{Redis as Server, random};
use tokio::runtime::Runtime;

use super::*;
use crate::redis::Address;

/// Limits on a server of the test run, connected.
async fn limits(url: &str) -> Limits {
    let redis = Redis::new(Address::parse(url).unwrap(), None).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the runtime of the test ends its tasks")]
    let spawner = Spawner::new(|_, task| drop(tokio::spawn(task)));
    let limits =
        Limits::with_answer(Duration::from_secs(20), redis, b"realm", &spawner, CancellationToken::new());
    while limits.0.redis.current().is_none() {
        tokio::task::yield_now().await;
    }
    limits
}

/// Runs a case with each of `strategy`'s values.
fn check<S: Strategy>(
    cases: u32,
    strategy: S,
    case: &impl AsyncFn(&Limits, S::Value) -> Result<(), TestCaseError>,
) {
    let runtime = Runtime::new().unwrap();
    let server = Server::shared();
    let limits = runtime.block_on(limits(server.url()));
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    runner.run(&strategy, |value| runtime.block_on(case(&limits, value))).unwrap();
}

/// A time of day, and steps from it.
fn history(window: u64, burst: usize) -> impl Strategy<Value = (u64, Vec<(u64, usize)>)> {
    let step = prop_oneof![Just(0), 0..=window, 0..=window / 8, Just(window), Just(window - 1)];
    (1_u64 << 40..1 << 41, prop::collection::vec((step, 1..=burst), 1..20))
}

async fn is_decided_alike(
    limits: &Limits,
    rule: Rule,
    (begin, steps): (u64, Vec<(u64, usize)>),
) -> Result<(), TestCaseError> {
    let limiter = Limiter::new(Capacity::of_keys(10));
    let key = random::name("limit");
    let mut now = begin;
    for (step, burst) in steps {
        now += step;
        for _ in 0..burst {
            let ours = limiter.acquire(&rule, Key(1), Key(0), Millis(now));
            let theirs = limits.0.acquire(&rule, &key, Some(now)).await;
            prop_assert_eq!(theirs, Ok(ours), "at {}", now);
        }
    }
    Ok(())
}

#[test]
fn requests_are_decided_as_in_memory() {
    check(60, (1_u32..9, history(60_000, 4)), &async |limits, (most, history)| {
        let rule = Rule { most, window: Duration::from_mins(1) };
        is_decided_alike(limits, rule, history).await
    });
}

#[test]
fn many_requests_are_decided_as_in_memory() {
    check(6, (990_u32..1_010, history(60_000, 150)), &async |limits, (most, history)| {
        let rule = Rule { most, window: Duration::from_mins(1) };
        is_decided_alike(limits, rule, history).await
    });
}

#[test]
fn failures_are_decided_as_in_memory() {
    let backoff = Backoff {
        free: 5,
        first: Duration::from_secs(1),
        most: Duration::from_secs(30),
        forget: Duration::from_mins(15),
    };
    let pause = prop_oneof![Just(0), 0..3_000_u64, 0..60_000_u64, 0..1_000_000_u64, Just(1_000)];
    let step = prop_oneof![8 => Just(0), 1 => Just(1), 1 => Just(2)];

    let steps = (1_u64 << 40..1 << 41, prop::collection::vec((pause, step), 1..40));
    check(60, steps, &async |limits, (begin, steps)| {
        let limiter = Limiter::new(Capacity::of_keys(10));
        let key = Key(u128::from(begin));
        let mut now = begin;

        for (pause, step) in steps {
            now += pause;
            match step {
                0 => {
                    let ours = limiter.attempt(&backoff, key, Key(0), Millis(now));
                    let theirs = limits.0.attempt(&backoff, &limits.0.name(key), Some(now)).await;
                    prop_assert_eq!(theirs, Ok(ours), "at {}", now);
                }
                1 => {
                    limiter.succeeded(key);
                    prop_assert_eq!(limits.succeeded(key).await, Ok(()));
                }
                _ => {
                    limiter.refund(key);
                    prop_assert_eq!(limits.refund(key).await, Ok(()));
                }
            }
        }
        Ok(())
    });
}

#[tokio::test]
async fn a_clock_that_goes_back_refuses_for_at_most_one_more_window() {
    let server = Server::shared();
    let limits = limits(server.url()).await;
    let rule = Rule { most: 2, window: Duration::from_secs(10) };
    let (key, hour, late) = (random::name("limit"), 3_600_000, 1 << 41);

    // given a key that is refused
    for expected in [true, true, false] {
        let decision = limits.0.acquire(&rule, &key, Some(late)).await.unwrap();
        assert_eq!(decision.admitted, expected);
    }

    // when the clock goes back by an hour, both requests count as if they were made now
    let told = limits.0.acquire(&rule, &key, Some(late - hour)).await.unwrap();
    assert_eq!((told.admitted, told.reset), (false, Duration::from_secs(10)));
    let told = limits.0.acquire(&rule, &key, Some(late - hour + 9_000)).await.unwrap();
    assert_eq!((told.admitted, told.reset), (false, Duration::from_secs(1)), "and no later than that");
    assert!(limits.0.acquire(&rule, &key, Some(late - hour + 10_001)).await.unwrap().admitted);

    // then an attempt waits for the longest wait at most, too
    let backoff = Backoff {
        free: 1,
        first: Duration::from_secs(30),
        most: Duration::from_secs(30),
        forget: Duration::from_mins(15),
    };
    let key = random::name("limit");
    assert_eq!(limits.0.attempt(&backoff, &key, Some(late)).await, Ok(Ok(())));
    for (later, told) in [(0, Err(30)), (29_000, Err(1)), (30_000, Ok(()))] {
        let told = told.map_err(Duration::from_secs);
        assert_eq!(limits.0.attempt(&backoff, &key, Some(late - hour + later)).await, Ok(told), "{later}");
    }
}

#[test]
fn the_slot_of_a_key_is_that_of_the_specification() {
    // The check value of CRC-16/XMODEM is 0x31C3, below the number of slots.
    assert_eq!(circuit::slot("123456789"), 0x31C3);
}
