//! Migrations on PostgreSQL: each in one transaction, under an advisory lock.

use std::time::Duration;

use model::Now;
use runtime::Spawner;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use super::address::Address;
use super::checks::{begin_look, check_rights, check_server};
use super::connection::Conn;
use super::error::sort;
use crate::Error;
use crate::migrate::{APPLIED, Applied, Step, TABLE, newer, pending, tell_newer};

/// Longest wait for reading the schema.
const LOOK: Duration = Duration::from_secs(10);
/// Longest wait in seconds for another migrator, or for a table that a migration changes: later sessions
/// queue behind it.
const LOCK_SECONDS: u32 = 60;

/// Applies the pending migrations; with `apply` false it only returns them.
pub(crate) async fn migrate(
    address: &Address,
    now: Now,
    spawner: &Spawner,
    apply: bool,
) -> Result<Vec<Step>, Error> {
    let conn = Conn::bare(address, spawner).await?;
    // Only the migrations themselves may be slow; a hung server must fail this call.
    let looked = timeout(LOOK, look(&conn, address, apply)).await;
    let late = || Error::Unavailable("the server does not answer in time".into());
    let (known, there) = looked.unwrap_or_else(|_| Err(late()))?;
    let steps = pending(&known)?;
    tell_newer(&newer(&known));
    if !apply {
        return Ok(steps.iter().map(|step| step.step()).collect());
    }

    // A role that may use a schema may lack the right to create one.
    let schema = address.schema.as_str();
    let create = if there { String::new() } else { format!("CREATE SCHEMA IF NOT EXISTS {schema};") };

    let mut steps = Vec::new();
    loop {
        // Each migration takes the lock anew in its transaction, so that two migrators cannot both apply it.
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; \
             SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = '60s'; \
             SET LOCAL search_path = pg_catalog; \
             SELECT pg_advisory_xact_lock(hashtext('gatewright.migrate'), hashtext('{}')); {create} {}",
            schema.replace('\'', "''"),
            TABLE.replace("gw.", &format!("{schema}."))
        );
        run(&conn, &begin).await?;
        let Some(step) = pending(&applied(&conn, address).await?)?.into_iter().next() else {
            run(&conn, "COMMIT").await?;
            return Ok(steps);
        };

        run(&conn, &step.postgres(schema)).await?;
        run(&conn, &step.record(now).replace("gw.", &format!("{schema}."))).await?;
        run(&conn, "COMMIT").await?;
        steps.push(step.step());
    }
}

async fn run(conn: &Conn, sql: &str) -> Result<(), Error> {
    conn.client.batch_execute(sql).await.map_err(|error| match error.code().map(SqlState::code) {
        // Only damaged indexes let two rows have one key.
        Some("23505") => Error::Refused(format!(
            "a migration found two rows with the same key ({}): an index was damaged, by an upgrade of the \
             system's collations for example; remove or rename one of them",
            error.as_db_error().map_or("", tokio_postgres::error::DbError::message)
        )),
        _ => sort(&error),
    })
}

/// The applied migrations, and whether the schema exists.
async fn look(conn: &Conn, address: &Address, apply: bool) -> Result<(Vec<Applied>, bool), Error> {
    begin_look(conn).await?;
    check_server(conn).await?;
    if !apply {
        check_rights(conn, &address.schema_name()).await?;
    }
    let known = refuse_foreign_schema(conn, address).await?;
    let there = schema_exists(conn, address).await?;
    run(conn, "COMMIT").await?;
    Ok((known, there))
}

async fn rows(
    conn: &Conn,
    sql: &str,
    params: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
    conn.client.query_typed(sql, params).await
}

async fn applied(conn: &Conn, address: &Address) -> Result<Vec<Applied>, Error> {
    if !exists(conn, address, Some("migrations")).await? {
        return Ok(Vec::new());
    }
    let schema = &address.schema;
    let sql = APPLIED.replace("gw.", &format!("{schema}."));
    let rows = rows(conn, &sql, &[]).await.map_err(|error| match error.code().map(SqlState::code) {
        Some("42703") => foreign(schema),
        _ => sort(&error),
    })?;
    rows.iter()
        .map(|row| {
            let (number, name) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Applied { number, name, checksum: row.try_get(2)?, lowest: row.try_get(3)? })
        })
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(|_| foreign(schema))
}

/// Refuses a schema that contains tables but no migration of Gatewright, and leaves it untouched.
async fn refuse_foreign_schema(conn: &Conn, address: &Address) -> Result<Vec<Applied>, Error> {
    let known = applied(conn, address).await?;
    if !known.is_empty() || !exists(conn, address, None).await? {
        return Ok(known);
    }

    // Between the two reads another migrator may have committed its first migration, which creates the table.
    let known = applied(conn, address).await?;
    if known.is_empty() { Err(foreign(&address.schema)) } else { Ok(known) }
}

fn foreign(schema: &str) -> Error {
    Error::Refused(format!(
        "the schema {schema} holds tables that Gatewright did not make; set database.schema to a name of \
         its own"
    ))
}

async fn schema_exists(conn: &Conn, address: &Address) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
    let found = rows(conn, sql, &[(&address.schema_name(), Type::TEXT)]).await;
    found.map(|rows| !rows.is_empty()).map_err(|error| sort(&error))
}

async fn exists(conn: &Conn, address: &Address, table: Option<&str>) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm') \
               AND ($2 IS NULL OR c.relname = $2) LIMIT 1";
    let params: [(&(dyn ToSql + Sync), Type); 2] =
        [(&address.schema_name(), Type::TEXT), (&table, Type::TEXT)];
    rows(conn, sql, &params).await.map(|rows| !rows.is_empty()).map_err(|error| sort(&error))
}
