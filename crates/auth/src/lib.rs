//! The rooms: the rules of accounts, passwords, sessions, tokens, keys and clients.
//!
//! Promise of this crate: no HTTP, no pool, no clock of its own. A verb takes a [`OpContext`] (settings, one lease, the
//! trail, the time) and its input, and returns a value or its room's small error.

pub mod account;
pub mod client;
pub mod context;
pub mod password;
pub mod realm;
pub mod reconcile;
pub mod session;
pub mod signing_keys;
pub mod token;

pub use context::{OpContext, Services, Settings};
