//! Readers that run beside writers.

use std::fs;
use std::thread;

use journal::{Fault, Head, Journal, JournalId, Options, ReadError, Reader};

use crate::desk::{Desk, HEADER, ID, append, calm, edges, sample};

/// All present records, by sequence and payload.
fn all(reader: &mut Reader) -> Vec<(u64, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some(record) = reader.read().expect("reads") {
        records.push((record.sequence, record.payload.to_vec()));
    }
    records
}

fn sequences(reader: &mut Reader) -> Vec<u64> {
    all(reader).into_iter().map(|(sequence, _)| sequence).collect()
}

#[test]
fn a_reader_follows_the_writer_across_segments() {
    let desk = Desk::new();
    let mut reader = Reader::open(desk.path());
    assert!(reader.read().expect("reads").is_none());
    assert_eq!(reader.position(), None);
    let (mut journal, _) = desk.open_with(Options { segment_bytes: 300, ..calm() });
    for round in 0..20_u64 {
        append(&mut journal, &[b"one", b"two"]);
        assert_eq!(sequences(&mut reader), [2 * round + 1, 2 * round + 2]);
        assert_eq!(reader.position(), Some(journal.head()));
    }
    assert!(desk.segment(10).exists());
}

#[test]
fn a_reader_on_another_thread_sees_every_record_once() {
    let desk = Desk::new();
    let mut reader = Reader::open(desk.path());
    let seen = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut journal, _) = desk.open_with(Options { segment_bytes: 2000, ..calm() });
            for round in 0..2000_u32 {
                append(&mut journal, &[&round.to_le_bytes()]);
            }
        });
        let mut seen = 0;
        while seen < 2000 {
            while let Some(record) = reader.read().expect("reads") {
                seen += 1;
                assert_eq!(record.sequence, seen);
            }
            thread::yield_now();
        }
        writer.join().expect("wrote");
        seen
    });
    assert_eq!(seen, 2000);
    assert!(reader.read().expect("reads").is_none());
}

#[test]
fn an_incomplete_record_is_not_an_error() {
    let (bytes, heads) = sample(3);
    let edges = edges(3);
    let desk = Desk::with(&[(1, b"")]);
    let mut reader = Reader::open(desk.path());
    let mut seen = 0;
    for length in 0..=bytes.len() {
        fs::write(desk.segment(1), &bytes[..length]).expect("writes");
        seen += all(&mut reader).len();
        assert_eq!(seen, edges[1..].iter().filter(|&&edge| edge <= length).count(), "{length}");
    }
    assert_eq!(reader.position(), Some(heads[2]));
}

#[test]
fn replaced_remains_of_a_failed_write_are_not_read() {
    let (bytes, _) = sample(3);
    let edges = edges(3);
    let desk = Desk::with(&[(1, &[&bytes[..edges[2]], &[3, 0, 0, 0, 9, 9, 9, 9, 9]].concat())]);
    let mut reader = Reader::open(desk.path());
    assert_eq!(sequences(&mut reader), [1, 2]);
    fs::write(desk.segment(1), &bytes).expect("writes");
    assert_eq!(sequences(&mut reader), [3]);
}

#[test]
fn a_reader_goes_on_where_it_stopped() {
    let desk = Desk::new();
    let (mut journal, _) = desk.open_with(Options { segment_bytes: 300, ..calm() });
    let heads = append(&mut journal, &[b"1", b"2", b"3", b"4", b"5", b"6", b"7"]);
    let beginning = Head { hash: journal::Chain::new(ID).head().hash, sequence: 0, journal: ID };
    for (position, next) in [beginning].iter().chain(&heads).zip(1..) {
        let mut reader = Reader::after(desk.path(), *position);
        assert_eq!(sequences(&mut reader), (next..=7).collect::<Vec<_>>(), "after {}", position.sequence);
    }
}

#[test]
fn a_reader_stops_at_the_last_synced_record() {
    let desk = Desk::new();
    let (mut journal, _) = desk.open();
    append(&mut journal, &[b"1", b"2"]);
    journal.sync().expect("syncs");
    append(&mut journal, &[b"3"]);
    let mut reader = Reader::open(desk.path());
    let mut seen = 0;
    while let Some(record) = reader.read_up_to(journal.synced()).expect("reads") {
        seen = record.sequence;
    }
    assert_eq!(seen, 2);
    assert_eq!(sequences(&mut reader), [3]);
}

#[test]
fn a_position_that_is_lost_or_rewritten_is_reported() {
    let (bytes, heads) = sample(3);
    let edges = edges(3);
    let desk = Desk::with(&[(1, &bytes[..edges[2]])]);
    let read = |position| Reader::after(desk.path(), position).read().map(|record| record.is_some());
    assert!(matches!(read(heads[2]), Err(ReadError::Lost(2))));
    assert!(matches!(read(heads[1]), Ok(false)));
    let rewritten = Head { hash: heads[0].hash, ..heads[1] };
    assert!(matches!(read(rewritten), Err(ReadError::Rewritten(2))));
    let other = Head { journal: JournalId([1; 16]), ..heads[1] };
    assert!(matches!(read(other), Err(ReadError::OtherJournal(ID))));

    let desk = Desk::new();
    let (mut journal, _) = desk.open_with(Options { segment_bytes: 1, ..calm() });
    let heads = append(&mut journal, &[b"1", b"2", b"3"]);
    journal.remove_before(3).expect("removes");
    let read = |position| Reader::after(desk.path(), position).read().map(|record| record.is_some());
    assert!(matches!(read(heads[0]), Err(ReadError::Removed(3))));
    assert!(matches!(read(heads[1]), Ok(true)));
}

