//! Tampering with the files: each change is named.

use journal::{
    Checker, Checkpoint, Entry, Fault, Finding, Head, Journal, JournalId, Kind, Options, Reader, Time, verify,
};

use crate::desk::{Desk, HEADER, ID, append, calm, edges, sample};

fn finding(files: &[(u64, &[u8])], heads: &[Head]) -> Option<Finding> {
    Desk::with(files).verify(heads).finding
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what a report says")]
fn found(segment: u64, offset: usize, sequence: u64, fault: Fault) -> Option<Finding> {
    Some(Finding { segment, offset: offset as u64, sequence, fault })
}

#[test]
fn every_bit_that_flips_is_found_and_its_record_named() {
    let (bytes, _) = sample(4);
    let edges = edges(4);
    let desk = Desk::new();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(desk.segment(1), &bytes).expect("writes");
        let report = desk.verify(&[]);
        let record = edges.iter().filter(|&&edge| edge <= bit / 8).count();
        // a larger length in the last record looks like a truncated record
        if record == 4 && report.torn.is_some() {
            assert!((edges[3]..edges[3] + 4).contains(&(bit / 8)), "bit {bit}");
            assert_eq!(report.torn.map(|torn| torn.sequence), Some(4));
            continue;
        }
        let expected = if record == 0 {
            found(1, 0, 1, Fault::Header)
        } else {
            found(1, edges[record - 1], record as u64, Fault::Changed)
        };
        assert_eq!(report.finding, expected, "bit {bit}");
    }
}

#[test]
fn a_removed_record_is_named() {
    let (bytes, _) = sample(5);
    let edges = edges(5);
    for record in 1..5 {
        let bytes = [&bytes[..edges[record - 1]], &bytes[edges[record]..]].concat();
        let removed = Fault::Removed { found: record as u64 + 1 };
        assert_eq!(finding(&[(1, &bytes)], &[]), found(1, edges[record - 1], record as u64, removed));
    }
}

#[test]
fn swapped_records_are_named() {
    let (bytes, _) = sample(5);
    let edges = edges(5);
    let record = |number: usize| &bytes[edges[number - 1]..edges[number]];
    let near = [&bytes[..edges[1]], record(3), record(2), record(4), record(5)].concat();
    assert_eq!(finding(&[(1, &near)], &[]), found(1, edges[1], 2, Fault::Reordered { found: 3 }));
    let far = [&bytes[..edges[0]], record(5), record(2), record(3), record(4), record(1)].concat();
    assert_eq!(finding(&[(1, &far)], &[]), found(1, edges[0], 1, Fault::Reordered { found: 5 }));
    let twice = [&bytes[..edges[2]], record(2), &bytes[edges[2]..]].concat();
    assert_eq!(finding(&[(1, &twice)], &[]), found(1, edges[2], 3, Fault::Reordered { found: 2 }));
}

#[test]
fn a_cut_tail_is_found_when_a_head_is_known() {
    let (bytes, heads) = sample(5);
    let edges = edges(5);
    for left in 0..5 {
        let cut = &bytes[..edges[left]];
        assert_eq!(finding(&[(1, cut)], &heads[..left]), None);
        let missing = found(1, edges[left], left as u64 + 1, Fault::CutTail { known: 5 });
        assert_eq!(finding(&[(1, cut)], &heads), missing);
        assert_eq!(finding(&[(1, cut)], &heads[4..]), missing);
    }
    assert_eq!(finding(&[], &heads), found(0, 0, 1, Fault::CutTail { known: 5 }));
    assert_eq!(finding(&[], &[]), None);
}

/// Three segments of two records each: the bytes of all, and the head after each record.
fn three_segments(id: JournalId, words: [&[u8]; 6]) -> (Vec<Vec<u8>>, Vec<Head>) {
    let desk = Desk::new();
    let mut heads = Vec::new();
    for (segment, pair) in words.chunks(2).enumerate() {
        let options = Options { segment_bytes: if segment == 0 { u64::MAX } else { 302 }, ..calm() };
        let (mut journal, _) = Journal::open(desk.path(), options, id).expect("opens");
        heads.extend(append(&mut journal, pair));
    }
    ((1..=3).map(|number| desk.bytes(number)).collect(), heads)
}

