//! The faults of a journal.

use std::error::Error;
use std::fmt;

use crate::chain::Break;
use crate::record::JournalId;

/// The first fault in a journal, and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The record was changed: its checksum or its hash is wrong, or the bytes are not a record.
    Changed,
    /// Records were removed before this one.
    Removed {
        /// The sequence of the next record.
        found: u64,
    },
    /// Records are out of order, or duplicated: this one is in the position.
    Reordered {
        /// The sequence of that record.
        found: u64,
    },
    /// A known record is beyond the end: the tail is missing.
    CutTail {
        /// The sequence of the known record.
        known: u64,
    },
    /// The chain is consistent, but this record is not the known one: it or earlier records were rewritten.
    Rewritten,
    /// The next segment does not continue this one: this segment was replaced, or the header of the next.
    Replaced,
    /// The segments with these numbers are missing.
    SegmentsMissing {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The header of a segment was changed, or belongs to a segment of another number.
    Header,
    /// The segment has a version of the format that this crate does not know.
    Version(u16),
    /// The records belong to another journal than expected.
    ForeignJournal {
        /// The id of the other journal.
        found: JournalId,
    },
    /// After the last record of a segment that another one follows there are bytes that are not a record.
    Leftover {
        /// The number of bytes.
        bytes: u64,
    },
    /// A checkpoint does not match the chain at its position, or cannot be parsed.
    Checkpoint,
    /// The signature of a checkpoint is wrong.
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

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("the record was changed"),
            Self::Removed { found } => write!(f, "records were removed; {found} comes next"),
            Self::Reordered { found } => write!(f, "records are out of order; {found} stands there"),
            Self::CutTail { known } => write!(f, "the tail was cut; record {known} is known"),
            Self::Rewritten => f.write_str("the record is not the known one"),
            Self::Replaced => f.write_str("the next segment does not follow on this one"),
            Self::SegmentsMissing { first, last } => write!(f, "segments {first} to {last} are gone"),
            Self::Header => f.write_str("the header of the segment was changed"),
            Self::Version(version) => write!(f, "version {version} of the format is not known"),
            Self::ForeignJournal { found } => write!(f, "it belongs to another journal, {found}"),
            Self::Leftover { bytes } => write!(f, "{bytes} bytes after the last record are no record"),
            Self::Checkpoint => f.write_str("the checkpoint does not fit the chain"),
            Self::Signature { key_id } => {
                write!(f, "the checkpoint's signature by key {} is wrong", key_id.escape_ascii())
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, sequence, fault } = self;
        write!(f, "record {sequence}, segment {segment} at byte {offset}: {fault}")
    }
}

impl Error for Fault {}
impl Error for Finding {}
