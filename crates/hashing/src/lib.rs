//! The password engine: hashing threads, a bounded and fair queue with deadlines, and refusals before any
//! work is spent.
//!
//! This crate knows neither the database nor HTTP. All hashing takes [`Parked`], the proof that the caller
//! holds no database connection.

mod bcrypt;
mod capacity;
mod digests;
mod dummy_hashes;
mod engine;
mod imported;
mod metrics;
mod queue;
mod retry;
mod scheme;
mod worker;
mod worker_priority;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use model::{Rng, Secret, UserId, UserUuid};
use protocol::sealed::pepper::StoredText;
use protocol::wire::password_hash::{CostClass, DigestRule, Format, Prehash, Rules, StoredHash};
use runtime::Parked;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use unicode_normalization::UnicodeNormalization as _;

use crate::capacity::{Capacity, is_bcrypt};
use crate::dummy_hashes::DummyHashes;
use crate::engine::{Answer, Engine, Job, Rehash, Reply, State, Task, Ticket, float, thread};
pub use crate::metrics::{Counts, HashingMetrics};
use crate::queue::Queue;
pub use crate::queue::{Priority, Requester};
pub use crate::scheme::{BCRYPT_BYTES, Scheme};
use crate::worker_priority::WorkerPriority;

/// The settings of the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The scheme of new passwords.
    pub scheme: Scheme,
    /// Threads that hash.
    pub threads: usize,
    /// How many processors all threads may use together, where a quota is set.
    pub processor_share: Option<f64>,
    /// Longest wait until hashing starts.
    pub queue_deadline: Duration,
}

impl Default for Settings {
    /// A thread for each processor, and no quota.
    fn default() -> Self {
        Self {
            scheme: Scheme::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            processor_share: None,
            queue_deadline: Duration::from_secs(3),
        }
    }
}

/// The bytes to hash: the NFC of the password, never truncated.
pub fn normalise(password: &str) -> Secret<Vec<u8>> {
    Secret::new(password.nfc().collect::<String>().into_bytes())
}

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The queue is longer than the deadline allows; retry after this.
    #[error("the password could not be hashed in time")]
    Busy(Duration),
    /// The client has disconnected.
    #[error("the client has disconnected")]
    Gone,
}

/// Hashes passwords on dedicated threads. Callers must prove that they hold no database connection.
pub struct PasswordHasher {
    engine: Arc<Engine>,
    scheme: Scheme,
    dummy_hashes: RwLock<Arc<DummyHashes>>,
    rehashes: Arc<Semaphore>,
    results: Mutex<mpsc::Receiver<Rehashed>>,
}

/// The credential whose password was verified, as it was at that time.
#[derive(Clone, Debug)]
pub struct RehashTicket {
    /// The user.
    pub user: UserId,
    /// The user's public identifier.
    pub uuid: UserUuid,
    /// The version of the credential.
    pub version: i64,
    /// The stored text of the credential.
    pub old: StoredText,
}

/// A new hash of a verified password, to replace the old one if that is still stored.
#[derive(Debug)]
pub struct Rehashed {
    /// The verified credential.
    pub ticket: RehashTicket,
    /// The hash to store, before it is sealed.
    pub new: String,
    /// Whether this is the verified hash itself: only its seal is to be replaced.
    pub is_same: bool,
    /// A permit of the pending rehashes, released on drop.
    _permit: OwnedSemaphorePermit,
}

/// Most passwords that wait to be rehashed or stored.
const REHASHES: usize = 64;
/// Memory that a thread keeps between hashes, in bytes; more if the scheme needs more.
const ARENA_KEPT: usize = 64 << 20;
/// Longest wait of a rehash.
const REHASH_DEADLINE: Duration = Duration::from_secs(30);

impl PasswordHasher {
    /// Starts the threads; they end when the hasher is dropped.
    pub fn start(settings: &Settings, rng: &Rng) -> Self {
        let hasher = Self::asleep(settings, rng);
        hasher.wake(settings.threads.max(1));
        hasher
    }

    /// Creates a hasher without starting its threads.
    fn asleep(settings: &Settings, rng: &Rng) -> Self {
        let threads = settings.threads.max(1);
        let (results, receiver) = mpsc::channel(REHASHES);
        let part = settings.processor_share.map(|share| share / float(threads));

        let engine = Arc::new(Engine {
            state: Mutex::new(State {
                queue: Queue::new(),
                capacity: Capacity::new(float(threads)),
                retry: retry::RetryLines::default(),
                idle: 0,
                busy: 0,
                calibrated: false,
                closed: false,
            }),
            filled: Condvar::new(),
            watch: Condvar::new(),
            priority: WorkerPriority::new(part),
            rng: rng.clone(),
            counts: Counts::default(),
            deadline: settings.queue_deadline,
            made: Instant::now(),
            arena_kept: ARENA_KEPT.max(settings.scheme.memory_bytes() * 2),
            results,
        });
        Self {
            engine,
            scheme: settings.scheme,
            dummy_hashes: RwLock::new(Arc::new(DummyHashes::of_scheme(settings.scheme, rng))),
            rehashes: Arc::new(Semaphore::new(REHASHES)),
            results: Mutex::new(receiver),
        }
    }