const WORDS: [&[u8]; 6] = [&[b'a'; 30], &[b'b'; 30], &[b'c'; 30], &[b'd'; 30], &[b'e'; 30], &[b'f'; 30]];

#[test]
fn a_segment_that_was_replaced_is_named() {
    let (honest, heads) = three_segments(ID, WORDS);
    let mut words = WORDS;
    words[2] = &[b'X'; 30];
    let (forged, _) = three_segments(ID, words);
    // consistent in itself and with the segment before, but not with the one after
    let files: [(u64, &[u8]); 3] = [(1, &honest[0]), (2, &forged[1]), (3, &honest[2])];
    assert_eq!(finding(&files, &[]), found(2, forged[1].len(), 5, Fault::Replaced));
    // a known head inside it names the record
    assert_eq!(finding(&files, &heads), found(2, HEADER, 3, Fault::Rewritten));
    assert_eq!(finding(&files, &heads[3..]), found(2, HEADER + 87, 4, Fault::Rewritten));
    // everything from there on rewritten: only a known head shows it
    let files: [(u64, &[u8]); 3] = [(1, &honest[0]), (2, &forged[1]), (3, &forged[2])];
    assert_eq!(finding(&files, &[]), None);
    assert_eq!(finding(&files, &heads[5..]), found(3, HEADER + 87, 6, Fault::Rewritten));
}

#[test]
fn segments_that_are_gone_or_renamed_are_named() {
    let (honest, heads) = three_segments(ID, WORDS);
    let missing = Fault::SegmentsMissing { first: 2, last: 2 };
    assert_eq!(finding(&[(1, &honest[0]), (3, &honest[2])], &[]), found(1, honest[0].len(), 3, missing));
    assert_eq!(finding(&[(1, &honest[0]), (2, &honest[2])], &[]), found(2, 0, 3, Fault::Header));
    assert_eq!(finding(&[(2, &honest[1]), (3, &honest[2])], &heads), None, "as after a clean-up");
    assert_eq!(
        finding(&[(1, &honest[0]), (2, &honest[1])], &heads),
        found(2, honest[1].len(), 5, Fault::CutTail { known: 6 })
    );
}

#[test]
fn a_tail_cut_from_an_inner_segment_is_named() {
    let (honest, _) = three_segments(ID, WORDS);
    let edge = HEADER + 87;
    let files: [(u64, &[u8]); 3] = [(1, &honest[0]), (2, &honest[1][..edge]), (3, &honest[2])];
    assert_eq!(finding(&files, &[]), found(2, edge, 4, Fault::Removed { found: 5 }));
    let files: [(u64, &[u8]); 3] = [(1, &honest[0]), (2, &honest[1][..edge + 9]), (3, &honest[2])];
    assert_eq!(finding(&files, &[]), found(2, edge, 4, Fault::Changed), "torn, but not at the very end");
    let longer = [&honest[1][..], b"junk"].concat();
    let files: [(u64, &[u8]); 3] = [(1, &honest[0]), (2, &longer), (3, &honest[2])];
    assert_eq!(finding(&files, &[]), found(2, honest[1].len(), 5, Fault::Leftover { bytes: 4 }));
}

#[test]
fn another_journals_segment_is_foreign() {
    let (honest, heads) = three_segments(ID, WORDS);
    let other = JournalId([1; 16]);
    let (foreign, _) = three_segments(other, WORDS);
    let files: [(u64, &[u8]); 3] = [(1, &honest[0]), (2, &foreign[1]), (3, &honest[2])];
    assert_eq!(finding(&files, &[]), found(2, 0, 3, Fault::ForeignJournal { found: other }));
    let all: Vec<(u64, &[u8])> = (1..).zip(foreign.iter().map(Vec::as_slice)).collect();
    assert_eq!(finding(&all, &[]), None);
    assert_eq!(finding(&all, &heads), found(1, 0, 1, Fault::ForeignJournal { found: other }));
}

