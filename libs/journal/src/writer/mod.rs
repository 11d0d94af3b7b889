//! A journal with a thread of its own: whoever submits never waits for the disk.

mod queue;
mod thread;
mod ticket;

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError};
use std::thread::Builder;
use std::time::Duration;

pub use queue::{Activity, Failing, Gap, State};
pub use ticket::{DropReason, Outcome, Ticket};

use self::queue::Queue;
use self::thread::Thread;
use crate::journal::Journal;
use crate::record::Time;

/// How much may wait, and how often things are done.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most records that wait to be written.
    pub queue_entries: usize,
    /// Most bytes of their payloads.
    pub queue_bytes: usize,
    /// A checkpoint is made so long after the last, if there are records after it.
    pub checkpoint_every: Duration,
    /// What could not be written is tried again after this.
    pub retry: Duration,
}

impl Default for Limits {
    /// 8192 records, 16 MiB; a checkpoint a minute; a try every 100 ms.
    fn default() -> Self {
        Self {
            queue_entries: 8192,
            queue_bytes: 16 << 20,
            checkpoint_every: Duration::from_mins(1),
            retry: Duration::from_millis(100),
        }
    }
}

/// Makes the payload of a record about the journal itself.
pub type NoticeMaker = Box<dyn FnMut(Notice) -> Vec<u8> + Send>;
/// Signs a message; `None` where it cannot now.
pub type Sign = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send>;

/// What the thread cannot know itself. A closure that panics ends the thread.
pub struct Hooks {
    /// The time. Called by whoever submits, too.
    pub clock: Box<dyn Fn() -> Time + Send + Sync>,
    /// Makes the payload of a record about the journal itself.
    pub notice: NoticeMaker,
    /// Signs checkpoints; without it there are none.
    pub signer: Option<Signer>,
    /// What the thread does before all else: says how it is to be scheduled, for one.
    pub begin: Box<dyn FnOnce() + Send>,
}

/// Signs checkpoints.
pub struct Signer {
    /// Names the key: at most 255 bytes.
    pub key_id: Vec<u8>,
    /// The signature of a message; `None` where there is none now.
    pub sign: Sign,
}

/// What a journal has to say of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// In this place records are missing, because they were dropped.
    Gap(Gap),
    /// The records of these sequences may be missing after a power failure, because a sync failed.
    Unsynced(RangeInclusive<u64>),
}

/// Writes a journal on a thread of its own, in groups.
///
/// When it goes, the thread is told to stop but not waited for; see [`stop`](Self::stop).
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// All that was submitted is written or counted, the journal is closed, and its thread has ended.
    pub finished: bool,
    /// How it is now.
    pub state: State,
}

impl Writer {
    /// Starts the thread.
    pub fn start(journal: Journal, limits: Limits, hooks: Hooks) -> io::Result<Self> {
        let Hooks { clock, notice, signer, begin } = hooks;
        let head = journal.head();
        let checked = clock();
        let (entries, bytes) = (limits.queue_entries, limits.queue_bytes);
        let queue = Arc::new(Queue::new(head, journal.synced(), entries, bytes, clock));
        if let Some(gap) = journal.unwritten() {
            queue.begin_with(gap);
        }
        let thread = Thread {
            queue: Arc::clone(&queue),
            notice,
            signer,
            checkpoint_every: limits.checkpoint_every,
            retry: limits.retry,
            batch: Vec::new(),
            refused: None,
            checked,
            unchecked: head.sequence > 0,
            pause: None,
            doubt: None,
            before: journal.unwritten().map_or(0, |gap| gap.count),
            told: 0,
            delayed: 0,
            journal,
        };
        // nobody joins it: a disk that hangs would hold them too
        Builder::new().name("journal".to_owned()).spawn(move || {
            begin();
            thread.run();
        })?;
        Ok(Self { queue })
    }

    /// Hands a record over. Never fails and never waits: what does not fit is counted, and the count becomes a record.
    pub fn submit(&self, payload: Vec<u8>) -> Ticket {
        self.queue.submit(payload, true, false)
    }

    /// Hands a record over as [`submit`](Self::submit) does, whose loss is found out elsewhere: no gap counts it.
    pub fn submit_vouched(&self, payload: Vec<u8>) -> Ticket {
        self.queue.submit(payload, true, true)
    }

    /// Hands a record over as [`submit`](Self::submit) does, that has time: it is written with the next one that has
    /// none, or when somebody [hurries](Self::hurry). Whoever submits many and waits for few wakes the thread less
    /// often so.
    pub fn submit_lazily(&self, payload: Vec<u8>) -> Ticket {
        self.queue.submit(payload, false, false)
    }

    /// Has all written that is submitted.
    pub fn hurry(&self) {
        self.queue.hurry();
    }

    /// How it is.
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

    /// Takes no more records, writes those that wait, signs, syncs, and ends the thread. Waits for it so long at most.
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
