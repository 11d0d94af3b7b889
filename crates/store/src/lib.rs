//! The cellar: the only crate that names SQL and the drivers of databases.
//!
//! Two doors lead in, [`Front`] for requests and [`Back`] for jobs and commands. Behind either is a [`Lease`]:
//! one place for one connection. A statement is written once, in the file of its noun; transactions are closures
//! that say what they did.

pub mod audit;
mod counts;
mod error;
mod faults;
mod holders;
mod lease;
mod migrate;
pub mod noun;
mod open;
mod postgres;
mod sqlite;
mod statement;
pub mod stream;
mod tx;
mod value;

pub use counts::{Counts, PoolCounts};
pub use error::Error;
pub use faults::{Failure, Faults, Site};
pub use lease::{Lease, Parked, Read};
pub use migrate::Step;
pub use open::{Back, Front, Location, Meter, Probe, Settings, Store, migrate, open, pending};
pub use statement::{Batch, Call, Stmt, registry};
pub use tx::Tx;
pub use value::Value;
