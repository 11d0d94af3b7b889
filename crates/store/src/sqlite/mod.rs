//! SQLite: reads run inline on the request's task, writes are jobs of one thread that commits them in groups.

mod connection;
mod migrate;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Event;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

pub(crate) use connection::{Connection, sort};
pub(crate) use migrate::migrate;

use crate::Error;
use crate::postgres::{Entry, Holders};
use crate::statement::{RawCall, registry};
use crate::tx::Tx;
use crate::value::Row;
use writer::Writer;

/// Which of the two lanes into the one writer: requests first, jobs when no request waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lane {
    Front,
    Back,
}

/// What a database needs to know.
pub(crate) struct Settings {
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) front: usize,
    pub(crate) back: usize,
    pub(crate) forbid_second_acquire: bool,
}

/// The text of every registered statement, as SQLite reads it.
pub(crate) type Texts = Arc<HashMap<&'static str, String>>;

/// One database file.
pub(crate) struct Database {
    path: Box<Path>,
    texts: Texts,
    readers: Mutex<Vec<Connection>>,
    front: Arc<Semaphore>,
    back: Arc<Semaphore>,
    settings: Settings,
    holders: Holders,
    writer: Writer,
    trips: AtomicU64,
}

impl Database {
    /// Opens the file, which migrations have made, and starts its writer.
    pub(crate) fn open(path: &Path, settings: Settings) -> Result<Arc<Self>, Error> {
        let texts: Texts = Arc::new(registry().map(|stmt| (stmt.name, stmt.sqlite())).collect());
        let writer = Writer::start(Connection::writer(path, Arc::clone(&texts))?)?;
        Ok(Arc::new(Self {
            path: path.into(),
            texts,
            readers: Mutex::default(),
            front: Arc::new(Semaphore::new(settings.front)),
            back: Arc::new(Semaphore::new(settings.back)),
            holders: Holders::new(settings.forbid_second_acquire),
            settings,
            writer,
            trips: AtomicU64::new(0),
        }))
    }

    /// Hops made so far: reads of a lease and writes, as PostgreSQL counts round trips.
    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }

    /// A connection that reads, within the acquire deadline.
    pub(crate) async fn reader(self: &Arc<Self>, lane: Lane) -> Result<Reader, Error> {
        let entry = self.holders.enter();
        let permit = self.permit(lane).await?;
        let idle = self.idle().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => Connection::reader(&self.path, Arc::clone(&self.texts))?,
        };
        Ok(Reader { conn: Some(conn), database: Arc::clone(self), _permit: permit, _entry: entry })
    }

    /// Runs a whole write on the writer's thread; answered once its group is committed.
    pub(crate) async fn transact<T, E, F>(&self, lane: Lane, closure: F) -> Result<(Event, T), E>
    where
        F: AsyncFn(&mut Tx) -> Result<(Event, T), E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let _entry = self.holders.enter();
        let _permit = self.permit(lane).await?;
        self.trips.fetch_add(1, Ordering::Relaxed);
        let answer = self.writer.submit(lane, closure);
        // A job that has not started when this deadline passes is skipped: its answer has nowhere to go.
        match timeout(self.settings.acquire_timeout + self.settings.statement_timeout, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::Unavailable("the writer ended".into()).into()),
            Err(_) => Err(Error::OutcomeUnknown.into()),
        }
    }

    async fn permit(&self, lane: Lane) -> Result<OwnedSemaphorePermit, Error> {
        let permits = match lane {
            Lane::Front => &self.front,
            Lane::Back => &self.back,
        };
        match timeout(self.settings.acquire_timeout, Arc::clone(permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Error::Unavailable("no place came free within the deadline".into())),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reading connection in hand; dropping it gives it back.
pub(crate) struct Reader {
    conn: Option<Connection>,
    database: Arc<Database>,
    _permit: OwnedSemaphorePermit,
    _entry: Option<Entry>,
}

impl Reader {
    /// Runs one call inline: a hop to another thread costs twenty times a point read.
    pub(crate) fn run(&mut self, call: &RawCall) -> Result<Vec<Row>, Error> {
        self.database.trips.fetch_add(1, Ordering::Relaxed);
        match &mut self.conn {
            Some(conn) => conn.run(call),
            None => Err(Error::Unavailable("the connection was given back".into())),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.database.idle().push(conn);
        }
    }
}
