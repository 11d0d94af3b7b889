//! The rules of accounts, passwords, login, sessions, tokens, signing keys and clients.
//!
//! This crate has no HTTP, no connection pool and no clock. An operation takes an [`OpContext`] (services,
//! one lease, the audit context, the time) and its input, and returns a value or a small error type.

pub mod account;
pub mod client;
pub mod clock_watch;
pub mod context;
pub mod epoch;
pub mod limits;
pub mod login;
pub mod master_keys;
pub mod password;
pub mod realm;
pub mod reconcile;
pub mod recover;
pub mod session;
pub mod signing_keys;
pub mod token;

pub use context::{OpContext, Services, Settings};
