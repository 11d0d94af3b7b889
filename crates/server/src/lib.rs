//! The front gate: configuration, listeners, lifecycle, logs and the master key file.
//!
//! Promise of this crate: it reads the environment and owns every task, and no other crate does either.

pub mod config;
pub mod lifecycle;
pub mod listen;
pub mod logging;
pub mod master_key;
