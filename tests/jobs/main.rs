//! The jobs, stepped by the tests on the application, with a clock that only the test moves.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics on an unexpected result"
)]

mod node;
mod purge_erased_keys;
mod reconcile_intents;
mod schedule;
mod ship_audit;
mod verify_trail;
