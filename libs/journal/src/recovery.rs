//! Recovery at opening: what is found on disk, what is cut, and where the writer continues.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::chain::Chain;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::frame::OVERHEAD;
use crate::header::{self, Header};
use crate::record::{Head, JournalId, Kind};
use crate::segment::{self, Frames, Start, Step};

/// The findings at opening. Only what is named here is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The directory had no journal: one of the given id begins.
    pub created: bool,
    /// The last segment ended with a partial record, which was cut off.
    pub cut: Option<Cut>,
    /// Segments with an incomplete header, left by a crash while they were begun. They were removed; they had
    /// no records.
    pub unfinished: Vec<Unfinished>,
    /// Damage in the last segment. The segment was left unchanged, and a new one follows.
    pub damage: Option<Damage>,
}

/// A torn tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment's number.
    pub segment: u64,
    /// Its new end, in bytes.
    pub offset: u64,
    /// The number of bytes cut.
    pub bytes: u64,
    /// The sequence of the first lost record, which will be assigned again.
    pub from: u64,
}

/// A segment whose creation was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its number.
    pub segment: u64,
    /// The number of bytes in it.
    pub bytes: u64,
}

/// A damaged range that good records follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's number.
    pub segment: u64,
    /// The offset of the first damaged record, in bytes; 0 if the header is damaged.
    pub offset: u64,
    /// The sequence of the first damaged record.
    pub sequence: u64,
    /// The sequence that the next record gets: after the last good one of the segment.
    pub next: u64,
}

/// Where a writer continues.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) recovery: Recovery,
    pub(crate) chain: Chain,
    /// The sequence of the last checkpoint; 0 where the last segment has none.
    pub(crate) checkpoint: u64,
    /// The segments, with the sequence of the first record of each; `None` if its header is damaged.
    pub(crate) segments: Vec<(u64, Option<u64>)>,
    /// The segment to continue in, and its length in bytes; if `None`, a new one begins.
    pub(crate) current: Option<(Header, u64)>,
}

pub(crate) fn recover(disk: &dyn Disk, directory: &Path, fresh: JournalId) -> Result<Found, OpenError> {
    let failed = OpenError::io(directory);
    let mut recovery = Recovery::default();
    let mut segments = Vec::new();
    for number in segment::list(directory).map_err(&failed)? {
        let path = segment::path(directory, number);
        let file = File::open(&path).map_err(OpenError::io(&path))?;
        let first = match segment::start(&file).map_err(OpenError::io(&path))? {
            Start::Whole(header) => Some(header.first()),
            Start::Version(version) => return Err(OpenError::Version { segment: number, version }),
            Start::Short | Start::Damaged(_) => None,
        };
        segments.push((number, first));
    }

    while let Some((number, None)) = segments.last() {
        let path = segment::path(directory, *number);
        let bytes = path.metadata().map_err(OpenError::io(&path))?.len();
        if bytes > header::END {
            break;
        }
        disk.remove(&path).map_err(OpenError::io(&path))?;
        disk.sync_directory(directory).map_err(&failed)?;
        recovery.unfinished.push(Unfinished { segment: *number, bytes });
        segments.pop();
    }

    match *segments.as_slice() {
        [] => {
            recovery.created = true;
            Ok(Found { recovery, chain: Chain::new(fresh), checkpoint: 0, segments, current: None })
        }
        [.., (number, Some(_))] => go_on(disk, directory, number, segments, recovery),
        [.., (number, None)] => around(directory, number, segments, recovery, fresh),
    }
}

/// Continues in or after the last segment, whose header is valid.
fn go_on(
    disk: &dyn Disk,
    directory: &Path,
    number: u64,
    segments: Vec<(u64, Option<u64>)>,
    mut recovery: Recovery,
) -> Result<Found, OpenError> {
    let path = segment::path(directory, number);
    let failed = OpenError::io(&path);
    let file = File::open(&path).map_err(&failed)?;
    let Start::Whole(header) = segment::start(&file).map_err(&failed)? else {
        return Err(failed(io::ErrorKind::InvalidData.into()));
    };
    let survey = Survey::of(file, header.before).map_err(&failed)?;
    let end = survey.end;
    let sequence = survey.chain.next_sequence();
    let mut open = disk.open(&path).map_err(&failed)?;
    // the writes of a killed process are only in the page cache
    open.sync().map_err(&failed)?;
    disk.sync_directory(directory).map_err(OpenError::io(directory))?;

    if let Some(later) = survey.later {
        let next = later.sequence.saturating_add(1);
        recovery.damage = Some(Damage { segment: number, offset: end, sequence, next });
        return Ok(Found { recovery, chain: Chain::after(later), checkpoint: 0, segments, current: None });
    }

    if survey.length > end {
        open.set_len(end).map_err(&failed)?;
        recovery.cut = Some(Cut { segment: number, offset: end, bytes: survey.length - end, from: sequence });
        open.sync().map_err(&failed)?;
    }
    let (chain, checkpoint) = (survey.chain, survey.checkpoint);
    Ok(Found { recovery, chain, checkpoint, segments, current: Some((header, end)) })
}

