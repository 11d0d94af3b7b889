//! One connection to PostgreSQL, with every registered statement prepared where the way to the server keeps
//! prepared statements.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::{join_all, join3};
use runtime::Spawner;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, Kind, ToSql, Type};
use tokio_postgres::{CancelToken, Client, NoTls, Statement};
use tokio_util::sync::CancellationToken;

use super::address::{Address, Route};
use super::error::{loses_statements, sort};
use super::prepared::Prepared;
use super::tls::Tls;
use super::unreached::{Reason, none_of};
use crate::Error;
use crate::queries::registry;
use crate::statement::{RawCall, Stmt};
use crate::value::{Row, Value};

/// A connection and its prepared statements.
pub(crate) struct Conn {
    pub(crate) client: Client,
    /// A statement that is not here is sent with its text.
    statements: HashMap<&'static str, Statement>,
    /// Whether a lock kept some statements from being prepared.
    partial: bool,
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
/// Begins a transaction that prepares a statement which a lock kept from being prepared; the client has a
/// deadline.
const COMPLETING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL lock_timeout = 0; \
                          SET LOCAL statement_timeout = '65s'; \
                          SET LOCAL idle_in_transaction_session_timeout = '65s'";
/// Begins a transaction that prepares statements. Only an ACCESS EXCLUSIVE lock blocks a prepare, and not for
/// longer than this.
const PREPARING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL lock_timeout = '10ms'; \
                         SET LOCAL statement_timeout = '30s'; \
                         SET LOCAL idle_in_transaction_session_timeout = '30s'";
/// Longest wait for sending a cancel request.
const CONNECT: Duration = Duration::from_secs(5);

impl Conn {
    /// Connects, and prepares the whole registry with the schema in front of each table.
    ///
    /// A table under an ACCESS EXCLUSIVE lock does not delay the other statements: its own are prepared at
    /// their first use. Where the way to the server loses prepared statements, each is sent with its text.
    pub(crate) async fn open(
        address: &Address,
        prepared: &Prepared,
        spawner: &Spawner,
    ) -> Result<Self, Error> {
        let mut conn = Self::bare(address, spawner).await?;
        if !prepared.are_kept() {
            return Ok(conn);
        }
        // Cancellation or an error here leaves answers outstanding that a hung server never sends.
        let unfinished = conn.stop.clone().drop_guard();

        let all: Vec<_> = registry().collect();
        for some in all.chunks(PREPARES_AT_ONCE) {
            match conn.prepare(some).await {
                Ok(()) => {}
                Err(error) if loses_statements(&error) && prepared.are_lost(&error) => {
                    conn.statements.clear();
                    break;
                }
                Err(error) => return Err(sort(&error)),
            }
        }
        unfinished.disarm();
        Ok(conn)
    }

    /// Whether it has prepared statements.
    pub(crate) fn is_prepared(&self) -> bool {
        !self.statements.is_empty()
    }

