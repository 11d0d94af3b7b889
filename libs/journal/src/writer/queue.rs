//! The queue of the writer thread, and its published state. The lock is never held during I/O.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::ticket::{DropReason, Outcome, Promise, Ticket};
use crate::record::{Gap, Head, PAYLOAD_MAX, Time};

/// The most records in one write.
const GROUP_ENTRIES: usize = 1024;
/// A group with this many bytes takes no further record.
const GROUP_BYTES: usize = 1 << 20;

/// An activity of the thread that may take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It writes records, or begins a segment.
    Write,
    /// It syncs.
    Sync,
    /// It removes old segments.
    Remove,
}

/// An ongoing failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Time,
    /// The last error.
    pub kind: io::ErrorKind,
}

/// The state of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Whether the thread runs. It ends when it is stopped, or when one of the [`Hooks`](super::Hooks)
    /// panics.
    pub running: bool,
    /// Records cannot be written.
    pub write_failing: Option<Failing>,
    /// Syncs fail.
    pub sync_failing: Option<Failing>,
    /// Files that were removed or moved cannot be written again.
    pub place_failing: Option<Failing>,
    /// Old segments cannot be removed.
    pub remove_failing: Option<Failing>,
    /// The current activity of the thread, and its start: a hanging disk shows here.
    pub busy: Option<(Activity, Time)>,
    /// The time since which an unwritten record is urgent: since it was submitted as urgent, or hurried.
    pub oldest_pending: Option<Time>,
    /// The number of records not written yet.
    pub queued: usize,
    /// Their payloads in bytes.
    pub queued_bytes: usize,
    /// The last written record.
    pub head: Head,
    /// The sequence of the last synced record.
    pub synced: u64,
    /// Records written, with notices and checkpoints.
    pub written: u64,
    /// Bytes written, of their payloads.
    pub bytes: u64,
    /// Records dropped.
    pub dropped: u64,
    /// Records that a failed sync left in doubt.
    pub doubtful: u64,
    /// How often files that were removed or moved away were written again.
    pub rewritten: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Checkpoints that the signer did not sign.
    pub unsigned: u64,
}

pub(super) struct Event {
    pub(super) time: Time,
    pub(super) payload: Vec<u8>,
    pub(super) promise: Option<Promise>,
    /// Whether it was submitted, rather than created by the thread.
    pub(super) is_counted: bool,
    /// Whether its loss is detected elsewhere.
    pub(super) is_vouched: bool,
    /// The number of dropped records that it represents.
    pub(super) gap: u64,
}

pub(super) enum Item {
    Event(Event),
    Gap(Gap),
}

pub(super) struct Queue {
    inside: Mutex<Inside>,
    /// Work arrived for the thread.
    pub(super) work: Condvar,
    /// The thread has ended, or has made the checkpoint that was wanted.
    pub(super) ended: Condvar,
    pub(super) clock: Box<dyn Fn() -> Time + Send + Sync>,
    entries: usize,
    bytes: usize,
}

/// What the thread is asked for besides writing.
#[derive(Default)]
pub(super) struct Asked {
    /// A checkpoint now.
    pub(super) sign: bool,
    /// A look at the files.
    pub(super) look: bool,
}

