//! The HTTP suite: every promise of the contract that one process can show, on both engines, with a front pool of
//! one connection.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::semicolon_if_nothing_returned,
    clippy::format_collect,
    reason = "a test stops at what it did not expect"
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
