//! The password engine: hashing threads, a bounded and fair queue with deadlines, and a refusal before anything is spent.
//!
//! Promise of this crate: it knows neither database nor HTTP. Everything that hashes takes [`Parked`], the proof that the
//! caller holds no connection.

mod bcrypt;
mod capacity;
mod dummy_hashes;
mod engine;
mod imported;
mod metrics;
mod queue;
mod scheme;
mod worker;
mod worker_priority;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use model::{Rng, Secret, UserId, UserUuid};
use protocol::sealed::pepper::StoredText;
use protocol::wire::password_hash::{CostClass, Format, Rules, StoredHash};
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

/// How the engine hashes, and how much.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How new passwords are hashed.
    pub scheme: Scheme,
    /// Threads that hash.
    pub threads: usize,
    /// How many processors they may use all together, where a quota says so.
    pub processor_share: Option<f64>,
    /// Longest wait for a hash to begin.
    pub queue_deadline: Duration,
}

/// The bytes that are hashed: NFC, never truncated.
pub fn normalise(password: &str) -> Secret<Vec<u8>> {
    Secret::new(password.nfc().collect::<String>().into_bytes())
}

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is longer than the deadline allows; a place comes free after this.
    Busy(Duration),
    /// The client has hung up.
    Gone,
}

/// Hashes passwords on threads of its own. Whoever asks must prove that he holds no connection.
pub struct PasswordHasher {
    engine: Arc<Engine>,
    scheme: Scheme,
    dummy_hashes: RwLock<Arc<DummyHashes>>,
    rehashes: Arc<Semaphore>,
    results: Mutex<mpsc::Receiver<Rehashed>>,
}

/// The credential whose password was right, as it was when that was checked.
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

/// A better hash of a password that was right, for the user whose hash it replaces if that still stands.
#[derive(Debug)]
pub struct Rehashed {
    /// The credential that was checked.
    pub ticket: RehashTicket,
    /// The hash that is stored instead, before it is sealed.
    pub new: String,
    /// Whether that is the hash that was checked: only its seal is to be another one.
    pub is_same: bool,
    /// A permit among those that wait, free when this is dropped.
    _permit: OwnedSemaphorePermit,
}

/// Most passwords that wait for a better hash or for its being stored.
const REHASHES: usize = 64;
/// Memory of a thread that is kept from hash to hash, at least, in bytes.
const ARENA_KEPT: usize = 64 << 20;
/// Longest wait of one of them.
const REHASH_DEADLINE: Duration = Duration::from_secs(30);
impl PasswordHasher {
    /// Starts the threads; they end when the hasher is dropped.
    pub fn start(settings: &Settings, rng: &Rng) -> Self {
        let hasher = Self::asleep(settings, rng);
        hasher.wake(settings.threads.max(1));
        hasher
    }

