//! The front gate: the application put together, its command line, configuration, listeners, lifecycle and logs.
//!
//! Promise of this crate: it reads the environment and owns every task, and no other crate does either.

pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
mod cpu_quota;
pub mod foundation;
pub mod generated;
pub mod lifecycle;
pub mod listen;
pub mod logging;
pub mod master_key;
pub mod ports;
pub mod reload;
mod sinks;
mod start_error;
pub mod wiring;

pub use app::App;
pub use start_error::StartError;