    /// Prepares statements in one round trip; where a table is locked, each in a round trip of its own.
    async fn prepare(&mut self, some: &[&'static Stmt]) -> Result<(), tokio_postgres::Error> {
        if self.prepare_together(some, PREPARING).await? {
            return Ok(());
        }
        for stmt in some {
            if !self.statements.contains_key(stmt.name) {
                self.partial |= !self.prepare_together(&[stmt], PREPARING).await?;
            }
        }
        Ok(())
    }

    /// Prepares statements that [`Self::open`] left out; true when that took a round trip.
    pub(crate) async fn complete(&mut self, calls: &[RawCall]) -> Result<bool, tokio_postgres::Error> {
        if !self.partial {
            return Ok(false);
        }
        let mut missing: Vec<&'static Stmt> = calls.iter().map(|call| call.stmt).collect();
        missing.retain(|stmt| !self.statements.contains_key(stmt.name));
        if missing.is_empty() {
            return Ok(false);
        }
        self.prepare_together(&missing, COMPLETING).await.map(|_| true)
    }

    /// Prepares statements in one transaction, whose settings end with it; false when a table was locked.
    async fn prepare_together(
        &mut self,
        some: &[&'static Stmt],
        begin: &str,
    ) -> Result<bool, tokio_postgres::Error> {
        let texts: Vec<_> = some.iter().map(|stmt| stmt.postgres(&self.schema)).collect();
        let prepares = join_all(texts.iter().map(|text| self.client.prepare(text)));
        let (begun, prepared, ended) =
            join3(self.client.batch_execute(begin), prepares, self.client.batch_execute("COMMIT")).await;
        begun?;
        for (stmt, outcome) in some.iter().zip(prepared) {
            match outcome {
                Ok(statement) => drop(self.statements.insert(stmt.name, statement)),
                // The statements after the one that met the lock are refused with it.
                Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(false),
                Err(error) => {
                    tracing::debug!(statement = stmt.name, %error, "a statement could not be prepared");
                    return Err(error);
                }
            }
        }
        ended.map(|()| true)
    }

    /// Connects to the first server that answers, without preparing statements: each is sent with its text.
    ///
    /// # Errors
    /// [`Error::Unreached`] names each server and the reason.
    pub(crate) async fn bare(address: &Address, spawner: &Spawner) -> Result<Self, Error> {
        let mut reasons = Vec::new();
        for route in address.order() {
            // The driver's timeout covers the TCP handshake only; a hung server accepts and then stays
            // silent.
            let connecting = timeout(route.limit, Self::connect(route, &address.schema, spawner)).await;
            reasons.push(match connecting {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err(error)) => Reason::of(&route.about, &error),
                Err(_) => Reason::silent(&route.about, route.limit.as_secs()),
            });
        }
        Err(none_of(&reasons))
    }

    async fn connect(route: &Route, schema: &str, spawner: &Spawner) -> Result<Self, tokio_postgres::Error> {
        let stop = CancellationToken::new();
        let client = match route.tls.connector() {
            None => {
                let (client, connection) = route.config.connect(NoTls).await?;
                serve(connection, &stop, spawner);
                client
            }
            Some(tls) => {
                let (client, connection) = route.config.connect(tls).await?;
                serve(connection, &stop, spawner);
                client
            }
        };
        Ok(Self {
            client,
            statements: HashMap::new(),
            partial: false,
            schema: schema.to_owned(),
            tls: route.tls.clone(),
            stop,
        })
    }

    /// Checks that every call can be sent. This must happen before the first one is sent: the others and
    /// COMMIT would follow without the faulty one.
    pub(crate) fn check(&self, calls: &[RawCall]) -> Result<(), Error> {
        for RawCall { stmt, params } in calls {
            let Some(statement) = self.statements.get(stmt.name) else { continue };
            let types = statement.params();
            let fits =
                types.len() == params.len() && types.iter().zip(params).all(|(ty, value)| value.fits(ty));
            if !fits {
                return Err(Error::Database(format!("{}: its parameters are to be {types:?}", stmt.name)));
            }
        }
        Ok(())
    }

    /// Runs one call, by its prepared statement if there is one. Either takes one round trip.
    pub(crate) async fn call(&self, call: &RawCall) -> Result<Vec<Row>, Fault> {
        let rows = if let Some(statement) = self.statements.get(call.stmt.name) {
            let params: Vec<&(dyn ToSql + Sync)> =
                call.params.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
            self.client.query(statement, &params).await
        } else {
            let typed = |value| (value as &(dyn ToSql + Sync), Value::postgres_type(value));
            let params: Vec<(&(dyn ToSql + Sync), Type)> = call.params.iter().map(typed).collect();
            self.client.query_typed(&call.stmt.postgres(&self.schema), &params).await
        };
        let rows = rows.map_err(Fault::Driver)?;
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
            match timeout(CONNECT, send_cancel(&token, &tls)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a cancel request did not reach PostgreSQL"),
                Err(_) => tracing::debug!("a cancel request did not reach PostgreSQL in time"),
            }
            // A hung server never answers; the connection's task must not wait for it.
            stop.cancel();
        });
    }
}

async fn send_cancel(token: &CancelToken, tls: &Tls) -> Result<(), tokio_postgres::Error> {
    match tls.connector() {
        None => token.cancel_query(NoTls).await,
        Some(tls) => token.cancel_query(tls).await,
    }
}

/// Runs the connection's task until it ends or is stopped.
fn serve<T>(
    connection: tokio_postgres::Connection<tokio_postgres::Socket, T>,
    stop: &CancellationToken,
    spawner: &Spawner,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stopped = stop.clone();
    spawner.spawn("postgres connection", async move {
        let ended = stopped.run_until_cancelled(connection).await;
        if let Some(Err(error)) = ended {
            tracing::debug!(%error, "a PostgreSQL connection ended");
        }
    });
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
    /// The type as which PostgreSQL reads the value where the statement is not prepared. NULL has none: the
    /// server infers it, as it does for prepared statements.
    fn postgres_type(&self) -> Type {
        match self {
            Self::Null => Type::new("unspecified".to_owned(), 0, Kind::Simple, "pg_catalog".to_owned()),
            Self::Int(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
            Self::Bytes(_) => Type::BYTEA,
            Self::Bool(_) => Type::BOOL,
            Self::Uuid(_) => Type::UUID,
        }
    }

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
