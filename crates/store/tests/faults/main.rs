//! Databases that are killed, paused, filled, cut off and locked: the store's errors and the remaining data.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests: a panic fails them, and their tasks end with their runtime"
)]
#![expect(unreachable_pub, dead_code, reason = "modules of a test, shared with the other suite")]

mod broadcast;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod redis;
mod server;
mod wire;
mod writer;
