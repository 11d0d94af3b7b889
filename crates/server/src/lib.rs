//! The server: the application (`app`), its configuration (`config`) and its command line (`cli`).
//!
//! Only this crate reads the environment and owns tasks.

pub mod app;
pub mod cli;
pub mod config;

pub use app::App;
pub use app::start_error::StartError;
