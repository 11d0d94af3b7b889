//! The trail of a SQLite database: a second file beside it, with its own thread and connection.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use model::Now;
use rusqlite::params_from_iter;
use sched_policy::{Class, Thread};
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::sql::{self, call, uuid};
use super::{Place, Prove, Record, Retired, Shipment, Shipped};
use crate::sqlite::{Connection, OpenedFile, Text, create, sort};
use crate::statement::RawCall;
use crate::value::{Row, Value};
use crate::{Error, Settings};

/// The steps of the tables; `user_version` says how many of them the file has.
const SCHEMA: [&str; 2] = [
    include_str!("../../../../migrations/0002_audit/sqlite_trail.sql"),
    include_str!("../../../../migrations/0006_master_keys/sqlite_trail.sql"),
];
/// Jobs that may queue for the thread; more than one queues only after a caller gave up waiting.
const WAITING: usize = 8;
/// Rows that one step of retention removes.
const ROWS: i64 = 1000;
/// Returns free pages to the file system, at most 500 per step.
const VACUUM: &str = "PRAGMA incremental_vacuum(500);";

const INSERT: &str = "INSERT INTO audit_events \
     (at, journal, sequence, kind, user_uuid, request_id, record_kind, payload, hash) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (at, journal, sequence) DO NOTHING";

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Access to the thread.
#[derive(Debug)]
pub(super) struct SqliteAudit {
    path: PathBuf,
    limit: Duration,
    wait: Duration,
    thread: Mutex<Option<Running>>,
    /// How often the file was found to be removed or replaced.
    lost: AtomicU64,
}

/// The thread with the open file.
#[derive(Debug)]
struct Running {
    /// `None` where the thread has been told to end.
    jobs: Option<SyncSender<Job>>,
    thread: JoinHandle<()>,
    file: OpenedFile,
}

/// The path of the trail's file, beside the database file.
pub fn trail_path(database: &Path) -> PathBuf {
    let stem = database.file_stem().unwrap_or_default().to_string_lossy();
    database.with_file_name(format!("{stem}-audit.db"))
}

impl SqliteAudit {
    pub(super) fn new(database: &Path, settings: &Settings) -> Self {
        let (limit, wait) = (settings.statement_timeout, settings.acquire_timeout);
        Self { path: trail_path(database), limit, wait, thread: Mutex::default(), lost: AtomicU64::new(0) }
    }

    pub(super) async fn run(&self, calls: Vec<RawCall>) -> Result<Vec<Vec<Row>>, Error> {
        self.ask(move |connection| connection.run(&calls)).await
    }

    pub(super) async fn insert(&self, shipment: Shipment) -> Result<Shipped, Error> {
        self.ask(move |connection| {
            write(connection, |connection| {
                let shipped = insert(connection, &shipment)?;
                let is_stored = matches!(shipped, Shipped::Stored(_));
                Ok((shipped, is_stored))
            })
        })
        .await
    }

    pub(super) async fn retire(&self, before: Now, prove: Prove) -> Result<Retired, Error> {
        self.ask(move |connection| {
            let retired = write(connection, |connection| Ok((retire(connection, before, &prove)?, true)))?;
            if retired.rows > 0 {
                connection.script(VACUUM)?;
            }
            // The journal files may drop their copy only of what is on disk, so retention ends with a
            // checkpoint.
            let synced = connection.inner.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            synced.map_err(|error| sort(&error))?;
            Ok(retired)
        })
        .await
    }

    /// Runs `work` on the thread and waits at most the acquire and the statement timeout together.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // A caller that gave up waiting gets `OutcomeUnknown`; its job must not start.
            if !reply.is_closed() {
                let _ = reply.send(work(connection));
            }
        });
        self.submit(job)?;
        match timeout(self.wait.saturating_add(self.limit), answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::Unavailable("the trail's thread ended".into())),
            Err(_) => Err(Error::OutcomeUnknown),
        }
    }

    /// Looks whether the open file is still the one at its path; returns how often it was not. Then it is
    /// closed, and the next use opens the one that is there, or a new one.
    pub(super) fn lost(&self) -> u64 {
        let mut thread = self.thread();
        if let Some(running) = &mut *thread
            && running.jobs.is_some()
            && !running.file.is_in_place()
        {
            let path = self.path.display();
            tracing::error!(
                %path,
                "the file of the audit trail was removed or replaced; the one that is there, or a new one, \
                 gets what the journals of this node have"
            );
            running.jobs = None;
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.lost.load(Ordering::Relaxed)
    }

    fn thread(&self) -> MutexGuard<'_, Option<Running>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, job: Job) -> Result<(), Error> {
        let mut thread = self.thread();
        let running = match thread.take() {
            // Two connections to one path, of which one has another file, would remove each other's log.
            Some(Running { jobs: None, thread: ending, file }) if !ending.is_finished() => {
                *thread = Some(Running { jobs: None, thread: ending, file });
                return Err(Error::Unavailable("the trail's file is being closed".into()));
            }
            Some(Running { jobs: None, .. }) | None => self.start()?,
            Some(running) => running,
        };
        let sent = running.jobs.as_ref().map(|jobs| jobs.try_send(job));
        if matches!(sent, None | Some(Err(TrySendError::Disconnected(_)))) {
            return Err(Error::Unavailable("the trail's thread ended".into()));
        }
        *thread = Some(running);
        let full = |_| Error::Unavailable("the trail's thread has too much to do".into());
        sent.map_or(Ok(()), |sent| sent.map_err(full))
    }

    fn start(&self) -> Result<Running, Error> {
        let connection = open(&self.path, self.limit)?;
        let file = OpenedFile::of(&self.path);
        let (sender, jobs) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("sqlite audit".into())
            .spawn(move || {
                // Batch scheduling yields to request threads; where it is refused, the thread runs at normal
                // priority.
                let _ = Thread::current().set_class(Class::Batch);
                work(connection, &jobs);
            })
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Running { jobs: Some(sender), thread, file })
    }
}

