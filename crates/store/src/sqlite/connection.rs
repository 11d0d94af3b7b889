//! One connection to the database file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, OpenFlags};
use tokio::time::Instant;

use super::texts::Texts;
use crate::Error;
use crate::health::LastWrite;
use crate::statement::RawCall;
use crate::value::{Row, Value};

/// How long a connection waits for another process that locks the file.
const BUSY: Duration = Duration::from_secs(2);
/// How often the switch to WAL mode is tried again.
const SWITCHES: usize = 4;
/// Prepared statements that each connection caches: more than are registered.
const CACHED_STATEMENTS: usize = 256;
/// SQLite VM instructions between two checks of the deadline: some tens of microseconds.
const STEPS_PER_LOOK: i32 = 4096;

/// A connection and the texts of the registered statements.
pub(crate) struct Connection {
    pub(crate) inner: rusqlite::Connection,
    texts: Texts,
    deadline: Deadline,
    /// Of the writer only.
    last_write: Option<LastWrite>,
}

/// When to interrupt the running statement.
struct Deadline {
    limit: Duration,
    since: Instant,
    /// Microseconds after `since`.
    at: Arc<AtomicU64>,
}

impl Connection {
    /// Opens the connection that writes.
    pub(crate) fn writer(path: &Path, texts: Texts, limit: Duration) -> Result<Self, Error> {
        let inner = open(path, limit)?;
        run_pragmas(&inner, WAL)?;
        // The only writer: its page cache stays valid and is large enough for the pages of all indexes.
        run_pragmas(&inner, "PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384;")?;
        Self::with_deadline(inner, texts, limit)
    }

    /// Opens a connection that only reads.
    pub(crate) fn reader(path: &Path, texts: Texts, limit: Duration) -> Result<Self, Error> {
        let inner = open(path, limit)?;
        // Enough for the inner index pages of a million users. Reads run inline, so there are about as many
        // readers as threads, regardless of the pool's size.
        run_pragmas(&inner, "PRAGMA query_only = ON; PRAGMA cache_size = -2048;")?;
        Self::with_deadline(inner, texts, limit)
    }

    /// Opens an existing file for migrations, without changing it.
    pub(crate) fn bare(path: &Path) -> Result<Self, Error> {
        Self::with_deadline(open(path, BUSY)?, Arc::default(), Duration::MAX)
    }

    /// Switches the file to WAL mode. The caller has excluded files of other programs.
    ///
    /// SQLite does not wait here for a connection that switches at the same time; the lock of a transaction
    /// does.
    pub(crate) fn use_wal(&self) -> Result<(), Error> {
        for _ in 0..SWITCHES {
            match run_pragmas(&self.inner, WAL) {
                Err(Error::Unavailable(_)) => {
                    self.execute("BEGIN IMMEDIATE")?;
                    self.execute("COMMIT")?;
                }
                switched => return switched,
            }
        }
        run_pragmas(&self.inner, WAL)
    }

    /// Reports to the health probe how writes end.
    pub(crate) fn reports_to(&mut self, last_write: LastWrite) {
        self.last_write = Some(last_write);
    }

    /// Reports an error that the next write would meet too.
    fn failed(&self, error: &rusqlite::Error) -> Error {
        let lasting = matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied
            )
        );
        if let Some(last_write) = self.last_write.as_ref().filter(|_| lasting) {
            last_write.failed(&error.to_string());
        }
        sort(error)
    }

    fn with_deadline(inner: rusqlite::Connection, texts: Texts, limit: Duration) -> Result<Self, Error> {
        let deadline = Deadline { limit, since: Instant::now(), at: Arc::new(AtomicU64::new(u64::MAX)) };
        let (since, at) = (deadline.since, Arc::clone(&deadline.at));
        let mut connection = Self { inner, texts, deadline, last_write: None };
        let late = move || micros(since.elapsed()) >= at.load(Ordering::Relaxed);
        connection.inner.progress_handler(STEPS_PER_LOOK, Some(late)).map_err(|error| sort(&error))?;
        Ok(connection)
    }

    /// Runs calls in sequence, each within the statement deadline.
    pub(crate) fn run(&mut self, calls: &[RawCall]) -> Result<Vec<Vec<Row>>, Error> {
        calls.iter().map(|call| self.call(call)).collect()
    }

    fn call(&self, call: &RawCall) -> Result<Vec<Row>, Error> {
        let text = self.texts.get(call.stmt.name).ok_or_else(|| {
            Error::Database(format!("{} is not in the registry of statements", call.stmt.name))
        })?;
        let begun = Instant::now();
        let rows = self.query(&text.sql, &call.params);
        text.took.observe(begun.elapsed());
        rows.map_err(|error| error.of(call.stmt.name))
    }

    fn query(&self, text: &str, params: &[Value]) -> Result<Vec<Row>, Error> {
        let end = self.deadline.since.elapsed().saturating_add(self.deadline.limit);
        self.deadline.at.store(micros(end), Ordering::Relaxed);
        let rows = self.rows(text, params);
        self.deadline.at.store(u64::MAX, Ordering::Relaxed);
        rows.map_err(|error| self.failed(&error))?.into_iter().collect()
    }

    fn rows(&self, text: &str, params: &[Value]) -> rusqlite::Result<Vec<Result<Row, Error>>> {
        let mut statement = self.inner.prepare_cached(text)?;
        // SQLite numbers `$2` by first appearance; the parameter's name holds its real number.
        for index in 1..=statement.parameter_count() {
            let number =
                statement.parameter_name(index).and_then(|name| name.get(1..)?.parse::<usize>().ok());
            let value = number.and_then(|number| params.get(number.checked_sub(1)?));
            statement.raw_bind_parameter(index, value.unwrap_or(&Value::Null))?;
        }
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut out = Vec::new();
        // Reads to the end even after a bad row: a write is complete only when all rows have been stepped
        // through.
        while let Some(row) = rows.next()? {
            let refs = (0..columns).map(|at| row.get_ref(at)).collect::<rusqlite::Result<Vec<_>>>()?;
            out.push(refs.into_iter().map(decode).collect::<Result<_, _>>().map(Row::new));
        }
        Ok(out)
    }

    /// Runs one statement without parameters or rows, and keeps it prepared.
    pub(crate) fn execute(&self, text: &str) -> Result<(), Error> {
        let run = || self.inner.prepare_cached(text)?.raw_execute();
        run().map(drop).map_err(|error| self.failed(&error))
    }

    /// Runs several statements once.
    pub(crate) fn script(&self, text: &str) -> Result<(), Error> {
        self.inner.execute_batch(text).map_err(|error| sort(&error))
    }

    /// Whether a transaction is open.
    pub(crate) fn in_transaction(&self) -> bool {
        !self.inner.is_autocommit()
    }
}

