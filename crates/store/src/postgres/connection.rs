//! One connection to PostgreSQL with every registered statement prepared.

use std::collections::HashMap;
use std::error::Error as StdError;

use bytes::BytesMut;
use futures_util::future::join_all;
use model::Spawner;
use tokio_postgres::types::{IsNull, ToSql, Type};
use tokio_postgres::{CancelToken, Client, Statement};

use super::tls::Tls;
use crate::Error;
use crate::statement::{RawCall, registry};
use crate::value::{Row, Value};

/// A connection whose statements are ready.
pub(crate) struct Conn {
    pub(crate) client: Client,
    statements: HashMap<&'static str, Statement>,
    tls: Tls,
}

/// How many prepares go out in one trip: beyond 30 the driver's answers would be polled out of order.
const PREPARES_AT_ONCE: usize = 25;

impl Conn {
    /// Connects, and prepares the whole registry with `schema` (quoted) in front of each table.
    pub(crate) async fn open(
        config: &tokio_postgres::Config,
        tls: &Tls,
        schema: &str,
        spawner: &Spawner,
    ) -> Result<Self, Error> {
        let mut conn = Self::bare(config, tls, spawner).await?;
        let all: Vec<_> = registry().collect();
        for some in all.chunks(PREPARES_AT_ONCE) {
            let texts: Vec<_> = some.iter().map(|stmt| stmt.postgres(schema)).collect();
            let prepared = join_all(texts.iter().map(|text| conn.client.prepare(text))).await;
            for (stmt, outcome) in some.iter().zip(prepared) {
                let statement = outcome.map_err(|error| match super::sort(&error) {
                    Error::Database(why) => Error::Database(format!("{}: {why}", stmt.name)),
                    other => other,
                })?;
                conn.statements.insert(stmt.name, statement);
            }
        }
        Ok(conn)
    }

    /// Connects without preparing anything: for migrations, which run before the tables exist.
    pub(crate) async fn bare(
        config: &tokio_postgres::Config,
        tls: &Tls,
        spawner: &Spawner,
    ) -> Result<Self, Error> {
        let (client, connection) = config.connect(tls.clone()).await.map_err(|error| super::sort(&error))?;
        spawner.spawn("postgres connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a PostgreSQL connection ended");
            }
        });
        Ok(Self { client, statements: HashMap::new(), tls: tls.clone() })
    }

    /// Runs one prepared call.
    pub(crate) async fn call(&self, call: &RawCall) -> Result<Vec<Row>, tokio_postgres::Error> {
        let params: Vec<&(dyn ToSql + Sync)> =
            call.params.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let rows = match self.statements.get(call.stmt.name) {
            Some(statement) => self.client.query(statement, &params).await?,
            // Only a statement missing from the registry gets here; the conformance suite meets every one.
            None => self.client.query(&call.stmt.postgres("gatewright"), &params).await?,
        };
        rows.iter().map(decode).collect()
    }

    /// Asks the server to stop what the connection is doing, on a connection of its own.
    pub(crate) fn cancel(self, spawner: &Spawner) {
        let token: CancelToken = self.client.cancel_token();
        let tls = self.tls.clone();
        drop(self);
        spawner.spawn("postgres cancel", async move {
            if let Err(error) = token.cancel_query(tls).await {
                tracing::debug!(%error, "a cancel request did not reach PostgreSQL");
            }
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

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let fits = match self {
            Self::Null => true,
            Self::Int(_) => matches!(*ty, Type::INT8 | Type::INT4),
            Self::Text(_) => matches!(*ty, Type::TEXT | Type::VARCHAR | Type::NAME),
            Self::Bytes(_) => *ty == Type::BYTEA,
            Self::Bool(_) => *ty == Type::BOOL,
            Self::Uuid(_) => *ty == Type::UUID,
        };
        if fits { self.to_sql(ty, out) } else { Err(format!("{self:?} is not of the type {ty}").into()) }
    }
}
