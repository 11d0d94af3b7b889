//! One part of the keys, behind a mutex of its own.

use crate::entries::Room;
use crate::slot::Slot;

/// Keys in buckets by their hash, and the slots of shared keys.
#[derive(Debug)]
pub(crate) struct Table {
    /// The latest time that was passed.
    pub(crate) now: u64,
    buckets: Box<[Vec<Slot>]>,
    keys: usize,
    most: usize,
    calls: u32,
    /// The bucket that is visited next for keys that are over.
    hand: usize,
    /// Shared keys by their hash, those of requests apart from those of attempts. Keys of one hash count
    /// together, so that there is always room.
    shared: [Box<[Slot]>; 2],
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counted {
    Requests,
    Attempts,
}

impl Table {
    /// The average number of keys in a bucket of a full table.
    const BUCKET: usize = 4;
    /// A call for a new key visits the next bucket, and every fourth call for a key that is there.
    const CALLS_A_VISIT: u32 = 4;
    /// How many buckets a call visits that finds the table full.
    const VISITS: usize = 4;

    pub(crate) fn new(most: usize, shared: usize) -> Self {
        let buckets = (0..Self::buckets(most)).map(|_| Vec::new()).collect();
        let slots = || (0..shared).map(|_| Slot::new(0)).collect();
        let shared = [slots(), slots()];
        Self { now: 0, buckets, keys: 0, most, calls: 0, hand: 0, shared }
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys
    }

    /// The bytes of an empty table.
    pub(crate) fn fixed_bytes(most: usize, shared: usize) -> usize {
        Self::buckets(most) * size_of::<Vec<Slot>>() + 2 * shared * size_of::<Slot>()
    }

    /// The bytes of its buckets and shared keys.
    pub(crate) fn bytes(&self) -> usize {
        Self::fixed_bytes(self.most, self.shared[0].len())
    }

    fn buckets(most: usize) -> usize {
        most.div_ceil(Self::BUCKET).max(1)
    }

    /// The slot of a key; a new one if it has none. `None` if there is no room for a new one.
    pub(crate) fn slot(&mut self, key: u128, hash: u32, room: &Room) -> Option<&mut Slot> {
        let own = place(hash, self.buckets.len());
        let index = self.find(own, key);
        self.calls = self.calls.wrapping_add(1);
        if index.is_none() || self.calls.is_multiple_of(Self::CALLS_A_VISIT) {
            self.visit_next(room);
        }
        if index.is_none() && self.keys >= self.most {
            self.remove_over(own, room);
            for _ in 0..Self::VISITS {
                self.visit_next(room);
            }
            if self.keys >= self.most {
                return None;
            }
        }

        let bucket = self.buckets.get_mut(own)?;
        let index = index.unwrap_or(bucket.len());
        if index == bucket.len() {
            bucket.reserve_exact(1);
            bucket.push(Slot::new(key));
            self.keys += 1;
        }
        bucket.get_mut(index)
    }

    /// The slot of a key, if it has one.
    pub(crate) fn existing(&mut self, key: u128, hash: u32) -> Option<&mut Slot> {
        let own = place(hash, self.buckets.len());
        let index = self.find(own, key)?;
        self.buckets.get_mut(own)?.get_mut(index)
    }

    /// The slot of a shared key.
    pub(crate) fn shared(&mut self, hash: u32, counted: Counted) -> Option<&mut Slot> {
        let [requests, attempts] = &mut self.shared;
        let slots = match counted {
            Counted::Requests => requests,
            Counted::Attempts => attempts,
        };
        let place = place(hash, slots.len());
        slots.get_mut(place)
    }

    fn find(&self, bucket: usize, key: u128) -> Option<usize> {
        self.buckets.get(bucket)?.iter().position(|slot| slot.key == key)
    }

    fn visit_next(&mut self, room: &Room) {
        self.hand = if self.hand + 1 < self.buckets.len() { self.hand + 1 } else { 0 };
        self.remove_over(self.hand, room);
        let now = self.now;
        for slots in &mut self.shared {
            let slot = self.hand % slots.len();
            if let Some(slot) = slots.get_mut(slot).filter(|slot| slot.is_over(now)) {
                slot.clear(room);
            }
        }
    }

    /// Removes the keys of a bucket of which nothing counts any more.
    fn remove_over(&mut self, bucket: usize, room: &Room) {
        let now = self.now;
        let Some(bucket) = self.buckets.get_mut(bucket) else { return };
        let before = bucket.len();
        bucket.retain_mut(|slot| {
            let is_over = slot.is_over(now);
            if is_over {
                slot.clear(room);
            }
            !is_over
        });
        if bucket.len() < before {
            self.keys -= before - bucket.len();
            bucket.shrink_to_fit();
        }
    }
}

/// Maps a hash to one of `places`.
fn place(hash: u32, places: usize) -> usize {
    let scaled = (u64::from(hash) * u64::try_from(places).unwrap_or_default()) >> 32;
    usize::try_from(scaled).unwrap_or_default()
}
