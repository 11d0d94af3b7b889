//! The wire grammar: tokens, keys, OAuth messages, password-hash strings and proxy headers.
//!
//! Promise of this crate: bytes to types and back, and nothing else. No I/O, no clock, no waiting, no storage;
//! randomness and time are parameters. No parser here panics on any input, each has a bound on what it looks
//! at, and what it refuses it refuses with a small enum that repeats nothing of the input.

pub mod access_token;
pub mod jwk;
pub mod jwt;
pub mod refresh_token;
pub mod scope;
pub mod seal;

mod aead;
mod strict_json;