#[test]
fn a_first_segment_cannot_invent_what_was_before() {
    let (honest, _) = three_segments(ID, WORDS);
    let mut forged = honest[0].clone();
    forged[60] ^= 1;
    let sum = crate::crashes::crc32c(&[&forged[..12], &forged[16..HEADER]].concat());
    forged[12..16].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(finding(&[(1, &forged)], &[]), found(1, 0, 1, Fault::Header));
}

#[test]
fn a_verification_begins_at_the_given_head() {
    let (honest, heads) = three_segments(ID, WORDS);
    let mut first = honest[0].clone();
    first[HEADER + 40] ^= 1;
    let files: [(u64, &[u8]); 3] = [(1, &first), (2, &honest[1]), (3, &honest[2])];
    let desk = Desk::with(&files);
    let from = |head| verify(desk.path(), Some(head), &heads[5..], |_| true, |_| {}).expect("reads");
    let report = from(heads[2]);
    assert_eq!((report.finding, report.segments), (None, 2));
    assert_eq!((report.start, report.end), (Some(heads[1]), Some(heads[5])));
    let wrong = Head { hash: heads[0].hash, ..heads[2] };
    assert_eq!(from(wrong).finding, found(2, HEADER, 3, Fault::Rewritten));
    assert_eq!(from(heads[0]).finding, found(1, HEADER, 1, Fault::Changed));
    let desk = Desk::with(&files[1..]);
    let report = verify(desk.path(), Some(heads[0]), &[], |_| true, |_| {}).expect("reads");
    assert_eq!(report.finding, found(2, 0, 3, Fault::Removed { found: 3 }));
}

#[test]
fn progress_grows_up_to_the_end() {
    let (honest, _) = three_segments(ID, WORDS);
    let files: Vec<(u64, &[u8])> = (1..).zip(honest.iter().map(Vec::as_slice)).collect();
    let desk = Desk::with(&files);
    let mut told = Vec::new();
    verify(desk.path(), None, &[], |_| true, |progress| told.push((progress.done, progress.total)))
        .expect("reads");
    let length = honest[0].len() as u64;
    assert_eq!(told, [1, 2, 3].map(|segments| (length * segments, length * 3)));
}

type Edit = fn(&mut Checkpoint);

fn signed(journal: &mut Journal, edit: impl FnOnce(&mut Checkpoint)) {
    let mut checkpoint = Checkpoint {
        head: journal.head(),
        previous: journal.last_checkpoint(),
        time: Time(9),
        statement: Vec::new(),
        key_id: b"key".to_vec(),
        signature: Vec::new(),
    }
    .signed(|message| Some(message.to_vec()))
    .expect("short enough");
    edit(&mut checkpoint);
    let payload = checkpoint.format();
    let entry = Entry { time: Time(9), kind: Kind::Checkpoint, payload: &payload };
    assert!(journal.append(Time(9), &[entry]).failure.is_none());
}

