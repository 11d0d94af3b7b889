//! What the hasher and its threads share: the queue, who may join it, and who is sent away.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bcrypt_lanes::{Lanes, Width};
use model::{Rng, Secret, UserId, UserUuid};
use protocol::password_hash::{CostClass, StoredHash};
use protocol::pepper::StoredText;
use sched_policy::Thread;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use super::super::Scheme;
use super::capacity::Capacity;
use super::metrics::Counts;
use super::queue::{Priority, Queue, Requester, Turn};
use super::worker_priority::{LOOK, Sample, WorkerPriority};
use super::{Refusal, Rehashed};

/// Most jobs that may wait, whatever the deadline: a bound of the queue's memory.
const QUEUE: usize = 10_000;
/// How many times as long as a single hash a batch of bcrypt may take.
const BATCH_LATENCY: f64 = 1.35;

pub(super) struct Engine {
    pub(super) state: Mutex<State>,
    pub(super) filled: Condvar,
    /// Waited on by threads that rest, and by the governor.
    pub(super) watch: Condvar,
    pub(super) priority: WorkerPriority,
    pub(super) rng: Rng,
    pub(super) counts: Counts,
    pub(super) deadline: Duration,
    pub(super) made: Instant,
    /// Memory beyond this is given back after the hash that needed it, in bytes.
    pub(super) arena_kept: usize,
    pub(super) results: mpsc::Sender<Rehashed>,
}

pub(super) struct State {
    pub(super) queue: Queue<CostClass, Job>,
    pub(super) capacity: Capacity,
    /// Threads that wait for something to do.
    pub(super) idle: usize,
    /// Threads that hash.
    pub(super) busy: usize,
    pub(super) calibrated: bool,
    pub(super) closed: bool,
}

pub(super) struct Job {
    pub(super) purpose: Priority,
    pub(super) task: Task,
    pub(super) password: Secret<Vec<u8>>,
    pub(super) queued: Instant,
    pub(super) begin_by: Instant,
    pub(super) reply: Reply,
}

pub(super) enum Task {
    Hash(Scheme),
    Verify(Box<StoredHash>),
}

pub(super) enum Reply {
    Waiter(oneshot::Sender<Result<Answer, Refusal>>),
    Rehash(Box<Rehash>),
}

/// What becomes a [`Rehashed`].
pub(super) struct Rehash {
    pub(super) user: UserId,
    pub(super) uuid: UserUuid,
    pub(super) version: i64,
    pub(super) old: StoredText,
    pub(super) place: OwnedSemaphorePermit,
}

pub(super) enum Answer {
    Hash(Option<String>),
    Verdict(bool),
    /// The system gave no memory to find out.
    NoMemory,
}

impl Task {
    pub(super) fn class(&self) -> CostClass {
        match self {
            Self::Hash(scheme) => scheme.class(),
            Self::Verify(stored) => stored.cost_class(),
        }
    }
}

impl Engine {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job into the queue. While that is longer than the deadline allows, whoever would be served last is sent
    /// away at once: the newcomer, or somebody who asked for more before.
    pub(super) fn enqueue(
        &self,
        purpose: Priority,
        requester: Requester,
        class: &CostClass,
        job: Job,
    ) -> Result<Turn, Refusal> {
        let mut state = self.lock();
        let state = &mut *state;
        let now = job.queued.saturating_duration_since(self.made);
        let mine = state.queue.push(now, purpose, requester, *class, job);
        let mut refused = Ok(mine);
        loop {
            let wait = state.capacity.wait(state.queue.waiting());
            let first = state.queue.len() <= 1;
            let ahead = wait.saturating_sub(state.capacity.wait([(class, 1)].into_iter()));
            if first || (ahead <= self.deadline && state.queue.len() <= QUEUE) {
                if ahead < self.deadline / 4 {
                    state.capacity.forget_slots();
                }
                break;
            }
            let Some((last_class, last, job)) = state.queue.pop_last() else { break };
            self.counts.shed.fetch_add(1, Relaxed);
            let refusal = Refusal::Busy(self.retry_after(state, job.purpose, &last_class));
            if last == mine {
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

    pub(super) fn retry_after(&self, state: &mut State, purpose: Priority, class: &CostClass) -> Duration {
        let wait = state.capacity.wait(state.queue.waiting());
        let jitter = f64::from(u16::from_be_bytes(self.rng.bytes())) / 65_536.0;
        state.capacity.retry_after(purpose, class, wait, self.deadline, jitter)
    }

    /// Measures batches of bcrypt, once, on a thread that takes nothing from others.
    pub(super) async fn calibrate(self: &Arc<Self>) {
        if std::mem::replace(&mut self.lock().calibrated, true) {
            return;
        }
        let (done, measured) = oneshot::channel();
        let lowest = self.priority.lowest();
        thread("hash calibration", move || {
            // Where it is refused, it takes its share for 50 ms.
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

    /// Looks at the threads while they hash, until the engine is closed.
    pub(super) fn govern(&self) {
        let mut glance = Sample::default();
        let mut state = self.lock();
        while !state.closed {
            let is_idle = state.busy == 0 && state.queue.len() == 0;
            if is_idle && glance.is_calm() {
                drop(state);
                self.priority.pause(&mut glance);
                state = self.lock();
                if state.busy == 0 && state.queue.len() == 0 && !state.closed {
                    state = self.watch.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                continue;
            }
            let (busy, open) = (state.busy, state.busy + state.queue.len());
            drop(state);
            self.priority.look(&mut glance, busy, open);
            state = self.lock();
            if !state.closed {
                (state, _) = self.watch.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Reply {
    pub(super) fn send(self, engine: &Engine, answer: Result<Answer, Refusal>) {
        match (self, answer) {
            (Self::Waiter(waiter), answer) => {
                // Whoever has gone meanwhile does not mind.
                let _ = waiter.send(answer);
            }
            (Self::Rehash(rehash), Ok(Answer::Hash(Some(new)))) => {
                let Rehash { user, uuid, version, old, place } = *rehash;
                // There is a place for each permit, unless the server stops.
                let _ = engine.results.try_send(Rehashed {
                    user,
                    uuid,
                    version,
                    old,
                    new,
                    is_same: false,
                    _place: place,
                });
            }
            (Self::Rehash(_), _) => {}
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Waiter(waiter) => waiter.is_closed(),
            Self::Rehash(_) => false,
        }
    }
}

/// A place in the queue, left when whoever waits there goes away.
pub(super) struct Ticket<'a> {
    pub(super) engine: &'a Engine,
    pub(super) purpose: Priority,
    pub(super) class: CostClass,
    pub(super) turn: Option<Turn>,
}

impl Ticket<'_> {
    /// Leaves the queue because the deadline has passed, unless hashing has begun; when to come back.
    pub(super) fn give_up(&mut self) -> Option<Duration> {
        let mut state = self.engine.lock();
        state.queue.remove(&self.class, self.turn?)?;
        self.turn = None;
        self.engine.counts.shed.fetch_add(1, Relaxed);
        Some(self.engine.retry_after(&mut state, self.purpose, &self.class))
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

pub(super) fn thread(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        tracing::error!(%error, name, "a hashing thread could not be started");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a machine has at most thousands of threads")]
pub(super) fn float(count: usize) -> f64 {
    count as f64
}
