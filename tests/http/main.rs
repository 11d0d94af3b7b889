//! The HTTP suite: tests of the API contract in one process, on both engines, with a pool of one connection.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::semicolon_if_nothing_returned,
    clippy::format_collect,
    reason = "a test panics on an unexpected result"
)]

mod access_tokens;
mod api;
mod api_calls;
mod clock;
mod coverage;
mod documented;
mod faults;
mod import_runs;
mod imports;
mod input;
mod layers;
mod limits;
mod passwords;
mod pepper;
mod postgres;
mod recovery;
mod register_to_logout;
mod restored_database;
mod snapshots;
