//! Migrations on SQLite: each in one IMMEDIATE transaction.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;

use model::Now;

use super::connection::{Connection, sort};
use crate::Error;
use crate::migrate::{APPLIED, Applied, Step, TABLE, newer, pending, tell_newer};

/// Applies the pending migrations; with `apply` false it only returns them.
pub(crate) fn migrate(path: &Path, now: Now, apply: bool) -> Result<Vec<Step>, Error> {
    // What may not be looked at is not absent.
    let is_there = path.try_exists().map_err(|error| unavailable(path, &error))?;
    if !is_there {
        if !apply {
            return Ok(pending(&[])?.iter().map(|step| step.step()).collect());
        }
        create(path)?;
    }
    let migrated = migrate_file(path, now, apply);
    if migrated.is_err() && !is_there {
        remove_unused(path);
    }
    migrated
}

fn migrate_file(path: &Path, now: Now, apply: bool) -> Result<Vec<Step>, Error> {
    let connection = Connection::bare(path)?;
    let known = refuse_foreign_file(&connection, path)?;
    let steps = pending(&known)?;
    tell_newer(&newer(&known));
    if !apply {
        return Ok(steps.iter().map(|step| step.step()).collect());
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
        Err(error) => Err(unavailable(path, &error)),
    }
}

fn unavailable(path: &Path, error: &std::io::Error) -> Error {
    Error::Unavailable(format!("{}: {error}", path.display()))
}

/// Removes a file that was made for a realm which never began, and its trail; returns whether it did.
pub(crate) fn remove_unused(path: &Path) -> bool {
    let Ok(connection) = Connection::bare(path) else { return false };
    // No other process writes until the file is gone.
    let is_unused = connection.execute("BEGIN IMMEDIATE").and_then(|()| realms(&connection));
    if !is_unused.is_ok_and(|realms| realms == 0) {
        return false;
    }
    let is_removed = std::fs::remove_file(path).is_ok();
    drop(connection);
    let trail = crate::audit_db::trail_path(path);
    let beside = |file: &Path, end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        name
    };
    for file in [path, trail.as_path()] {
        for end in ["-wal", "-shm"] {
            // It may not be there.
            let _ = std::fs::remove_file(beside(file, end));
        }
    }
    let _ = std::fs::remove_file(trail);
    is_removed
}

fn realms(connection: &Connection) -> Result<i64, Error> {
    if tables(connection, Some("realm"))? == 0 {
        return Ok(0);
    }
    let count = connection.inner.query_row("SELECT count(*) FROM realm", [], |row| row.get(0));
    count.map_err(|error| sort(&error))
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
        let mut statement = connection.inner.prepare(&APPLIED.replace("gw.", ""))?;
        let rows = statement.query_map([], |row| {
            let (number, name) = (row.get(0)?, row.get(1)?);
            Ok(Applied { number, name, checksum: row.get(2)?, lowest: row.get(3)? })
        })?;
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
