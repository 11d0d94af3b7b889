//! Segments on disk: their names, and the records in one of them.

use std::fs::{self, File};
use std::io;
use std::ops::{Range, RangeInclusive};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::disk::is_file_at;
use crate::frame::{self, Frame, OVERHEAD};
use crate::header::{self, Header, NoHeader};
use crate::record::{JournalId, Record};

/// Bytes read from a file at once.
const CHUNK: usize = 64 * 1024;

/// The path of the segment with a number.
pub(crate) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:010}.journal"))
}

/// The numbers of the segments in a directory, in order.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".journal"));
        let digits = digits.filter(|digits| digits.len() >= 10);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The start of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// A header.
    Whole(Header),
    /// Too few bytes for a header: its creation was interrupted.
    Short,
    /// Not a valid header; with the fields that the bytes would have as one.
    Damaged(Option<Header>),
    /// A header of another version.
    Version(u16),
}

pub(crate) fn start(file: &File) -> io::Result<Start> {
    let mut bytes = [0; header::LENGTH];
    let read = read_at(file, &mut bytes, 0)?;
    if read < bytes.len() {
        return Ok(Start::Short);
    }
    Ok(match Header::decode(&bytes) {
        Ok(header) => Start::Whole(header),
        Err(NoHeader::Version(version)) => Start::Version(version),
        Err(NoHeader::Damaged) => Start::Damaged(Header::fields(&bytes)),
    })
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Iterates over the records of a segment. Holds one chunk, or one record if that is longer.
#[derive(Debug)]
pub(crate) struct Frames {
    file: File,
    seed: u32,
    buffer: Vec<u8>,
    /// The offset of the next record in the buffer.
    at: usize,
    /// Its offset in the file.
    offset: u64,
    /// The range of the last returned record in the buffer.
    taken: Range<usize>,
}

/// The next item in a segment.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A record with a valid checksum.
    Record(Record<'a>),
    /// The end of the file.
    End,
    /// The first bytes of a record that extends beyond the end of the file.
    Short,
    /// Bytes that are not a record of this journal.
    Bad,
}

impl Frames {
    /// From the first record on.
    pub(crate) fn new(file: File, journal: JournalId) -> Self {
        Self { file, seed: frame::seed(journal), buffer: Vec::new(), at: 0, offset: header::END, taken: 0..0 }
    }

    /// The offset of the next record in the file.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether this path names the file.
    pub(crate) fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_file_at(&self.file, path)
    }

    /// The length of the file now.
    pub(crate) fn file_length(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// Returns the next record; if there is none, the offset stays.
    pub(crate) fn step(&mut self) -> io::Result<Step<'_>> {
        let mut needed = 4;
        let size = loop {
            let whole = self.fill(needed)?;
            match frame::decode(self.seed, self.rest()) {
                Frame::Whole(size) => break size,
                Frame::Bad => return Ok(Step::Bad),
                Frame::Short(_) if !whole => {
                    let empty = self.rest().is_empty();
                    self.forget();
                    return Ok(if empty { Step::End } else { Step::Short });
                }
                Frame::Short(size) => needed = size,
            }
        };
        let start = self.at;
        self.advance(size);
        self.taken = start..self.at;
        // the borrow in the loop would last as long as the result
        Ok(self.record().map_or(Step::Bad, Step::Record))
    }

    /// The record of the last step, until the next step.
    pub(crate) fn record(&self) -> Option<Record<'_>> {
        frame::decode_again(self.buffer.get(self.taken.clone())?)
    }

    /// Searches from here for the next record that has one of these sequences, and moves to it.
    ///
    /// A record after something damaged may begin at any byte.
    pub(crate) fn resync(&mut self, sequences: &RangeInclusive<u64>) -> io::Result<bool> {
        loop {
            if !self.fill(OVERHEAD)? {
                return Ok(false);
            }
            let claimed = frame::claimed_sequence(self.rest());
            if claimed.is_some_and(|sequence| sequences.contains(&sequence)) {
                if let Frame::Short(size) = frame::decode(self.seed, self.rest()) {
                    self.fill(size)?;
                }
                if let Frame::Whole(..) = frame::decode(self.seed, self.rest()) {
                    return Ok(true);
                }
            }
            self.advance(1);
        }
    }

    /// Skips one byte.
    pub(crate) fn skip_byte(&mut self) {
        self.advance(1);
    }

    /// Moves to the start of a record.
    pub(crate) fn go_to(&mut self, offset: u64) {
        self.forget();
        self.offset = offset;
    }

    /// Whether only zeros follow, which a power failure leaves in place of unwritten data.
    pub(crate) fn only_zeros(&mut self) -> io::Result<bool> {
        let offset = self.offset;
        while self.fill(1)? {
            if self.rest().iter().any(|&byte| byte != 0) {
                self.go_to(offset);
                return Ok(false);
            }
            self.advance(self.rest().len());
        }
        self.go_to(offset);
        Ok(true)
    }

    /// Discards the read-ahead: a writer may have replaced the bytes.
    pub(crate) fn forget(&mut self) {
        self.buffer.clear();
        self.at = 0;
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        self.offset += bytes as u64;
    }

    /// Fills the buffer with the given number of following bytes; `false` if the file has fewer.
    fn fill(&mut self, needed: usize) -> io::Result<bool> {
        let have = self.rest().len();
        if have >= needed {
            return Ok(true);
        }
        self.buffer.drain(..self.at.min(self.buffer.len()));
        self.at = 0;
        self.buffer.resize(needed.max(CHUNK), 0);
        let place = self.buffer.get_mut(have..).unwrap_or_default();
        let read = read_at(&self.file, place, self.offset + have as u64);
        self.buffer.truncate(have + read.as_ref().copied().unwrap_or(0));
        Ok(have + read? >= needed)
    }
}
