//! Migrations on SQLite: each step in one IMMEDIATE transaction.

use std::path::Path;

use model::Now;

use super::connection::{Connection, bare};
use super::sort;
use crate::Error;
use crate::migrate::{Applied, Step, TABLE, pending};

/// Applies what is pending; with `apply` false only says what would be.
pub(crate) fn migrate(path: &Path, now: Now, apply: bool) -> Result<Vec<Step>, Error> {
    if !apply && !path.exists() {
        return Ok(pending(&[])?.iter().map(|step| step.step()).collect());
    }
    let connection = bare(path)?;
    refuse_foreign_file(&connection, path)?;
    if !apply {
        return Ok(pending(&applied(&connection)?)?.iter().map(|step| step.step()).collect());
    }
    let mut steps = Vec::new();
    loop {
        connection.execute("BEGIN IMMEDIATE")?;
        connection.execute(&TABLE.replace("gw.", ""))?;
        let Some(step) = pending(&applied(&connection)?)?.into_iter().next() else {
            connection.execute("COMMIT")?;
            return Ok(steps);
        };
        connection.execute(step.sqlite())?;
        connection.execute(&step.record(now).replace("gw.", ""))?;
        connection.execute("COMMIT")?;
        steps.push(step.step());
    }
}

fn tables(connection: &Connection, name: Option<&str>) -> Result<i64, Error> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
               AND (?1 IS NULL OR name = ?1)";
    connection.inner.query_row(sql, [name], |row| row.get(0)).map_err(|error| sort(&error))
}

fn applied(connection: &Connection) -> Result<Vec<Applied>, Error> {
    if tables(connection, Some("migrations"))? == 0 {
        return Ok(Vec::new());
    }
    let read = || -> rusqlite::Result<Vec<Applied>> {
        let mut statement =
            connection.inner.prepare("SELECT number, checksum FROM migrations ORDER BY number")?;
        let rows =
            statement.query_map([], |row| Ok(Applied { number: row.get(0)?, checksum: row.get(1)? }))?;
        rows.collect()
    };
    read().map_err(|error| sort(&error))
}

fn refuse_foreign_file(connection: &Connection, path: &Path) -> Result<(), Error> {
    if tables(connection, None)? > 0 && tables(connection, Some("migrations"))? == 0 {
        return Err(Error::Refused(format!(
            "{} holds tables that Gatewright did not make; set database.url to a file of its own",
            path.display()
        )));
    }
    Ok(())
}
