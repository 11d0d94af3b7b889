//! Verifies all segments of a directory against the chain, and names the first fault.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::chain::Chain;
use crate::checker::{Checker, Counts, Stretch};
use crate::checkpoint::Checkpoint;
use crate::fault::{Fault, Finding};
use crate::header::{self, Header};
use crate::record::{Head, JournalId};
use crate::recovery::after;
use crate::segment::{self, Frames, Start, Step};

/// Progress is reported after this many bytes.
const TOLD_EVERY: u64 = 1 << 20;

/// The extent of a verification, and its first finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The journal; `None` if there is none.
    pub journal: Option<JournalId>,
    /// The number of segments read, including the faulty one.
    pub segments: u64,
    /// The number of proved records, checkpoints and heads.
    pub counts: Counts,
    /// The records that no checkpoint covers.
    pub unsigned: Vec<Stretch>,
    /// The last record before the verified ones: the start of the proof.
    pub start: Option<Head>,
    /// The last record that is proved.
    pub end: Option<Head>,
    /// A partial record at the very end, left by a crash or by a running writer. This is not a fault.
    pub torn: Option<Torn>,
    /// The first fault; nothing behind it was read.
    pub finding: Option<Finding>,
}

/// A partial record at the very end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment's number.
    pub segment: u64,
    /// The offset of the record, in bytes.
    pub offset: u64,
    /// The number of bytes present.
    pub bytes: u64,
    /// The sequence that it would have.
    pub sequence: u64,
}

/// The progress of a verification, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes in total, at the start.
    pub total: u64,
}

/// Recomputes the chain over the segments of a directory, from the oldest or from the one that holds the
/// record after `from`, and stops at the first fault.
///
/// `heads` are records of this journal that are known from outside, in any order. `check_signature` returns
/// whether a checkpoint's signature is valid. A writer may run at the same time.
pub fn verify(
    directory: &Path,
    from: Option<Head>,
    heads: &[Head],
    check_signature: impl FnMut(&Checkpoint) -> bool,
    progress: impl FnMut(Progress),
) -> io::Result<Report> {
    let mut known = heads.to_vec();
    known.extend(from);
    let mut segments = Vec::new();
    for number in segment::list(directory)? {
        let path = segment::path(directory, number);
        let file = match File::open(&path) {
            // removed meanwhile, which is allowed for the oldest
            Err(error) if error.kind() == io::ErrorKind::NotFound && segments.is_empty() => continue,
            file => file?,
        };
        let start = segment::start(&file)?;
        segments.push(Opened { number, path, length: file.metadata()?.len(), start });
    }

    if let Some(from) = from {
        let is_early = |opened: &Opened| match opened.start {
            Start::Whole(header) => header.before.sequence <= from.sequence,
            _ => false,
        };
        let skip = segments.iter().rposition(is_early).unwrap_or(0);
        segments.drain(..skip);
    }

    let progress_total = segments.iter().map(|opened| opened.length).sum();
    let mut run = Run {
        report: Report::default(),
        known,
        check_signature: Some(check_signature),
        checker: None,
        told: Progress { done: 0, total: progress_total },
        progress,
    };

    run.report.finding = run.all(&segments, from)?.err();
    run.summarise();
    Ok(run.report)
}

/// One segment with its header.
struct Opened {
    number: u64,
    path: PathBuf,
    length: u64,
    start: Start,
}

struct Run<F, P> {
    report: Report,
    known: Vec<Head>,
    check_signature: Option<F>,
    checker: Option<Checker<F>>,
    told: Progress,
    progress: P,
}

/// The outer result is that of the disk, the inner one that of the verification.
type Outcome<T> = io::Result<Result<T, Finding>>;

impl<F: FnMut(&Checkpoint) -> bool, P: FnMut(Progress)> Run<F, P> {
    fn all(&mut self, segments: &[Opened], from: Option<Head>) -> Outcome<()> {
        let mut place = Finding { segment: 0, offset: 0, sequence: 1, fault: Fault::Header };
        let mut rest = segments;
        while let Some((opened, later)) = rest.split_first() {
            self.report.segments += 1;
            let is_last = later.is_empty();
            let header = match self.header(opened, &place, is_last, from) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(finding) => return Ok(Err(finding)),
            };
            let next = match later.first() {
                Some(Opened { start: Start::Whole(next), .. }) => Some(*next),
                _ => None,
            };
            match self.records(opened, header, is_last, next)? {
                Ok(offset) => place = Finding { segment: opened.number, offset, ..place },
                Err(finding) => return Ok(Err(finding)),
            }
            self.tell(opened.length);
            rest = later;
        }

