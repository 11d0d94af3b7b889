//! Finds the end of a journal that other processes write.

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
    /// A tail of the journal in this directory.
    pub fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), reader: Mutex::default() }
    }

    /// The sequence of the last record; 0 where there is no journal, `u64::MAX` where it is not known. Reads
    /// the records written since the last call.
    pub fn sequence(&self) -> u64 {
        let mut kept = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = kept.get_or_insert_with(|| Reader::open(&self.directory));
        loop {
            let failed = match reader.read() {
                Ok(Some(_)) => continue,
                Ok(None) => return reader.position().map_or(0, |head| head.sequence),
                // Damaged records are skipped, as the shipper does.
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
