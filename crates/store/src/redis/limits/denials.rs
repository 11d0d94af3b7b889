//! Keys that are known to be refused for a while.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use rate_limit::Key;
use tokio::time::{Duration, Instant};

/// How many keys are remembered, at most.
const KEYS: usize = 16_384;

/// A refusal.
#[derive(Clone, Copy)]
struct Denial {
    key: Key,
    /// Until when the key is refused.
    until: Instant,
    /// Until when that is believed without asking.
    believed: Instant,
}

/// A table in which a key replaces the one that was in its place: a forgotten refusal costs one trip.
pub(super) struct Denials {
    hasher: RandomState,
    places: Box<[Mutex<Option<Denial>>]>,
}

impl Denials {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), places: (0..KEYS).map(|_| Mutex::default()).collect() }
    }

    /// How much longer a key is refused.
    pub(super) fn left(&self, key: Key) -> Option<Duration> {
        let denial = self.place(key, |place| *place)?;
        let now = Instant::now();
        let left = denial.until.saturating_duration_since(now);
        (denial.key == key && now < denial.believed && !left.is_zero()).then_some(left)
    }

    /// Remembers that a key is refused for so long, for `believed` at most.
    pub(super) fn remember(&self, key: Key, refused: Duration, believed: Duration) {
        let now = Instant::now();
        let denial = Denial { key, until: now + refused, believed: now + believed.min(refused) };
        self.place(key, |place| {
            *place = Some(denial);
            Some(())
        });
    }

    pub(super) fn forget(&self, key: Key) {
        self.place(key, |place| place.take_if(|denial| denial.key == key));
    }

    fn place<T>(&self, key: Key, act: impl FnOnce(&mut Option<Denial>) -> Option<T>) -> Option<T> {
        let keys = u64::try_from(KEYS).unwrap_or(u64::MAX);
        let place = usize::try_from(self.hasher.hash_one(key) % keys).unwrap_or_default();
        act(&mut self.places.get(place)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
