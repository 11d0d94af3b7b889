use std::time::Duration;

use proptest::prelude::*;
use rate_limit::{Capacity, Decision, Limiter, Millis, Rule};

use super::{SECOND, keys, limiter, rule};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn the_sixth_of_five_a_minute_waits_until_the_first_is_a_minute_old() {
    // given five requests, ten seconds apart
    let limiter = limiter();
    let five = rule(5, 60 * SECOND);
    let (key, shared) = keys(1);
    let at = |now: u64| limiter.acquire(&five, key, shared, Millis(now));
    for number in 0..5_u32 {
        let expected = Decision {
            admitted: true,
            remaining: 4 - number,
            reset: millis(60 * SECOND - u64::from(number) * 10 * SECOND),
        };
        assert_eq!(at(7 + u64::from(number) * 10 * SECOND), expected);
    }

    // when the sixth comes too early, it is told exactly how long to wait, and does not count
    let refused = |reset| Decision { admitted: false, remaining: 0, reset: millis(reset) };
    for _ in 0..100 {
        assert_eq!(at(7 + 40 * SECOND), refused(20 * SECOND));
    }
    assert_eq!(at(7 + 60 * SECOND - 1), refused(1));

    // then it passes at the end of that wait, and the next one waits for the second
    assert!(at(7 + 60 * SECOND).admitted);
    assert_eq!(at(7 + 60 * SECOND), refused(10 * SECOND));
}

#[test]
fn requests_of_one_millisecond_count_each() {
    let limiter = limiter();
    let (key, shared) = keys(1);
    let admitted =
        (0..2_000).filter(|_| limiter.acquire(&rule(1_000, SECOND), key, shared, Millis(5)).admitted).count();
    assert_eq!(admitted, 1_000);
}

#[test]
fn a_rule_of_none_admits_none_and_a_window_of_nothing_admits_all() {
    let limiter = limiter();
    let (key, shared) = keys(1);
    let refused = limiter.acquire(&rule(0, SECOND), key, shared, Millis(5));
    assert_eq!(refused, Decision { admitted: false, remaining: 0, reset: millis(SECOND) });
    for _ in 0..10 {
        assert!(limiter.acquire(&rule(1, 0), key, shared, Millis(5)).admitted);
    }
}

#[test]
fn keys_do_not_count_for_each_other() {
    let limiter = limiter();
    for number in 0..500 {
        let (key, shared) = keys(number);
        assert!(limiter.acquire(&rule(1, SECOND), key, shared, Millis(5)).admitted);
        assert!(!limiter.acquire(&rule(1, SECOND), key, shared, Millis(5)).admitted);
    }
    assert_eq!((limiter.keys(), limiter.overflows()), (500, 0));
}

#[test]
fn a_stricter_rule_counts_what_was_admitted_before() {
    // given four requests under a rule of ten a second
    let limiter = limiter();
    let (key, shared) = keys(1);
    for now in [0, 100, 200, 300] {
        assert!(limiter.acquire(&rule(10, SECOND), key, shared, Millis(now)).admitted);
    }

    // when the rule becomes two a second, three have to leave
    let told = limiter.acquire(&rule(2, SECOND), key, shared, Millis(400));
    assert_eq!(told, Decision { admitted: false, remaining: 0, reset: millis(800) });

    // then it is admitted exactly then, and a shorter window does not bring the others back
    assert!(!limiter.acquire(&rule(2, 10), key, shared, Millis(1_199)).admitted);
    assert!(limiter.acquire(&rule(2, 10), key, shared, Millis(1_200)).admitted);
}

#[test]
fn a_time_that_goes_back_forgives_nothing() {
    let limiter = limiter();
    let (key, shared) = keys(1);
    let at = |now| limiter.acquire(&rule(1, SECOND), key, shared, Millis(now));
    assert!(at(10 * SECOND).admitted);
    assert_eq!(at(SECOND).reset, millis(10 * SECOND));
    assert!(!at(0).admitted && !at(11 * SECOND - 1).admitted);
    assert!(at(11 * SECOND).admitted);
}

