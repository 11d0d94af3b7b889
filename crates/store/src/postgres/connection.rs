//! One connection to PostgreSQL, with every registered statement prepared.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::{join_all, join3};
use runtime::Spawner;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type};
use tokio_postgres::{Client, Statement};
use tokio_util::sync::CancellationToken;

use super::error::sort;
use super::tls::Tls;
use crate::Error;
use crate::queries::registry;
use crate::statement::{RawCall, Stmt};
use crate::value::{Row, Value};

/// A connection and its prepared statements.
pub(crate) struct Conn {
    pub(crate) client: Client,
    statements: HashMap<&'static str, Statement>,
    /// The schema, quoted.
    schema: String,
    tls: Tls,
    /// Ends the connection's task even while answers are outstanding.
    stop: CancellationToken,
}

/// Why a call has no rows.
pub(crate) enum Fault {
    /// The server refused it, or the connection was lost.
    Driver(tokio_postgres::Error),
    /// The answer does not have the expected types.
    Rows(Error),
}

/// Prepares per round trip: beyond 30 the driver would poll the answers out of order.
const PREPARES_AT_ONCE: usize = 25;
/// Longest wait for a lock while a statement is prepared; only an ACCESS EXCLUSIVE lock blocks a prepare.
const PREPARE_WAITS_MS: u32 = 10;
/// Longest wait for the handshake of a connection, and for sending a cancel request.
const CONNECT: Duration = Duration::from_secs(5);

impl Conn {
    /// Connects and prepares the whole registry with `schema` (quoted) in front of each table.
    ///
    /// A table under an ACCESS EXCLUSIVE lock does not delay the other statements: its own are prepared at
    /// their first use. The server's limits end what a dead client left behind; they lie above `deadline`,
    /// which the client enforces.
    pub(crate) async fn open(
        config: &tokio_postgres::Config,
        tls: &Tls,
        schema: &str,
        deadline: Duration,
        spawner: &Spawner,
    ) -> Result<Self, Error> {
        let mut conn = Self::bare(config, tls, spawner).await?;
        schema.clone_into(&mut conn.schema);
        // Cancellation or an error here leaves answers outstanding that a hung server never sends.
        let unfinished = conn.stop.clone().drop_guard();

        let limit = deadline.saturating_add(Duration::from_secs(1)).as_millis();
        let limits = format!(
            "SET lock_timeout = '{PREPARE_WAITS_MS}ms'; SET statement_timeout = {limit}; \
             SET idle_in_transaction_session_timeout = {}",
            limit.saturating_mul(2)
        );

        let all: Vec<_> = registry().collect();
        let last = all.chunks(PREPARES_AT_ONCE).len();
        for (at, some) in (1..).zip(all.chunks(PREPARES_AT_ONCE)) {
            let before = if at == 1 { limits.as_str() } else { "" };
            let after = if at == last { "SET lock_timeout = 0" } else { "" };
            conn.prepare(before, some, after).await.map_err(|error| sort(&error))?;
        }
        unfinished.disarm();
        Ok(conn)
    }

