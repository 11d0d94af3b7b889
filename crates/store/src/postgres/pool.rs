//! A small pool: a semaphore and a list of idle connections.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::Spawner;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::address::Address;
use super::connection::Conn;
use super::pooled_connection::PooledConnection;
use super::prepared::Prepared;
use crate::Error;
use crate::fault_injection::{Faults, acquire};
use crate::health::LastWrite;
use crate::pool_times::{PoolTimes, StatementTimes};
use crate::second_acquire_check::SecondAcquireCheck;

/// The settings of a pool.
#[derive(Clone)]
pub(crate) struct PoolSettings {
    pub(crate) address: Address,
    pub(crate) prepared: Prepared,
    /// Whether reads and lone statements state what they need, as transactions do.
    pub(crate) states_all: Arc<AtomicBool>,
    /// How many idle connections are kept.
    pub(crate) min: usize,
    pub(crate) max: usize,
    /// How long the others may be idle.
    pub(crate) idle: Duration,
    pub(crate) last_write: LastWrite,
    /// Whether the answers that it gets, and those that it does not, tell how requests fare. Jobs write other
    /// tables.
    pub(crate) serves_requests: bool,
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    /// Panics when a task acquires a second connection; for tests.
    pub(crate) holders: SecondAcquireCheck,
    pub(crate) spawner: Spawner,
    /// Shared by all pools of a store.
    pub(crate) statements: Arc<StatementTimes>,
    pub(crate) faults: Option<Faults>,
}

/// The connections of one pool.
pub(crate) struct Pool {
    pub(crate) settings: PoolSettings,
    pub(crate) times: PoolTimes,
    /// Begins a transaction, and states what it needs.
    pub(super) begin: String,
    /// The same for reads.
    pub(super) begin_read: String,
    /// With the time of their last use, the latest last.
    idle: Mutex<Vec<(Conn, Instant)>>,
    permits: Arc<Semaphore>,
    /// Notified when a connection becomes idle.
    freed: Notify,
    trips: AtomicU64,
    pauses: AtomicU64,
}

/// The statements of one transaction see what others have committed meanwhile. Whether it may write is left
/// to the server: a default of read-only is how operators and providers stop writes.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// How long a request waits for an idle connection before it tries to open one again, while the server has no
/// more.
const OPEN_AGAIN: Duration = Duration::from_millis(100);

/// Whether the server or the role has as many connections as it may have (53300).
fn is_full(error: &Error) -> bool {
    matches!(error, Error::Unreached { is_full: true, .. })
}

/// Settings of one transaction, which end with it: another client may get the server process next. The limits
/// end what a dead client left behind, and lie above `deadline`, which the client enforces. Without
/// `row_security` a statement from which rows are hidden fails (42501): a session that is not seen is not one
/// that has ended.
fn local_settings(deadline: Duration) -> String {
    let limit = deadline.saturating_add(Duration::from_secs(1)).as_millis();
    format!(
        "; SET LOCAL row_security = off; SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = 0; \
         SET LOCAL idle_in_transaction_session_timeout = {}",
        limit.saturating_mul(2)
    )
}