/// `journal_mode` is permanent in the file; `synchronous` is set per connection.
const WAL: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";

/// Opens an existing file and changes nothing in it.
fn open(path: &Path, busy: Duration) -> Result<rusqlite::Connection, Error> {
    // Without CREATE: a file that was moved away must not be replaced by an empty one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let inner = rusqlite::Connection::open_with_flags(path, flags).map_err(|error| match sort(&error) {
        Error::Unavailable(why) => Error::Unavailable(format!("{}: {why}", path.display())),
        other => other,
    })?;
    inner.busy_timeout(busy.min(BUSY)).map_err(|error| sort(&error))?;
    inner.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // One plan for all parameter values. Without it SQLite compares the values with the conditions of partial
    // indexes and prepares the statement again whenever they change.
    let steady = inner.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true);
    steady.map_err(|error| sort(&error))?;
    // FAST overwrites deleted content within a page, so that the data of an erased user cannot be read from
    // the file.
    let pragmas = "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; \
                   PRAGMA secure_delete = FAST;";
    run_pragmas(&inner, pragmas)?;
    Ok(inner)
}

fn run_pragmas(inner: &rusqlite::Connection, pragmas: &str) -> Result<(), Error> {
    inner.execute_batch(pragmas).map_err(|error| sort(&error))
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(n) => ValueRef::Integer(*n),
            Self::Bool(b) => ValueRef::Integer(i64::from(*b)),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Uuid(id) => ValueRef::Blob(id.as_bytes()),
        }))
    }
}

fn decode(value: ValueRef<'_>) -> Result<Value, Error> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => Value::Int(n),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => return Err(Error::Corrupt("a text is not UTF-8".into())),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return Err(Error::Corrupt("a value is a fraction; none is ever stored".into())),
    })
}

/// Maps an error of the driver: a locked, full, failing or read-only file means unavailable, a refused row a
/// conflict; anything else is a bug in Gatewright.
pub(crate) fn sort(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::OperationInterrupted
            | ErrorCode::FileLockingProtocolFailed,
        ) => Error::Unavailable(error.to_string()),
        Some(ErrorCode::ConstraintViolation) => Error::Conflict(error.to_string()),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt(error.to_string()),
        _ => {
            let text = error.to_string();
            // A table or a column that another program has removed, as 42P01 and 42703 of PostgreSQL.
            let is_gone = ["no such table", "no such column"].iter().any(|gone| text.contains(gone));
            if is_gone { Error::Unavailable(text) } else { Error::Database(text) }
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_ends_at_its_deadline_and_the_next_one_runs() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reader = Connection::reader(file.path(), Arc::default(), Duration::from_millis(20)).unwrap();
        let endless =
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
        assert!(matches!(reader.query(endless, &[]), Err(Error::Unavailable(_))));
        assert_eq!(reader.query("SELECT 1", &[]).unwrap().len(), 1);
    }

    #[test]
    fn a_full_disk_is_reported() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Connection::writer(file.path(), Arc::default(), Duration::from_secs(20)).unwrap();
        let last_write = LastWrite::default();
        writer.reports_to(last_write.clone());
        writer.script("CREATE TABLE t (a BLOB); PRAGMA max_page_count = 3").unwrap();
        let write = |writer: &Connection| {
            writer.execute("BEGIN IMMEDIATE").unwrap();
            let written = writer.query("INSERT INTO t VALUES (zeroblob(20000))", &[]).map(|_| ());
            written.and_then(|()| writer.execute("COMMIT"))
        };

        assert!(matches!(write(&writer), Err(Error::Unavailable(_))));
        assert!(last_write.failure().unwrap().0.contains("full"), "{:?}", last_write.failure());
    }

    #[test]
    fn a_statement_is_prepared_once_for_all_parameters() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let connection = Connection::bare(file.path()).unwrap();
        let schema = "CREATE TABLE t (a INTEGER, b TEXT); CREATE INDEX i ON t (a) WHERE b = 'live';";
        connection.inner.execute_batch(schema).unwrap();
        let text = "SELECT a FROM t WHERE a = $1 AND b = $2";
        for number in 0..3 {
            connection.query(text, &[Value::Int(number), Value::Text("live".into())]).unwrap();
        }
        let statement = connection.inner.prepare_cached(text).unwrap();
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        assert_eq!(statement.get_status(StatementStatus::Run), 3);
    }
}
