//! A small pool: a semaphore and a list of idle connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::Spawner;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::connection::Conn;
use super::pooled_connection::PooledConnection;
use super::tls::Tls;
use crate::Error;
use crate::fault_injection::{Faults, acquire};
use crate::pool_times::{PoolTimes, StatementTimes};
use crate::second_acquire_check::SecondAcquireCheck;

/// The settings of a pool.
#[derive(Clone)]
pub(crate) struct PoolSettings {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: Tls,
    /// The schema, quoted.
    pub(crate) schema: String,
    pub(crate) max: usize,
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
    idle: Mutex<Vec<Conn>>,
    permits: Arc<Semaphore>,
    trips: AtomicU64,
    pauses: AtomicU64,
}

impl Pool {
    pub(crate) fn new(settings: PoolSettings) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(settings.max));
        let (trips, pauses) = (AtomicU64::new(0), AtomicU64::new(0));
        let times = PoolTimes::default();
        Arc::new(Self { settings, times, idle: Mutex::default(), permits, trips, pauses })
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
        let used = self.settings.max.saturating_sub(self.permits.available_permits());
        (used, self.idle().len())
    }

    /// Opens connections until `min` are idle.
    pub(crate) async fn warm(&self, min: usize) -> Result<(), Error> {
        for _ in 0..min.min(self.settings.max) {
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
        let (conn, pooled) = match self.take_idle() {
            Some(conn) => (conn, true),
            None => (self.open(deadline).await?, false),
        };
        Ok(PooledConnection::new(conn, pooled, Arc::clone(self), permit, entry))
    }

    fn take_idle(&self) -> Option<Conn> {
        let mut idle = self.idle();
        while let Some(conn) = idle.pop() {
            if !conn.client.is_closed() {
                return Some(conn);
            }
        }
        None
    }

    /// Opens a connection before `deadline`.
    pub(super) async fn open(&self, deadline: Instant) -> Result<Conn, Error> {
        let s = &self.settings;
        let opening = Conn::open(&s.config, &s.tls, &s.schema, s.statement_timeout, &s.spawner);
        timeout_at(deadline, opening).await.unwrap_or_else(|_| {
            Err(Error::Unavailable("no connection could be made within the deadline".into()))
        })
    }

    pub(super) fn give_back(&self, conn: Conn) {
        if !conn.client.is_closed() {
            self.idle().push(conn);
        }
    }

    /// The backoff before retry `run` of a conflicting transaction: up to 8 ms for the first, 24 ms for the
    /// third. Multiples of the golden ratio spread evenly, so that transactions that conflicted do not
    /// conflict again; this needs no randomness.
    pub(super) fn pause(&self, run: u32) -> Duration {
        let spread = self.pauses.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        Duration::from_micros((spread * 8_000 * u64::from(run)) >> 32)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Conn>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
