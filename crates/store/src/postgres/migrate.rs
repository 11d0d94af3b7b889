//! Migrations on PostgreSQL: under a lock of the database's own, each step in one transaction.

use model::{Now, Spawner};

use super::Conn;
use super::tls::Tls;
use crate::Error;
use crate::migrate::{Applied, Step, TABLE, pending};

/// Applies what is pending; with `apply` false only says what would be.
pub(crate) async fn migrate(
    config: &tokio_postgres::Config,
    tls: &Tls,
    schema: &str,
    now: Now,
    spawner: &Spawner,
    apply: bool,
) -> Result<Vec<Step>, Error> {
    let conn = Conn::bare(config, tls, spawner).await?;
    refuse_foreign_schema(&conn, schema).await?;
    if !apply {
        return Ok(pending(&applied(&conn, schema).await?)?.iter().map(|step| step.step()).collect());
    }
    let mut steps = Vec::new();
    loop {
        // One step a transaction: the lock is taken anew each time, so that two migrators cannot both apply it.
        let begin = format!(
            "BEGIN; SELECT pg_advisory_xact_lock(hashtext('gatewright.migrate'), hashtext('{}')); \
             CREATE SCHEMA IF NOT EXISTS {schema}; {}",
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
    conn.client.batch_execute(sql).await.map_err(|error| super::sort(&error))
}

async fn applied(conn: &Conn, schema: &str) -> Result<Vec<Applied>, Error> {
    if !exists(conn, schema, Some("migrations")).await? {
        return Ok(Vec::new());
    }
    let rows = conn
        .client
        .query(&format!("SELECT number, checksum FROM {schema}.migrations ORDER BY number"), &[])
        .await
        .map_err(|error| super::sort(&error))?;
    rows.iter()
        .map(|row| Ok(Applied { number: row.try_get(0)?, checksum: row.try_get(1)? }))
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(|_| Error::Refused(format!("the table {schema}.migrations is not Gatewright's")))
}

/// A schema that holds tables but not ours was made by something else: nothing of it is touched.
async fn refuse_foreign_schema(conn: &Conn, schema: &str) -> Result<(), Error> {
    if exists(conn, schema, Some("migrations")).await? || !exists(conn, schema, None).await? {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the schema {schema} holds tables that Gatewright did not make; set database.schema to a name of its own"
    )))
}

async fn exists(conn: &Conn, schema: &str, table: Option<&str>) -> Result<bool, Error> {
    let name = schema.trim_matches('"').replace("\"\"", "\"");
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm') AND ($2::text IS NULL OR c.relname = $2))";
    let row = conn.client.query_one(sql, &[&name, &table]).await.map_err(|error| super::sort(&error))?;
    row.try_get(0).map_err(|error| super::sort(&error))
}
