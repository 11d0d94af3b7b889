//! A thread that hashes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bcrypt_lanes::{Cost, Hash, Job as LaneJob, Lanes, Password, Rules, Version, Width};
use model::Rng;
use protocol::password_hash::{BcryptHash, StoredHash};
use thread_class::Thread;
use tokio::time::Instant;

use super::super::class::Class;
use super::super::scheme::{Arena, verify};
use super::{Answer, Engine, Job, Refusal, State, Task};

/// How long a thread keeps its memory while there is nothing to hash.
const KEEP: Duration = Duration::from_secs(30);

/// What a thread hashes with, made at first use.
#[derive(Default)]
struct Tools {
    arena: Arena,
    lanes: Option<Lanes>,
}

/// What a thread does next.
enum Next {
    Hash(Class, Vec<Job>),
    /// There has been nothing to do for a while.
    Rest,
    End,
}

/// Hashes until the engine is closed.
pub(super) fn work(engine: &Engine) {
    engine.governor.enter();
    let mut tools = Tools::default();
    let mut patience = Some(KEEP);
    loop {
        match engine.next(patience) {
            Next::Hash(class, jobs) => {
                patience = Some(KEEP);
                let jobs = engine.admit(jobs);
                if !jobs.is_empty() {
                    engine.run(&mut tools, &class, jobs);
                }
                engine.lock().busy -= 1;
            }
            Next::Rest => {
                tools = Tools::default();
                patience = None;
            }
            Next::End => return,
        }
    }
}

impl Engine {
    /// Waits for jobs: one, or as many of its class as go together, shared with the threads that are idle as well.
    fn next(&self, patience: Option<Duration>) -> Next {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Next::End;
            }
            let State { queue, pace, idle, busy, .. } = &mut *state;
            let most = |class: &Class, waiting: usize| pace.width(class).min(waiting.div_ceil(*idle + 1));
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

    /// Leaves out whoever has gone or waited too long.
    fn admit(&self, jobs: Vec<Job>) -> Vec<Job> {
        let now = Instant::now();
        let mut admitted = Vec::with_capacity(jobs.len());
        for job in jobs {
            if job.reply.is_closed() {
                self.counts.cancelled.fetch_add(1, Relaxed);
            } else if now > job.begin_by {
                self.counts.shed.fetch_add(1, Relaxed);
                let after = self.retry_after(&mut self.lock(), &job.task.class());
                job.reply.send(self, Err(Refusal::Busy(after)));
            } else {
                self.counts.wait.observe(now.duration_since(job.queued));
                admitted.push(job);
            }
        }
        admitted
    }

    fn run(&self, tools: &mut Tools, class: &Class, jobs: Vec<Job>) {
        let (count, begun, cpu) = (jobs.len(), Instant::now(), cpu_time());
        self.counts.begun.fetch_add(count as u64, Relaxed);
        let computed = catch_unwind(AssertUnwindSafe(|| tools.compute(self, class, &jobs)));
        let took = begun.elapsed();
        let Ok(answers) = computed else {
            // Whoever waits hears that his question was dropped.
            tracing::error!(%class, "a hash panicked");
            *tools = Tools::default();
            return;
        };
        self.counts.done.fetch_add(count as u64, Relaxed);
        self.counts.hashed(class.algorithm(), took);
        let rest = self.governor.rest(cpu_time().saturating_sub(cpu), took);
        self.lock().pace.measured(class, count, took + rest);
        for (job, answer) in jobs.into_iter().zip(answers) {
            job.reply.send(self, Ok(answer));
        }
        self.rest(rest);
    }

    /// Rests, at most until the engine is closed.
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

impl Tools {
    /// The answers of jobs of one class, in their order.
    fn compute(&mut self, engine: &Engine, class: &Class, jobs: &[Job]) -> Vec<Answer> {
        if let Class::Bcrypt { cost } = class
            && let Some(cost) = Cost::new(*cost)
        {
            return self.bcrypt(engine, cost, jobs);
        }
        let one = |job: &Job| match &job.task {
            Task::Hash(scheme) => {
                Answer::Hash(scheme.hash(job.password.expose(), &engine.rng, &mut self.arena))
            }
            Task::Verify(stored) => Answer::Verdict(verify(stored, job.password.expose(), &mut self.arena)),
        };
        jobs.iter().map(one).collect()
    }

    /// Hashes and checks of bcrypt, all together.
    fn bcrypt(&mut self, engine: &Engine, cost: Cost, jobs: &[Job]) -> Vec<Answer> {
        let lanes = self.lanes.get_or_insert_with(|| {
            let mut lanes = Lanes::new();
            lanes.set_width(Width::MAX);
            lanes
        });
        let lane_jobs: Vec<_> = jobs.iter().map(|job| lane_job(job, &engine.rng)).collect();
        let mut hashes: Vec<Option<Hash>> = vec![None; jobs.len()];
        if lanes.hash_many(cost, &lane_jobs, &mut hashes).is_err() {
            hashes.fill(None);
        }
        let answer = |(job, hash): (&Job, Option<Hash>)| {
            let (whole, _) = password(job);
            let hash = hash.filter(|_| whole);
            match &job.task {
                Task::Hash(_) => Answer::Hash(hash.map(|hash| {
                    StoredHash::Bcrypt(BcryptHash::new(cost.get(), hash.salt(), hash.digest())).to_string()
                })),
                Task::Verify(stored) => Answer::Verdict(match &**stored {
                    StoredHash::Bcrypt(wanted) => {
                        hash.is_some_and(|hash| verify_slices_are_equal(&hash.digest(), &wanted.tag).is_ok())
                    }
                    StoredHash::Argon2(_) => false,
                }),
            }
        };
        jobs.iter().zip(hashes).map(answer).collect()
    }
}

fn lane_job<'a>(job: &'a Job, rng: &Rng) -> LaneJob<'a> {
    let salt = match &job.task {
        Task::Verify(stored) => match &**stored {
            StoredHash::Bcrypt(hash) => hash.salt,
            StoredHash::Argon2(_) => [0; 16],
        },
        Task::Hash(_) => rng.bytes(),
    };
    LaneJob { password: password(job).1, salt, version: Version::B }
}

/// The password of a job as bcrypt takes it, and whether it takes all of it that counts. What does not fit costs what
/// every other one costs.
fn password(job: &Job) -> (bool, Password<'_>) {
    let bytes = job.password.expose();
    match Password::new(bytes, Rules::STRICT) {
        Ok(password) => (true, password),
        Err(_) => (false, Password::new(bytes, Rules::BYTES).unwrap_or_default()),
    }
}
