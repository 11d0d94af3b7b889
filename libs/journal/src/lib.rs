#![doc = include_str!("../README.md")]

mod chain;
mod checker;
mod checkpoint;
mod crc32c;
pub mod disk;
mod error;
mod fault;
mod frame;
mod header;
mod journal;
mod latest;
mod reader;
mod record;
mod recovery;
mod segment;
mod unwritten;
mod verify;
mod writer;

pub use chain::{Break, Chain};
pub use checker::{Checker, Counts, Stretch};
pub use checkpoint::Checkpoint;
pub use error::{AppendError, OpenError, Unsynced};
pub use fault::{Fault, Finding};
pub use header::{END as HEADER_BYTES, VERSION};
pub use journal::{Appended, Journal, Options};
pub use latest::latest_checkpoint;
pub use reader::{ReadError, Reader, Skipped};
pub use record::{Entry, Gap, Hash, Head, JournalId, Kind, PAYLOAD_MAX, Record, Time, Written};
pub use recovery::{Cut, Damage, Recovery, Unfinished};
pub use verify::{Progress, Report, Torn, verify};
pub use writer::{
    Activity, DropReason, Failing, Hooks, Limits, Notice, NoticeMaker, Outcome, Sign, Signer, State,
    StatementMaker, Stopped, Ticket, Writer,
};
