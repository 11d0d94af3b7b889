//! A hashing thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use model::Rng;
use protocol::wire::password_hash::CostClass;
use sched_policy::Thread;
use tokio::time::Instant;

use crate::Refusal;
use crate::bcrypt::{self, BcryptJob};
use crate::capacity::is_bcrypt;
use crate::engine::{Answer, Engine, Job, State, Task};
use crate::scheme::Scheme;
use crate::scheme::{WorkerBuffers, verify};

/// How long an idle thread keeps its memory.
const KEEP: Duration = Duration::from_secs(30);

/// What a thread does next.
enum Next {
    Hash(CostClass, Vec<Job>),
    /// No job has arrived for a while.
    Rest,
    End,
}

/// Hashes until the engine is closed.
pub(crate) fn work(engine: &Engine) {
    engine.priority.enter();
    let mut buffers = WorkerBuffers::default();
    let mut patience = Some(KEEP);
    loop {
        match engine.next(patience) {
            Next::Hash(class, jobs) => {
                patience = Some(KEEP);
                let jobs = engine.admit(jobs);
                if !jobs.is_empty() {
                    engine.run(&mut buffers, &class, jobs);
                }
                engine.lock().busy -= 1;
            }
            Next::Rest => {
                buffers = WorkerBuffers::default();
                patience = None;
            }
            Next::End => return,
        }
    }
}

impl Engine {
    /// Waits for jobs: a single one, or a batch of one class, shared with the other idle threads.
    fn next(&self, patience: Option<Duration>) -> Next {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Next::End;
            }
            let State { queue, capacity, idle, busy, .. } = &mut *state;
            let most =
                |class: &CostClass, waiting: usize| capacity.width(class).min(waiting.div_ceil(*idle + 1));
            if let Some((class, jobs)) = queue.take(most) {
                *busy += 1;
                return Next::Hash(class, jobs);
            }

            state.idle += 1;
            let rest;
            (state, rest) = match patience {
                None => (self.filled.wait(state).unwrap_or_else(PoisonError::into_inner), false),
                Some(patience) => {
                    let (state, timeout) =
                        self.filled.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
                    (state, timeout.timed_out())
                }
            };
            state.idle -= 1;
            if rest && state.queue.len() == 0 && !state.closed {
                return Next::Rest;
            }
        }
    }

    /// Drops the jobs of callers that are gone, and refuses those past their deadline.
    fn admit(&self, jobs: Vec<Job>) -> Vec<Job> {
        let now = Instant::now();
        let mut admitted = Vec::with_capacity(jobs.len());
        for job in jobs {
            if job.reply.is_closed() {
                self.counts.cancelled.fetch_add(1, Relaxed);
            } else if now > job.begin_by {
                self.counts.shed.fetch_add(1, Relaxed);
                let after = self.retry_after(&mut self.lock(), &job);
                job.reply.send(self, Err(Refusal::Busy(after)));
            } else {
                self.counts.wait.observe(now.duration_since(job.queued));
                admitted.push(job);
            }
        }
        admitted
    }

    fn run(&self, buffers: &mut WorkerBuffers, class: &CostClass, jobs: Vec<Job>) {
        let count = jobs.len();
        let begun = Instant::now();
        let cpu = cpu_time();
        self.counts.begun.fetch_add(count as u64, Relaxed);
        let computed = catch_unwind(AssertUnwindSafe(|| compute(buffers, &self.rng, class, &jobs)));
        let took = begun.elapsed();
        let Ok(answers) = computed else {
            // The callers get an error because their reply channels are dropped.
            tracing::error!(%class, "a hash panicked");
            *buffers = WorkerBuffers::default();
            return;
        };
        self.counts.done.fetch_add(count as u64, Relaxed);
        self.counts.hashed(class.algorithm(), took);
        if buffers.arena.reserved_bytes() > self.arena_kept {
            buffers.arena.release();
        }
        let rest = self.priority.rest(cpu_time().saturating_sub(cpu), took);
        self.lock().capacity.measured(class, count, took + rest);
        for (job, answer) in jobs.into_iter().zip(answers) {
            job.reply.send(self, Ok(answer));
        }
        self.rest(rest);
    }

    /// Rests for `rest`, or until the engine is closed.
    fn rest(&self, rest: Duration) {
        let until = Instant::now() + rest;
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.closed {
                return;
            }
            (state, _) = self.watch.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn cpu_time() -> Duration {
    Thread::current().cpu_time().unwrap_or_default()
}

/// Computes the answers of jobs of one class, in order.
fn compute(buffers: &mut WorkerBuffers, rng: &Rng, class: &CostClass, jobs: &[Job]) -> Vec<Answer> {
    if is_bcrypt(class) {
        return compute_batch(buffers, rng, jobs);
    }
    let one = |job: &Job| {
        let password = job.password.expose();
        match &job.task {
            Task::Hash(scheme) => Answer::Hash(scheme.hash(password, rng, &mut buffers.arena)),
            Task::Verify(stored) => {
                verify(stored, password, buffers).map_or(Answer::NoMemory, Answer::Verdict)
            }
        }
    };
    jobs.iter().map(one).collect()
}

/// Computes new hashes and checks of bcrypt, all of one cost.
fn compute_batch(buffers: &mut WorkerBuffers, rng: &Rng, jobs: &[Job]) -> Vec<Answer> {
    let prepared: Vec<_> = jobs.iter().map(|job| prepare(job, rng)).collect();
    let valid: Vec<_> = prepared.iter().flatten().collect();
    let mut hashes = bcrypt::hash_batch(buffers.lanes(), &valid).into_iter();
    let answer = |(job, prepared): (&Job, &Option<BcryptJob<'_>>)| {
        let hash = prepared.as_ref().and_then(|_| hashes.next().flatten());
        let computed = prepared.as_ref().zip(hash);
        match &job.task {
            Task::Hash(_) => Answer::Hash(computed.and_then(|(prepared, hash)| prepared.text(&hash))),
            Task::Verify(_) => {
                Answer::Verdict(computed.is_some_and(|(prepared, hash)| prepared.is_answered_by(&hash)))
            }
        }
    };
    jobs.iter().zip(&prepared).map(answer).collect()
}

/// Prepares a job for bcrypt; `None` when it needs another algorithm.
fn prepare<'a>(job: &'a Job, rng: &Rng) -> Option<BcryptJob<'a>> {
    let password = job.password.expose();
    match &job.task {
        Task::Hash(Scheme::Bcrypt { cost }) => {
            Some(BcryptJob::new_hash(u8::try_from(*cost).ok()?, rng.bytes(), password))
        }
        Task::Hash(Scheme::Argon2id { .. }) => None,
        Task::Verify(stored) => BcryptJob::check(stored, password),
    }
}
