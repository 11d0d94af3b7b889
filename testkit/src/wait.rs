//! Polling with a deadline, for the start and the end of other processes.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// Polls until `probe` returns `Some`, or gives up after `limit`.
pub(crate) fn until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_at_the_deadline_after_at_least_one_probe() {
        assert_eq!(until(Duration::ZERO, || Some(1)), Some(1));
        assert_eq!(until(Duration::ZERO, || None::<u8>), None);
        let mut left = 3;
        let found = until(Duration::from_mins(1), || {
            left -= 1;
            (left == 0).then_some("found")
        });
        assert_eq!(found, Some("found"));
    }
}