    fn wake(&self, threads: usize) {
        for number in 0..threads {
            let engine = Arc::clone(&self.engine);
            thread(&format!("hash {number}"), move || worker::work(&engine));
        }
        let engine = Arc::clone(&self.engine);
        thread("hash priority", move || engine.adjust_priority());
    }

    /// Hashes a new password as configured.
    ///
    /// # Errors
    /// [`Refusal`], before any work was spent.
    pub async fn hash(
        &self,
        parked: Parked<'_>,
        purpose: Priority,
        requester: Requester,
        password: Secret<Vec<u8>>,
    ) -> Result<String, Refusal> {
        match self.submit(parked.gone(), purpose, requester, Task::Hash(self.scheme), password).await? {
            Answer::Hash(Some(hash)) => Ok(hash),
            // The configuration has validated the parameters and the policy the password, so a thread has
            // failed.
            Answer::Hash(None) | Answer::Verdict(_) | Answer::NoMemory => {
                Err(Refusal::Busy(self.engine.deadline))
            }
        }
    }

    /// Whether `password` matches `stored`, by the rules of the stored hash.
    ///
    /// # Errors
    /// [`Refusal`], before any work was spent.
    pub async fn verify(
        &self,
        parked: Parked<'_>,
        requester: Requester,
        password: Secret<Vec<u8>>,
        stored: StoredHash,
    ) -> Result<bool, Refusal> {
        let task = Task::Verify(Box::new(stored));
        match self.submit(parked.gone(), Priority::Login, requester, task, password).await? {
            Answer::Verdict(same) => Ok(same),
            Answer::Hash(_) => Ok(false),
            Answer::NoMemory => Err(Refusal::Busy(self.engine.deadline)),
        }
    }

    /// The dummy hash for an account without a hash: verifying it takes as long as for a known user. Always
    /// the same for one `account`, of a kind that real users have.
    pub fn dummy_hash(&self, account: &str) -> Option<StoredHash> {
        self.dummy_hashes().choose(account).cloned()
    }

    /// Whether a verified password (as received) should be rehashed: its hash does not follow the
    /// configuration, the hash covers all of the password, and the configured scheme accepts it. (Where the
    /// origin verified only a part, the entered rest may be wrong and must not become the password.)
    pub fn should_rehash(&self, stored: &StoredHash, password: &str) -> bool {
        let outdated = stored.rules() == Rules::Imported || stored.cost_class() != self.scheme.class();
        outdated && covers(stored.format(), password.as_bytes()) && self.scheme.takes(password)
    }

    /// Rehashes a verified password in the background. Does nothing if too many wait already, or if it does
    /// not start within 30 seconds; the next login tries again.
    pub fn rehash(&self, ticket: RehashTicket, password: Secret<Vec<u8>>) {
        let Ok(permit) = Arc::clone(&self.rehashes).try_acquire_owned() else { return };
        let reply = Reply::Rehash(Box::new(Rehash { ticket, permit }));
        let now = Instant::now();
        let job = Job {
            purpose: Priority::Background,
            address: None,
            task: Task::Hash(self.scheme),
            password,
            queued: now,
            begin_by: now + REHASH_DEADLINE,
            reply,
        };
        // A refusal is already counted, and no caller waits for the answer.
        let _ = self.engine.enqueue(Priority::Background, Requester::default(), &self.scheme.class(), job);
    }

    /// Queues the verified hash itself to be stored again, because its seal is outdated.
    pub fn keep(&self, ticket: RehashTicket, stored: &StoredHash) {
        let Ok(permit) = Arc::clone(&self.rehashes).try_acquire_owned() else { return };
        let kept = Rehashed { ticket, new: stored.to_string(), is_same: true, _permit: permit };
        // The channel has a slot for each permit.
        let _ = self.engine.results.try_send(kept);
    }

