//! The writer: one write for each batch.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::chain::Chain;
use crate::disk::{Disk, FileSystem, Segment, is_file_at, write_all};
use crate::error::{AppendError, OpenError, Unsynced};
use crate::frame;
use crate::header::{self, Header};
use crate::latest::latest_checkpoint;
use crate::record::{Entry, Gap, Head, JournalId, Kind, PAYLOAD_MAX, Time, Written};
use crate::recovery::{Found, Recovery, end_of, recover};
use crate::segment;
use crate::unwritten::Unwritten;

/// A buffer that grew larger than this for one batch, in bytes, is freed.
const BUFFER_KEPT: usize = 4 << 20;
/// Bytes of a segment that are copied at once.
const COPIED_AT_ONCE: usize = 1 << 20;

/// Limits of a segment, and when a sync is due.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A segment takes no further batch that would make it longer than this, in bytes.
    pub segment_bytes: u64,
    /// A segment takes no further batch once it is older than this.
    pub segment_age: Duration,
    /// A sync is due once this many bytes are not synced.
    pub sync_bytes: u64,
    /// A sync is due once a record has been unsynced for this long.
    pub sync_age: Duration,
}

impl Default for Options {
    /// A segment has 64 MiB or a day; a sync is due after 1 MiB or 100 ms.
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            segment_age: Duration::from_hours(24),
            sync_bytes: 1 << 20,
            sync_age: Duration::from_millis(100),
        }
    }
}

/// A journal that is open for appending. No other process can open it meanwhile.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    disk: Box<dyn Disk>,
    options: Options,
    seed: u32,
    chain: Chain,
    /// The sequence of the last checkpoint; 0 where it is not known.
    checkpoint: u64,
    segments: VecDeque<(u64, Option<u64>)>,
    current: Option<Current>,
    synced: u64,
    /// A failed sync was reported up to this sequence.
    doubted: u64,
    pending: Option<Pending>,
    directory_changed: bool,
    buffer: Vec<u8>,
    ends: Vec<usize>,
    written: Vec<Written>,
    unwritten: Unwritten,
    /// Records whose files were removed or cut, and that no call has told yet.
    lost: Option<RangeInclusive<u64>>,
    /// How often files were written again.
    rewritten: u64,
    /// Holds the lock.
    lock: File,
}

#[derive(Debug)]
struct Current {
    segment: Box<dyn Segment>,
    end: u64,
    created: Time,
    /// After `end` there may be bytes of a partially written record.
    tail: bool,
}

/// The unsynced bytes.
#[derive(Clone, Copy, Debug)]
struct Pending {
    since: Time,
    bytes: u64,
}

/// The result of a batch.
#[derive(Debug)]
#[must_use]
pub struct Appended<'a> {
    /// The written records, in order: all, or as many as there was space for.
    pub written: &'a [Written],
    /// Why the others were not written.
    pub failure: Option<AppendError>,
    /// Set if the sync of the previous segment, which was being closed, failed.
    pub unsynced: Option<Unsynced>,
}

