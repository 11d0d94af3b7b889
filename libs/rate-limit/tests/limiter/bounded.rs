use std::time::Duration;

use rate_limit::{Backoff, Capacity, Key, Limiter, Millis};

use super::{Numbers, SECOND, keys, rule};

#[test]
fn ten_million_random_keys_stay_within_the_stated_bytes() {
    // given room for 100,000 keys
    let capacity = Capacity::of_keys(100_000);
    let limiter = Limiter::new(capacity);
    let mut numbers = Numbers(1);

    // when ten million keys come within a window
    for number in 0..10_000_000_u64 {
        let (key, shared) = keys(numbers.key());
        let _ = limiter.acquire(&rule(3, 60 * SECOND), key, shared, Millis(number / 1_000));
        if number % 1_000_000 == 0 {
            assert!(limiter.bytes() <= Limiter::most_bytes(capacity), "{} bytes", limiter.bytes());
        }
    }

    // then the first are there and the others counted in shared keys
    assert!(limiter.keys() >= 99_000 && limiter.keys() <= 100_256, "{} keys", limiter.keys());
    assert!(limiter.bytes() <= Limiter::most_bytes(capacity));
    assert!(limiter.overflows() >= 9_899_000);
}

#[test]
fn keys_whose_window_is_over_leave_as_others_come() {
    // given a limiter that is full of keys with long histories
    let limiter = Limiter::new(Capacity::of_keys(1_000));
    let mut numbers = Numbers(2);
    for _ in 0..1_000 {
        let (key, shared) = keys(numbers.key());
        for now in 0..5 {
            let _ = limiter.acquire(&rule(5, SECOND), key, shared, Millis(now));
        }
    }
    let full = limiter.bytes();

    // when time goes on and a few other keys come again and again
    for now in 0..4_000_u64 {
        let (key, shared) = keys(u128::from(now % 100));
        let _ = limiter.acquire(&rule(5, SECOND), key, shared, Millis(2 * SECOND + now));
    }

    // then the others are gone with their memory, and none of them had to share its budget
    assert!(limiter.keys() <= 100, "{} keys", limiter.keys());
    assert!(limiter.bytes() < full);
    let before = limiter.overflows();
    for _ in 0..500 {
        let (key, shared) = keys(numbers.key());
        assert!(limiter.acquire(&rule(1, SECOND), key, shared, Millis(7 * SECOND)).admitted);
    }
    assert_eq!(limiter.overflows(), before);
}

#[test]
fn a_refusal_survives_a_flood_of_other_keys() {
    // given keys that are refused, by a rule and by failures
    let limiter = Limiter::new(Capacity { keys: 1_000, history_bytes: 10_000 });
    let logins = Backoff {
        free: 1,
        first: Duration::from_secs(30),
        most: Duration::from_secs(30),
        forget: Duration::from_mins(15),
    };
    let minute = rule(4, 60 * SECOND);
    let mut numbers = Numbers(3);
    let refused: Vec<u128> = (0..20).map(|_| numbers.key()).collect();
    let acquire = |number, now| {
        let (key, shared) = keys(number);
        limiter.acquire(&minute, key, shared, Millis(now)).admitted
    };
    let attempt = |number: u128, now| {
        let (key, shared) = keys(number ^ (1 << 127));
        limiter.attempt(&logins, key, shared, Millis(now)).is_ok()
    };
    for number in &refused {
        assert!((0..4).all(|now| acquire(*number, now)));
        assert!(attempt(*number, 0));
    }

    // when a million others come, of both kinds
    for number in 0..500_000 {
        let now = 4 + number / 25;
        let _ = acquire(numbers.key(), now);
        let _ = attempt(numbers.key(), now);
    }

    // then the first are still refused, until their time is over
    for number in &refused {
        assert!(!attempt(*number, 30 * SECOND - 1));
    }
    for number in &refused {
        assert!(!acquire(*number, 60 * SECOND - 1));
    }
    for number in &refused {
        assert!(acquire(*number, 60 * SECOND + 3));
    }
}

#[test]
fn in_a_full_table_new_keys_share_the_budget_of_their_prefix() {
    // given a table that is full
    let limiter = Limiter::new(Capacity::of_keys(64));
    let five = rule(5, 60 * SECOND);
    for number in 0..64 {
        let (key, shared) = keys(number << 8);
        assert!(limiter.acquire(&five, key, shared, Millis(0)).admitted);
    }
    assert_eq!((limiter.keys(), limiter.overflows()), (64, 0));

    // when 256 new keys of one prefix come, with one request each
    let admitted = (0..256)
        .filter(|number| {
            let (key, shared) = keys((99 << 8) + number);
            limiter.acquire(&five, key, shared, Millis(1)).admitted
        })
        .count();

    // then they have one budget together, and keys that are there keep their own
    assert_eq!(admitted, 5);
    assert_eq!((limiter.keys(), limiter.overflows()), (64, 256));
    let (key, shared) = keys(0);
    assert_eq!(limiter.acquire(&five, key, shared, Millis(1)).remaining, 3);
}

#[test]
fn requests_and_attempts_that_share_a_slot_do_not_forgive_each_other() {
    // given a limiter without room for keys of their own
    let limiter = Limiter::new(Capacity { keys: 0, history_bytes: 0 });
    let once = rule(1, 60 * SECOND);
    let logins = Backoff {
        free: 1,
        first: Duration::from_secs(30),
        most: Duration::from_secs(30),
        forget: Duration::from_mins(15),
    };

    // when requests and attempts of many keys alternate
    let mut passed = (0, 0);
    for number in 0..1_000 {
        passed.0 += u32::from(limiter.acquire(&once, Key(number), Key(number % 100), Millis(0)).admitted);
        passed.1 += u32::from(limiter.attempt(&logins, Key(number), Key(number % 100), Millis(0)).is_ok());
    }

    // then no shared key passes twice
    assert!((1..=100).contains(&passed.0) && (1..=100).contains(&passed.1), "{passed:?}");
}

#[test]
fn a_key_takes_48_bytes() {
    assert_eq!(Limiter::KEY_BYTES, 48);
    let empty = Limiter::most_bytes(Capacity::of_keys(0));
    let million = Limiter::most_bytes(Capacity { keys: 1_000_000, history_bytes: 0 });
    assert!((million - empty) / 1_000_000 < 57, "with its part of the buckets and of the shared keys");
}
