//! SQLite: reads run inline on the request's task; one thread runs the writes and commits them in groups.

pub(crate) mod connection;
mod migrate;
mod opened_file;
mod texts;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::audit::PendingAudit;
use runtime::metric::HistogramSnapshot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

pub(crate) use connection::{Connection, sort};
pub(crate) use migrate::{create, migrate, remove_unused};
pub(crate) use opened_file::OpenedFile;
pub(crate) use texts::Text;
use texts::Texts;
pub(crate) use writer::Lane;

use crate::Error;
use crate::fault_injection::{Failure, Faults, Site, acquire, ask};
use crate::health::LastWrite;
use crate::pool_times::PoolTimes;
use crate::second_acquire_check::{Entry, SecondAcquireCheck};
use crate::statement::RawCall;
use crate::trace::Trace;
use crate::tx::Tx;
use crate::value::Row;
use writer::Writer;

/// The settings of a database.
pub(crate) struct Settings {
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) request: usize,
    pub(crate) background: usize,
    pub(crate) holders: SecondAcquireCheck,
    pub(crate) faults: Option<Faults>,
    pub(crate) last_write: LastWrite,
}

/// Most writes of requests that may wait for the writer. A waiting write is a closure without a connection,
/// and a group can only be as large as the queue.
const WRITES: usize = 1024;

/// One database file.
pub(crate) struct Database {
    path: Box<Path>,
    file: OpenedFile,
    texts: Texts,
    readers: Mutex<Vec<Connection>>,
    request: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    background: Arc<Semaphore>,
    settings: Settings,
    writer: Writer,
    trips: AtomicU64,
    request_times: PoolTimes,
    background_times: PoolTimes,
}

impl Database {
    /// Opens the migrated file and starts its writer.
    pub(crate) fn open(path: &Path, settings: Settings) -> Result<Arc<Self>, Error> {
        let texts = texts::registered();
        let mut connection = Connection::writer(path, Arc::clone(&texts), settings.statement_timeout)?;
        connection.reports_to(settings.last_write.clone());
        let writer = Writer::start(connection)?;
        Ok(Arc::new(Self {
            path: path.into(),
            file: OpenedFile::of(path),
            texts,
            readers: Mutex::default(),
            request: Arc::new(Semaphore::new(settings.request)),
            writes: Arc::new(Semaphore::new(WRITES)),
            background: Arc::new(Semaphore::new(settings.background)),
            settings,
            writer,
            trips: AtomicU64::new(0),
            request_times: PoolTimes::default(),
            background_times: PoolTimes::default(),
        }))
    }

    /// Round trips so far, counted as on PostgreSQL: a read, a batch of reads or a write is one.
    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    /// See [`OpenedFile::is_in_place`].
    pub(crate) fn is_in_place(&self) -> bool {
        self.file.is_in_place()
    }

    /// Whether the writer's thread runs.
    pub(crate) fn writes(&self) -> bool {
        self.writer.lives()
    }

    /// How long callers of a lane waited for readers and held them.
    pub(crate) fn times(&self, lane: Lane) -> &PoolTimes {
        match lane {
            Lane::Request => &self.request_times,
            Lane::Background => &self.background_times,
        }
    }

    /// How long writes waited for the writer and ran on it.
    pub(crate) fn writer_times(&self) -> &PoolTimes {
        self.writer.times()
    }

    /// How long each statement took.
    pub(crate) fn statement_times(&self) -> impl Iterator<Item = (&'static str, HistogramSnapshot)> {
        self.texts.iter().map(|(name, text)| (*name, text.took.snapshot()))
    }

    /// The numbers of a lane's readers in use and idle. Both lanes share the idle ones; the request lane
    /// reports them.
    pub(crate) fn readers(&self, lane: Lane) -> (usize, usize) {
        match lane {
            Lane::Request => {
                let used = self.settings.request.saturating_sub(self.request.available_permits());
                (used, self.idle().len())
            }
            Lane::Background => {
                (self.settings.background.saturating_sub(self.background.available_permits()), 0)
            }
        }
    }

