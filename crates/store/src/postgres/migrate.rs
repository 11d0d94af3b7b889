//! Migrations on PostgreSQL: each in one transaction, under an advisory lock.

use std::time::Duration;

use model::Now;
use runtime::Spawner;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use super::connection::Conn;
use super::error::sort;
use super::tls::Tls;
use crate::Error;
use crate::migrate::{Applied, Step, TABLE, pending};

/// Longest wait for reading the schema.
const LOOK: Duration = Duration::from_secs(10);
/// Longest wait in seconds for another migrator, or for a table that a migration changes: later sessions
/// queue behind it.
const LOCK_SECONDS: u32 = 60;

/// Applies the pending migrations; with `apply` false it only returns them.
pub(crate) async fn migrate(
    config: &tokio_postgres::Config,
    tls: &Tls,
    schema: &str,
    now: Now,
    spawner: &Spawner,
    apply: bool,
) -> Result<Vec<Step>, Error> {
    let conn = Conn::bare(config, tls, spawner).await?;
    // Only the migrations themselves may be slow; a hung server must fail this call.
    let known = timeout(LOOK, refuse_foreign_schema(&conn, schema))
        .await
        .unwrap_or_else(|_| Err(Error::Unavailable("the server does not answer in time".into())))?;
    if !apply {
        return Ok(pending(&known)?.iter().map(|step| step.step()).collect());
    }

    // A role that may use a schema may lack the right to create one.
    let create = if schema_exists(&conn, schema).await? {
        String::new()
    } else {
        format!("CREATE SCHEMA IF NOT EXISTS {schema};")
    };

    let mut steps = Vec::new();
    loop {
        // Each migration takes the lock anew in its transaction, so that two migrators cannot both apply it.
        let begin = format!(
            "BEGIN; SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL statement_timeout = 0; \
             SELECT pg_advisory_xact_lock(hashtext('gatewright.migrate'), hashtext('{}')); {create} {}",
            schema.replace('\'', "''"),
            TABLE.replace("gw.", &format!("{schema}."))
        );
        run(&conn, &begin).await?;
        let Some(step) = pending(&applied(&conn, schema).await?)?.into_iter().next() else {
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
    conn.client.batch_execute(sql).await.map_err(|error| sort(&error))
}

async fn applied(conn: &Conn, schema: &str) -> Result<Vec<Applied>, Error> {
    if !exists(conn, schema, Some("migrations")).await? {
        return Ok(Vec::new());
    }
    let rows = conn
        .client
        .query(
            &format!("SELECT number, checksum, name, applied_at FROM {schema}.migrations ORDER BY number"),
            &[],
        )
        .await
        .map_err(|error| match error.code().map(SqlState::code) {
            Some("42703") => foreign(schema),
            _ => sort(&error),
        })?;
    rows.iter()
        .map(|row| Ok(Applied { number: row.try_get(0)?, checksum: row.try_get(1)? }))
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(|_| foreign(schema))
}

/// Refuses a schema that contains tables but no migration of Gatewright, and leaves it untouched.
async fn refuse_foreign_schema(conn: &Conn, schema: &str) -> Result<Vec<Applied>, Error> {
    let known = applied(conn, schema).await?;
    if !known.is_empty() || !exists(conn, schema, None).await? {
        return Ok(known);
    }

    // Between the two reads another migrator may have committed its first migration, which creates the table.
    let known = applied(conn, schema).await?;
    if known.is_empty() { Err(foreign(schema)) } else { Ok(known) }
}

fn foreign(schema: &str) -> Error {
    Error::Refused(format!(
        "the schema {schema} holds tables that Gatewright did not make; set database.schema to a name of \
         its own"
    ))
}

async fn schema_exists(conn: &Conn, schema: &str) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)";
    let row = conn.client.query_one(sql, &[&name(schema)]).await.map_err(|error| sort(&error))?;
    row.try_get(0).map_err(|error| sort(&error))
}

/// The schema's name without quotes.
fn name(schema: &str) -> String {
    let inner = schema.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(schema);
    inner.replace("\"\"", "\"")
}

async fn exists(conn: &Conn, schema: &str, table: Option<&str>) -> Result<bool, Error> {
    let name = name(schema);
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm') \
               AND ($2::text IS NULL OR c.relname = $2))";
    let row = conn.client.query_one(sql, &[&name, &table]).await.map_err(|error| sort(&error))?;
    row.try_get(0).map_err(|error| sort(&error))
}
