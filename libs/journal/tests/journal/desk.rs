//! A directory with a journal.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::{Entry, Head, Journal, JournalId, Kind, Options, Recovery, Report, Time, verify};
use tempfile::TempDir;

pub(crate) const ID: JournalId = JournalId([0xA5; 16]);

/// A header and this many bytes are a segment of one-digit payloads.
pub(crate) const HEADER: usize = 128;
/// Bytes of a frame that are not payload.
pub(crate) const OVERHEAD: usize = 57;

/// Options under which only the test causes syncs and rollovers.
pub(crate) fn calm() -> Options {
    Options {
        segment_bytes: u64::MAX,
        segment_age: Duration::MAX,
        sync_bytes: u64::MAX,
        sync_age: Duration::MAX,
    }
}

pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.path().join(format!("{number:010}.journal"))
    }

    pub(crate) fn open(&self) -> (Journal, Recovery) {
        self.open_with(calm())
    }

    pub(crate) fn open_with(&self, options: Options) -> (Journal, Recovery) {
        Journal::open(self.path(), options, ID).expect("opens")
    }

    /// A directory with these files.
    pub(crate) fn with(files: &[(u64, &[u8])]) -> Self {
        let desk = Self::new();
        for (number, bytes) in files {
            fs::write(desk.segment(*number), bytes).expect("writes");
        }
        desk
    }

    pub(crate) fn bytes(&self, number: u64) -> Vec<u8> {
        fs::read(self.segment(number)).expect("reads")
    }

    pub(crate) fn verify(&self, heads: &[Head]) -> Report {
        verify(self.path(), None, heads, |_| true, |_| {}).expect("reads")
    }
}

/// Appends one record each, and returns the end of the file after each.
pub(crate) fn append(journal: &mut Journal, payloads: &[&[u8]]) -> Vec<Head> {
    let append = |payload: &&[u8]| {
        let entry = Entry { time: Time(1000), kind: Kind::Data, payload };
        let appended = journal.append(Time(1000), &[entry]);
        assert!(appended.failure.is_none() && appended.unsynced.is_none(), "{appended:?}");
        journal.head()
    };
    payloads.iter().map(append).collect()
}

/// A journal of records "record 1" and so on, in one segment; its bytes, and the head after each.
pub(crate) fn sample(records: u64) -> (Vec<u8>, Vec<Head>) {
    let desk = Desk::new();
    let (mut journal, _) = desk.open();
    let payloads: Vec<_> = (1..=records).map(|number| format!("record {number}").into_bytes()).collect();
    let payloads: Vec<_> = payloads.iter().map(Vec::as_slice).collect();
    let heads = append(&mut journal, &payloads);
    (desk.bytes(1), heads)
}

/// The offsets of the records of [`sample`], and the end of the last.
pub(crate) fn edges(records: u64) -> Vec<usize> {
    let mut at = HEADER;
    let mut edges = vec![at];
    for number in 1..=records {
        at += OVERHEAD + format!("record {number}").len();
        edges.push(at);
    }
    edges
}
