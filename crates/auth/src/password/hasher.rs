//! The hashing engine: threads of its own, a bounded queue with deadlines, and 503 before anything is spent.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use model::{Rng, Secret};
use protocol::password_hash::StoredHash;
use store::Parked;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::scheme::{Arena, verify};
use super::{PasswordSettings, Scheme};

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is longer than the deadline allows; a place comes free after this.
    Busy(Duration),
    /// The client has hung up.
    Gone,
}

/// How many hashes were begun, computed, shed and cancelled since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HasherCounts {
    /// Taken up by a thread.
    pub begun: u64,
    /// Computed to the end.
    pub done: u64,
    /// Refused because of the deadline.
    pub shed: u64,
    /// Never begun because the client had gone.
    pub cancelled: u64,
}

/// Hashes passwords on threads of its own. Whoever asks must prove that he holds no connection.
pub struct Hasher {
    engine: Arc<Engine>,
    scheme: Scheme,
    deadline: Duration,
    threads: u32,
}

struct Engine {
    queue: Mutex<Queue>,
    filled: Condvar,
    rng: Rng,
    begun: AtomicU64,
    done: AtomicU64,
    shed: AtomicU64,
    cancelled: AtomicU64,
    /// Mean time of a hash, in microseconds, moving.
    mean_micros: AtomicU64,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: u32,
    closed: bool,
}

struct Job {
    task: Task,
    password: Secret<Vec<u8>>,
    begin_by: Instant,
    gone: CancellationToken,
    reply: oneshot::Sender<Result<Answer, Refusal>>,
}

enum Task {
    Hash(Scheme),
    Verify(StoredHash),
    Waste(Scheme),
}

enum Answer {
    Hash(Option<String>),
    Verdict(bool),
}

/// Most jobs that may wait, whatever the deadline: a bound of the queue's memory.
const QUEUE: usize = 10_000;

impl Hasher {
    /// Starts the threads; they end when the hasher is dropped.
    pub fn start(settings: &PasswordSettings, rng: Rng) -> Self {
        let engine = Arc::new(Engine {
            queue: Mutex::default(),
            filled: Condvar::new(),
            rng,
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            mean_micros: AtomicU64::new(0),
        });
        let mut threads = 0;
        for number in 0..settings.threads.max(1) {
            let shared = Arc::clone(&engine);
            let started =
                std::thread::Builder::new().name(format!("hash {number}")).spawn(move || work(&shared));
            match started {
                Ok(_) => threads += 1,
                Err(error) => tracing::error!(%error, "a hashing thread could not be started"),
            }
        }
        Self { engine, scheme: settings.scheme, deadline: settings.queue_deadline, threads }
    }

    /// Hashes a new password as configured.
    ///
    /// # Errors
    /// [`Refusal`], before anything was computed.
    pub async fn hash(&self, parked: Parked<'_>, password: Secret<Vec<u8>>) -> Result<String, Refusal> {
        match self.submit(parked, Task::Hash(self.scheme), password).await? {
            Answer::Hash(Some(hash)) => Ok(hash),
            // The configuration checks the parameters, so a scheme that cannot hash is a thread that died.
            Answer::Hash(None) | Answer::Verdict(_) => Err(Refusal::Busy(self.deadline)),
        }
    }

    /// Whether `password` is the one behind `stored`. Without a stored hash the same work is done for nothing, so
    /// that an unknown user takes as long as a known one.
    ///
    /// # Errors
    /// [`Refusal`], before anything was computed.
    pub async fn verify(
        &self,
        parked: Parked<'_>,
        password: Secret<Vec<u8>>,
        stored: Option<StoredHash>,
    ) -> Result<bool, Refusal> {
        let task = stored.map_or(Task::Waste(self.scheme), Task::Verify);
        match self.submit(parked, task, password).await? {
            Answer::Verdict(same) => Ok(same),
            Answer::Hash(_) => Ok(false),
        }
    }

    /// How many hashes there were.
    pub fn counts(&self) -> HasherCounts {
        HasherCounts {
            begun: self.engine.begun.load(Ordering::Relaxed),
            done: self.engine.done.load(Ordering::Relaxed),
            shed: self.engine.shed.load(Ordering::Relaxed),
            cancelled: self.engine.cancelled.load(Ordering::Relaxed),
        }
    }

    /// How many jobs wait.
    pub fn queue_depth(&self) -> usize {
        self.engine.lock().jobs.len()
    }

    async fn submit(
        &self,
        parked: Parked<'_>,
        task: Task,
        password: Secret<Vec<u8>>,
    ) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        let begin_by = Instant::now() + self.deadline;
        let job = Job { task, password, begin_by, gone: parked.gone().clone(), reply };
        self.enqueue(job)?;
        tokio::select! {
            answered = answer => answered.unwrap_or(Err(Refusal::Busy(self.deadline))),
            () = parked.gone().cancelled() => Err(Refusal::Gone),
        }
    }

    fn enqueue(&self, job: Job) -> Result<(), Refusal> {
        let mut queue = self.engine.lock();
        let mean = Duration::from_micros(self.engine.mean_micros.load(Ordering::Relaxed));
        let ahead = u32::try_from(queue.jobs.len()).unwrap_or(u32::MAX).saturating_add(queue.running);
        let free = self.threads.max(1);
        let wait = mean.saturating_mul(ahead.saturating_sub(free - 1)) / free;
        if queue.jobs.len() >= QUEUE || wait > self.deadline {
            self.engine.shed.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::Busy(wait.saturating_sub(self.deadline).max(Duration::from_secs(1))));
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.engine.filled.notify_one();
        Ok(())
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.engine.lock().closed = true;
        self.engine.filled.notify_all();
    }
}

impl Engine {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                queue.running += 1;
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn measured(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mean = self.mean_micros.load(Ordering::Relaxed);
        let next = if mean == 0 { micros } else { (mean * 7 + micros) / 8 };
        self.mean_micros.store(next, Ordering::Relaxed);
    }
}

fn work(engine: &Engine) {
    let mut arena = Arena::default();
    while let Some(job) = engine.next() {
        if job.gone.is_cancelled() || job.reply.is_closed() {
            engine.cancelled.fetch_add(1, Ordering::Relaxed);
        } else if Instant::now() > job.begin_by {
            engine.shed.fetch_add(1, Ordering::Relaxed);
            let _ = job.reply.send(Err(Refusal::Busy(Duration::from_secs(1))));
        } else {
            engine.begun.fetch_add(1, Ordering::Relaxed);
            let begun = Instant::now();
            let answer = match &job.task {
                Task::Hash(scheme) => {
                    Answer::Hash(scheme.hash(job.password.expose(), &engine.rng, &mut arena))
                }
                Task::Verify(stored) => Answer::Verdict(verify(stored, job.password.expose(), &mut arena)),
                Task::Waste(scheme) => {
                    scheme.waste(job.password.expose(), &engine.rng, &mut arena);
                    Answer::Verdict(false)
                }
            };
            engine.measured(begun.elapsed());
            engine.done.fetch_add(1, Ordering::Relaxed);
            let _ = job.reply.send(Ok(answer));
        }
        engine.lock().running -= 1;
    }
}