impl Journal {
    /// Opens the journal in a directory; if there is none, the first append begins one with the id `fresh`.
    pub fn open(directory: &Path, options: Options, fresh: JournalId) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(Box::new(FileSystem), directory, options, fresh)
    }

    /// The same on a disk of the caller's.
    pub fn open_on(
        disk: Box<dyn Disk>,
        directory: &Path,
        options: Options,
        fresh: JournalId,
    ) -> Result<(Self, Recovery), OpenError> {
        make(directory).map_err(OpenError::io(directory))?;
        let lock = lock(directory)?;
        let Found { recovery, chain, checkpoint, segments, current } =
            recover(disk.as_ref(), directory, fresh)?;
        let current = match current {
            None => None,
            Some((header, end)) => {
                let path = segment::path(directory, header.number);
                let segment = disk.open(&path).map_err(OpenError::io(&path))?;
                Some(Current { segment, end, created: header.created, tail: false })
            }
        };

        let unwritten = Unwritten::open(disk.as_ref(), directory);
        let journal = Self {
            directory: directory.to_owned(),
            disk,
            options,
            seed: frame::seed(chain.head().journal),
            synced: chain.head().sequence,
            doubted: 0,
            chain,
            checkpoint,
            segments: segments.into(),
            current,
            pending: None,
            directory_changed: false,
            buffer: Vec::new(),
            ends: Vec::new(),
            written: Vec::new(),
            unwritten,
            lost: None,
            rewritten: 0,
            lock,
        };
        Ok((journal, recovery))
    }

    /// The last record.
    pub const fn head(&self) -> Head {
        self.chain.head()
    }

    /// The sequence of the last checkpoint; 0 where there is none in the last segment that was there at
    /// opening, nor since.
    pub const fn last_checkpoint(&self) -> u64 {
        self.checkpoint
    }

    /// The records that are still there and that no checkpoint covers.
    pub fn uncovered(&self) -> Option<RangeInclusive<u64>> {
        let last = self.chain.head().sequence;
        let covered = match self.checkpoint {
            0 if last > 0 => {
                let latest = latest_checkpoint(&self.directory, |_| {}).ok().flatten();
                latest.map_or(0, |checkpoint| checkpoint.head.sequence.saturating_add(1))
            }
            known => known,
        };
        let first = covered.saturating_add(1).max(self.oldest());
        (first <= last).then_some(first..=last)
    }

    /// The sequence of the last synced record.
    pub const fn synced(&self) -> u64 {
        self.synced
    }

    /// The sequence of the oldest record that may still exist.
    pub fn oldest(&self) -> u64 {
        let first = self.segments.iter().find_map(|(_, first)| *first);
        first.unwrap_or_else(|| self.chain.next_sequence())
    }

    /// The last note of unwritten records: by an earlier process, which ended before it could write them.
    pub const fn unwritten(&self) -> Option<Gap> {
        self.unwritten.noted()
    }

    /// Stores a note, in place and without new space, that these records are not written; it outlives this
    /// process.
    pub fn note_unwritten(&mut self, gap: Option<Gap>) {
        self.unwritten.note(gap);
    }

    /// Appends a batch with one write. It then survives the death of this process, but not a power failure.
    ///
    /// If the disk fails, the completely written records stay, and the others are discarded: their sequences
    /// are assigned again. Every later call tries again.
    pub fn append(&mut self, now: Time, entries: &[Entry<'_>]) -> Appended<'_> {
        self.written.clear();
        let mut unsynced = None;
        let failure = self.try_append(now, entries, &mut unsynced).err();
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        Appended { written: &self.written, failure, unsynced }
    }

    /// Syncs all appended records, so that they survive a power failure.
    pub fn sync(&mut self) -> Result<(), Unsynced> {
        if self.pending.is_none() {
            return Ok(());
        }
        let Some(current) = &mut self.current else { return Ok(()) };

        let mut result = current.segment.sync();
        let last = self.chain.head().sequence;
        if result.is_ok()
            && let Err(error) = self.stay_in_place()
        {
            // the content is kept in the open file: the next sync tries again
            let first = self.synced.max(self.doubted).saturating_add(1);
            self.doubted = last;
            return Err(Unsynced { sequences: first..=last, error });
        }
        if result.is_ok() && self.directory_changed {
            result = self.disk.sync_directory(&self.directory);
            self.directory_changed = result.is_err();
        }

        self.pending = None;
        if let Err(error) = result {
            self.close();
            let first = self.synced.max(self.doubted).saturating_add(1);
            self.doubted = last;
            return Err(Unsynced { sequences: first..=last, error });
        }
        self.synced = last;
        Ok(())
    }

    /// Checks that the path of the current segment still names its file, and that nothing was cut off it.
    ///
    /// The open file of a segment that was removed, replaced or moved away has its content still: it is
    /// written to the path again, in a new directory if need be. What was cut off, or was in other segments
    /// that are gone, is lost, and [`take_lost`](Self::take_lost) tells it once.
    ///
    /// # Errors
    /// When the file cannot be written again. The content stays in the open file.
    pub fn stay_in_place(&mut self) -> io::Result<()> {
        let (Some(current), Some(&(number, _))) = (&self.current, self.segments.back()) else {
            return self.make_directory();
        };
        let path = segment::path(&self.directory, number);
        let is_there = current.segment.is_at(&path)?;
        let length = current.segment.len()?;
        if is_there && length >= current.end {
            return Ok(());
        }
        if length < current.end {
            return self.leave_cut(&path, is_there);
        }

        let end = current.end;
        self.make_directory()?;
        if !is_there && path.exists() {
            fs::rename(&path, path.with_extension("replaced"))?;
        }
        self.rewrite(&path, end)?;
        self.rewritten = self.rewritten.saturating_add(1);
        self.forget_removed();
        Ok(())
    }

    /// How often a file that was removed, replaced or moved away was written again.
    pub const fn rewritten(&self) -> u64 {
        self.rewritten
    }

    /// The records that were lost because their files were removed or cut, since the last call.
    pub fn take_lost(&mut self) -> Option<RangeInclusive<u64>> {
        self.lost.take()
    }

    /// Makes the directory again if it was removed, with a lock of this process and a note of unwritten
    /// records.
    fn make_directory(&mut self) -> io::Result<()> {
        make(&self.directory)?;
        if !is_file_at(&self.lock, &lock_path(&self.directory))? {
            self.lock = lock(&self.directory).map_err(io::Error::other)?;
            self.unwritten = Unwritten::open(self.disk.as_ref(), &self.directory);
        }
        Ok(())
    }

    /// Writes the content of the current segment, up to `end`, to a new file, and goes on in that.
    fn rewrite(&mut self, path: &Path, end: u64) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        // readers see the whole file or none
        let beside = path.with_extension("new");
        let mut anew = self.disk.create(&beside)?;
        anew.set_len(0)?;
        let mut buffer = vec![0; COPIED_AT_ONCE];
        let mut offset = 0;
        while offset < end {
            let read = current.segment.read_at(&mut buffer, offset)?;
            let bytes = buffer.get(..read).filter(|bytes| !bytes.is_empty());
            let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
            let (written, error) = write_all(anew.as_mut(), bytes, offset);
            if let Some(error) = error {
                return Err(error);
            }
            offset = offset.saturating_add(written as u64);
        }
        anew.set_len(end)?;
        anew.sync()?;
        fs::rename(&beside, path)?;
        self.disk.sync_directory(&self.directory)?;
        current.segment = anew;
        Ok(())
    }

    /// Leaves a segment of which bytes were cut off: the next record begins a new one.
    fn leave_cut(&mut self, path: &Path, is_there: bool) -> io::Result<()> {
        self.make_directory()?;
        let last = self.chain.head().sequence;
        let end = if is_there { end_of(path).ok() } else { None };
        let before = self.segments.back().and_then(|(_, first)| *first).unwrap_or(last).saturating_sub(1);
        let kept = end.map_or(before, |end| end.sequence);
        self.lose(kept.saturating_add(1), last);
        self.forget_removed();
        self.current = None;
        Ok(())
    }

    /// Forgets segments that are not there any more; their records are lost.
    fn forget_removed(&mut self) {
        let Some(&(last, _)) = self.segments.back() else { return };
        let next = |at: usize| self.segments.get(at + 1).and_then(|(_, first)| *first);
        let is_gone = |number: u64| number != last && !segment::path(&self.directory, number).exists();
        let gone: Vec<_> =
            self.segments.iter().enumerate().filter(|(_, (number, _))| is_gone(*number)).collect();
        let lost: Vec<_> = gone.iter().filter_map(|(at, (_, first))| Some(((*first)?, next(*at)?))).collect();
        for (first, next) in lost {
            self.lose(first, next.saturating_sub(1));
        }
        let directory = &self.directory;
        self.segments.retain(|(number, _)| *number == last || segment::path(directory, *number).exists());
    }

    fn lose(&mut self, first: u64, last: u64) {
        if first <= last {
            let (from, to) = self.lost.as_ref().map_or((first, last), |lost| (*lost.start(), *lost.end()));
            self.lost = Some(from.min(first)..=to.max(last));
        }
    }

    /// Whether a sync is due, by [`Options::sync_bytes`] and [`Options::sync_age`].
    pub fn sync_due(&self, now: Time) -> bool {
        self.pending.is_some_and(|pending| {
            pending.bytes >= self.options.sync_bytes || now.is_past(pending.since, self.options.sync_age)
        })
    }

    /// The time until a sync is due; `None` if there is nothing to sync.
    pub fn sync_in(&self, now: Time) -> Option<Duration> {
        let pending = self.pending?;
        if self.sync_due(now) {
            return Some(Duration::ZERO);
        }
        let elapsed = now.since(pending.since).unwrap_or_default();
        Some(self.options.sync_age.saturating_sub(elapsed))
    }

    /// Removes the segments that hold only records before this sequence, and returns their number. The last
    /// segment stays.
    pub fn remove_before(&mut self, sequence: u64) -> io::Result<usize> {
        let is_kept_from = |(_, first): &(u64, Option<u64>)| first.is_some_and(|first| first <= sequence);
        let keep = self.segments.iter().rposition(is_kept_from).unwrap_or(0);
        for _ in 0..keep {
            let Some((number, _)) = self.segments.front() else { break };
            match self.disk.remove(&segment::path(&self.directory, *number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.segments.pop_front(),
            };
        }
        if keep > 0 {
            self.disk.sync_directory(&self.directory)?;
        }
        Ok(keep)
    }

    fn try_append(
        &mut self,
        now: Time,
        entries: &[Entry<'_>],
        unsynced: &mut Option<Unsynced>,
    ) -> Result<(), AppendError> {
        if let Some(place) = entries.iter().position(|entry| entry.payload.len() > PAYLOAD_MAX) {
            return Err(AppendError::TooLong(place));
        }
        if entries.is_empty() {
            return Ok(());
        }
        let after = self.encode(entries);
        let result = self.room(now, unsynced).and_then(|()| self.write());

        let (done, failure) = match result {
            Ok((done, failure)) => (done, failure),
            Err(error) => (0, Some(error)),
        };

        let whole = self.ends.partition_point(|&end| end <= done);
        let before = self.chain.head();
        self.written.truncate(whole);
        self.chain = match (self.written.last(), &failure) {
            (_, None) => after,
            (None, _) => self.chain,
            (Some(last), _) => {
                Chain::after(Head { journal: before.journal, sequence: last.sequence, hash: last.hash })
            }
        };

        let is_checkpoint = |(entry, _): &(&Entry<'_>, &Written)| entry.kind == Kind::Checkpoint;
        if let Some((_, last)) = entries.iter().zip(&self.written).rfind(is_checkpoint) {
            self.checkpoint = last.sequence;
        }

        let bytes = whole.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |&end| end as u64);
        if bytes > 0 {
            let pending = self.pending.get_or_insert(Pending { since: now, bytes: 0 });
            pending.bytes += bytes;
        }

        if let Some(current) = &mut self.current {
            current.end += bytes;
            if failure.is_some() {
                current.tail = true;
                // hides it from readers; if this fails, the next append tries again
                let _ = current.cut();
            }
        }
        failure.map_or(Ok(()), |error| Err(AppendError::Io(error)))
    }

    /// Encodes a batch into the buffer, and returns the chain after it.
    fn encode(&mut self, entries: &[Entry<'_>]) -> Chain {
        let mut chain = self.chain;
        self.buffer.clear();
        self.ends.clear();
        for entry in entries {
            let record = chain.push(entry);
            frame::encode(&mut self.buffer, self.seed, &record);
            self.ends.push(self.buffer.len());
            self.written.push(Written { sequence: record.sequence, hash: record.hash });
        }
        chain
    }

    /// Notices what was cut off the current segment, or added to it, since the last record: a write behind
    /// its end would make its length right again.
    fn compare_length(&mut self) -> io::Result<()> {
        let (Some(current), Some(&(number, _))) = (&mut self.current, self.segments.back()) else {
            return Ok(());
        };
        let length = current.segment.len()?;
        if length < current.end {
            let path = segment::path(&self.directory, number);
            let is_there = current.segment.is_at(&path)?;
            return self.leave_cut(&path, is_there);
        }
        current.tail |= length > current.end;
        Ok(())
    }

    /// Ensures that there is a segment for the bytes in the buffer.
    fn room(&mut self, now: Time, unsynced: &mut Option<Unsynced>) -> io::Result<()> {
        self.compare_length()?;
        if let Some(current) = &mut self.current {
            let bytes = current.end.saturating_add(self.buffer.len() as u64);
            let is_empty = current.end <= header::END;
            let is_full = bytes > self.options.segment_bytes;
            let is_old = now.since(current.created).is_some_and(|age| age >= self.options.segment_age);
            if is_empty || !(is_full || is_old) {
                return current.cut();
            }
            *unsynced = self.sync().err();
        }
        self.begin(now)
    }

    /// Writes the buffer to the end of the segment: returns the bytes written, and the error if not all were.
    fn write(&mut self) -> io::Result<(usize, Option<io::Error>)> {
        let Some(current) = &mut self.current else { return Err(io::ErrorKind::NotFound.into()) };
        Ok(write_all(current.segment.as_mut(), &self.buffer, current.end))
    }

    /// Begins a segment. Until this succeeds, the previous one stays current.
    fn begin(&mut self, now: Time) -> io::Result<()> {
        let number = self.segments.back().map_or(1, |(number, _)| number.saturating_add(1));
        let header = Header { number, before: self.chain.head(), created: now };
        let path = segment::path(&self.directory, number);
        let mut segment = self.disk.create(&path)?;
        match segment.len()? {
            0 => {}
            // left by an earlier try, whose header is incomplete
            bytes if bytes <= header::END => segment.set_len(0)?,
            _ => return Err(io::ErrorKind::AlreadyExists.into()),
        }
        if let (_, Some(error)) = write_all(segment.as_mut(), &header.encode(), 0) {
            drop(segment);
            // if this fails, the next try finds it
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        self.close();
        self.segments.push_back((number, Some(header.first())));
        self.directory_changed = true;
        self.current = Some(Current { segment, end: header::END, created: now, tail: false });
        Ok(())
    }

    fn close(&mut self) {
        if let Some(mut current) = self.current.take() {
            // remaining bytes show as bytes that are not a record
            let _ = current.cut();
        }
    }
}

impl Current {
    /// Removes the bytes that a failed write may have left.
    fn cut(&mut self) -> io::Result<()> {
        if self.tail {
            self.segment.set_len(self.end)?;
            self.tail = false;
        }
        Ok(())
    }
}

/// Creates the directory, for its owner only, and syncs it.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.join("journal.lock")
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = lock_path(directory);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(OpenError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(path)),
        Err(TryLockError::Error(error)) => Err(OpenError::Io(path, error)),
    }
}