    /// The largest number of a lane's readers.
    pub(crate) fn most_readers(&self, lane: Lane) -> usize {
        match lane {
            Lane::Request => self.settings.request,
            Lane::Background => self.settings.background,
        }
    }

    /// The numbers of writer connections in use and idle.
    pub(crate) fn writers(&self) -> (usize, usize) {
        let busy = usize::from(self.writer.is_busy());
        (busy, 1 - busy)
    }

    /// Acquires a read connection within the acquire timeout.
    pub(crate) async fn reader(self: &Arc<Self>, lane: Lane) -> Result<Reader, Error> {
        let entry = self.settings.holders.enter();
        acquire(self.settings.faults.as_ref())?;
        let begun = Instant::now();
        let permit = self.permit(match lane {
            Lane::Request => &self.request,
            Lane::Background => &self.background,
        });
        let permit = permit.await;
        let since = Instant::now();
        self.times(lane).wait.observe(since - begun);
        let permit = permit?;

        let idle = self.idle().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => Connection::reader(&self.path, Arc::clone(&self.texts), self.settings.statement_timeout)?,
        };

        Ok(Reader {
            conn: Some(conn),
            database: Arc::clone(self),
            lane,
            since,
            _permit: permit,
            _entry: entry,
        })
    }

    /// Runs a whole write on the writer's thread and returns after its group is committed. A write that has
    /// started runs to its end and its event is recorded, even after the caller is cancelled.
    pub(crate) async fn transact<R, T, E, F>(
        &self,
        lane: Lane,
        announced: Option<PendingAudit>,
        closure: F,
    ) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<(R, T), E> + Send + 'static,
        R: Trace,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let _entry = self.settings.holders.enter();
        acquire(self.settings.faults.as_ref())?;
        let permit = self.permit(match lane {
            Lane::Request => &self.writes,
            Lane::Background => &self.background,
        });

        let _permit = permit.await?;
        self.trips.fetch_add(1, Ordering::Relaxed);
        let fault = ask(self.settings.faults.as_ref(), Site::Trip);
        if fault == Some(Failure::Before) {
            return Err(Error::Unavailable("the writer did not come to it".to_owned()).into());
        }

        let (answer, claim) = self.writer.submit(lane, announced, closure);

        let why = match timeout(self.settings.acquire_timeout + self.settings.statement_timeout, answer).await
        {
            Ok(Ok(_)) if fault.is_some() => return Err(Error::OutcomeUnknown.into()),
            Ok(Ok((announced, outcome))) => {
                // Dropping it reports the outcome to the audit trail.
                drop(announced);
                return outcome;
            }
            Ok(Err(_)) => "the writer ended",
            Err(_) => "the writer did not come to it within the deadline",
        };

        // A write withdrawn before its start is certainly not done.
        let error = if claim.withdraw() { Error::Unavailable(why.to_owned()) } else { Error::OutcomeUnknown };
        Err(error.into())
    }

    async fn permit(&self, permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
        match timeout(self.settings.acquire_timeout, Arc::clone(permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Error::Unavailable("no place came free within the deadline".into())),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The device and number of a file; `None` where there is none.
/// An acquired read connection; dropping it returns it.
pub(crate) struct Reader {
    conn: Option<Connection>,
    database: Arc<Database>,
    lane: Lane,
    since: Instant,
    _permit: OwnedSemaphorePermit,
    _entry: Option<Entry>,
}

impl Reader {
    /// Runs calls inline: a hop to another thread costs twenty times as much as a point read.
    pub(crate) fn run(&mut self, calls: &[RawCall]) -> Result<Vec<Vec<Row>>, Error> {
        self.database.trips.fetch_add(1, Ordering::Relaxed);
        let fault = ask(self.database.settings.faults.as_ref(), Site::Trip);
        match &mut self.conn {
            Some(conn) if fault.is_none() => conn.run(calls),
            Some(_) => Err(Error::Unavailable("a statement took longer than its deadline".into())),
            None => Err(Error::Unavailable("the connection was given back".into())),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.database.idle().push(conn);
        }
        self.database.times(self.lane).held.observe(self.since.elapsed());
    }
}
