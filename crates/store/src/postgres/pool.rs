//! A small pool: a semaphore, a list of idle connections, and rules for what may come back.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use model::Spawner;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::Conn;
use super::tls::Tls;
use super::{sort, spoils_connection, wants_retry};
use crate::Error;
use crate::statement::RawCall;
use crate::value::Row;

/// What a pool needs to know.
#[derive(Clone)]
pub(crate) struct PoolSettings {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: Tls,
    /// The schema, quoted.
    pub(crate) schema: String,
    pub(crate) max: usize,
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    /// Panic when a task acquires twice: for tests.
    pub(crate) forbid_second_acquire: bool,
    pub(crate) spawner: Spawner,
}

/// The connections of one lane.
pub(crate) struct Pool {
    settings: PoolSettings,
    idle: Mutex<Vec<Conn>>,
    permits: Arc<Semaphore>,
    holders: Holders,
    trips: AtomicU64,
}

impl Pool {
    pub(crate) fn new(settings: PoolSettings) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(settings.max));
        let holders = Holders::new(settings.forbid_second_acquire);
        Arc::new(Self { settings, idle: Mutex::default(), permits, holders, trips: AtomicU64::new(0) })
    }

    /// Round trips made so far: what the budgets of each route are counted in.
    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    /// Opens connections until `min` are idle; what cannot be opened is left for the first request.
    pub(crate) async fn warm(&self, min: usize) -> Result<(), Error> {
        for _ in 0..min.min(self.settings.max) {
            let conn = self.open().await?;
            self.idle().push(conn);
        }
        Ok(())
    }

    /// A connection, within the acquire deadline.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<Held, Error> {
        let entry = self.holders.enter();
        let deadline = Instant::now() + self.settings.acquire_timeout;
        let waited = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = match waited {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => {
                return Err(Error::Unavailable("no connection came free within the deadline".into()));
            }
        };
        let conn = match self.take_idle() {
            Some(conn) => conn,
            None => timeout_at(deadline, self.open()).await.map_err(|_| {
                Error::Unavailable("no connection could be made within the deadline".into())
            })??,
        };
        Ok(Held {
            conn: Some(conn),
            pool: Arc::clone(self),
            in_flight: false,
            in_transaction: false,
            retry: false,
            _permit: permit,
            _entry: entry,
        })
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

    async fn open(&self) -> Result<Conn, Error> {
        let s = &self.settings;
        Conn::open(&s.config, &s.tls, &s.schema, &s.spawner).await
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Conn>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection in hand. Dropping it gives it back, or throws it away when its state is not known.
pub(crate) struct Held {
    conn: Option<Conn>,
    pool: Arc<Pool>,
    in_flight: bool,
    in_transaction: bool,
    retry: bool,
    _permit: OwnedSemaphorePermit,
    _entry: Option<Entry>,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send + 'a>>;

impl Held {
    /// Runs calls outside a transaction, in one trip.
    pub(crate) async fn run(&mut self, calls: Vec<RawCall>) -> Result<Vec<Vec<Row>>, Error> {
        self.trip(&calls, false, false).await
    }

    /// Runs calls of a transaction in one trip, with BEGIN in front or COMMIT behind. A lone first and last call
    /// is a transaction by itself.
    pub(crate) async fn step(
        &mut self,
        calls: Vec<RawCall>,
        begin: bool,
        last: bool,
    ) -> Result<Vec<Vec<Row>>, Error> {
        if begin && last && calls.len() == 1 {
            return self.trip(&calls, false, false).await.map_err(unknown_if_lost);
        }
        if begin {
            self.in_transaction = true;
        }
        let rows = self
            .trip(&calls, begin, last)
            .await
            .map_err(|error| if last { unknown_if_lost(error) } else { error })?;
        if last {
            self.in_transaction = false;
        }
        Ok(rows)
    }

    /// Sends COMMIT and waits for it.
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.trip(&[], false, true).await.map_err(unknown_if_lost)?;
        self.in_transaction = false;
        Ok(())
    }

    /// Puts ROLLBACK on the wire; whatever comes next is answered after it.
    pub(crate) fn rollback(&mut self) {
        if !std::mem::take(&mut self.in_transaction) {
            return;
        }
        if let Some(conn) = &self.conn {
            let _ = conn.client.batch_execute("ROLLBACK").now_or_never();
        }
    }

    /// Whether the last failure asked for the whole transaction again; asking clears it.
    pub(crate) fn take_retry(&mut self) -> bool {
        std::mem::take(&mut self.retry)
    }

    async fn trip(&mut self, calls: &[RawCall], begin: bool, commit: bool) -> Result<Vec<Vec<Row>>, Error> {
        let Some(conn) = &self.conn else {
            return Err(Error::Unavailable("the connection was lost".into()));
        };
        self.in_flight = true;
        self.pool.trips.fetch_add(1, Ordering::Relaxed);
        let mut answers: Vec<Answer<'_>> = Vec::with_capacity(calls.len() + 2);
        if begin {
            answers.push(Box::pin(async { conn.client.batch_execute("BEGIN").await.map(|()| Vec::new()) }));
        }
        answers.extend(calls.iter().map(|call| Box::pin(conn.call(call)) as Answer<'_>));
        if commit {
            answers.push(Box::pin(async { conn.client.batch_execute("COMMIT").await.map(|()| Vec::new()) }));
        }
        let Ok(outcomes) = timeout(self.pool.settings.statement_timeout, join_all(answers)).await else {
            // `in_flight` stays: the server may still be at it, so the connection is cancelled and dropped.
            self.discard();
            return Err(Error::Unavailable("a statement took longer than its deadline".into()));
        };
        self.in_flight = false;
        self.settle(calls, begin, outcomes)
    }

    fn settle(
        &mut self,
        calls: &[RawCall],
        begin: bool,
        outcomes: Vec<Result<Vec<Row>, tokio_postgres::Error>>,
    ) -> Result<Vec<Vec<Row>>, Error> {
        let mut rows = Vec::with_capacity(outcomes.len());
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(some) => rows.push(some),
                Err(error) => {
                    self.retry = wants_retry(&error);
                    if spoils_connection(&error) {
                        self.discard();
                    }
                    let call = index.checked_sub(usize::from(begin)).and_then(|at| calls.get(at));
                    return Err(match (sort(&error), call) {
                        (Error::Database(why), Some(call)) => {
                            Error::Database(format!("{}: {why}", call.stmt.name))
                        }
                        (other, _) => other,
                    });
                }
            }
        }
        Ok(rows.into_iter().skip(usize::from(begin)).take(calls.len()).collect())
    }

    fn discard(&mut self) {
        let in_flight = std::mem::take(&mut self.in_flight);
        self.in_transaction = false;
        if let Some(conn) = self.conn.take() {
            if in_flight && !conn.client.is_closed() {
                conn.cancel(&self.pool.settings.spawner);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.in_flight {
            self.discard();
            return;
        }
        self.rollback();
        if let Some(conn) = self.conn.take() {
            if !conn.client.is_closed() {
                self.pool.idle().push(conn);
            }
        }
    }
}

fn unknown_if_lost(error: Error) -> Error {
    if matches!(error, Error::Unavailable(_)) { Error::OutcomeUnknown } else { error }
}

/// Which tasks hold a connection, and since where: only kept when a second acquire is forbidden.
pub(crate) struct Holders(Option<Arc<HolderMap>>);

type HolderMap = Mutex<HashMap<tokio::task::Id, std::backtrace::Backtrace>>;

impl Holders {
    pub(crate) fn new(forbid_second_acquire: bool) -> Self {
        Self(forbid_second_acquire.then(Arc::default))
    }

    /// Notes that the current task takes a connection.
    #[expect(clippy::panic, reason = "this check exists to stop a test at the second acquire")]
    pub(crate) fn enter(&self) -> Option<Entry> {
        let map = self.0.as_ref()?;
        let task = tokio::task::try_id()?;
        let mut holders = map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = holders.get(&task) {
            let text = format!("a task took a second connection while it holds the one taken here:\n{first}");
            drop(holders);
            panic!("{text}");
        }
        holders.insert(task, std::backtrace::Backtrace::force_capture());
        Some(Entry { map: Arc::clone(map), task })
    }
}

/// One task's entry among the holders, gone when the connection is given back.
pub(crate) struct Entry {
    map: Arc<HolderMap>,
    task: tokio::task::Id,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.task);
    }
}
