//! The end of a journal that others write: how far it may be shipped, and how much that is.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use journal::{ReadError, Reader};

/// Follows a journal to its end.
#[derive(Debug)]
pub struct JournalTail {
    directory: PathBuf,
    reader: Mutex<Option<Reader>>,
}

impl JournalTail {
    /// The end of the journal in this directory.
    pub fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), reader: Mutex::default() }
    }

    /// The sequence of the last record; 0 where there is no journal, `u64::MAX` where that cannot be told. It reads
    /// what was written since it was last asked.
    pub fn sequence(&self) -> u64 {
        let mut kept = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = kept.get_or_insert_with(|| Reader::open(&self.directory));
        loop {
            let failed = match reader.read() {
                Ok(Some(_)) => continue,
                Ok(None) => return reader.position().map_or(0, |head| head.sequence),
                // What is damaged is gone over by whoever ships it, too.
                Err(ReadError::Damaged(_)) => !matches!(reader.skip(), Ok(Some(_))),
                Err(_) => true,
            };
            if failed {
                *kept = None;
                return u64::MAX;
            }
        }
    }
}