    /// A hasher whose threads have yet to be started.
    fn asleep(settings: &Settings, rng: &Rng) -> Self {
        let threads = settings.threads.max(1);
        let (results, receiver) = mpsc::channel(REHASHES);
        let part = settings.processor_share.map(|share| share / float(threads));
        let engine = Arc::new(Engine {
            state: Mutex::new(State {
                queue: Queue::new(),
                capacity: Capacity::new(float(threads)),
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
        thread("hash governor", move || engine.govern());
    }

    /// Hashes a new password as configured.
    ///
    /// # Errors
    /// [`Refusal`], before anything was computed.
    pub async fn hash(
        &self,
        parked: Parked<'_>,
        purpose: Priority,
        requester: Requester,
        password: Secret<Vec<u8>>,
    ) -> Result<String, Refusal> {
        match self.submit(parked.gone(), purpose, requester, Task::Hash(self.scheme), password).await? {
            Answer::Hash(Some(hash)) => Ok(hash),
            // The configuration checks the parameters and the policy the password: a thread has failed.
            Answer::Hash(None) | Answer::Verdict(_) | Answer::NoMemory => {
                Err(Refusal::Busy(self.engine.deadline))
            }
        }
    }

    /// Whether `password` is the one behind `stored`: its bytes by the rules of the stored hash.
    ///
    /// # Errors
    /// [`Refusal`], before anything was computed.
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

    /// The hash that stands for an account without one: computing it takes an unknown user as long as a known one.
    /// Always the same for one `account`; of a kind that users have here.
    pub fn dummy_hash(&self, account: &str) -> Option<StoredHash> {
        self.dummy_hashes().choose(account).cloned()
    }

    /// Whether a password that was right, as received, is hashed anew: its hash is not what the configuration says, the
    /// hash covers all of it, and the configured scheme can take it. (Where the origin looked at a part only, somebody
    /// may have typed another end; that must not become the password.)
    pub fn should_rehash(&self, stored: &StoredHash, password: &str) -> bool {
        let outdated = stored.rules() == Rules::Imported || stored.cost_class() != self.scheme.class();
        outdated && covers(stored.format(), password.as_bytes()) && self.scheme.takes(password)
    }

    /// Hashes a password that was right anew, in the background. Nothing comes of it when too many wait already or
    /// there is no time within 30 seconds; the next login tries again.
    pub fn rehash(&self, ticket: RehashTicket, password: Secret<Vec<u8>>) {
        let Ok(permit) = Arc::clone(&self.rehashes).try_acquire_owned() else { return };
        let reply = Reply::Rehash(Box::new(Rehash { ticket, permit }));
        let now = Instant::now();
        let job = Job {
            purpose: Priority::Background,
            task: Task::Hash(self.scheme),
            password,
            queued: now,
            begin_by: now + REHASH_DEADLINE,
            reply,
        };
        // Whoever is refused here has been counted; nobody waits for an answer.
        let _ = self.engine.enqueue(Priority::Background, Requester::default(), &self.scheme.class(), job);
    }

    /// Has the hash that was checked stored anew, as a better one would be: its seal is outdated.
    pub fn keep(&self, ticket: RehashTicket, stored: &StoredHash) {
        let Ok(permit) = Arc::clone(&self.rehashes).try_acquire_owned() else { return };
        let kept = Rehashed { ticket, new: stored.to_string(), is_same: true, _permit: permit };
        // There is room for as many as have places.
        let _ = self.engine.results.try_send(kept);
    }

    /// A password that was hashed anew, if there is one.
    pub fn rehashed(&self) -> Option<Rehashed> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).try_recv().ok()
    }

    /// Takes over which kinds of hashes users have: unknown users look like them from now on. Without any, they look
    /// like users of the configured scheme.
    pub fn resemble(&self, sample: Vec<StoredHash>) {
        let dummy_hashes = DummyHashes::of_sample(sample);
        let dummy_hashes =
            dummy_hashes.unwrap_or_else(|| DummyHashes::of_scheme(self.scheme, &self.engine.rng));
        *self.dummy_hashes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(dummy_hashes);
    }

    /// Measures each kind of hash that users have, when nothing else is to be hashed, and tells how many of the kinds
    /// measured for the first time this node can verify a second.
    ///
    /// # Errors
    /// [`Refusal`] when there is too much else to do; real logins measure as well.
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

    /// Hashes a second of each algorithm, of its dearest kind that users have here.
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

    /// What there was to count.
    pub fn counts(&self) -> &Counts {
        &self.engine.counts
    }

    /// How many jobs wait.
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
        let (queued, class) = (Instant::now(), task.class());
        let begin_by = queued + self.engine.deadline;
        let job = Job { purpose, task, password, queued, begin_by, reply: Reply::Waiter(reply) };
        let turn = self.engine.enqueue(purpose, requester, &class, job)?;
        let mut ticket = Ticket { engine: &self.engine, purpose, class, turn: Some(turn) };
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
        Format::Argon2(_)
        | Format::BcryptSha256(_)
        | Format::Pbkdf2(_)
        | Format::Scrypt(_)
        | Format::Firebase(_) => true,
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
