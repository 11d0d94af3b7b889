//! The faults of a journal.

use crate::chain::Break;
use crate::record::JournalId;

/// The first fault in a journal, and its position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {sequence}, segment {segment} at byte {offset}: {fault}")]
pub struct Finding {
    /// The number of the segment; 0 if there is none.
    pub segment: u64,
    /// The offset in the segment, in bytes; 0 for its header.
    pub offset: u64,
    /// The sequence of the first record that cannot be proved.
    pub sequence: u64,
    /// The fault.
    pub fault: Fault,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The record was changed: its checksum or its hash is wrong, or the bytes are not a record.
    #[error("the record was changed")]
    Changed,
    /// Records were removed before this one.
    #[error("records were removed; {found} comes next")]
    Removed {
        /// The sequence of the next record.
        found: u64,
    },
    /// Records are out of order, or duplicated: this one is in the position.
    #[error("records are out of order; {found} stands there")]
    Reordered {
        /// The sequence of that record.
        found: u64,
    },
    /// A known record is beyond the end: the tail is missing.
    #[error("the tail was cut; record {known} is known")]
    CutTail {
        /// The sequence of the known record.
        known: u64,
    },
    /// The chain is consistent, but this record is not the known one: it or earlier records were rewritten.
    #[error("the record is not the known one")]
    Rewritten,
    /// The next segment does not continue this one: this segment was replaced, or the header of the next.
    #[error("the next segment does not follow on this one")]
    Replaced,
    /// The segments with these numbers are missing.
    #[error("segments {first} to {last} are gone")]
    SegmentsMissing {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The header of a segment was changed, or belongs to a segment of another number.
    #[error("the header of the segment was changed")]
    Header,
    /// The segment has a version of the format that this crate does not know.
    #[error("version {0} of the format is not known")]
    Version(u16),
    /// The records belong to another journal than expected.
    #[error("it belongs to another journal, {found}")]
    ForeignJournal {
        /// The id of the other journal.
        found: JournalId,
    },
    /// After the last record of a segment that another one follows there are bytes that are not a record.
    #[error("{bytes} bytes after the last record are no record")]
    Leftover {
        /// The number of bytes.
        bytes: u64,
    },
    /// A checkpoint does not match the chain at its position, or cannot be parsed.
    #[error("the checkpoint does not fit the chain")]
    Checkpoint,
    /// A checkpoint names another one before it than the chain has.
    #[error("the checkpoint before it should be record {previous}")]
    CheckpointMissing {
        /// The sequence of that checkpoint.
        previous: u64,
    },
    /// The signature of a checkpoint is wrong.
    #[error("the checkpoint's signature by key {} is wrong", .key_id.escape_ascii())]
    Signature {
        /// The id of the key that the checkpoint names.
        key_id: Vec<u8>,
    },
}

impl From<Break> for Fault {
    fn from(broken: Break) -> Self {
        match broken {
            Break::Ahead { found } => Self::Removed { found },
            Break::Behind { found } => Self::Reordered { found },
            Break::Changed => Self::Changed,
        }
    }
}
