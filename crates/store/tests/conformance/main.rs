//! One suite, every engine: what the cellar promises holds on each.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests: a panic fails them, and their tasks end with their runtime"
)]
#![expect(unreachable_pub, reason = "modules of a test")]

mod accounts;
mod engines;
#[path = "../ground/mod.rs"]
mod ground;
mod migrations;
mod nouns;
mod plans;
mod schema;
mod sharing;
mod transactions;
