//! The HTTP suite: tests of the API contract in one process, on both engines, with a pool of one connection.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::semicolon_if_nothing_returned,
    clippy::format_collect,
    reason = "a test panics on an unexpected result"
)]

mod account;
mod clock;
mod coverage;
mod faults;
mod flow;
mod imports;
mod input;
mod passwords;
mod people;
mod pepper;
mod refresh;
mod refusal;
mod surface;
mod tokens;