pub(super) struct Inside {
    items: VecDeque<Item>,
    /// The time since which the first urgent one waits; `None` while none is urgent.
    wanted: Option<Time>,
    pub(super) state: State,
    /// The thread waits for work.
    pub(super) idle: bool,
    pub(super) stopping: bool,
    /// Whether the queue was drained at the end.
    pub(super) finished: bool,
    /// Segments with only records before this sequence are to be removed.
    pub(super) keep_from: Option<u64>,
    pub(super) asked: Asked,
    /// The oldest record that the thread has taken and not written.
    pub(super) taken: Option<Time>,
    /// The number of queued, and of dropped, records whose loss is detected elsewhere.
    pub(super) vouched: usize,
    pub(super) vouched_dropped: u64,
    /// The number of records submitted while writing fails whose tickets are unresolved: the note that they
    /// are not written comes first.
    pub(super) untold: usize,
    /// The dropped ones among them.
    dropped: Vec<(Promise, Outcome)>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn new(
        head: Head,
        synced: u64,
        entries: usize,
        bytes: usize,
        clock: Box<dyn Fn() -> Time + Send + Sync>,
    ) -> Self {
        let state = State {
            running: true,
            write_failing: None,
            sync_failing: None,
            place_failing: None,
            remove_failing: None,
            busy: None,
            oldest_pending: None,
            queued: 0,
            queued_bytes: 0,
            head,
            synced,
            written: 0,
            bytes: 0,
            dropped: 0,
            doubtful: 0,
            rewritten: 0,
            checkpoints: 0,
            unsigned: 0,
        };

        let inside = Inside {
            items: VecDeque::new(),
            wanted: None,
            state,
            idle: false,
            stopping: false,
            finished: false,
            keep_from: None,
            asked: Asked::default(),
            taken: None,
            vouched: 0,
            vouched_dropped: 0,
            untold: 0,
            dropped: Vec::new(),
        };

        Self {
            inside: Mutex::new(inside),
            work: Condvar::new(),
            ended: Condvar::new(),
            clock,
            entries,
            bytes,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues the gap that an earlier process left.
    pub(super) fn begin_with(&self, gap: Gap) {
        let mut inside = self.lock();
        inside.items.push_back(Item::Gap(gap));
        self.hurry_at(inside, gap.last);
    }

    pub(super) fn submit(&self, payload: Vec<u8>, is_in_a_hurry: bool, is_vouched: bool) -> Ticket {
        let time = (self.clock)();
        let (ticket, promise) = Ticket::new();
        let mut inside = self.lock();
        let known = self.take(&mut inside, time, payload, promise, is_vouched);
        if is_in_a_hurry {
            self.hurry_at(inside, time);
        } else {
            drop(inside);
        }
        if let Some((promise, outcome)) = known {
            promise.resolve(outcome);
        }
        ticket
    }

    /// Makes the queued records urgent.
    pub(super) fn hurry(&self) {
        let inside = self.lock();
        if !inside.items.is_empty() && inside.wanted.is_none() {
            self.hurry_at(inside, (self.clock)());
        }
    }

    fn hurry_at(&self, mut inside: MutexGuard<'_, Inside>, time: Time) {
        inside.wanted.get_or_insert(time);
        let wake = mem::take(&mut inside.idle);
        drop(inside);
        if wake {
            self.work.notify_one();
        }
    }

    /// Queues a record, or counts it as dropped; returns the outcome if it is known at once.
    fn take(
        &self,
        inside: &mut Inside,
        time: Time,
        payload: Vec<u8>,
        promise: Promise,
        is_vouched: bool,
    ) -> Option<(Promise, Outcome)> {
        let state = &mut inside.state;
        if inside.stopping || !state.running {
            state.dropped += 1;
            inside.vouched_dropped += u64::from(is_vouched);
            return Some((promise, Outcome::Dropped(DropReason::Stopped)));
        }

        let bytes = state.queued_bytes.saturating_add(payload.len());
        let reason = if payload.len() > PAYLOAD_MAX {
            DropReason::TooLong
        } else if state.queued >= self.entries || bytes > self.bytes {
            DropReason::QueueFull
        } else {
            state.queued += 1;
            inside.vouched += usize::from(is_vouched);
            state.queued_bytes = bytes;
            inside.untold += usize::from(state.write_failing.is_some());
            let promise = Some(promise);
            let event = Event { time, payload, promise, is_counted: true, is_vouched, gap: 0 };
            inside.items.push_back(Item::Event(event));
            return None;
        };

        state.dropped += 1;
        inside.vouched_dropped += u64::from(is_vouched);
        match inside.items.back_mut() {
            _ if is_vouched => {}
            Some(Item::Gap(gap)) => {
                gap.count += 1;
                gap.last = time;
            }
            _ => inside.items.push_back(Item::Gap(Gap { count: 1, first: time, last: time })),
        }

        let outcome = Outcome::Dropped(reason);
        if inside.state.write_failing.is_none() {
            return Some((promise, outcome));
        }
        inside.untold += 1;
        inside.dropped.push((promise, outcome));
        None
    }

    pub(super) fn state(&self) -> State {
        let inside = self.lock();
        State { oldest_pending: inside.taken.or(inside.wanted), ..inside.state }
    }
}

impl Inside {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes a group from the queue. Its records count as queued until they are written.
    pub(super) fn group(&mut self, group: &mut Vec<Item>) {
        let mut bytes = 0;
        while group.len() < GROUP_ENTRIES && bytes < GROUP_BYTES {
            let Some(item) = self.items.pop_front() else { break };
            if let Item::Event(event) = &item {
                bytes += event.payload.len();
                self.taken.get_or_insert(self.wanted.unwrap_or(event.time));
            }
            group.push(item);
        }
        if self.items.is_empty() {
            self.wanted = None;
        }
    }

    /// Takes the promises of all queued records.
    pub(super) fn promises(&mut self) -> Vec<Promise> {
        let events = self.items.iter_mut().filter_map(|item| match item {
            Item::Event(event) => event.promise.take(),
            Item::Gap(_) => None,
        });
        events.collect()
    }

    /// The same for all records submitted while writing fails, with the outcome of each.
    pub(super) fn refused(&mut self, kind: Option<io::ErrorKind>) -> Vec<(Promise, Outcome)> {
        self.untold = 0;
        let mut refused = mem::take(&mut self.dropped);
        if let Some(kind) = kind {
            refused.extend(self.promises().into_iter().map(|promise| (promise, Outcome::Delayed(kind))));
        }
        refused
    }

    /// Drops the queued records, when the thread ends.
    pub(super) fn abandon(&mut self) -> Vec<Promise> {
        let mut promises = self.promises();
        promises.extend(self.dropped.drain(..).map(|(promise, _)| promise));
        self.items.clear();
        self.wanted = None;
        self.taken = None;
        self.state.dropped += self.state.queued as u64;
        self.state.queued = 0;
        self.state.queued_bytes = 0;
        self.state.busy = None;
        self.state.running = false;
        promises
    }
}
