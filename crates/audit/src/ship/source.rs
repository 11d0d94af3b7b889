//! Reads the journal: batches of records, and the position of the retention.

use std::io;
use std::path::{Path, PathBuf};

use journal::{Hash, Head, JournalId, Kind, ReadError, Reader};
use store::audit_db;
use store::audit_db::Place;

use crate::dead_letters::DeadLetter;
use crate::record::row;

/// Reads batches of records.
pub(super) struct Source {
    directory: PathBuf,
    journal: JournalId,
    reader: Reader,
}

/// Consecutive records.
pub(super) struct Batch {
    pub(super) before: Place,
    pub(super) after: Place,
    pub(super) records: Vec<audit_db::Record>,
    pub(super) heads: Vec<audit_db::Head>,
}

/// The result of a read.
pub(super) enum Found {
    Batch(Batch),
    /// Nothing is ready.
    Nothing,
    /// Records that cannot be read; reading continues after them.
    Dead(DeadLetter),
    /// The directory has another journal now, or none.
    OtherJournal,
}

/// The id of the journal in a directory; `None` where there is none.
pub(super) fn journal(directory: &Path) -> Result<Option<JournalId>, String> {
    let mut reader = Reader::open(directory);
    match reader.read_up_to(0).map(|_| ()) {
        Ok(()) => Ok(reader.position().map(|head| head.journal)),
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("the journal in {} cannot be read: {error}", directory.display())),
    }
}

impl Source {
    pub(super) fn new(directory: &Path, journal: JournalId, known: Option<Place>) -> Self {
        let reader = match known {
            Some(place) => Reader::after(directory, head(journal, place)),
            None => Reader::open(directory),
        };
        Self { directory: directory.to_owned(), journal, reader }
    }

    /// At most `most` records up to `ready`, and about `most_bytes` of payloads; a single record may have
    /// more.
    pub(super) fn batch(&mut self, ready: u64, most: usize, most_bytes: usize) -> Result<Found, String> {
        let journal = self.journal.0;
        let mut batch: Option<Batch> = None;
        let mut bytes = 0;
        loop {
            if batch.as_ref().is_some_and(|batch| batch.records.len() >= most) || bytes >= most_bytes {
                break;
            }
            let error = match self.next(ready) {
                Ok(Some((before, found))) => {
                    bytes += found.payload.len();
                    let after = Place { sequence: row::signed(found.sequence), hash: found.hash.0 };
                    let batch = batch.get_or_insert_with(|| Batch::before(before));
                    batch.records.push(row::of(journal, &found));
                    batch.heads.extend((found.kind == Kind::Checkpoint).then(|| row::head(&found)).flatten());
                    batch.after = after;
                    continue;
                }
                Ok(None) => break,
                Err(error) => error,
            };
            if batch.is_some() {
                break;
            }
            return self.trouble(error);
        }

        Ok(batch.map_or(Found::Nothing, Found::Batch))
    }

    /// The next record, and the place before it.
    fn next(&mut self, ready: u64) -> Result<Option<(Place, journal::Record<'_>)>, ReadError> {
        if self.reader.position().is_none() {
            // This call only finds the oldest segment, whose header contains the place before it.
            self.reader.read_up_to(0)?;
        }
        let Some(before) = self.reader.position() else { return Ok(None) };
        Ok(self.reader.read_up_to(ready)?.map(|record| (place(&before), record)))
    }

    /// Handles a read that failed.
    fn trouble(&mut self, error: ReadError) -> Result<Found, String> {
        let last = self.reader.position().map_or(0, |head| head.sequence);
        match error {
            ReadError::OtherJournal(_) => Ok(Found::OtherJournal),
            ReadError::Io(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::OtherJournal),
            ReadError::Damaged(finding) => {
                let skipped = self.reader.skip().map_err(|error| error.to_string())?;
                // The end of the journal is damaged: the next readable record will show how much is lost.
                let Some(skipped) = skipped else { return Err(finding.to_string()) };
                Ok(Found::Dead(DeadLetter::unreadable(self.journal, skipped, &finding.to_string())))
            }
            // The shipped records differ from those in the journal: everything in it is read once more.
            ReadError::Removed(_) | ReadError::Lost(_) | ReadError::Rewritten(_) => {
                let lost = match error {
                    ReadError::Removed(oldest) => oldest.saturating_sub(last).saturating_sub(1),
                    _ => 0,
                };
                self.reader = Reader::open(&self.directory);
                let (journal, reason) = (self.journal, error.to_string());
                Ok(Found::Dead(DeadLetter::Lost { journal, shipped: last, records: lost, reason }))
            }
            ReadError::Version(_) | ReadError::Io(_) => Err(error.to_string()),
        }
    }
}

impl Batch {
    fn before(place: Place) -> Self {
        Self { before: place, after: place, records: Vec::new(), heads: Vec::new() }
    }
}

fn head(journal: JournalId, place: Place) -> Head {
    Head { journal, sequence: place.sequence.unsigned_abs(), hash: Hash(place.hash) }
}

fn place(head: &Head) -> Place {
    Place { sequence: row::signed(head.sequence), hash: head.hash.0 }
}
