//! The built binary as a process: the README's lines, two nodes on one database, kills, hangs and shutdown.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

mod faults;
mod hostile;
mod node;
mod nodes;
mod readme;
mod seeds;
