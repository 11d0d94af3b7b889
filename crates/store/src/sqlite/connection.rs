//! One connection to the database file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, OpenFlags};

use super::Texts;
use crate::Error;
use crate::statement::RawCall;
use crate::value::{Row, Value};

/// How long a connection waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(2);
/// Prepared statements kept by each connection: more than are registered.
const CACHED_STATEMENTS: usize = 256;

/// A connection and the texts of the registered statements.
pub(crate) struct Connection {
    pub(crate) inner: rusqlite::Connection,
    texts: Texts,
}

impl Connection {
    /// The one connection that writes.
    pub(crate) fn writer(path: &Path, texts: Texts) -> Result<Self, Error> {
        let inner = open(path)?;
        inner.pragma_update(None, "foreign_keys", true).map_err(|error| sort(&error))?;
        Ok(Self { inner, texts })
    }

    /// A connection that cannot write.
    pub(crate) fn reader(path: &Path, texts: Texts) -> Result<Self, Error> {
        let inner = open(path)?;
        inner.pragma_update(None, "query_only", true).map_err(|error| sort(&error))?;
        Ok(Self { inner, texts })
    }

    /// Runs one call.
    pub(crate) fn run(&mut self, call: &RawCall) -> Result<Vec<Row>, Error> {
        let text = self.texts.get(call.stmt.name).ok_or_else(|| {
            Error::Database(format!("{} is not in the registry of statements", call.stmt.name))
        })?;
        self.query(text, &call.params).map_err(|error| match sort(&error) {
            Error::Database(why) => Error::Database(format!("{}: {why}", call.stmt.name)),
            other => other,
        })
    }

    fn query(&self, text: &str, params: &[Value]) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.inner.prepare_cached(text)?;
        // SQLite numbers `$2` by first appearance; its name says which parameter is meant.
        for index in 1..=statement.parameter_count() {
            let number =
                statement.parameter_name(index).and_then(|name| name.get(1..)?.parse::<usize>().ok());
            let value = number.and_then(|number| params.get(number.checked_sub(1)?));
            statement.raw_bind_parameter(index, value.unwrap_or(&Value::Null))?;
        }
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            let values =
                (0..columns).map(|at| Ok(decode(row.get_ref(at)?))).collect::<rusqlite::Result<_>>()?;
            out.push(Row::new(values));
        }
        Ok(out)
    }

    /// Runs a statement that has neither parameters nor rows.
    pub(crate) fn execute(&self, text: &str) -> Result<(), Error> {
        self.inner.execute_batch(text).map_err(|error| sort(&error))
    }

    /// Whether a transaction is open.
    pub(crate) fn in_transaction(&self) -> bool {
        !self.inner.is_autocommit()
    }
}

fn open(path: &Path) -> Result<rusqlite::Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let inner = rusqlite::Connection::open_with_flags(path, flags).map_err(|error| sort(&error))?;
    inner.busy_timeout(BUSY).map_err(|error| sort(&error))?;
    inner.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;
                   PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;";
    inner.execute_batch(pragmas).map_err(|error| sort(&error))?;
    Ok(inner)
}

/// Opens `path` for migrations.
pub(crate) fn bare(path: &Path) -> Result<Connection, Error> {
    Ok(Connection { inner: open(path)?, texts: Arc::default() })
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

fn decode(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
        ValueRef::Integer(n) => Value::Int(n),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

/// Sorts an error of the driver: a busy, full, failing or read-only file is the machine's trouble; the rest is
/// ours.
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
            | ErrorCode::FileLockingProtocolFailed,
        ) => Error::Unavailable(error.to_string()),
        _ => Error::Database(error.to_string()),
    }
}
