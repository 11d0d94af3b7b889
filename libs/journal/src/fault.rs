//! What can be wrong with a journal, by name.

use std::error::Error;
use std::fmt;

use crate::chain::Break;
use crate::record::JournalId;

/// The first bad thing in a journal, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The number of the segment; 0 where there is none.
    pub segment: u64,
    /// Where in the segment, in bytes; 0 for its header.
    pub offset: u64,
    /// The sequence of the first record that cannot be proved.
    pub sequence: u64,
    /// What it is.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The record was changed: its checksum or its hash is wrong, or what stands there is no record.
    Changed,
    /// Records were removed: this one comes next.
    Removed {
        /// The sequence of the record that comes next.
        found: u64,
    },
    /// Records are out of order, or there twice: this one stands in the place.
    Reordered {
        /// The sequence of the record that stands there.
        found: u64,
    },
    /// A known record is beyond the end: the tail was cut.
    CutTail {
        /// The sequence of the known record.
        known: u64,
    },
    /// All is consistent, but this record is not the known one: what is before it, or itself, was written anew.
    Rewritten,
    /// The next segment does not follow on this one: this one was replaced, or the header of the next.
    Replaced,
    /// The segments of these numbers are gone.
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
    /// What was expected belongs to one journal, what is there to another.
    ForeignJournal {
        /// Whose it is.
        found: JournalId,
    },
    /// After the last record of a segment that is followed by another there are bytes that are no record.
    Leftover {
        /// How many.
        bytes: u64,
    },
    /// A checkpoint does not say what the chain says at its place, or cannot be read.
    Checkpoint,
    /// The signature of a checkpoint is wrong.
    Signature {
        /// Which key is said to have signed.
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