#[test]
fn checkpoints_are_verified_against_the_chain_and_their_key() {
    let edits: [(Edit, Option<Fault>); 8] = [
        (|_| {}, None),
        (|it| it.head.sequence = 1, Some(Fault::Checkpoint)),
        (|it| it.head.hash.0[0] ^= 1, Some(Fault::Checkpoint)),
        (|it| it.head.journal.0[0] ^= 1, Some(Fault::Checkpoint)),
        (|it| it.previous = 1, Some(Fault::CheckpointMissing { previous: 1 })),
        (|it| it.statement.push(1), Some(Fault::Signature { key_id: b"key".to_vec() })),
        (|it| it.time = Time(10), Some(Fault::Signature { key_id: b"key".to_vec() })),
        (|it| it.signature[3] ^= 1, Some(Fault::Signature { key_id: b"key".to_vec() })),
    ];

    for (edit, fault) in edits {
        let desk = Desk::new();
        let (mut journal, _) = desk.open();
        append(&mut journal, &[b"one", b"two"]);
        let offset = desk.bytes(1).len();
        signed(&mut journal, edit);
        append(&mut journal, &[b"four"]);
        let is_right = |it: &Checkpoint| it.signature == it.message();
        let report = verify(desk.path(), None, &[], is_right, |_| {}).expect("reads");
        assert_eq!(report.counts.checkpoints, u64::from(fault.is_none()));
        let unsigned: Vec<_> = report.unsigned.iter().map(|stretch| (stretch.from, stretch.to)).collect();
        assert_eq!(unsigned, [if fault.is_none() { (4, 4) } else { (1, 2) }]);
        assert_eq!(report.finding, fault.and_then(|fault| found(1, offset, 3, fault)));
    }
}

#[test]
fn records_from_elsewhere_are_checked_alike() {
    let (bytes, heads) = sample(4);
    let desk = Desk::with(&[(1, &bytes)]);
    let mut reader = Reader::open(desk.path());
    let mut rows = Vec::new();
    while let Some(record) = reader.read().expect("reads") {
        rows.push((record.sequence, record.time, record.kind, record.payload.to_vec(), record.hash));
    }

    let check = |rows: &[(u64, Time, Kind, Vec<u8>, journal::Hash)], heads: &[Head]| {
        let mut checker = Checker::new(journal::Chain::new(ID), heads, |_| true)?;
        for (sequence, time, kind, payload, hash) in rows {
            let (sequence, time, kind, hash) = (*sequence, *time, *kind, *hash);
            checker.check(&journal::Record { sequence, time, kind, payload, hash })?;
        }
        checker.finish()
    };

    assert_eq!(check(&rows, &heads), Ok(()));
    assert_eq!(check(&rows[..3], &heads), Err(Fault::CutTail { known: 4 }));
    let mut fewer = rows.clone();
    fewer.remove(1);
    assert_eq!(check(&fewer, &[]), Err(Fault::Removed { found: 3 }));
    let mut swapped = rows.clone();
    swapped.swap(1, 2);
    assert_eq!(check(&swapped, &[]), Err(Fault::Removed { found: 3 }));
    rows[2].3[0] ^= 1;
    assert_eq!(check(&rows, &[]), Err(Fault::Changed));
}

#[test]
fn a_check_resumes_after_lost_records() {
    let (bytes, heads) = sample(5);
    let desk = Desk::with(&[(1, &bytes)]);
    let mut reader = Reader::open(desk.path());
    let mut checker = Checker::new(journal::Chain::new(ID), &heads, |_| true).expect("a beginning");
    while let Some(record) = reader.read().expect("reads") {
        match record.sequence {
            2 => {}
            3 => {
                assert_eq!(checker.resume(heads[0]), Err(Fault::Reordered { found: 1 }));
                let other = Head { hash: heads[0].hash, ..heads[2] };
                assert_eq!(checker.resume(other), Err(Fault::Rewritten));
                let foreign = Head { journal: JournalId([9; 16]), ..heads[2] };
                assert_eq!(checker.resume(foreign), Err(Fault::ForeignJournal { found: foreign.journal }));
                assert_eq!(checker.resume(heads[2]), Ok(()));
            }
            _ => checker.check(&record).expect("fits"),
        }
    }

    assert_eq!(checker.finish(), Ok(()));
    let counts = checker.counts();
    assert_eq!((counts.records, counts.heads, counts.heads_before), (3, 4, 1));
    let unsigned: Vec<_> = checker.unsigned().iter().map(|stretch| (stretch.from, stretch.to)).collect();
    assert_eq!(unsigned, [(1, 1), (4, 5)], "record 3 is taken as it is");
}
