//! The cellar: the only crate that names SQL and the drivers of databases.
//!
//! Two doors lead in, [`RequestPool`] for requests and [`BackgroundPool`] for jobs and commands. Behind either is a [`Lease`]:
//! one place for one connection. A statement is written once, in the file of its noun; transactions are closures
//! that say what they did.

pub mod audit_db;
mod error;
mod fault_injection;
mod lease;
mod metrics;
mod migrate;
mod postgres;
pub mod queries;
pub mod redis;
mod second_acquire_check;
mod sqlite;
mod statement;
mod store;
mod tx;
mod value;

pub use error::Error;
pub use fault_injection::{Failure, Faults, Site};
pub use lease::{Lease, Read};
pub use metrics::{PoolMetrics, StoreMetrics};
pub use migrate::Step;
pub use statement::{Batch, Call, Stmt, registry};
pub use store::{
    BackgroundPool, HealthProbe, Location, RequestPool, Settings, Store, TripCounter, migrate, open, pending,
};
pub use tx::Tx;
pub use value::Value;
