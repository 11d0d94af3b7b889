//! Bytes to values and back: wire formats ([`wire`]) and sealed values ([`sealed`]).
//!
//! Promise of this crate: it converts bytes to types and back. No I/O, no clock, no waiting, no storage;
//! randomness and time are parameters (except for key pairs, which the cryptographic library generates). No
//! parser panics on any input, each bounds the input that it parses, and refusals are small enums that
//! contain no secrets.

pub mod sealed;
pub mod wire;
