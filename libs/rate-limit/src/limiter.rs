//! The limiter: tables behind mutexes.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::entries::Room;
use crate::slot::Slot;
use crate::table::{Counted, Table};
use crate::{Backoff, Capacity, Decision, Key, Millis, Rule};

/// Counts requests and failures by key. Every call takes one mutex of many, for about the time that a few
/// kilobytes of memory take to read.
pub struct Limiter {
    hasher: RandomState,
    tables: Box<[Mutex<Table>]>,
    room: Room,
    overflows: AtomicU64,
}

impl Limiter {
    /// The bytes of a key with up to two requests in its window.
    pub const KEY_BYTES: usize = size_of::<Slot>();

    /// A limiter without any key.
    pub fn new(capacity: Capacity) -> Self {
        let Layout { tables, keys, shared } = Layout::of(capacity);
        Self {
            hasher: RandomState::new(),
            tables: (0..tables).map(|_| Mutex::new(Table::new(keys, shared))).collect(),
            room: Room::new(capacity.history_bytes),
            overflows: AtomicU64::new(0),
        }
    }

    /// The most bytes that a limiter of this capacity takes, without the allocator's own.
    pub fn most_bytes(capacity: Capacity) -> usize {
        let Layout { tables, keys, shared } = Layout::of(capacity);
        tables * (Table::fixed_bytes(keys, shared) + keys * Self::KEY_BYTES) + capacity.history_bytes
    }

    /// Counts a request of `key` and admits it, if the rule does. `shared` is the key that stands for it when
    /// there is no room for another key: that of a longer prefix, with fewer possible values.
    pub fn acquire(&self, rule: &Rule, key: Key, shared: Key, now: Millis) -> Decision {
        let verdict = self
            .with_slot(Counted::Requests, key, shared, now, |slot, now| slot.acquire(rule, now, &self.room));
        let reset = Duration::from_millis(verdict.next.saturating_sub(now.0));
        Decision { admitted: verdict.admitted, remaining: verdict.remaining, reset }
    }

    /// Counts an attempt of `key` as a failure, before its outcome is known: attempts at the same time do not
    /// pass together. A refused attempt does not count, and does not make the next one wait longer.
    ///
    /// # Errors
    /// How long the key has to wait, in whole milliseconds.
    pub fn attempt(&self, backoff: &Backoff, key: Key, shared: Key, now: Millis) -> Result<(), Duration> {
        let attempt = self.with_slot(Counted::Attempts, key, shared, now, |slot, now| {
            slot.attempt(backoff, now, &self.room)
        });
        attempt.map_err(|until| Duration::from_millis(until.saturating_sub(now.0)))
    }

    /// Forgets the failures of `key`. Those that count in a shared key stay.
    pub fn succeeded(&self, key: Key) {
        let (mut table, hash) = self.table(key);
        if let Some(slot) = table.existing(key.0, hash) {
            slot.clear(&self.room);
        }
    }

    /// Takes the last attempt of `key` back, whose outcome could not be known. One that counts in a shared
    /// key stays.
    pub fn refund(&self, key: Key) {
        let (mut table, hash) = self.table(key);
        if let Some(slot) = table.existing(key.0, hash) {
            slot.refund(&self.room);
        }
    }

    /// How many keys are kept, shared ones not counted.
    pub fn keys(&self) -> usize {
        self.tables.iter().map(|table| lock(table).keys()).sum()
    }

    /// How many bytes the limiter takes, without the allocator's own.
    pub fn bytes(&self) -> usize {
        let tables = self.tables.iter().map(|table| {
            let table = lock(table);
            table.bytes() + table.keys() * Self::KEY_BYTES
        });
        tables.sum::<usize>() + self.room.taken()
    }

    /// How many requests and attempts counted in their shared key, because there was no room for theirs.
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// Calls `act` with the slot of the key, or of the shared key when there is no room, and with the time.
    fn with_slot<T>(
        &self,
        counted: Counted,
        key: Key,
        shared: Key,
        now: Millis,
        act: impl Fn(&mut Slot, u64) -> T,
    ) -> T {
        let (mut table, hash) = self.table(key);
        let time = table.now.max(now.0);
        table.now = time;
        if let Some(slot) = table.slot(key.0, hash, &self.room) {
            return act(slot, time);
        }
        drop(table);

        self.overflows.fetch_add(1, Ordering::Relaxed);
        let (mut table, hash) = self.table(shared);
        let time = table.now.max(now.0);
        table.now = time;
        match table.shared(hash, counted) {
            Some(slot) => act(slot, time),
            // No table is without slots of shared keys; a slot that is forgotten would have to be admitted.
            None => act(&mut Slot::new(0), time),
        }
    }

    /// The table of a key, and the hash of its place there.
    fn table(&self, key: Key) -> (MutexGuard<'_, Table>, u32) {
        let hash = self.hasher.hash_one(key);
        let low = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default();
        let high = u32::try_from(hash >> 32).unwrap_or_default();
        let index = low % self.tables.len().max(1);
        #[expect(
            clippy::indexing_slicing,
            reason = "there is at least one table, and the index is a remainder"
        )]
        (lock(&self.tables[index]), high)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("tables", &self.tables.len()).finish_non_exhaustive()
    }
}

/// How a capacity is divided.
struct Layout {
    tables: usize,
    /// The most keys of a table.
    keys: usize,
    /// The slots of shared keys of a table, of each kind.
    shared: usize,
}

impl Layout {
    /// For how many keys there is a slot of a shared key.
    const KEYS_A_SHARED: usize = 64;
    /// The fewest slots of shared keys in a table.
    const FEWEST_SHARED: usize = 16;
    /// The smallest table of several.
    const FEWEST_KEYS: usize = 64;

    fn of(capacity: Capacity) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let tables = (threads * 4).next_power_of_two().min(256);
        let tables = tables.min((capacity.keys / Self::FEWEST_KEYS).max(1));
        let keys = capacity.keys.div_ceil(tables);
        Self { tables, keys, shared: (keys / Self::KEYS_A_SHARED).max(Self::FEWEST_SHARED) }
    }
}

/// A panic while a table was locked leaves it whole: no step of it is half done.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