#[test]
fn a_reader_notices_that_the_directory_was_wiped() {
    let desk = Desk::new();
    let (mut journal, _) = desk.open();
    append(&mut journal, &[b"1", b"2"]);
    let mut reader = Reader::open(desk.path());
    assert_eq!(sequences(&mut reader), [1, 2]);
    drop(journal);
    fs::remove_file(desk.segment(1)).expect("removes");
    assert!(reader.read().expect("reads").is_none());
    let other = JournalId([7; 16]);
    let options = Options { segment_bytes: 1, ..calm() };
    let (mut journal, _) = Journal::open(desk.path(), options, other).expect("opens");
    append(&mut journal, &[b"1", b"2", b"3"]);
    assert!(matches!(reader.read(), Err(ReadError::OtherJournal(found)) if found == other));
    let mut reader = Reader::open(desk.path());
    assert_eq!(sequences(&mut reader), [1, 2, 3]);
}

#[test]
fn a_reader_continues_while_segments_are_removed() {
    let desk = Desk::new();
    let (mut journal, _) = desk.open_with(Options { segment_bytes: 1, ..calm() });
    append(&mut journal, &[b"1", b"2", b"3"]);
    let mut reader = Reader::open(desk.path());
    assert_eq!(reader.read().expect("reads").map(|record| record.sequence), Some(1));
    journal.remove_before(2).expect("removes");
    assert_eq!(sequences(&mut reader), [2, 3]);
}

#[test]
fn a_reader_begins_with_the_segment_of_a_record() {
    let desk = Desk::new();
    let (mut journal, _) = desk.open_with(Options { segment_bytes: 300, ..calm() });
    for _ in 0..4 {
        append(&mut journal, &[b"1", b"2"]);
    }
    let first = |sequence| sequences(&mut Reader::near(desk.path(), sequence)).first().copied();
    let beginnings: Vec<_> = (0..=10).map(first).collect();
    assert_eq!(beginnings[0], Some(1));
    for (sequence, beginning) in (1..=8).zip(&beginnings[1..]) {
        assert!(beginning.is_some_and(|beginning| beginning <= sequence), "{sequence}: {beginnings:?}");
    }
    assert!(beginnings[8] > beginnings[1] && beginnings[8] == beginnings[10], "{beginnings:?}");
    journal.remove_before(8).expect("removes");
    assert_eq!(first(1), beginnings[8], "the oldest that is left");
}

#[test]
fn damage_is_reported_until_it_is_skipped() {
    let (mut bytes, _) = sample(5);
    let edges = edges(5);
    bytes[edges[1] + 30] ^= 1;
    bytes[edges[3] + 1] ^= 1; // the length itself
    let desk = Desk::with(&[(1, &bytes)]);
    let mut reader = Reader::open(desk.path());
    assert_eq!(reader.read().expect("reads").map(|record| record.sequence), Some(1));
    for _ in 0..2 {
        let error = reader.read().map(|_| ()).expect_err("damaged");
        let ReadError::Damaged(finding) = error else { panic!("{error}") };
        assert_eq!((finding.offset, finding.sequence), (edges[1] as u64, 2));
        assert_eq!(finding.fault, Fault::Changed);
    }
    let skipped = reader.skip().expect("reads").expect("there is more");
    assert_eq!((skipped.from, skipped.to), (2, 3));
    assert_eq!(reader.read().expect("reads").map(|record| record.sequence), Some(3));
    // longer than the file: it may still be being written, so there is no record yet
    assert!(reader.read().expect("reads").is_none());
    let skipped = reader.skip().expect("reads").expect("there is more");
    assert_eq!((skipped.from, skipped.to), (4, 5));
    assert_eq!(sequences(&mut reader), [5]);
}

#[test]
fn a_missing_record_is_named_and_can_be_skipped() {
    let (bytes, _) = sample(5);
    let edges = edges(5);
    let desk = Desk::with(&[(1, &[&bytes[..edges[1]], &bytes[edges[3]..]].concat())]);
    let mut reader = Reader::open(desk.path());
    reader.read().expect("reads");
    let error = reader.read().map(|_| ()).expect_err("missing");
    assert!(matches!(&error, ReadError::Damaged(finding) if finding.fault == Fault::Removed { found: 4 }));
    let skipped = reader.skip().expect("reads").expect("there is more");
    assert_eq!((skipped.from, skipped.to), (2, 4));
    assert_eq!(sequences(&mut reader), [4, 5]);
}

#[test]
fn damage_at_the_end_of_a_segment_is_skipped_to_the_next() {
    let desk = Desk::new();
    let (mut journal, _) = desk.open_with(Options { segment_bytes: 300, ..calm() });
    append(&mut journal, &[b"1", b"2", b"3"]);
    let mut bytes = desk.bytes(1);
    bytes[HEADER + 58 + 40] ^= 1;
    fs::write(desk.segment(1), bytes).expect("writes");
    let mut reader = Reader::open(desk.path());
    reader.read().expect("reads");
    let error = reader.read().map(|_| ()).expect_err("damaged");
    assert!(matches!(&error, ReadError::Damaged(finding) if finding.sequence == 2), "{error}");
    let skipped = reader.skip().expect("reads").expect("there is more");
    assert_eq!((skipped.from, skipped.to), (2, 3));
    assert_eq!(sequences(&mut reader), [3]);
    assert!(reader.skip().expect("reads").is_none());
}