#[test]
fn threads_together_admit_exactly_the_limit() {
    let limiter = limiter();
    let (key, shared) = keys(1);
    let admitted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let limiter = &limiter;
                scope.spawn(move || {
                    let hundred = rule(100, 60 * SECOND);
                    let mut admitted = 0;
                    for now in 0..1_000 {
                        admitted += usize::from(
                            limiter.acquire(&hundred, key, shared, Millis(now + thread)).admitted,
                        );
                    }
                    admitted
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(admitted, 100);
}

/// A list of the times at which admitted requests leave.
#[derive(Default)]
struct Naive {
    leave: Vec<u128>,
    latest: u64,
}

impl Naive {
    fn acquire(&mut self, rule: &Rule, now: u64) -> Decision {
        self.latest = self.latest.max(now);
        let (now, latest) = (u128::from(now), u128::from(self.latest));
        let window = rule.window.as_millis();
        let interval = if rule.most <= 1_000 { 1 } else { 100.max(window.div_ceil(600)) };
        let mut counted: Vec<u128> = self.leave.iter().copied().filter(|leaves| *leaves > latest).collect();
        counted.sort_unstable();

        let most = usize::try_from(rule.most).unwrap();
        let admitted = counted.len() < most;
        if admitted {
            let leaves = (latest / interval + 1) * interval - 1 + window;
            self.leave.push(leaves);
            counted.push(leaves);
        }
        let next = if admitted { counted.first() } else { counted.get(counted.len() - most) };
        let reset = u64::try_from(next.unwrap() - now).unwrap();
        Decision {
            admitted,
            remaining: u32::try_from(most - counted.len().min(most)).unwrap(),
            reset: millis(reset),
        }
    }
}

/// Steps in time, some back, and how many requests come then.
fn history(window: u64, burst: usize) -> impl Strategy<Value = Vec<(i64, usize)>> {
    let window = i64::try_from(window).unwrap();
    let step = prop_oneof![Just(0), 0..=window, 0..=window / 8, -window..0, Just(window), Just(window - 1)];
    prop::collection::vec((step, 1..=burst), 1..40)
}

/// Where histories begin: also where the lower 32 bits of the time begin anew.
fn begin() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just((1 << 32) - 5_000), 0..1_u64 << 50]
}

fn is_decided_alike(rule: &Rule, begin: u64, history: &[(i64, usize)]) -> Result<(), TestCaseError> {
    let limiter = limiter();
    let (key, shared) = keys(1);
    let mut naive = Naive::default();
    let mut now = begin;
    for (step, burst) in history {
        now = now.saturating_add_signed(*step);
        for _ in 0..*burst {
            let ours = limiter.acquire(rule, key, shared, Millis(now));
            prop_assert_eq!(ours, naive.acquire(rule, now), "at {}", now);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_history_is_decided_as_a_list_of_times_decides_it(
        most in 1_u32..9, begin in begin(), history in history(10_000, 4),
    ) {
        is_decided_alike(&rule(most, 10_000), begin, &history)?;
    }

    #[test]
    fn every_history_of_many_requests_is_decided_as_a_list_of_times_decides_it(
        most in 900_u32..1_100, begin in begin(), history in history(3_000, 150),
    ) {
        is_decided_alike(&rule(most, 3_000), begin, &history)?;
    }

    #[test]
    fn without_room_for_histories_no_window_has_more_than_the_limit(
        most in 1_u32..30, begin in begin(), history in history(10_000, 8),
    ) {
        let limiter = Limiter::new(Capacity { keys: 10, history_bytes: 0 });
        let (key, shared) = keys(1);
        let mut admitted: Vec<u64> = Vec::new();
        let mut now = begin;
        for (step, burst) in history {
            now = now.saturating_add_signed(step.max(0));
            for _ in 0..burst {
                let decision = limiter.acquire(&rule(most, 10_000), key, shared, Millis(now));
                let counted = admitted.iter().filter(|time| **time + 10_000 > now).count();
                if decision.admitted {
                    prop_assert!(counted < usize::try_from(most).unwrap());
                    admitted.push(now);
                } else {
                    let reset = u64::try_from(decision.reset.as_millis()).unwrap();
                    prop_assert!(reset > 0 && reset <= 10_000);
                }
            }
        }
    }
}

#[test]
fn without_room_for_histories_a_client_at_half_the_limit_is_never_refused() {
    let limiter = Limiter::new(Capacity { keys: 10, history_bytes: 0 });
    let (key, shared) = keys(1);
    for number in 0..10_000 {
        let decision = limiter.acquire(&rule(20, 60 * SECOND), key, shared, Millis(number * 6 * SECOND));
        assert!(decision.admitted, "{number}");
    }
}
