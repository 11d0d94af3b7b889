//! The number of records that wait for a failing disk, stored beside the segments for the process that opens
//! the journal after one that ended before it could write them.
//!
//! The note has a fixed length, is created while there is space, and is overwritten in place: a full disk
//! accepts no new blocks, but accepts that. If the disk refuses even that, there is no note.

use std::fs;
use std::path::{Path, PathBuf};

use crate::crc32c;
use crate::disk::{Disk, Segment, write_all};
use crate::record::{Gap, Time};

/// The note of a journal.
#[derive(Debug)]
pub(crate) struct Unwritten {
    file: Option<Box<dyn Segment>>,
    noted: Option<Gap>,
}

impl Unwritten {
    /// Reads the note of this directory, and creates the file if it is missing.
    pub(crate) fn open(disk: &dyn Disk, directory: &Path) -> Self {
        let path = path(directory);
        let length = line(None).len() as u64;
        // Only regular files are read: others may have no end.
        let is_whole = fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() == length);
        let text = if is_whole { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        let mut this = Self { file: disk.create(&path).ok(), noted: parse(&text) };
        if !is_whole {
            // Otherwise the bytes behind later notes would invalidate them.
            let _ = this.file.as_mut().map(|file| file.set_len(0));
            this.put(None);
            // The file system allocates blocks at the sync: now they exist.
            let _ = this.file.as_mut().map(|file| file.sync());
        }
        this
    }

    /// The stored note.
    pub(crate) const fn noted(&self) -> Option<Gap> {
        self.noted
    }

    /// Replaces the note.
    pub(crate) fn note(&mut self, gap: Option<Gap>) {
        if self.noted != gap {
            self.put(gap);
            self.noted = gap;
        }
    }

    fn put(&mut self, gap: Option<Gap>) {
        if let Some(file) = &mut self.file {
            // If the disk refuses even this, there is nothing left to try.
            let _ = write_all(file.as_mut(), line(gap).as_bytes(), 0);
        }
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("journal.unwritten")
}

/// Fixed length: the count, the times of the first and the last, and their checksum.
fn line(gap: Option<Gap>) -> String {
    let gap = gap.unwrap_or(Gap { count: 0, first: Time(0), last: Time(0) });
    let said = format!("{:020} {:020} {:020}", gap.count, gap.first.0, gap.last.0);
    format!("{said} {:08x}\n", crc32c::extend(0, said.as_bytes()))
}

fn parse(text: &[u8]) -> Option<Gap> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split_ascii_whitespace();
    let count = words.next()?.parse().ok().filter(|count| *count > 0)?;
    let (first, last) = (Time(words.next()?.parse().ok()?), Time(words.next()?.parse().ok()?));
    let gap = Gap { count, first, last };
    (line(Some(gap)) == text).then_some(gap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FileSystem;

    const GAP: Gap = Gap { count: 17, first: Time(-5), last: Time(i64::MAX) };

    #[test]
    fn the_last_note_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut unwritten = Unwritten::open(&FileSystem, folder.path());
        assert_eq!(unwritten.noted(), None);
        let length = fs::metadata(path(folder.path())).unwrap().len();
        for gap in [Some(GAP), Some(Gap { count: u64::MAX, ..GAP }), None, Some(GAP)] {
            unwritten.note(gap);
            assert_eq!(Unwritten::open(&FileSystem, folder.path()).noted(), gap);
            assert_eq!(fs::metadata(path(folder.path())).unwrap().len(), length, "it takes no more room");
        }
    }

    #[test]
    fn a_note_replaces_an_unrelated_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        fs::write(&path, "no note\n".repeat(50)).unwrap();
        Unwritten::open(&FileSystem, folder.path()).note(Some(GAP));
        assert_eq!(Unwritten::open(&FileSystem, folder.path()).noted(), Some(GAP));
        fs::remove_file(&path).unwrap();
        // A file without an end.
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(Unwritten::open(&FileSystem, folder.path()).noted(), None);
    }

    #[test]
    fn an_incomplete_note_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let whole = line(Some(GAP));
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..cut]), None, "{cut}");
        }
        fs::write(path(folder.path()), whole.replace('7', "8")).unwrap();
        assert_eq!(Unwritten::open(&FileSystem, folder.path()).noted(), None);
    }
}
