//! The state shared by the hasher and its threads: the queue, its admission and its refusals.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bcrypt_lanes::{Lanes, Width};
use model::{Rng, Secret};
use protocol::wire::password_hash::{CostClass, StoredHash};
use sched_policy::Thread;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use crate::capacity::Capacity;
use crate::metrics::Counts;
use crate::queue::{Priority, Queue, Requester, Turn};
use crate::retry::RetryLines;
use crate::scheme::Scheme;
use crate::worker_priority::{LOOK, Sample, WorkerPriority};
use crate::{Refusal, RehashTicket, Rehashed};

/// Most jobs that may wait, regardless of the deadline: bounds the queue's memory.
const QUEUE: usize = 10_000;
/// The longest duration of a bcrypt batch, relative to a single hash.
const BATCH_LATENCY: f64 = 1.35;

pub(crate) struct Engine {
    pub(crate) state: Mutex<State>,
    pub(crate) filled: Condvar,
    /// Waited on by resting workers and by the thread that adjusts the workers' priority.
    pub(crate) watch: Condvar,
    pub(crate) priority: WorkerPriority,
    pub(crate) rng: Rng,
    pub(crate) counts: Counts,
    pub(crate) deadline: Duration,
    pub(crate) made: Instant,
    /// An arena larger than this many bytes is released after the hash that needed it.
    pub(crate) arena_kept: usize,
    pub(crate) results: mpsc::Sender<Rehashed>,
}

pub(crate) struct State {
    pub(crate) queue: Queue<CostClass, Job>,
    pub(crate) capacity: Capacity,
    pub(crate) retry: RetryLines,
    /// Threads that wait for a job.
    pub(crate) idle: usize,
    /// Threads that hash.
    pub(crate) busy: usize,
    pub(crate) calibrated: bool,
    pub(crate) closed: bool,
}

pub(crate) struct Job {
    pub(crate) purpose: Priority,
    /// The client's address, where there is a client.
    pub(crate) address: Option<IpAddr>,
    pub(crate) task: Task,
    pub(crate) password: Secret<Vec<u8>>,
    pub(crate) queued: Instant,
    pub(crate) begin_by: Instant,
    pub(crate) reply: Reply,
}

pub(crate) enum Task {
    Hash(Scheme),
    Verify(Box<StoredHash>),
}

pub(crate) enum Reply {
    Waiter(oneshot::Sender<Result<Answer, Refusal>>),
    Rehash(Box<Rehash>),
}

/// A pending rehash, whose result is a [`Rehashed`].
pub(crate) struct Rehash {
    pub(crate) ticket: RehashTicket,
    pub(crate) permit: OwnedSemaphorePermit,
}

pub(crate) enum Answer {
    Hash(Option<String>),
    Verdict(bool),
    /// The system had no memory for the check.
    NoMemory,
}

impl Task {
    pub(crate) fn class(&self) -> CostClass {
        match self {
            Self::Hash(scheme) => scheme.class(),
            Self::Verify(stored) => stored.cost_class(),
        }
    }
}

impl Engine {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job into the queue. While the queue is longer than the deadline allows, the job that would be
    /// served last is refused at once: the new one, or one that already waits.
    pub(crate) fn enqueue(
        &self,
        purpose: Priority,
        requester: Requester,
        class: &CostClass,
        job: Job,
    ) -> Result<Turn, Refusal> {
        let mut state = self.lock();
        let state = &mut *state;
        let now = job.queued.saturating_duration_since(self.made);
        let new = state.queue.push(now, purpose, requester, *class, job);
        let mut refused = Ok(new);

        loop {
            let wait = state.capacity.wait(state.queue.waiting());
            let first = state.queue.len() <= 1;
            let ahead = wait.saturating_sub(state.capacity.step(class));
            if first || (ahead <= self.deadline && state.queue.len() <= QUEUE) {
                if ahead < self.deadline / 4 {
                    state.retry.forget();
                }
                break;
            }
            let Some((_, last, job)) = state.queue.pop_last() else { break };
            self.counts.shed.fetch_add(1, Relaxed);
            let refusal = Refusal::Busy(self.retry_after(state, &job));
            if last == new {
                refused = Err(refusal);
                break;
            }
            job.reply.send(self, Err(refusal));
        }

        self.filled.notify_one();
        if state.busy == 0 {
            self.watch.notify_all();
        }
        refused
    }