impl Pool {
    pub(crate) fn new(settings: PoolSettings) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(settings.max));
        let (trips, pauses) = (AtomicU64::new(0), AtomicU64::new(0));
        let times = PoolTimes::default();
        let local = local_settings(settings.statement_timeout);
        Arc::new(Self {
            times,
            begin: format!("{BEGIN}{local}"),
            begin_read: format!("{BEGIN} READ ONLY{local}"),
            idle: Mutex::default(),
            permits,
            freed: Notify::new(),
            trips,
            pauses,
            settings,
        })
    }

    /// Whether reads and lone statements state what they need, as transactions do.
    pub(super) fn states_all(&self) -> bool {
        self.settings.states_all.load(Ordering::Relaxed)
    }

    /// Lets reads and lone statements state what they need from now on, because of something in the database
    /// that would stop them or change what they find.
    pub(crate) fn state_all(&self, why: &dyn std::fmt::Display) {
        if !self.settings.states_all.swap(true, Ordering::Relaxed) {
            tracing::info!(
                %why,
                "each statement states its isolation level, limits and row level security from now on"
            );
        }
    }

    /// Round trips so far; the budget of each route counts them.
    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    pub(super) fn count_trip(&self) {
        self.trips.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers of connections in use and idle.
    pub(crate) fn connections(&self) -> (usize, usize) {
        (self.in_use(), self.idle().len())
    }

    /// Opens as many connections as are kept.
    pub(crate) async fn warm(&self) -> Result<(), Error> {
        for _ in 0..self.settings.min.min(self.settings.max) {
            let conn = self.open(Instant::now() + self.settings.acquire_timeout).await?;
            self.give_back(conn);
        }
        Ok(())
    }

    /// Acquires a connection within the acquire timeout.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<PooledConnection, Error> {
        let begun = Instant::now();
        let acquired = self.acquire_by(begun + self.settings.acquire_timeout).await;
        self.times.wait.observe(begun.elapsed());
        acquired
    }

    async fn acquire_by(self: &Arc<Self>, deadline: Instant) -> Result<PooledConnection, Error> {
        let entry = self.settings.holders.enter();
        acquire(self.settings.faults.as_ref())?;
        let waited = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = waited else {
            return Err(Error::Unavailable("no connection came free within the deadline".into()));
        };
        let (conn, pooled) = self.take_or_open(deadline).await?;
        Ok(PooledConnection::new(conn, pooled, Arc::clone(self), permit, entry))
    }

    /// Takes an idle connection, else opens one. Where the server or the role has none left, it waits for one
    /// of this pool to come free; the flag says whether it is such a one.
    async fn take_or_open(&self, deadline: Instant) -> Result<(Conn, bool), Error> {
        loop {
            if let Some(conn) = self.take_idle() {
                return Ok((conn, true));
            }
            let refused = match self.open(deadline).await {
                Ok(conn) => return Ok((conn, false)),
                Err(refused) => refused,
            };
            // Others may have given theirs back since; a permit is released after its connection is.
            let is_alone = self.in_use() < 2;
            if let Some(conn) = self.take_idle() {
                return Ok((conn, true));
            }
            if !is_full(&refused) || is_alone || Instant::now() >= deadline {
                return Err(refused);
            }
            // Another application may give up a connection as well.
            let again = (Instant::now() + OPEN_AGAIN).min(deadline);
            let _ = timeout_at(again, self.freed.notified()).await;
        }
    }

    /// Acquires an idle connection, if there is one; never waits.
    pub(crate) fn acquire_idle(self: &Arc<Self>) -> Option<PooledConnection> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let conn = self.take_idle()?;
        Some(PooledConnection::new(conn, true, Arc::clone(self), permit, None))
    }

    /// Closes connections that have been idle for too long, except those that are kept.
    pub(crate) fn shrink(&self) {
        let mut idle = self.idle();
        let surplus = (idle.len() + self.in_use()).saturating_sub(self.settings.min);
        let old = idle.iter().take_while(|(_, since)| since.elapsed() >= self.settings.idle).count();
        let closed: Vec<_> = idle.drain(..old.min(surplus)).collect();
        drop(idle);
        drop(closed);
    }

    fn in_use(&self) -> usize {
        self.settings.max.saturating_sub(self.permits.available_permits())
    }

    fn take_idle(&self) -> Option<Conn> {
        let mut idle = self.idle();
        while let Some((conn, _)) = idle.pop() {
            // A connection with statements that a pooler has lost would use those of other clients.
            if !conn.client.is_closed() && (self.settings.prepared.are_kept() || !conn.is_prepared()) {
                return Some(conn);
            }
        }
        None
    }

    /// Opens a connection before `deadline`.
    pub(super) async fn open(&self, deadline: Instant) -> Result<Conn, Error> {
        let s = &self.settings;
        let opening = Conn::open(&s.address, &s.prepared, &s.spawner);
        timeout_at(deadline, opening).await.unwrap_or_else(|_| {
            Err(Error::Unavailable("no connection could be made within the deadline".into()))
        })
    }

    pub(super) fn give_back(&self, conn: Conn) {
        if !conn.client.is_closed() {
            self.idle().push((conn, Instant::now()));
            self.freed.notify_one();
        }
    }

    /// The backoff before retry `run` of a conflicting transaction: up to 8 ms for the first, 24 ms for the
    /// third. Multiples of the golden ratio spread evenly, so that transactions that conflicted do not
    /// conflict again; this needs no randomness.
    pub(super) fn pause(&self, run: u32) -> Duration {
        // From 1: without any pause the transaction would overtake the one that it has just let through.
        let count = self.pauses.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let spread = count.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        Duration::from_micros((spread * 8_000 * u64::from(run)) >> 32)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Conn, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
