//! Migrations on SQLite: each in one IMMEDIATE transaction.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;

use model::Now;

use super::connection::{Connection, sort};
use crate::Error;
use crate::migrate::{Applied, Step, TABLE, pending};

/// Applies the pending migrations; with `apply` false it only returns them.
pub(crate) fn migrate(path: &Path, now: Now, apply: bool) -> Result<Vec<Step>, Error> {
    if !path.exists() {
        if !apply {
            return Ok(pending(&[])?.iter().map(|step| step.step()).collect());
        }
        create(path)?;
    }

    let connection = Connection::bare(path)?;
    let known = refuse_foreign_file(&connection, path)?;
    if !apply {
        return Ok(pending(&known)?.iter().map(|step| step.step()).collect());
    }

    connection.use_wal()?;
    let mut steps = Vec::new();
    loop {
        connection.execute("BEGIN IMMEDIATE")?;
        connection.execute(&TABLE.replace("gw.", ""))?;
        let Some(step) = pending(&applied(&connection)?)?.into_iter().next() else {
            connection.execute("COMMIT")?;
            return Ok(steps);
        };

        connection.script(step.sqlite())?;
        connection.execute(&step.record(now).replace("gw.", ""))?;
        connection.execute("COMMIT")?;
        steps.push(step.step());
    }
}

/// Creates an empty file that only its owner can read: SQLite gives its journal the same permissions.
pub(crate) fn create(path: &Path) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::Unavailable(format!("{}: {error}", path.display()))),
    }
}

fn tables(connection: &Connection, name: Option<&str>) -> Result<i64, Error> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' \
               ESCAPE '\\' \
               AND (?1 IS NULL OR name = ?1)";
    connection.inner.query_row(sql, [name], |row| row.get(0)).map_err(|error| sort(&error))
}

fn applied(connection: &Connection) -> Result<Vec<Applied>, Error> {
    if tables(connection, Some("migrations"))? == 0 {
        return Ok(Vec::new());
    }
    let read = || -> rusqlite::Result<Vec<Applied>> {
        let mut statement = connection
            .inner
            .prepare("SELECT number, checksum, name, applied_at FROM migrations ORDER BY number")?;
        let rows =
            statement.query_map([], |row| Ok(Applied { number: row.get(0)?, checksum: row.get(1)? }))?;
        rows.collect()
    };
    read().map_err(|error| match sort(&error) {
        // A column that is missing here was never there.
        Error::Unavailable(_) | Error::Database(_)
            if matches!(error.sqlite_error_code(), None | Some(rusqlite::ErrorCode::Unknown)) =>
        {
            Error::Refused("the table migrations is not Gatewright's".into())
        }
        other => other,
    })
}

/// Refuses a file that contains tables but no migration of Gatewright, and leaves it untouched.
fn refuse_foreign_file(connection: &Connection, path: &Path) -> Result<Vec<Applied>, Error> {
    let foreign = |what: &str| {
        Error::Refused(format!("{} {what}; set database.url to a file of its own", path.display()))
    };
    let all = match tables(connection, None) {
        Err(Error::Corrupt(_)) => return Err(foreign("is not a SQLite database")),
        other => other?,
    };
    let known = match applied(connection) {
        Err(Error::Refused(_)) => return Err(foreign("holds tables that Gatewright did not make")),
        other => other?,
    };
    if all > 0 && known.is_empty() {
        return Err(foreign("holds tables that Gatewright did not make"));
    }
    Ok(known)
}
