//! Errors of opening and writing a journal.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another writer holds the lock, in this process or another.
    #[error("{0}: another writer has this journal")]
    Locked(PathBuf),
    /// A segment is of a version of the format that this crate does not know.
    #[error("segment {segment} has version {version}, which this program does not know")]
    Version {
        /// The segment's number.
        segment: u64,
        /// Its version.
        version: u16,
    },
    /// A disk error.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// Why records were not written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The payload of the entry at this index is longer than [`PAYLOAD_MAX`](crate::PAYLOAD_MAX); nothing was
    /// written.
    #[error("the payload of entry {0} is too long")]
    TooLong(usize),
    /// A disk error. The file ends with the last complete record, or is truncated there before the next
    /// append.
    #[error("the journal cannot be written: {0}")]
    Io(#[source] io::Error),
}

/// A failed sync: it is unknown which of these records are on disk.
///
/// The segment was closed, because a second sync of the same file might report success. Reported once.
#[derive(Debug, thiserror::Error)]
#[error("records {} to {} may not be on disk: {error}", .sequences.start(), .sequences.end())]
pub struct Unsynced {
    /// Records since the last successful sync, which a power failure may lose.
    pub sequences: RangeInclusive<u64>,
    /// The error of the disk.
    #[source]
    pub error: io::Error,
}

impl OpenError {
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io(path.to_owned(), error)
    }
}

impl AppendError {
    /// The kind of the disk error.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::TooLong(_) => io::ErrorKind::InvalidInput,
            Self::Io(error) => error.kind(),
        }
    }
}
