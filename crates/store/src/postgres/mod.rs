//! PostgreSQL: a small pool, transactions in as few round trips as they need, deadlines kept by the client.

mod connection;
mod migrate;
mod pool;
pub(crate) mod tls;
mod transaction;

pub(crate) use connection::Conn;
pub(crate) use migrate::migrate;
pub(crate) use pool::{Entry, Held, Holders, Pool, PoolSettings};
pub(crate) use transaction::transact;

use crate::Error;

/// SQLSTATEs that ask for another try of the whole transaction. A unique violation is among them: every statement
/// asks for conflicts beforehand, so it lost a race that the next run will see.
fn wants_retry(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| matches!(state.code(), "40001" | "40P01" | "23505"))
}

/// Sorts an error of the driver. Classes 08, 53, 57 and 58 and a read-only server are the database's trouble;
/// the rest is ours.
fn sort(error: &tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else {
        return Error::Unavailable(error.to_string());
    };
    let state = db.code().code();
    let text = format!("{state}: {}", db.message());
    if wants_retry(error) {
        Error::Serialization
    } else if matches!(state.get(..2), Some("08" | "53" | "57" | "58" | "3D" | "28"))
        || matches!(state, "25006" | "55P03" | "26000")
    {
        Error::Unavailable(text)
    } else {
        Error::Database(text)
    }
}

/// Whether a connection that met this error must not be used again.
fn spoils_connection(error: &tokio_postgres::Error) -> bool {
    let Some(state) = error.code() else { return true };
    matches!(state.code().get(..2), Some("08" | "57" | "58")) || matches!(state.code(), "25006" | "26000")
}
