//! A throwaway PostgreSQL, to be paused, killed and started again.

mod client;
mod installation;
mod server;
mod shared;

pub use client::{Row, rows, rows_at_once};
pub use server::{Postgres, PostgresBuilder};
pub use shared::{Database, SharedPostgres};