        place.sequence = self.next_sequence();
        let furthest = self.known.iter().map(|head| head.sequence).max();
        let missing = match (&self.checker, furthest) {
            (Some(checker), _) => checker.finish().err(),
            (None, Some(known)) => Some(Fault::CutTail { known }),
            (None, None) => None,
        };
        Ok(missing.map_or(Ok(()), |fault| Err(Finding { fault, ..place })))
    }

    /// Checks that a segment follows the previous one; `None` if a crash left only a part of its header at
    /// the end.
    fn header(
        &mut self,
        opened: &Opened,
        end: &Finding,
        is_last: bool,
        from: Option<Head>,
    ) -> Result<Option<Header>, Finding> {
        let sequence = self.next_sequence();
        let here = |fault| Finding { segment: opened.number, offset: 0, sequence, fault };
        let before = |fault| Finding { segment: end.segment, offset: end.offset, sequence, fault };
        if self.checker.is_some() && opened.number > end.segment.saturating_add(1) {
            let (first, last) = (end.segment + 1, opened.number - 1);
            return Err(before(Fault::SegmentsMissing { first, last }));
        }

        let header = match opened.start {
            Start::Whole(header) => header,
            Start::Version(version) => return Err(here(Fault::Version(version))),
            Start::Short | Start::Damaged(_) if is_last && opened.length <= header::END => {
                let bytes = opened.length;
                self.report.torn = Some(Torn { segment: opened.number, offset: 0, bytes, sequence });
                return Ok(None);
            }
            Start::Short | Start::Damaged(_) => return Err(here(Fault::Header)),
        };

        if header.number != opened.number {
            return Err(here(Fault::Header));
        }
        let Some(checker) = &self.checker else {
            return self
                .begin(header, from)
                .map(|()| Some(header))
                .map_err(|fault| Finding { sequence: header.first(), ..here(fault) });
        };

        let reached = checker.chain().head();
        if header.before.journal != reached.journal {
            return Err(here(Fault::ForeignJournal { found: header.before.journal }));
        }
        if header.before.sequence > reached.sequence {
            return Err(before(Fault::Removed { found: header.first() }));
        }
        if header.before != reached {
            return Err(before(Fault::Replaced));
        }
        Ok(Some(header))
    }

    /// Trusts the first segment's header for the record before it, unless a known head says otherwise.
    fn begin(&mut self, header: Header, from: Option<Head>) -> Result<(), Fault> {
        let start = Chain::after(header.before);
        self.report.journal = Some(header.before.journal);
        self.report.start = Some(header.before);
        if header.before.sequence == 0 && start != Chain::new(header.before.journal) {
            return Err(Fault::Header);
        }
        let is_ours = from.is_none_or(|from| from.journal == header.before.journal);
        if is_ours && from.is_some_and(|from| from.sequence < header.before.sequence) {
            return Err(Fault::Removed { found: header.first() });
        }
        if let Some(check_signature) = self.check_signature.take() {
            self.checker = Some(Checker::new(start, &self.known, check_signature)?);
        }
        Ok(())
    }

    /// Reads the records of a segment, and returns the offset of their end, in bytes.
    fn records(
        &mut self,
        opened: &Opened,
        header: Header,
        is_last: bool,
        next: Option<Header>,
    ) -> Outcome<u64> {
        let Some(mut checker) = self.checker.take() else { return Ok(Ok(header::END)) };
        let mut frames = Frames::new(File::open(&opened.path)?, header.before.journal);
        let mut told = 0;
        let outcome = loop {
            let offset = frames.offset();
            if offset - told >= TOLD_EVERY {
                told = offset;
                (self.progress)(Progress { done: self.told.done + told, ..self.told });
            }
            let sequence = checker.chain().next_sequence();
            let finding = |fault| Finding { segment: opened.number, offset, sequence, fault };
            let fault = match frames.step()? {
                Step::Record(record) => match checker.check(&record) {
                    Ok(()) => continue,
                    Err(Fault::Removed { found }) if comes_later(&mut frames, sequence)? => {
                        Fault::Reordered { found }
                    }
                    Err(fault) => fault,
                },
                Step::End => break Ok(offset),
                step @ (Step::Short | Step::Bad) => {
                    let is_short = matches!(step, Step::Short);
                    let bytes = frames.file_length()?.saturating_sub(offset);
                    if is_last && is_torn(&mut frames, is_short, sequence)? {
                        self.report.torn = Some(Torn { segment: opened.number, offset, bytes, sequence });
                        break Ok(offset);
                    }
                    match next {
                        Some(next) if next.before == checker.chain().head() => Fault::Leftover { bytes },
                        _ => Fault::Changed,
                    }
                }
            };
            break Err(finding(fault));
        };

        self.checker = Some(checker);
        Ok(outcome)
    }

    fn next_sequence(&self) -> u64 {
        self.checker.as_ref().map_or(1, |checker| checker.chain().next_sequence())
    }

    fn tell(&mut self, bytes: u64) {
        self.told.done += bytes;
        (self.progress)(self.told);
    }

    fn summarise(&mut self) {
        if let Some(checker) = &self.checker {
            self.report.counts = checker.counts();
            self.report.unsigned = checker.unsigned();
            self.report.end = Some(checker.chain().head());
        }
    }
}

/// Whether the record of a sequence is further on in the segment.
fn comes_later(frames: &mut Frames, sequence: u64) -> io::Result<bool> {
    frames.resync(&(sequence..=sequence))
}

/// Whether the rest is a record that a crash truncated: then no record follows.
fn is_torn(frames: &mut Frames, is_short: bool, sequence: u64) -> io::Result<bool> {
    let offset = frames.offset();
    let bytes = frames.file_length()?.saturating_sub(offset);
    if !is_short && !frames.only_zeros()? {
        return Ok(false);
    }
    let follows = frames.resync(&after(sequence.saturating_sub(1), bytes))?;
    Ok(!follows)
}
