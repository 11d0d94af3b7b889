//! The HTTP suite: every promise of the contract that one process can show, on both engines, with a front pool of
//! one connection.

mod flow;
mod people;
mod refresh;
