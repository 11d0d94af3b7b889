//! The state of one key.

use crate::entries::{Entry, Long, Room, merge};
use crate::{Backoff, Rule, millis};

/// One key and what counts for it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) key: u128,
    /// When nothing of it counts any more. Other times are kept as their lower 32 bits: they are less than
    /// 2^32 before this one, as no window is longer than [`LONGEST`](crate::LONGEST).
    ends: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Up to two entries; those without a count are not there.
    Few([Entry; 2]),
    Long(Box<Long>),
    Failures {
        count: u32,
        /// When the next attempt need not wait.
        until: u32,
        /// What `until` was before the last attempt.
        before: u32,
    },
}

/// Whether a request is admitted, how many more would be, and when the next entry leaves.
pub(crate) struct Verdict {
    pub(crate) admitted: bool,
    pub(crate) remaining: u32,
    pub(crate) next: u64,
}

impl Slot {
    pub(crate) const fn new(key: u128) -> Self {
        Self { key, ends: 0, state: State::Few([Entry::NONE; 2]) }
    }

    /// Whether nothing of it counts any more.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.ends <= now
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self, room: &Room) {
        if let State::Long(long) = &self.state {
            room.give(long.charged());
        }
        self.ends = 0;
        self.state = State::Few([Entry::NONE; 2]);
    }

    /// Counts a request if the rule admits it.
    pub(crate) fn acquire(&mut self, rule: &Rule, now: u64, room: &Room) -> Verdict {
        self.prune(now, room);
        let total = self.total();
        if total >= rule.most {
            // A rule that became stricter may need more than one entry to leave.
            let next = self.leaves_below(rule.most).unwrap_or_else(|| rule.leaves(now));
            return Verdict { admitted: false, remaining: 0, next };
        }

        // Never before an earlier one, also when the rule's window became shorter.
        self.ends = self.ends.max(rule.leaves(now));
        self.push(Entry { leaves: low(self.ends), count: 1 }, room);
        let next = self.entries().next().map_or(self.ends, |entry| self.at(entry.leaves));
        Verdict { admitted: true, remaining: rule.most - total - 1, next }
    }

    /// Counts a failure if the next attempt need not wait; else says until when.
    pub(crate) fn attempt(&mut self, backoff: &Backoff, now: u64, room: &Room) -> Result<(), u64> {
        if self.is_over(now) {
            self.clear(room);
        }
        let (count, until) = match self.state {
            State::Failures { count, until, .. } => (count, self.at(until)),
            State::Few(_) | State::Long(_) => (0, now),
        };
        if now < until {
            return Err(until);
        }

        self.clear(room);
        let count = count.saturating_add(1);
        let forget = millis(backoff.forget);
        let wait = millis(backoff.wait(count)).min(forget);
        let until = low(now.saturating_add(wait));
        self.ends = now.saturating_add(forget);
        self.state = State::Failures { count, until, before: low(now) };
        Ok(())
    }

    /// Takes the last attempt back: one failure fewer, and no wait because of it.
    pub(crate) fn refund(&mut self, room: &Room) {
        if let State::Failures { count, until, before } = &mut self.state {
            *count = count.saturating_sub(1);
            *until = *before;
            if *count == 0 {
                self.clear(room);
            }
        }
    }

    fn prune(&mut self, now: u64, room: &Room) {
        if self.is_over(now) || matches!(self.state, State::Failures { .. }) {
            self.clear(room);
            return;
        }
        let ends = self.ends;
        let is_gone = |entry: Entry| at(ends, entry.leaves) <= now;
        match &mut self.state {
            State::Few(few) => {
                if few.first().is_some_and(|entry| is_gone(*entry)) {
                    few.rotate_left(1);
                    few[1] = Entry::NONE;
                }
            }
            State::Long(long) => {
                long.prune(is_gone);
                if let Some(few) = long.as_few() {
                    room.give(long.charged());
                    self.state = State::Few(few);
                }
            }
            State::Failures { .. } => {}
        }
    }

    fn push(&mut self, new: Entry, room: &Room) {
        match &mut self.state {
            State::Few(few) => {
                let same = few.iter_mut().find(|entry| entry.count == 0 || entry.leaves == new.leaves);
                if let Some(entry) = same {
                    *entry = Entry { count: entry.count.saturating_add(new.count), ..new };
                } else if let Some(mut long) = Long::of(*few, room) {
                    long.push(new, room);
                    self.state = State::Long(long);
                } else {
                    merge(few, new);
                }
            }
            State::Long(long) => long.push(new, room),
            State::Failures { .. } => {}
        }
    }

    fn total(&self) -> u32 {
        match &self.state {
            State::Few([first, second]) => first.count.saturating_add(second.count),
            State::Long(long) => long.total(),
            State::Failures { .. } => 0,
        }
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        let (few, long) = match &self.state {
            State::Few(few) => (Some(*few), None),
            State::Long(long) => (None, Some(long.iter())),
            State::Failures { .. } => (None, None),
        };
        let few = few.into_iter().flatten().filter(|entry| entry.count > 0);
        few.chain(long.into_iter().flatten())
    }

    /// When fewer than `most` requests count; `None` if there are fewer now, or `most` is 0.
    fn leaves_below(&self, most: u32) -> Option<u64> {
        let mut left = self.total();
        let last = self.entries().find(|entry| {
            left = left.saturating_sub(entry.count);
            left < most
        });
        last.map(|entry| self.at(entry.leaves))
    }

    fn at(&self, low: u32) -> u64 {
        at(self.ends, low)
    }
}

/// The time whose lower 32 bits are `bits`, at or before `ends`.
fn at(ends: u64, bits: u32) -> u64 {
    ends.saturating_sub(u64::from(low(ends).wrapping_sub(bits)))
}

fn low(time: u64) -> u32 {
    u32::try_from(time & u64::from(u32::MAX)).unwrap_or_default()
}
