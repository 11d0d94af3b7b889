//! The requests of one key that count, oldest first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests that leave the window together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// The lower 32 bits of the time at which they leave it.
    pub(crate) leaves: u32,
    pub(crate) count: u32,
}

impl Entry {
    pub(crate) const NONE: Self = Self { leaves: 0, count: 0 };
}

/// A history that does not fit into a slot.
#[derive(Debug)]
pub(crate) struct Long {
    total: u32,
    entries: VecDeque<Entry>,
    /// What was taken from [`Room`] for it.
    charged: usize,
}

/// The bytes that long histories may take, all together.
#[derive(Debug)]
pub(crate) struct Room {
    taken: AtomicUsize,
    most: usize,
}

impl Room {
    pub(crate) fn new(most: usize) -> Self {
        Self { taken: AtomicUsize::new(0), most }
    }

    /// The bytes that are taken now.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.most;
        if !fits {
            self.give(bytes);
        }
        fits
    }

    pub(crate) fn give(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Long {
    /// The first capacity, in entries.
    const FIRST: usize = 4;
    const ENTRY: usize = size_of::<Entry>();

    /// A history of the entries of a slot, if there is room for it.
    pub(crate) fn of(entries: [Entry; 2], room: &Room) -> Option<Box<Self>> {
        let charged = size_of::<Self>() + Self::FIRST * Self::ENTRY;
        if !room.take(charged) {
            return None;
        }
        let total = entries.iter().fold(0, |total: u32, entry| total.saturating_add(entry.count));
        let mut long = Self { total, entries: VecDeque::with_capacity(Self::FIRST), charged };
        long.entries.extend(entries);
        Some(Box::new(long))
    }

    pub(crate) fn charged(&self) -> usize {
        self.charged
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> {
        self.entries.iter().copied()
    }

    /// Removes the oldest entries while they are gone.
    pub(crate) fn prune(&mut self, is_gone: impl Fn(Entry) -> bool) {
        while let Some(oldest) = self.entries.pop_front_if(|entry| is_gone(*entry)) {
            self.total = self.total.saturating_sub(oldest.count);
        }
    }

    /// The entries as those of a slot, if they are few enough.
    pub(crate) fn as_few(&self) -> Option<[Entry; 2]> {
        let at = |index| self.entries.get(index).copied().unwrap_or(Entry::NONE);
        (self.entries.len() <= 2).then(|| [at(0), at(1)])
    }

    /// Adds one request; `new` is not before the last.
    pub(crate) fn push(&mut self, new: Entry, room: &Room) {
        self.total = self.total.saturating_add(new.count);
        if let Some(last) = self.entries.back_mut().filter(|last| last.leaves == new.leaves) {
            last.count = last.count.saturating_add(new.count);
            return;
        }
        let capacity = self.entries.capacity();
        if self.entries.len() == capacity {
            if !room.take(capacity * Self::ENTRY) {
                merge(self.entries.make_contiguous(), new);
                return;
            }
            self.charged += capacity * Self::ENTRY;
            self.entries.reserve_exact(capacity);
        }
        self.entries.push_back(new);
    }
}

/// Replaces `entries` and `new` by as many as `entries`: the two that are closest count as the later of them.
pub(crate) fn merge(entries: &mut [Entry], new: Entry) {
    let gaps = entries.iter().zip(entries.iter().skip(1).chain([&new]));
    let gaps = gaps.map(|(entry, next)| next.leaves.wrapping_sub(entry.leaves)).enumerate();
    // Of equal gaps the last: with the first, the oldest entry would become later with each request and
    // never leave.
    let closest = gaps.reduce(|least, gap| if gap.1 <= least.1 { gap } else { least });
    let Some(tail) = closest.and_then(|(index, _)| entries.get_mut(index..)) else { return };
    let merged = tail.first().map_or(0, |entry| entry.count);
    tail.rotate_left(1);
    if let Some(last) = tail.last_mut() {
        *last = new;
    }
    if let Some(first) = tail.first_mut() {
        first.count = first.count.saturating_add(merged);
    }
}
