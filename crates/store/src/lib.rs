//! Persistence: the only crate that contains SQL or names a database driver.
//!
//! There are two pools, [`RequestPool`] for requests and [`BackgroundPool`] for jobs and commands. Each hands
//! out a [`Lease`], which holds at most one connection. Each statement is written once, in the module of its
//! table under [`queries`]; a transaction is a closure that returns the event it causes.

pub mod audit_db;
mod error;
mod fault_injection;
mod health;
mod lease;
mod metrics;
mod migrate;
mod pool_times;
mod postgres;
pub mod queries;
pub mod redis;
mod second_acquire_check;
mod sqlite;
mod statement;
mod store;
mod trace;
mod tx;
mod value;

pub use error::Error;
pub use fault_injection::{Failure, Faults, Site};
pub use health::{HealthProbe, NotReady};
pub use lease::{Lease, Read};
pub use metrics::{PoolMetrics, StoreMetrics};
pub use migrate::Step;
pub use postgres::{PostgresEnvironment, PreparedStatements, is_local};
pub use queries::registry;
pub use statement::{Batch, Call, Stmt};
pub use store::{
    BackgroundPool, Location, RequestPool, SCHEMA, Settings, Store, TripCounter, migrate, open, pending,
    reach, remove_unused,
};
pub use tx::Tx;
pub use value::Value;
