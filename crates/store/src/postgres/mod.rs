//! PostgreSQL: a small pool, transactions in few round trips, deadlines enforced by the client.

mod address;
mod checks;
mod connection;
mod error;
mod migrate;
mod options;
mod passwords;
mod place;
mod pool;
pub(crate) mod pooled_connection;
mod prepared;
mod tls;
mod transaction;
mod unreached;

pub(crate) use address::Address;
pub(crate) use checks::{check, needs_text as needs};
pub(crate) use connection::{Conn, Fault};
pub(crate) use error::sort;
pub(crate) use migrate::migrate;
pub(crate) use options::key_file;
pub use passwords::PostgresEnvironment;
pub use place::is_local;
pub(crate) use pool::{Pool, PoolSettings};
pub(crate) use pooled_connection::PooledConnection;
pub(crate) use prepared::Prepared;
pub use prepared::PreparedStatements;
pub(crate) use transaction::transact;
