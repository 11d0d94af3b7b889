//! The rules of accounts, passwords, login, sessions, tokens, signing keys and clients.
//!
//! Promise of this crate: no HTTP, no pool, no clock of its own. An operation takes an [`OpContext`] (settings, one
//! lease, the audit context, the time) and its input, and returns a value or a small error of its own.

pub mod account;
pub mod client;
pub mod context;
pub mod login;
pub mod password;
pub mod realm;
pub mod reconcile;
pub mod session;
pub mod signing_keys;
pub mod token;

pub use context::{OpContext, Services, Settings};