/// Runs jobs until the sender is dropped.
fn work(mut connection: Connection, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        job(&mut connection);
    }
}

/// Opens the file and creates it if it is missing.
fn open(path: &Path, limit: Duration) -> Result<Connection, Error> {
    create(path)?;
    let texts: HashMap<_, _> = sql::statements().map(|stmt| (stmt.name, Text::new(stmt.sqlite()))).collect();

    let bare = Connection::bare(path)?;
    // Takes effect only on an empty file; it lets incremental vacuum return the pages of removed rows.
    bare.script("PRAGMA auto_vacuum = INCREMENTAL")?;
    bare.use_wal()?;
    let connection = Connection::writer(path, Arc::new(texts), limit)?;
    // A power failure that loses the last records loses their position too, and they are shipped again.
    // Without a flush per batch the request database does not wait for this file.
    connection.script("PRAGMA synchronous = NORMAL")?;

    let version = |connection: &Connection| -> Result<usize, Error> {
        let asked = connection.inner.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
        asked.map(|version| usize::try_from(version).unwrap_or(usize::MAX)).map_err(|error| sort(&error))
    };

    if version(&connection)? < SCHEMA.len() {
        bare.execute("BEGIN IMMEDIATE")?;
        for step in SCHEMA.iter().skip(version(&bare)?) {
            bare.script(step)?;
        }
        bare.execute("COMMIT")?;
    }

    let found = version(&connection)?;
    // A newer version has added to it; whether this one may run on that, the migrations of the database say.
    if found >= SCHEMA.len() {
        return Ok(connection);
    }
    Err(Error::Refused(format!(
        "{} has version {found} of the trail's tables; this version of Gatewright knows {}",
        path.display(),
        SCHEMA.len()
    )))
}

/// Runs `work` in one transaction; its flag says whether to commit.
fn write<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> Result<(T, bool), Error>,
) -> Result<T, Error> {
    connection.execute("BEGIN IMMEDIATE")?;
    let outcome = work(connection).and_then(|(value, commits)| {
        if commits {
            connection.execute("COMMIT")?;
        }
        Ok(value)
    });
    if connection.in_transaction() {
        connection.execute("ROLLBACK")?;
    }
    outcome
}

fn insert(connection: &mut Connection, shipment: &Shipment) -> Result<Shipped, Error> {
    let moved = connection.run(&[sql::shift(shipment)])?;
    if moved.iter().all(Vec::is_empty) {
        return Ok(Shipped::Moved);
    }
    let mut stored = 0;
    let mut statement = connection.inner.prepare_cached(INSERT).map_err(|error| sort(&error))?;
    for record in &shipment.records {
        match statement.execute(params_from_iter(values(record))) {
            Ok(rows) => stored += rows as u64,
            Err(error) if is_refusal(&error) => return Ok(Shipped::Refused(error.to_string())),
            Err(error) => return Err(sort(&error)),
        }
    }
    drop(statement);
    for head in &shipment.heads {
        connection.run(&[sql::insert_head(head)])?;
    }
    Ok(Shipped::Stored(stored))
}

/// Whether the file rejects the values.
fn is_refusal(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | TooBig | TypeMismatch))
}

fn values(record: &Record) -> [Value; 9] {
    [
        record.at.into(),
        uuid(record.journal),
        record.sequence.into(),
        record.kind.as_str().into(),
        record.user.into(),
        record.request_id.as_deref().into(),
        record.record_kind.into(),
        record.payload.as_slice().into(),
        record.hash.into(),
    ]
}

fn retire(connection: &mut Connection, before: Now, prove: &Prove) -> Result<Retired, Error> {
    let calls =
        [call(&sql::OLDEST, [before.into(), ROWS.into()]), call(&sql::DELETE_HEADS, [Value::from(before)])];
    let mut answers = connection.run(&calls)?;
    let heads = answers.pop().unwrap_or_default().len();

    let mut last = None;
    let mut kept: BTreeMap<Uuid, Place> = BTreeMap::new();
    let mut rows: u64 = 0;
    for mut row in answers.pop().unwrap_or_default() {
        let (at, journal): (Now, Uuid) = (row.next()?, row.next()?);
        let place = Place { sequence: row.next()?, hash: row.next()? };
        rows += 1;
        last = Some((at, journal, place.sequence));
        let known = kept.entry(journal).or_insert(place);
        if known.sequence < place.sequence {
            *known = place;
        }
    }

    for (journal, place) in kept {
        let proof = prove(journal.into_bytes(), place);
        let params: [Value; 4] = [journal.into(), place.sequence.into(), place.hash.into(), proof.into()];
        connection.run(&[call(&sql::KEEP_AFTER, params)])?;
    }

    if let Some((at, journal, sequence)) = last {
        let params: [Value; 3] = [at.into(), journal.into(), sequence.into()];
        connection.run(&[call(&sql::DELETE_EVENTS, params)])?;
    }

    let more = rows >= ROWS.unsigned_abs() || heads >= 1000;
    Ok(Retired { partitions: Vec::new(), rows, more })
}
