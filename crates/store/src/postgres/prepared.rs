//! Whether prepared statements survive on the way to the server: a pooler may give every transaction to
//! another server process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join3, join4};
use runtime::Spawner;
use tokio::time::timeout;

use super::address::Address;
use super::checks::BEGIN_LOOK as BEGIN;
use super::connection::Conn;
use super::error::sort;
use crate::Error;

/// How statements are sent to PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreparedStatements {
    /// Prepared, unless the way to the server loses prepared statements.
    #[default]
    Auto,
    /// Prepared; a way that loses them is refused.
    On,
    /// With their texts, each in one round trip.
    Off,
}

/// Whether statements are prepared; shared by all pools of a store.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    kept: Arc<AtomicBool>,
    setting: PreparedStatements,
}

/// How long the server may take to answer a question about its pooler; a pooler without a free server process
/// makes the question wait.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the statement is tried, until it runs in a server process other than its own.
const ROUNDS: u32 = 5;
const PROCESS: &str = "SELECT pg_catalog.pg_backend_pid()";

impl Prepared {
    /// Determines how statements can be sent.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`PreparedStatements::On`], for a pooler that loses prepared statements.
    pub(crate) async fn determine(
        setting: PreparedStatements,
        address: &Address,
        conn: &Conn,
        spawner: &Spawner,
    ) -> Result<Self, Error> {
        let way = look(address, conn, spawner).await?;

        match (way, setting) {
            (Way::Direct, _) | (_, PreparedStatements::Off) => {}
            (Way::Keeps, PreparedStatements::Auto | PreparedStatements::On) => {
                tracing::info!("the pooler in front of PostgreSQL keeps prepared statements: they are used");
            }
            (Way::Loses, PreparedStatements::Auto) => tracing::info!(
                "the pooler in front of PostgreSQL loses prepared statements: each is sent with its text"
            ),
            (Way::Loses, PreparedStatements::On) => {
                return Err(Error::Refused(
                    "the pooler in front of PostgreSQL loses prepared statements (PgBouncer keeps them \
                     since 1.21, with max_prepared_statements); set database.prepared_statements to `auto` \
                     or `off`"
                        .into(),
                ));
            }
        }

        let kept = way != Way::Loses && setting != PreparedStatements::Off;
        Ok(Self { kept: Arc::new(AtomicBool::new(kept)), setting })
    }

    /// Whether statements are prepared.
    pub(crate) fn are_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// Notes an error that a lost prepared statement causes. True if statements are sent with their texts
    /// from now on.
    pub(crate) fn are_lost(&self, error: &tokio_postgres::Error) -> bool {
        if self.setting != PreparedStatements::Auto {
            return false;
        }
        if self.kept.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                %error,
                "a pooler in front of PostgreSQL lost a prepared statement: each is sent with its text \
                 from now on"
            );
        }
        true
    }
}

/// What is between the store and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nothing that gives a connection another server process between transactions.
    Direct,
    /// A pooler that keeps prepared statements.
    Keeps,
    /// A pooler that loses them, as far as can be told.
    Loses,
}

/// Looks whether a prepared statement can be used in another transaction, also when that runs in another
/// server process.
async fn look(address: &Address, first: &Conn, spawner: &Spawner) -> Result<Way, Error> {
    // Where no second connection is free the first error of a lost statement decides.
    let Ok(second) = Conn::bare(address, spawner).await else { return Ok(Way::Direct) };
    if !is_pooled(first, &second).await? {
        return Ok(Way::Direct);
    }

    for round in 0..ROUNDS {
        let Ok((statement, home)) = prepare(first).await else { return Ok(Way::Loses) };
        // A pooler that hands out its server processes in turn comes back to the same one in every round,
        // unless the rounds have different numbers of transactions.
        for _ in 0..round {
            process_alone(&second).await?;
        }
        // The second connection occupies a server process meanwhile.
        run(&second, BEGIN).await?;
        let away = timeout(PATIENCE, async {
            let (begun, process, answered, ended) = join4(
                first.client.batch_execute(BEGIN),
                process(first),
                first.client.query(&statement, &[]),
                first.client.batch_execute("COMMIT"),
            )
            .await;
            (begun.and(ended), process, answered.is_ok())
        })
        .await;
        run(&second, "COMMIT").await?;

        match away {
            Ok((Ok(()), Ok(process), true)) if process != home => return Ok(Way::Keeps),
            Ok((Ok(()), Ok(process), true)) if process == home => {}
            _ => return Ok(Way::Loses),
        }
    }
    Ok(Way::Loses)
}

/// Whether two connections share a server process, or one changes it, between transactions.
async fn is_pooled(first: &Conn, second: &Conn) -> Result<bool, Error> {
    let mut of_first = BTreeSet::from([process_alone(first).await?]);
    run(second, BEGIN).await?;
    let of_second = process(second).await?;
    // With one server process, the pooler lets the first connection wait for the second.
    let asked = timeout(PATIENCE, process_alone(first)).await;
    run(second, "COMMIT").await?;
    let Ok(asked) = asked else { return Ok(true) };
    of_first.insert(asked?);
    for _ in 0..2 {
        of_first.insert(process_alone(first).await?);
    }
    Ok(of_first.len() > 1 || of_first.contains(&of_second))
}

/// Prepares a statement, and says in which server process.
async fn prepare(conn: &Conn) -> Result<(tokio_postgres::Statement, i32), Error> {
    let asked = async {
        let (begun, process, statement, ended) = join4(
            conn.client.batch_execute(BEGIN),
            process(conn),
            conn.client.prepare("SELECT 1"),
            conn.client.batch_execute("COMMIT"),
        )
        .await;
        begun.and(ended).map_err(|error| sort(&error))?;
        Ok((statement.map_err(|error| sort(&error))?, process?))
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(Error::Unavailable("no answer in time".into())))
}

/// The server process of the next transaction.
async fn process_alone(conn: &Conn) -> Result<i32, Error> {
    let (begun, process, ended) =
        join3(conn.client.batch_execute(BEGIN), process(conn), conn.client.batch_execute("COMMIT")).await;
    begun.and(ended).map_err(|error| sort(&error))?;
    process
}

async fn process(conn: &Conn) -> Result<i32, Error> {
    let rows = conn.client.query_typed(PROCESS, &[]).await.map_err(|error| sort(&error))?;
    let row = rows.first().ok_or_else(|| Error::Unavailable("the server gave no answer".into()))?;
    row.try_get(0).map_err(|error| sort(&error))
}

async fn run(conn: &Conn, sql: &str) -> Result<(), Error> {
    conn.client.batch_execute(sql).await.map_err(|error| sort(&error))
}
