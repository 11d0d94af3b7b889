//! PostgreSQL: a small pool, transactions in few round trips, deadlines enforced by the client.

mod connection;
mod error;
mod migrate;
mod pool;
pub(crate) mod pooled_connection;
pub(crate) mod tls;
mod transaction;

pub(crate) use connection::{Conn, Fault};
pub(crate) use error::sort;
pub(crate) use migrate::migrate;
pub(crate) use pool::{Pool, PoolSettings};
pub(crate) use pooled_connection::PooledConnection;
pub(crate) use transaction::transact;
