//! Reads records while a writer appends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::chain::Chain;
use crate::fault::{Fault, Finding};
use crate::header::Header;
use crate::record::{Head, JournalId, Record};
use crate::recovery::after;
use crate::segment::{self, Frames, Start, Step};

/// Reads records in order, from segment to segment, while a writer may append.
///
/// It holds one file and one record, and checks the chain of the records that it reads.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    /// The record after which it begins, or continued last.
    position: Option<Head>,
    /// Without a position: the record whose segment it begins with.
    near: Option<u64>,
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    number: u64,
    frames: Frames,
    chain: Chain,
    /// The next record is accepted unchecked: the one before it is damaged.
    trusting: bool,
}

/// Why there is no next record. A retry may help after a disk error; otherwise see [`Reader::skip`].
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory has another journal than the one read before: it was wiped.
    #[error("the directory holds another journal, {0}")]
    OtherJournal(JournalId),
    /// The next record was removed. This is the oldest one present.
    #[error("the record was removed; the oldest is {0}")]
    Removed(u64),
    /// The last record read no longer exists: the tail was lost. This is the last one present.
    #[error("the record read last was lost; the last is {0}")]
    Lost(u64),
    /// The last record read was replaced: the tail was lost, and its sequence assigned again.
    #[error("record {0} is not the one that was read")]
    Rewritten(u64),
    /// The next bytes are damaged.
    #[error("{0}")]
    Damaged(#[source] Finding),
    /// A segment has a version of the format that this crate does not know.
    #[error("version {0} of the format is not known")]
    Version(u16),
    /// A disk error.
    #[error("the journal cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A skipped range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The sequence of the record that was expected.
    pub from: u64,
    /// The sequence of the next record.
    pub to: u64,
}

impl Reader {
    /// Begins with the oldest record.
    pub fn open(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), position: None, near: None, place: None }
    }

    /// Begins with the segment that has the record of this sequence, or would have it; with the oldest record
    /// if that segment was removed.
    pub fn near(directory: &Path, sequence: u64) -> Self {
        Self { near: Some(sequence), ..Self::open(directory) }
    }

    /// Continues after a record.
    pub fn after(directory: &Path, position: Head) -> Self {
        Self { position: Some(position), ..Self::open(directory) }
    }

    /// The last record read, as a position to continue after. `None` while the directory has no journal.
    pub fn position(&self) -> Option<Head> {
        self.place.as_ref().map_or(self.position, |place| Some(place.chain.head()))
    }

    /// The next record; `None` if there is none yet.
    pub fn read(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        self.read_up_to(u64::MAX)
    }

    /// The next record, if its sequence is at most `last`.
    ///
    /// Pass [`synced`](crate::Journal::synced) to exclude records that a power failure may still lose.
    pub fn read_up_to(&mut self, last: u64) -> Result<Option<Record<'_>>, ReadError> {
        if self.place.is_none() {
            self.place = self.locate()?;
        }
        let is_beyond = |place: &Place| !place.trusting && place.chain.next_sequence() > last;
        if self.place.as_ref().is_none_or(is_beyond) || !self.advance()? {
            return Ok(None);
        }
        Ok(self.place.as_ref().and_then(|place| place.frames.record()))
    }

    /// Skips damaged bytes up to the next complete record; `None` if there is none yet.
    ///
    /// That record is accepted unchecked; the following ones must fit it.
    pub fn skip(&mut self) -> Result<Option<Skipped>, ReadError> {
        let Some(place) = &mut self.place else { return Ok(None) };
        let (offset, from) = (place.frames.offset(), place.chain.next_sequence());
        place.frames.forget();
        let stays = match place.frames.step()? {
            Step::Record(record) => record.sequence > from,
            _ => false,
        };

        place.frames.go_to(offset);
        if !stays {
            place.frames.skip_byte();
        }
        let bytes = place.frames.file_length()?.saturating_sub(offset);
        // a gap may be of any length
        let last = if stays { u64::MAX } else { *after(from, bytes).end() };

        if place.frames.resync(&(from..=last))? {
            let found = place.frames.offset();
            let to = match place.frames.step()? {
                Step::Record(record) => record.sequence,
                _ => from,
            };
            place.frames.go_to(found);
            place.trusting = true;
            return Ok(Some(Skipped { from, to }));
        }

        place.frames.go_to(offset);
        let Some(next) = following(&self.directory, place.number)? else { return Ok(None) };
        let to = next.chain.next_sequence();
        self.place = Some(next);
        Ok(Some(Skipped { from, to }))
    }

    /// Reads the next record, moving to the next segment at the end of this one.
    fn advance(&mut self) -> Result<bool, ReadError> {
        let mut next = None;
        loop {
            let Some(place) = &mut self.place else { return Ok(false) };
            let ended = match place.take()? {
                Taken::Record => return Ok(true),
                Taken::Nothing(ended) => ended,
                Taken::Bad(finding) => return Err(ReadError::Damaged(finding)),
            };
            // the writer may have appended here before it began the next: read here once more
            let Some(found) = next.take() else {
                next = following(&self.directory, place.number)?;
                if next.is_some() {
                    continue;
                }
                return match ended {
                    Ended::Here => self.is_still_there(),
                    Ended::Unreadable(finding) => Err(ReadError::Damaged(finding)),
                };
            };
            place.may_be_followed_by(&found, ended)?;
            self.place = Some(found);
        }
    }

    /// At the end of the last segment: `false`, unless the file no longer belongs to the journal.
    fn is_still_there(&mut self) -> Result<bool, ReadError> {
        let Some(place) = &self.place else { return Ok(false) };
        let numbers = segment::list(&self.directory)?;
        // a writer whose file was removed writes it again, to another file
        let path = segment::path(&self.directory, place.number);
        let is_there = numbers.contains(&place.number) && place.frames.is_at(&path)?;
        if numbers.is_empty() || is_there {
            return Ok(false);
        }
        self.position = Some(place.chain.head());
        self.place = None;
        self.place = self.locate()?;
        Ok(false)
    }

    /// Finds the segment to begin in, and the offset in it.
    fn locate(&self) -> Result<Option<Place>, ReadError> {
        let mut found = None;
        let mut oldest = None;
        for number in segment::list(&self.directory)?.into_iter().rev() {
            let Some(place) = Place::open(&self.directory, number)? else { continue };
            let first = place.chain.head();
            oldest = Some(first.sequence.saturating_add(1));
            found = Some(place);
            let is_it =
                |position: Head| first.journal != position.journal || first.sequence <= position.sequence;
            let is_near = |sequence: u64| first.sequence < sequence;
            let (is_it, is_near) = (self.position.is_some_and(is_it), self.near.is_some_and(is_near));
            if is_it || is_near && self.position.is_none() {
                break;
            }
        }

        let (Some(mut place), Some(oldest)) = (found, oldest) else { return Ok(None) };
        let Some(position) = self.position else { return Ok(Some(place)) };
        let first = place.chain.head();
        if first.journal != position.journal {
            return Err(ReadError::OtherJournal(first.journal));
        }
        if first.sequence > position.sequence {
            return Err(ReadError::Removed(oldest));
        }
        place.go_after(position)?;
        Ok(Some(place))
    }
}