    /// Takes the next rehashed password, if any.
    pub fn rehashed(&self) -> Option<Rehashed> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).try_recv().ok()
    }

    /// Sets the sample that unknown users resemble. With an empty one they resemble users of the configured
    /// scheme.
    pub fn resemble(&self, sample: Vec<StoredHash>) {
        let dummy_hashes = DummyHashes::of_sample(sample);
        let dummy_hashes =
            dummy_hashes.unwrap_or_else(|| DummyHashes::of_scheme(self.scheme, &self.engine.rng));
        *self.dummy_hashes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(dummy_hashes);
    }

    /// Measures each kind of hash that users have, with background priority. Returns the verifications per
    /// second of each kind that was measured for the first time.
    ///
    /// # Errors
    /// [`Refusal`] when the queue is too long; real logins are measured too.
    pub async fn measure(&self, parked: Parked<'_>) -> Result<Vec<(CostClass, f64)>, Refusal> {
        self.measure_until(parked.gone()).await
    }

    async fn measure_until(&self, gone: &CancellationToken) -> Result<Vec<(CostClass, f64)>, Refusal> {
        let dummy_hashes = self.dummy_hashes();
        if dummy_hashes.classes().any(is_bcrypt) || is_bcrypt(&self.scheme.class()) {
            self.engine.calibrate().await;
        }

        let own = DummyHashes::of_scheme(self.scheme, &self.engine.rng);
        let mut found = Vec::new();

        for stored in dummy_hashes.each().chain(own.each()) {
            let class = stored.cost_class();
            let (known, batch) = {
                let state = self.engine.lock();
                (state.capacity.knows(&class), state.capacity.width(&class))
            };
            if known {
                continue;
            }
            let one = || {
                let (task, password) = (Task::Verify(Box::new(stored.clone())), Secret::new(vec![b'x'; 12]));
                self.submit(gone, Priority::Background, Requester::default(), task, password)
            };

            futures_util::future::try_join_all((0..batch).map(|_| one())).await?;
            found.extend(self.engine.lock().capacity.capacity(&class).map(|capacity| (class, capacity)));
        }
        Ok(found)
    }

    /// For each algorithm, the hashes per second at the most expensive cost that users have.
    pub fn capacity(&self) -> Vec<(&'static str, f64)> {
        let dummy_hashes = self.dummy_hashes();
        let own = self.scheme.class();
        let state = self.engine.lock();
        let mut least = BTreeMap::<&'static str, f64>::new();
        for class in dummy_hashes.classes().chain([&own]) {
            if let Some(capacity) = state.capacity.capacity(class) {
                let entry = least.entry(class.algorithm()).or_insert(capacity);
                *entry = entry.min(capacity);
            }
        }
        least.into_iter().collect()
    }

    /// The counters of the engine.
    pub fn counts(&self) -> &Counts {
        &self.engine.counts
    }

    /// The number of waiting jobs.
    pub fn queue_depth(&self) -> usize {
        self.engine.lock().queue.len()
    }

    fn dummy_hashes(&self) -> Arc<DummyHashes> {
        Arc::clone(&self.dummy_hashes.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn submit(
        &self,
        gone: &CancellationToken,
        purpose: Priority,
        requester: Requester,
        task: Task,
        password: Secret<Vec<u8>>,
    ) -> Result<Answer, Refusal> {
        let (reply, mut answer) = oneshot::channel();
        let queued = Instant::now();
        let class = task.class();
        let begin_by = queued + self.engine.deadline;
        let (address, reply) = (requester.address, Reply::Waiter(reply));
        let job = Job { purpose, address, task, password, queued, begin_by, reply };
        let turn = self.engine.enqueue(purpose, requester, &class, job)?;
        let mut ticket = Ticket { engine: &self.engine, class, turn: Some(turn) };

        let answered = tokio::select! {
            biased;
            answered = &mut answer => answered,
            () = gone.cancelled() => return Err(Refusal::Gone),
            () = tokio::time::sleep_until(begin_by) => {
                if let Some(after) = ticket.give_up() {
                    return Err(Refusal::Busy(after));
                }
                tokio::select! {
                    answered = &mut answer => answered,
                    () = gone.cancelled() => return Err(Refusal::Gone),
                }
            }
        };

        ticket.turn = None;
        answered.unwrap_or(Err(Refusal::Busy(self.engine.deadline)))
    }
}

/// Whether a hash depends on every byte of a password.
fn covers(format: &Format, password: &[u8]) -> bool {
    match format {
        Format::Bcrypt(_) => password.len() <= BCRYPT_BYTES && !password.contains(&0),
        Format::ShaCrypt(_) => !password.contains(&0),
        Format::BcryptSha256(hash) => match &hash.prehash {
            Prehash::Peppered(pepper) => {
                password.len() + pepper.len() <= BCRYPT_BYTES && !password.contains(&0)
            }
            Prehash::WordPress | Prehash::Hex | Prehash::Base64 | Prehash::KeyedBase64 => true,
        },
        Format::Digest(hash) => !matches!(hash.rule, DigestRule::Md5Crypt { .. }) || !password.contains(&0),
        Format::Argon2(_) | Format::Pbkdf2(_) | Format::Scrypt(_) | Format::Firebase(_) => true,
    }
}

impl Drop for PasswordHasher {
    fn drop(&mut self) {
        self.engine.lock().closed = true;
        self.engine.filled.notify_all();
        self.engine.watch.notify_all();
    }
}

#[cfg(test)]
mod tests;
