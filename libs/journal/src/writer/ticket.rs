//! The outcome of one submitted record.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::record::Written;

/// The outcome of a submitted record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is written: it survives this process, and after the next sync a power failure.
    Written(Written),
    /// The disk failed. The record stays in the queue, in order, and is retried; the final outcome is not
    /// reported.
    Delayed(io::ErrorKind),
    /// It was not written and will not be. It was counted.
    Dropped(DropReason),
}

/// Why a record was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full.
    QueueFull,
    /// Its payload is longer than [`PAYLOAD_MAX`](crate::PAYLOAD_MAX).
    TooLong,
    /// The writer was stopped, or its thread ended, before the record was written.
    Stopped,
}

/// The receipt of a record: a future, also with a blocking wait. It may be dropped. Clones resolve alike; of
/// those that are polled, only the last one is woken.
#[derive(Clone, Debug)]
pub struct Ticket {
    slot: Arc<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    inside: Mutex<Inside>,
    resolved: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

/// The thread's end of a ticket. Dropping it reports the record as dropped.
#[derive(Debug)]
pub(super) struct Promise {
    slot: Arc<Slot>,
}

impl Promise {
    /// Resolves the ticket, once; waiters continue.
    pub(super) fn resolve(self, outcome: Outcome) {
        self.slot.resolve(outcome);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.slot.resolve(Outcome::Dropped(DropReason::Stopped));
    }
}

impl Ticket {
    pub(super) fn new() -> (Self, Promise) {
        let slot = Arc::new(Slot::default());
        (Self { slot: Arc::clone(&slot) }, Promise { slot })
    }

    /// The outcome; `None` while it is open.
    pub fn outcome(&self) -> Option<Outcome> {
        self.slot.lock().outcome
    }

    /// Blocks until it is known. On a hanging disk this may last forever: use
    /// [`wait_timeout`](Self::wait_timeout) for a bound.
    pub fn wait(&self) -> Outcome {
        let mut inside = self.slot.lock();
        loop {
            if let Some(outcome) = inside.outcome {
                return outcome;
            }
            inside = self.slot.resolved.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks at most this long; `None` if it is still open then.
    pub fn wait_timeout(&self, most: Duration) -> Option<Outcome> {
        let is_open = |inside: &mut Inside| inside.outcome.is_none();
        let waited = self.slot.resolved.wait_timeout_while(self.slot.lock(), most, is_open);
        waited.unwrap_or_else(PoisonError::into_inner).0.outcome
    }
}

impl Future for Ticket {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut inside = self.slot.lock();
        if let Some(outcome) = inside.outcome {
            return Poll::Ready(outcome);
        }
        match &mut inside.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Slot {
    fn resolve(&self, outcome: Outcome) {
        let mut inside = self.lock();
        if inside.outcome.is_some() {
            return;
        }
        inside.outcome = Some(outcome);
        let waker = inside.waker.take();
        drop(inside);
        self.resolved.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