enum Taken {
    Record,
    /// No complete record yet.
    Nothing(Ended),
    Bad(Finding),
}

enum Ended {
    /// The file ends here, or within a record.
    Here,
    /// There are bytes that are not a record.
    Unreadable(Finding),
}

impl Place {
    /// The start of a segment; `None` if it has no header yet, or was removed.
    fn open(directory: &Path, number: u64) -> Result<Option<Self>, ReadError> {
        let file = match File::open(segment::path(directory, number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match segment::start(&file)? {
            Start::Whole(header) => Ok(Some(Self::new(number, file, &header))),
            Start::Version(version) => Err(ReadError::Version(version)),
            Start::Short | Start::Damaged(_) => Ok(None),
        }
    }

    fn new(number: u64, file: File, header: &Header) -> Self {
        let frames = Frames::new(file, header.before.journal);
        Self { number, frames, chain: Chain::after(header.before), trusting: false }
    }

    fn finding(&self, fault: Fault) -> Finding {
        let (offset, sequence) = (self.frames.offset(), self.chain.next_sequence());
        Finding { segment: self.number, offset, sequence, fault }
    }

    fn take(&mut self) -> Result<Taken, ReadError> {
        let offset = self.frames.offset();
        let journal = self.chain.head().journal;
        for is_second_look in [false, true] {
            let broken = match self.frames.step()? {
                Step::Record(record) if self.trusting => {
                    self.chain = Chain::after(Head { journal, sequence: record.sequence, hash: record.hash });
                    self.trusting = false;
                    return Ok(Taken::Record);
                }
                Step::Record(record) => match self.chain.check(&record) {
                    Ok(()) => return Ok(Taken::Record),
                    Err(broken) => broken,
                },
                Step::End | Step::Short => return Ok(Taken::Nothing(Ended::Here)),
                // the read-ahead may hold bytes of a failed write that were replaced since
                Step::Bad if !is_second_look => {
                    self.frames.forget();
                    continue;
                }
                Step::Bad => break,
            };
            self.frames.go_to(offset);
            return Ok(Taken::Bad(self.finding(broken.into())));
        }

        self.frames.forget();
        Ok(Taken::Nothing(Ended::Unreadable(self.finding(Fault::Changed))))
    }

    /// Checks that no record is missing between here and the next segment.
    fn may_be_followed_by(&self, next: &Self, ended: Ended) -> Result<(), ReadError> {
        let (here, there) = (self.chain.head(), next.chain.head());
        if here == there && !self.trusting {
            return Ok(());
        }
        let fault = match ended {
            _ if there.journal != here.journal => return Err(ReadError::OtherJournal(there.journal)),
            Ended::Unreadable(finding) => return Err(ReadError::Damaged(finding)),
            Ended::Here if there.sequence > here.sequence => {
                Fault::Removed { found: there.sequence.saturating_add(1) }
            }
            Ended::Here => Fault::Replaced,
        };
        Err(ReadError::Damaged(self.finding(fault)))
    }

    /// Moves behind a record of this segment. Earlier records were read before, and may be damaged by now.
    fn go_after(&mut self, position: Head) -> Result<(), ReadError> {
        let mut last = self.chain.head();
        while last.sequence < position.sequence {
            let offset = self.frames.offset();
            match self.frames.step()? {
                Step::Record(record) if record.sequence > last.sequence => {
                    last.sequence = record.sequence;
                    last.hash = record.hash;
                }
                Step::End | Step::Short => return Err(ReadError::Lost(last.sequence)),
                Step::Record(_) | Step::Bad => {
                    self.frames.go_to(offset);
                    self.frames.skip_byte();
                    let bytes = self.frames.file_length()?.saturating_sub(offset);
                    if !self.frames.resync(&after(last.sequence, bytes))? {
                        return Err(ReadError::Lost(last.sequence));
                    }
                }
            }
        }

        if last != position {
            return Err(ReadError::Rewritten(position.sequence));
        }
        self.chain = Chain::after(position);
        Ok(())
    }
}

/// The segment after the one of this number, once it has a header.
fn following(directory: &Path, number: u64) -> Result<Option<Place>, ReadError> {
    for later in segment::list(directory)?.into_iter().filter(|&later| later > number) {
        if let Some(place) = Place::open(directory, later)? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}