/// Continues after the last segment, whose header is damaged and which has more bytes.
fn around(
    directory: &Path,
    number: u64,
    segments: Vec<(u64, Option<u64>)>,
    mut recovery: Recovery,
    fresh: JournalId,
) -> Result<Found, OpenError> {
    let path = segment::path(directory, number);
    let failed = OpenError::io(&path);
    let file = File::open(&path).map_err(&failed)?;
    let guess = match segment::start(&file).map_err(&failed)? {
        Start::Damaged(guess) => guess.map(|header| header.before),
        _ => None,
    };

    let before = match segments.iter().rev().find(|(_, first)| first.is_some()) {
        Some((number, _)) => Some(end_of(&segment::path(directory, *number))?),
        None => guess,
    };

    let later = match before {
        Some(before) => salvage(file, before).map_err(&failed)?,
        None => None,
    };

    let intact = segments.iter().any(|(_, first)| first.is_some());
    let chain = match (later, before) {
        (Some(later), _) => Chain::after(later),
        (None, Some(before)) if intact => Chain::after(before),
        _ => {
            recovery.created = true;
            Chain::new(fresh)
        }
    };

    let sequence = before.filter(|_| !recovery.created).map_or(1, |head| head.sequence.saturating_add(1));
    let next = chain.next_sequence();
    recovery.damage = Some(Damage { segment: number, offset: 0, sequence, next });
    Ok(Found { recovery, chain, checkpoint: 0, segments, current: None })
}

/// The last good record of a segment with a valid header.
pub(crate) fn end_of(path: &Path) -> Result<Head, OpenError> {
    let failed = OpenError::io(path);
    let file = File::open(path).map_err(&failed)?;
    let Start::Whole(header) = segment::start(&file).map_err(&failed)? else {
        return Err(failed(io::ErrorKind::InvalidData.into()));
    };
    let survey = Survey::of(file, header.before).map_err(&failed)?;
    Ok(survey.later.unwrap_or(survey.chain.head()))
}

/// The last record of a segment whose header is damaged.
fn salvage(file: File, before: Head) -> io::Result<Option<Head>> {
    let mut frames = Frames::new(file, before.journal);
    let sequences = after(before.sequence, frames.file_length()?);
    last_of(&mut frames, before.journal, &sequences)
}

/// The sequences that records in this many bytes may have, after a record.
pub(crate) fn after(sequence: u64, bytes: u64) -> RangeInclusive<u64> {
    let next = sequence.saturating_add(1);
    next..=next.saturating_add(bytes / OVERHEAD as u64)
}

/// The last record from here on.
fn last_of(
    frames: &mut Frames,
    journal: JournalId,
    sequences: &RangeInclusive<u64>,
) -> io::Result<Option<Head>> {
    let mut last: Option<Head> = None;
    while frames.resync(sequences)? {
        if let Step::Record(record) = frames.step()?
            && last.is_none_or(|last| record.sequence > last.sequence)
        {
            last = Some(Head { journal, sequence: record.sequence, hash: record.hash });
        }
    }
    Ok(last)
}

/// The content of a segment.
struct Survey {
    /// After the last record that fits.
    chain: Chain,
    /// The sequence of the last checkpoint that fits; 0 if there is none.
    checkpoint: u64,
    /// The end of that record, in bytes.
    end: u64,
    /// The length of the file in bytes.
    length: u64,
    /// The last record after bytes that do not fit.
    later: Option<Head>,
}

impl Survey {
    fn of(file: File, before: Head) -> io::Result<Self> {
        let mut frames = Frames::new(file, before.journal);
        let mut chain = Chain::after(before);
        let mut checkpoint = 0;
        let length = frames.file_length()?;

        loop {
            let end = frames.offset();
            let later = match frames.step()? {
                Step::Record(record) if chain.check(&record).is_ok() => {
                    if record.kind == Kind::Checkpoint {
                        checkpoint = record.sequence;
                    }
                    continue;
                }
                Step::End => None,
                // a complete record that does not fit is not a torn tail
                Step::Record(record) => {
                    let here = Head { journal: before.journal, sequence: record.sequence, hash: record.hash };
                    let sequences = after(chain.head().sequence, length - end.min(length));
                    let last = last_of(&mut frames, before.journal, &sequences)?;
                    let highest = last.filter(|last| last.sequence > here.sequence).unwrap_or(here);
                    // never reuse a sequence
                    Some(if highest.sequence > chain.head().sequence { highest } else { chain.head() })
                }
                Step::Short | Step::Bad => {
                    let sequences = after(chain.head().sequence, length - end.min(length));
                    last_of(&mut frames, before.journal, &sequences)?
                }
            };
            return Ok(Self { chain, checkpoint, end, length, later });
        }
    }
}