    /// Prepares statements in one round trip, with settings before and after.
    async fn prepare(
        &mut self,
        before: &str,
        some: &[&'static Stmt],
        after: &str,
    ) -> Result<(), tokio_postgres::Error> {
        let texts: Vec<_> = some.iter().map(|stmt| stmt.postgres(&self.schema)).collect();
        let prepares = join_all(texts.iter().map(|text| self.client.prepare(text)));
        let (before, prepared, after) =
            join3(self.client.batch_execute(before), prepares, self.client.batch_execute(after)).await;
        before?;
        for (stmt, outcome) in some.iter().zip(prepared) {
            match outcome {
                Ok(statement) => drop(self.statements.insert(stmt.name, statement)),
                Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
                Err(error) => {
                    tracing::debug!(statement = stmt.name, %error, "a statement could not be prepared");
                    return Err(error);
                }
            }
        }
        after
    }

    /// Prepares statements that [`Self::open`] left out; true when that took a round trip.
    pub(crate) async fn complete(&mut self, calls: &[RawCall]) -> Result<bool, tokio_postgres::Error> {
        let mut missing: Vec<&'static Stmt> = calls.iter().map(|call| call.stmt).collect();
        missing.retain(|stmt| !self.statements.contains_key(stmt.name));
        if missing.is_empty() {
            return Ok(false);
        }
        self.prepare("", &missing, "").await.map(|()| true)
    }

    /// Connects without preparing statements: migrations run before the tables exist.
    pub(crate) async fn bare(
        config: &tokio_postgres::Config,
        tls: &Tls,
        spawner: &Spawner,
    ) -> Result<Self, Error> {
        // The driver's timeout covers the TCP handshake only; a hung server accepts and then stays silent.
        let connecting = timeout(CONNECT, config.connect(tls.clone())).await;
        let (client, connection) = connecting
            .map_err(|_| Error::Unavailable("the server did not finish the handshake in time".into()))?
            .map_err(|error| sort(&error))?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        spawner.spawn("postgres connection", async move {
            let ended = stopped.run_until_cancelled(connection).await;
            if let Some(Err(error)) = ended {
                tracing::debug!(%error, "a PostgreSQL connection ended");
            }
        });
        Ok(Self { client, statements: HashMap::new(), schema: String::new(), tls: tls.clone(), stop })
    }

    /// Connects without preparing statements, for statements outside the registry: each is prepared at its
    /// first use.
    pub(crate) async fn unprepared(
        config: &tokio_postgres::Config,
        tls: &Tls,
        schema: &str,
        spawner: &Spawner,
    ) -> Result<Self, Error> {
        let mut conn = Self::bare(config, tls, spawner).await?;
        schema.clone_into(&mut conn.schema);
        Ok(conn)
    }

    /// Checks that every call can be sent. This must happen before the first one is sent: the others and
    /// COMMIT would follow without the faulty one.
    pub(crate) fn check(&self, calls: &[RawCall]) -> Result<(), Error> {
        for RawCall { stmt, params } in calls {
            let Some(statement) = self.statements.get(stmt.name) else {
                return Err(Error::Database(format!("{} is not in the registry of statements", stmt.name)));
            };
            let types = statement.params();
            let fits =
                types.len() == params.len() && types.iter().zip(params).all(|(ty, value)| value.fits(ty));
            if !fits {
                return Err(Error::Database(format!("{}: its parameters are to be {types:?}", stmt.name)));
            }
        }
        Ok(())
    }

    /// Runs one prepared call.
    pub(crate) async fn call(&self, call: &RawCall) -> Result<Vec<Row>, Fault> {
        let Some(statement) = self.statements.get(call.stmt.name) else {
            return Err(Fault::Rows(Error::Database(format!("{} is not prepared", call.stmt.name))));
        };
        let params: Vec<&(dyn ToSql + Sync)> =
            call.params.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let rows = self.client.query(statement, &params).await.map_err(Fault::Driver)?;
        let rows = rows.iter().map(decode).collect::<Result<Vec<_>, _>>();
        rows.map_err(|error| Fault::Rows(Error::Corrupt(format!("{}: {error}", call.stmt.name))))
    }

    /// Runs a text without parameters or rows, such as BEGIN or COMMIT.
    pub(crate) async fn simple(&self, text: &str) -> Result<Vec<Row>, Fault> {
        self.client.batch_execute(text).await.map(|()| Vec::new()).map_err(Fault::Driver)
    }

    /// Sends a cancel request on a separate connection, and closes both.
    pub(crate) fn cancel(self, spawner: &Spawner) {
        let token = self.client.cancel_token();
        let (tls, stop) = (self.tls.clone(), self.stop.clone());
        drop(self);
        spawner.spawn("postgres cancel", async move {
            match timeout(CONNECT, token.cancel_query(tls)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a cancel request did not reach PostgreSQL"),
                Err(_) => tracing::debug!("a cancel request did not reach PostgreSQL in time"),
            }
            // A hung server never answers; the connection's task must not wait for it.
            stop.cancel();
        });
    }
}

fn decode(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    let mut values = Vec::with_capacity(row.len());
    for (index, column) in row.columns().iter().enumerate() {
        values.push(match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(index)?.into(),
            Type::INT4 => row.try_get::<_, Option<i32>>(index)?.map(i64::from).into(),
            Type::BOOL => row.try_get::<_, Option<bool>>(index)?.into(),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(index)?.into(),
            Type::UUID => row.try_get::<_, Option<uuid::Uuid>>(index)?.into(),
            _ => row.try_get::<_, Option<String>>(index)?.into(),
        });
    }
    Ok(Row::new(values))
}

impl Value {
    fn fits(&self, ty: &Type) -> bool {
        match self {
            Self::Null => true,
            Self::Int(n) => *ty == Type::INT8 || (*ty == Type::INT4 && i32::try_from(*n).is_ok()),
            Self::Text(_) => matches!(*ty, Type::TEXT | Type::VARCHAR | Type::NAME),
            Self::Bytes(_) => *ty == Type::BYTEA,
            Self::Bool(_) => *ty == Type::BOOL,
            Self::Uuid(_) => *ty == Type::UUID,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(n) if *ty == Type::INT4 => i32::try_from(*n)?.to_sql(ty, out),
            Self::Int(n) => n.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
            Self::Bool(b) => b.to_sql(ty, out),
            Self::Uuid(id) => id.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    /// [`Conn::check`] has already compared the types.
    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(ty, out)
    }
}
