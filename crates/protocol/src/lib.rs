//! Bytes to values and back: wire formats ([`wire`]) and sealed values ([`sealed`]).
//!
//! Promise of this crate: bytes to types and back, and nothing else. No I/O, no clock, no waiting, no
//! storage; randomness and time are parameters (but for key pairs, which the cryptographic library draws
//! itself). No parser here panics on any input, each has a bound on what it looks at, and what it refuses it
//! refuses with a small enum that repeats nothing secret.

pub mod sealed;
pub mod wire;
