//! Errors of opening and writing a journal.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Why a journal was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another writer holds the lock, in this process or another.
    Locked(PathBuf),
    /// A segment is of a version of the format that this crate does not know.
    Version {
        /// The segment's number.
        segment: u64,
        /// Its version.
        version: u16,
    },
    /// A disk error.
    Io(PathBuf, io::Error),
}

/// Why records were not written.
#[derive(Debug)]
pub enum AppendError {
    /// The payload of the entry at this index is longer than [`PAYLOAD_MAX`](crate::PAYLOAD_MAX); nothing was
    /// written.
    TooLong(usize),
    /// A disk error. The file ends with the last complete record, or is truncated there before the next
    /// append.
    Io(io::Error),
}

/// A failed sync: it is unknown which of these records are on disk.
///
/// The segment was closed, because a second sync of the same file might report success. Reported once.
#[derive(Debug)]
pub struct Unsynced {
    /// Records since the last successful sync, which a power failure may lose.
    pub sequences: RangeInclusive<u64>,
    /// The error of the disk.
    pub error: io::Error,
}

impl OpenError {
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io(path.to_owned(), error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(path) => write!(f, "{}: another writer has this journal", path.display()),
            Self::Version { segment, version } => {
                write!(f, "segment {segment} has version {version}, which this program does not know")
            }
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
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

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(place) => write!(f, "the payload of entry {place} is too long"),
            Self::Io(error) => write!(f, "the journal cannot be written: {error}"),
        }
    }
}

impl Error for AppendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TooLong(_) => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl fmt::Display for Unsynced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.sequences.start(), self.sequences.end());
        write!(f, "records {first} to {last} may not be on disk: {}", self.error)
    }
}

impl Error for Unsynced {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
