//! A journal with its own thread: a submit never waits for the disk.

mod queue;
mod thread;
mod ticket;

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError};
use std::thread::Builder;
use std::time::Duration;

pub use queue::{Activity, Failing, State};
pub use ticket::{DropReason, Outcome, Ticket};

use self::queue::Queue;
use self::thread::{Thread, note};
use crate::journal::Journal;
use crate::record::{Gap, Time};

/// The limits of the queue, and the intervals of the thread.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most queued records.
    pub queue_entries: usize,
    /// Most bytes of their payloads.
    pub queue_bytes: usize,
    /// The interval between checkpoints, if records follow the last one. The first is made with the first
    /// records.
    pub checkpoint_every: Duration,
    /// A checkpoint is made after this many records, also before the interval is over.
    pub checkpoint_records: u64,
    /// The retry interval of a failed write.
    pub retry: Duration,
}

impl Default for Limits {
    /// 8192 records, 16 MiB; a checkpoint per minute and per 8192 records; a retry every 100 ms.
    fn default() -> Self {
        Self {
            queue_entries: 8192,
            queue_bytes: 16 << 20,
            checkpoint_every: Duration::from_mins(1),
            checkpoint_records: 8192,
            retry: Duration::from_millis(100),
        }
    }
}

/// Makes the payload of a record about the journal itself.
pub type NoticeMaker = Box<dyn FnMut(Notice) -> Vec<u8> + Send>;
/// Makes the statement of the next checkpoint.
pub type StatementMaker = Box<dyn FnMut() -> Vec<u8> + Send>;
/// Signs a message; `None` if it cannot now.
pub type Sign = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send>;

/// The callbacks of the thread. A panic in one ends the thread.
pub struct Hooks {
    /// The current time. Submitting threads call it, too.
    pub clock: Box<dyn Fn() -> Time + Send + Sync>,
    /// Makes the payload of a record about the journal itself.
    pub notice: NoticeMaker,
    /// Signs checkpoints; `None` for no checkpoints.
    pub signer: Option<Signer>,
    /// Runs first on the new thread, for example to set its scheduling policy.
    pub begin: Box<dyn FnOnce() + Send>,
}

/// Signs checkpoints.
pub struct Signer {
    /// The id of the key: at most 255 bytes.
    pub key_id: Vec<u8>,
    /// Makes what each checkpoint states.
    pub statement: StatementMaker,
    /// Signs a message; `None` if it cannot now.
    pub sign: Sign,
}

/// A notice of the journal about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Records are missing at this position, because they were dropped.
    Gap(Gap),
    /// The records of these sequences may be missing after a power failure, because a sync failed.
    Unsynced(RangeInclusive<u64>),
    /// The files of these records were removed or cut while the journal was open.
    Lost(RangeInclusive<u64>),
    /// The records of these sequences were in the files when this process began, and no checkpoint covered
    /// them: an earlier process was killed, or they were forged. The next checkpoint covers them.
    Adopted(RangeInclusive<u64>),
}

/// Writes a journal on a thread of its own, in groups.
///
/// A drop tells the thread to stop, without waiting for it; see [`stop`](Self::stop).
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
}

/// The result of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// All submitted records are written or counted, the journal is closed, and its thread has ended.
    pub finished: bool,
    /// The state at the end.
    pub state: State,
}

impl Writer {
    /// Starts the thread.
    pub fn start(journal: Journal, limits: Limits, hooks: Hooks) -> io::Result<Self> {
        let Hooks { clock, notice, signer, begin } = hooks;
        let head = journal.head();
        let (entries, bytes) = (limits.queue_entries, limits.queue_bytes);
        let queue = Arc::new(Queue::new(head, journal.synced(), entries, bytes, clock));
        if let Some(gap) = journal.unwritten() {
            queue.begin_with(gap);
        }

        let mut notice = notice;
        let now = (queue.clock)();
        let found = signer.as_ref().and_then(|_| journal.uncovered());
        let batch = found.map(|found| note(&mut notice, Notice::Adopted(found), now)).into_iter().collect();
        let thread = Thread {
            queue: Arc::clone(&queue),
            notice,
            signer,
            checkpoint_every: limits.checkpoint_every,
            checkpoint_records: limits.checkpoint_records,
            retry: limits.retry,
            batch,
            refused: None,
            checked: None,
            unchecked: head.sequence.saturating_sub(journal.last_checkpoint()),
            pause: None,
            doubt: None,
            before: journal.unwritten().map_or(0, |gap| gap.count),
            told: 0,
            delayed: 0,
            journal,
        };

        // the thread is not joined: a hanging disk would block the caller too
        Builder::new().name("journal".to_owned()).spawn(move || {
            begin();
            thread.run();
        })?;
        Ok(Self { queue })
    }

    /// Submits a record. Never fails and never waits: a record that does not fit is counted, and the count
    /// becomes a record.
    pub fn submit(&self, payload: Vec<u8>) -> Ticket {
        self.queue.submit(payload, true, false)
    }

    /// Submits a record as [`submit`](Self::submit) does, whose loss is detected elsewhere: no gap counts it.
    pub fn submit_vouched(&self, payload: Vec<u8>) -> Ticket {
        self.queue.submit(payload, true, true)
    }

    /// Submits a record as [`submit`](Self::submit) does, without urgency: it is written with the next urgent
    /// one, or after a [`hurry`](Self::hurry). A caller that submits many records and waits for few wakes the
    /// thread less often.
    pub fn submit_lazily(&self, payload: Vec<u8>) -> Ticket {
        self.queue.submit(payload, false, false)
    }

    /// Has the thread write all submitted records now.
    pub fn hurry(&self) {
        self.queue.hurry();
    }

    /// Has the thread sign and sync what is written, and waits for it at most this long.
    pub fn sign_now(&self, most: Duration) {
        let mut inside = self.queue.lock();
        inside.asked.sign = true;
        self.queue.work.notify_one();
        let is_waiting = |inside: &mut queue::Inside| inside.asked.sign && inside.state.running;
        let waited = self.queue.ended.wait_timeout_while(inside, most, is_waiting);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Has the thread check that the files are in place, also while nothing is written; see
    /// [`Journal::stay_in_place`].
    pub fn look(&self) {
        self.queue.lock().asked.look = true;
        self.queue.work.notify_one();
    }

    /// The current state.
    pub fn state(&self) -> State {
        self.queue.state()
    }

    /// Has the thread remove the segments that hold only records before this sequence.
    pub fn remove_before(&self, sequence: u64) {
        let mut inside = self.queue.lock();
        let sequence = inside.keep_from.map_or(sequence, |before| before.max(sequence));
        inside.keep_from = Some(sequence);
        drop(inside);
        self.queue.work.notify_one();
    }

    /// Refuses new records, writes the queued ones, signs, syncs, and ends the thread. Waits for it at most
    /// this long.
    ///
    /// Records that the disk still refuses are dropped and counted.
    pub fn stop(&self, most: Duration) -> Stopped {
        self.halt();
        let is_running = |inside: &mut queue::Inside| inside.state.running;
        let waited = self.queue.ended.wait_timeout_while(self.queue.lock(), most, is_running);
        let finished = waited.unwrap_or_else(PoisonError::into_inner).0.finished;
        Stopped { finished, state: self.state() }
    }

    fn halt(&self) {
        self.queue.lock().stopping = true;
        self.queue.work.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.halt();
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("signer", &self.signer).finish_non_exhaustive()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}