    /// When a refused job may return: when half of the deadline will have been worked off, and then one job
    /// after another.
    pub(crate) fn retry_after(&self, state: &mut State, job: &Job) -> Duration {
        let wait = state.capacity.wait(state.queue.waiting());
        let first = wait.saturating_sub(self.deadline / 2);
        let step = state.capacity.step(&job.task.class());
        let jitter = f64::from(u16::from_be_bytes(self.rng.bytes())) / 65_536.0;
        state.retry.retry_after(job.purpose, job.address, first, step, Duration::from_secs_f64(jitter))
    }

    /// Measures bcrypt batches, once, on a thread of the lowest priority.
    pub(crate) async fn calibrate(self: &Arc<Self>) {
        if std::mem::replace(&mut self.lock().calibrated, true) {
            return;
        }
        let (done, measured) = oneshot::channel();
        let lowest = self.priority.lowest();
        thread("hash calibration", move || {
            // Where the lowest priority is refused, the calibration competes normally for 50 ms.
            let _ = Thread::current().set_class(lowest);
            let begun = Instant::now();
            let calibration = Lanes::new().calibrate(|| begun.elapsed());
            let mut curve = [1.0; 8];
            for (factor, width) in curve.iter_mut().zip(Width::all()) {
                *factor = calibration.latency(width);
            }
            let _ = done.send((curve, calibration.best(BATCH_LATENCY).get()));
        });
        if let Ok((curve, width)) = measured.await {
            self.lock().capacity.calibrate(curve, width);
        }
    }

    /// Adjusts the priority of the workers while they hash, until the engine is closed.
    pub(crate) fn adjust_priority(&self) {
        let mut sample = Sample::default();
        let mut state = self.lock();
        while !state.closed {
            let is_idle = state.busy == 0 && state.queue.len() == 0;
            if is_idle && sample.is_calm() {
                drop(state);
                self.priority.pause(&mut sample);
                state = self.lock();
                if state.busy == 0 && state.queue.len() == 0 && !state.closed {
                    state = self.watch.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                continue;
            }
            let (busy, open) = (state.busy, state.busy + state.queue.len());
            drop(state);
            self.priority.look(&mut sample, busy, open);
            state = self.lock();
            if !state.closed {
                (state, _) = self.watch.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Reply {
    pub(crate) fn send(self, engine: &Engine, answer: Result<Answer, Refusal>) {
        match (self, answer) {
            (Self::Waiter(waiter), answer) => {
                // A caller that is gone needs no answer.
                let _ = waiter.send(answer);
            }
            (Self::Rehash(rehash), Ok(Answer::Hash(Some(new)))) => {
                let Rehash { ticket, permit } = *rehash;
                // The channel has a slot for each permit, unless the server stops.
                let _ = engine.results.try_send(Rehashed { ticket, new, is_same: false, _permit: permit });
            }
            (Self::Rehash(_), _) => {}
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Waiter(waiter) => waiter.is_closed(),
            Self::Rehash(_) => false,
        }
    }
}

/// A position in the queue; dropping it removes the waiting job.
pub(crate) struct Ticket<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) class: CostClass,
    pub(crate) turn: Option<Turn>,
}

impl Ticket<'_> {
    /// Leaves the queue at the deadline, unless hashing has started; returns when to retry.
    pub(crate) fn give_up(&mut self) -> Option<Duration> {
        let mut state = self.engine.lock();
        let job = state.queue.remove(&self.class, self.turn?)?;
        self.turn = None;
        self.engine.counts.shed.fetch_add(1, Relaxed);
        Some(self.engine.retry_after(&mut state, &job))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let left = self.turn.and_then(|turn| self.engine.lock().queue.remove(&self.class, turn));
        if left.is_some() {
            self.engine.counts.cancelled.fetch_add(1, Relaxed);
        }
    }
}

pub(crate) fn thread(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        tracing::error!(%error, name, "a hashing thread could not be started");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a machine has at most thousands of threads")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}
