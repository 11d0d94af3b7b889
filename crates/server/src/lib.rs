//! The server: the application put together (`app`), its configuration (`config`) and its command line (`cli`).
//!
//! Promise of this crate: it reads the environment and owns every task, and no other crate does either.

pub mod app;
pub mod cli;
pub mod config;

pub use app::App;
pub use app::start_error::StartError;
