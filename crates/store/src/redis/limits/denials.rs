//! Keys that are known to be refused for a while.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use rate_limit::Key;
use tokio::time::{Duration, Instant};

/// How many keys are remembered, at most.
const KEYS: usize = 16_384;

/// A key and until when it is refused.
type Denial = (Key, Instant);

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
        let left = denial.1.saturating_duration_since(Instant::now());
        (denial.0 == key && !left.is_zero()).then_some(left)
    }

    pub(super) fn remember(&self, key: Key, refused: Duration) {
        let until = Instant::now() + refused;
        self.place(key, |place| {
            *place = Some((key, until));
            Some(())
        });
    }

    pub(super) fn forget(&self, key: Key) {
        self.place(key, |place| place.take_if(|denial| denial.0 == key));
    }

    fn place<T>(&self, key: Key, act: impl FnOnce(&mut Option<Denial>) -> Option<T>) -> Option<T> {
        let keys = u64::try_from(KEYS).unwrap_or(u64::MAX);
        let place = usize::try_from(self.hasher.hash_one(key) % keys).unwrap_or_default();
        act(&mut self.places.get(place)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
