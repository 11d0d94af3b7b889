//! How many records are waiting for a disk that refuses them, noted beside the segments for who opens the journal after
//! a process that did not live to write them.
//!
//! The note has a fixed length, is made while there is room, and is overwritten in its place: a full disk takes
//! nothing new, but takes that. On a disk that refuses it all the same there is none.

use std::fs;
use std::path::{Path, PathBuf};

use crate::crc32c;
use crate::disk::{Disk, Segment, write_all};
use crate::record::Time;
use crate::writer::Gap;

/// The note of a journal.
#[derive(Debug)]
pub(crate) struct Unwritten {
    file: Option<Box<dyn Segment>>,
    noted: Option<Gap>,
}

impl Unwritten {
    /// Reads what is noted in this directory, and makes the file where there is none.
    pub(crate) fn open(disk: &dyn Disk, directory: &Path) -> Self {
        let path = path(directory);
        let length = line(None).len() as u64;
        // What is no note is not read: it may have no end.
        let is_whole = fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() == length);
        let text = if is_whole { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        let mut this = Self { file: disk.create(&path).ok(), noted: parse(&text) };
        if !is_whole {
            // Else what is behind the notes to come would make none of them one.
            let _ = this.file.as_mut().map(|file| file.set_len(0));
            this.put(None);
            // Blocks are given out at the sync: now there are some.
            let _ = this.file.as_mut().map(|file| file.sync());
        }
        this
    }

    /// What is noted.
    pub(crate) const fn noted(&self) -> Option<Gap> {
        self.noted
    }

    /// Notes something else.
    pub(crate) fn note(&mut self, gap: Option<Gap>) {
        if self.noted != gap {
            self.put(gap);
            self.noted = gap;
        }
    }

    fn put(&mut self, gap: Option<Gap>) {
        if let Some(file) = &mut self.file {
            // Where the disk takes not even this there is nothing left to try.
            let _ = write_all(file.as_mut(), line(gap).as_bytes(), 0);
        }
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("journal.unwritten")
}

/// Always of the same length: how many, when first and last, and the checksum of these.
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
    fn what_was_noted_last_is_read() {
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
    fn another_file_gives_way_to_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        fs::write(&path, "no note\n".repeat(50)).unwrap();
        Unwritten::open(&FileSystem, folder.path()).note(Some(GAP));
        assert_eq!(Unwritten::open(&FileSystem, folder.path()).noted(), Some(GAP));
        fs::remove_file(&path).unwrap();
        // Whoever reads this to its end reads for ever.
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(Unwritten::open(&FileSystem, folder.path()).noted(), None);
    }

    #[test]
    fn half_a_note_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let whole = line(Some(GAP));
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..cut]), None, "{cut}");
        }
        fs::write(path(folder.path()), whole.replace('7', "8")).unwrap();
        assert_eq!(Unwritten::open(&FileSystem, folder.path()).noted(), None);
    }
}
