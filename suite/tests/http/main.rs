//! The HTTP suite: every promise of the contract that one process can show, on both engines, with a front pool of
//! one connection.

mod account;
mod flow;
mod input;
mod people;
mod refresh;
mod refusal;
mod surface;
mod tokens;
