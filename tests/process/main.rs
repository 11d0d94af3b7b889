//! The built binary as a process: the README's examples, two nodes on one database, kills, hangs and
//! shutdown.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::semicolon_if_nothing_returned,
    reason = "a test panics on an unexpected result"
)]

mod arrivals;
mod audit;
mod canaries;
mod clients;
mod clocks;
mod cluster;
mod consumers;
mod erasure;
mod faults;
mod follow;
mod forging;
mod full_disk;
mod hashing;
mod hostile;
mod injection;
mod junk;
mod node;
mod nodes;
mod outputs;
mod poolers;
mod probe;
mod proxies;
mod readme;
mod recover;
mod removed;
mod rollback;
mod rotation;
mod seeds;
mod service_manager;
mod shared_limits;
mod shared_revocations;
mod signals;
mod sinks;
mod tampering;
mod trail;
mod transfer;
mod undecided;
