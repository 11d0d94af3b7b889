//! The state after a crash, and its recovery at opening.

use std::fs;

use journal::{
    Cut, Damage, Entry, Journal, JournalId, Kind, OpenError, Options, Recovery, Time, Torn, Unfinished,
};

use crate::desk::{Desk, HEADER, ID, append, calm, edges, sample};

#[test]
fn records_are_kept_when_the_journal_is_reopened() {
    let desk = Desk::new();
    let (mut journal, recovery) = desk.open();
    assert_eq!(recovery, Recovery { created: true, ..Recovery::default() });
    let heads = append(&mut journal, &[b"one", b"", b"three"]);
    drop(journal);
    let (mut journal, recovery) = desk.open();
    assert_eq!(recovery, Recovery::default());
    assert_eq!(journal.head(), heads[2]);
    let more = append(&mut journal, &[b"four"]);
    assert_eq!(more[0].sequence, 4);
    let report = desk.verify(&[&heads[..], &more[..]].concat());
    assert_eq!(report.finding, None);
    assert_eq!((report.counts.records, report.counts.heads), (4, 4));
}

#[test]
fn every_cut_recovers_the_whole_records_before_it() {
    let (bytes, heads) = sample(5);
    let edges = edges(5);
    assert_eq!(edges[5], bytes.len());
    for length in HEADER..=bytes.len() {
        let desk = Desk::with(&[(1, &bytes[..length])]);
        let whole = edges.iter().filter(|&&edge| edge <= length).count() - 1;
        let left = length - edges[whole];
        let from = whole as u64 + 1;
        let torn = Torn { segment: 1, offset: edges[whole] as u64, bytes: left as u64, sequence: from };
        let report = desk.verify(&heads[..whole]);
        assert_eq!(report.finding, None, "cut at {length}");
        assert_eq!(report.torn, (left > 0).then_some(torn), "cut at {length}");

        let (mut journal, recovery) = desk.open();
        let cut = Cut { segment: 1, offset: edges[whole] as u64, bytes: left as u64, from };
        let expected = Recovery { cut: (left > 0).then_some(cut), ..Recovery::default() };
        assert_eq!(recovery, expected, "cut at {length}");
        assert_eq!(journal.head().sequence, whole as u64);
        assert_eq!(fs::metadata(desk.segment(1)).expect("is there").len(), edges[whole] as u64);
        append(&mut journal, &[b"after the crash"]);
        let report = desk.verify(&heads[..whole]);
        assert_eq!((report.finding, report.torn), (None, None));
        assert_eq!(report.counts.records, from);
    }
}

#[test]
fn zeros_at_the_end_are_a_torn_tail() {
    let (mut bytes, _) = sample(3);
    let length = bytes.len();
    bytes.extend([0; 5000]);
    let desk = Desk::with(&[(1, &bytes)]);
    assert_eq!(desk.verify(&[]).torn.map(|torn| (torn.bytes, torn.sequence)), Some((5000, 4)));
    assert_eq!(desk.verify(&[]).finding, None);
    let (_, recovery) = desk.open();
    let cut = Cut { segment: 1, offset: length as u64, bytes: 5000, from: 4 };
    assert_eq!(recovery.cut, Some(cut));
}

#[test]
fn damage_before_good_records_is_kept_and_a_segment_begun() {
    let (bytes, heads) = sample(5);
    let edges = edges(5);
    // each byte of the second record in turn
    for at in edges[1]..edges[2] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        let desk = Desk::with(&[(1, &bytes)]);
        let (mut journal, recovery) = desk.open();
        let damage = Damage { segment: 1, offset: edges[1] as u64, sequence: 2, next: 6 };
        assert_eq!(recovery, Recovery { damage: Some(damage), ..Recovery::default() }, "byte {at}");
        assert_eq!(journal.head(), heads[4]);
        append(&mut journal, &[b"six"]);
        assert_eq!(desk.bytes(1), bytes, "left as it was");
        drop(journal);
        let (journal, recovery) = desk.open();
        assert_eq!((recovery, journal.head().sequence), (Recovery::default(), 6));
    }
}

#[test]
fn damage_and_a_torn_tail_together_cut_nothing() {
    let (mut bytes, heads) = sample(5);
    let edges = edges(5);
    bytes[edges[1] + 30] ^= 1;
    bytes.truncate(edges[5] - 3);
    let desk = Desk::with(&[(1, &bytes)]);
    let (journal, recovery) = desk.open();
    assert_eq!(recovery.cut, None);
    assert_eq!(recovery.damage.map(|damage| (damage.sequence, damage.next)), Some((2, 5)));
    assert_eq!(journal.head(), heads[3]);
    assert_eq!(desk.bytes(1), bytes);
}

#[test]
fn a_record_inside_a_payload_is_no_record() {
    // a complete record of another journal inside a truncated record
    let (mut bytes, _) = sample(2);
    let desk = Desk::new();
    let (mut other, _) = Journal::open(desk.path(), calm(), JournalId([1; 16])).expect("opens");
    append(&mut other, &[b"1", b"2", b"3", b"4"]);
    let foreign = desk.bytes(1)[HEADER..].to_vec();
    let length = bytes.len();
    bytes.extend(1000_u32.to_le_bytes());
    bytes.extend([7; 21]);
    bytes.extend(&foreign);
    let desk = Desk::with(&[(1, &bytes)]);
    let (_, recovery) = desk.open();
    assert_eq!(recovery.damage, None);
    assert_eq!(recovery.cut.map(|cut| (cut.offset, cut.from)), Some((length as u64, 3)));
}

/// Two segments: records 1 to 3, then 4.
fn two_segments() -> (Vec<u8>, Vec<u8>) {
    let desk = Desk::new();
    let (mut journal, _) = desk.open();
    append(&mut journal, &[b"one", b"two", b"three"]);
    journal.sync().expect("syncs");
    drop(journal);
    let (mut journal, _) = desk.open_with(Options { segment_bytes: 1, ..calm() });
    append(&mut journal, &[b"four"]);
    (desk.bytes(1), desk.bytes(2))
}

#[test]
fn a_crash_at_every_step_of_a_rollover_is_survived() {
    let (first, second) = two_segments();
    for length in 0..=second.len() {
        let desk = Desk::with(&[(1, &first), (2, &second[..length])]);
        let report = desk.verify(&[]);
        assert_eq!(report.finding, None, "{length}");
        assert_eq!(report.torn.is_some(), length != HEADER && length != second.len(), "{length}");
        let (mut journal, recovery) = desk.open();
        let unfinished = Unfinished { segment: 2, bytes: length as u64 };
        let is_unfinished = length < HEADER;
        assert_eq!(recovery.unfinished, Vec::from_iter(is_unfinished.then_some(unfinished)), "{length}");
        assert_eq!(recovery.cut.is_some(), (HEADER + 1..second.len()).contains(&length), "{length}");
        assert_eq!(recovery.damage, None);
        let last = if length == second.len() { 4 } else { 3 };
        assert_eq!(journal.head().sequence, last, "{length}");
        append(&mut journal, &[b"more"]);
        assert_eq!(desk.verify(&[]).finding, None);
        assert_eq!(desk.verify(&[]).counts.records, last + 1);
    }
}

#[test]
fn a_header_of_zeros_is_a_segment_that_was_not_begun() {
    let (first, _) = two_segments();
    let desk = Desk::with(&[(1, &first), (2, &[0; HEADER])]);
    assert_eq!(desk.verify(&[]).finding, None);
    let (journal, recovery) = desk.open();
    assert_eq!(recovery.unfinished, [Unfinished { segment: 2, bytes: 128 }]);
    assert_eq!(journal.head().sequence, 3);
}

#[test]
fn a_damaged_header_before_records_is_kept() {
    let (first, second) = two_segments();
    for at in 0..HEADER {
        let mut second = second.clone();
        second[at] ^= 0x40;
        let desk = Desk::with(&[(1, &first), (2, &second)]);
        let (mut journal, recovery) = desk.open();
        let damage = Damage { segment: 2, offset: 0, sequence: 4, next: 5 };
        assert_eq!(recovery, Recovery { damage: Some(damage), ..Recovery::default() }, "byte {at}");
        assert_eq!(append(&mut journal, &[b"five"])[0].sequence, 5);
        assert_eq!(desk.bytes(2), second);
        assert!(desk.segment(3).exists());
    }
}

#[test]
fn without_any_header_another_journal_begins() {
    let (mut bytes, _) = sample(3);
    bytes[20] ^= 1; // the id itself: no record can be attributed
    let desk = Desk::with(&[(1, &bytes)]);
    let (mut journal, recovery) = Journal::open(desk.path(), calm(), JournalId([7; 16])).expect("opens");
    assert!(recovery.created);
    assert_eq!(recovery.damage.map(|damage| (damage.segment, damage.next)), Some((1, 1)));
    append(&mut journal, &[b"new"]);
    assert_eq!(journal.head().journal, JournalId([7; 16]));
    assert_eq!(desk.bytes(1), bytes);
}

#[test]
fn a_wiped_directory_begins_a_journal_of_another_id() {
    let desk = Desk::new();
    let (mut journal, _) = desk.open();
    let old = append(&mut journal, &[b"one", b"two"]);
    drop(journal);
    fs::remove_file(desk.segment(1)).expect("removes");
    let (mut journal, recovery) = Journal::open(desk.path(), calm(), JournalId([7; 16])).expect("opens");
    assert!(recovery.created);
    let new = append(&mut journal, &[b"one", b"two"]);
    assert_eq!(new[1].sequence, old[1].sequence);
    assert_ne!(new[1].journal, old[1].journal);
    assert_ne!(new[1].hash, old[1].hash);
}

#[test]
fn a_given_id_is_used_only_for_a_new_journal() {
    let desk = Desk::new();
    let (mut journal, _) = desk.open();
    append(&mut journal, &[b"one"]);
    drop(journal);
    let (journal, recovery) = Journal::open(desk.path(), calm(), JournalId([7; 16])).expect("opens");
    assert_eq!((journal.head().journal, recovery.created), (ID, false));
}

#[test]
fn one_writer_at_a_time() {
    let desk = Desk::new();
    let (journal, _) = desk.open();
    let second = Journal::open(desk.path(), calm(), ID);
    assert!(matches!(&second, Err(OpenError::Locked(path)) if path.starts_with(desk.path())), "{second:?}");
    drop(journal);
    desk.open();
}

#[test]
fn a_newer_format_is_refused() {
    let (mut bytes, _) = sample(1);
    bytes[8] = 2;
    // the checksum is not secret: change bytes before it, and after it
    let sum = crc32c(&[&bytes[..12], &bytes[16..HEADER]].concat());
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    let desk = Desk::with(&[(1, &bytes)]);
    let refused = Journal::open(desk.path(), calm(), ID);
    assert!(matches!(refused, Err(OpenError::Version { segment: 1, version: 2 })), "{refused:?}");
    assert_eq!(desk.bytes(1), bytes);
}

/// Bit by bit, from the definition.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 * (crc & 1)))
    })
}

#[test]
fn segments_roll_over_by_size_and_by_age() {
    let desk = Desk::new();
    let options = Options { segment_bytes: 400, segment_age: std::time::Duration::from_secs(10), ..calm() };
    let (mut journal, _) = desk.open_with(options);
    let mut append = |seconds: i64, payload: &[u8]| {
        let entry = Entry { time: Time(0), kind: Kind::Data, payload };
        let appended = journal.append(Time(seconds * 1_000_000), &[entry]);
        assert!(appended.failure.is_none());
        let names = fs::read_dir(desk.path()).expect("reads").map(|file| file.expect("a file").path());
        names.filter(|path| path.extension().is_some_and(|ending| ending == "journal")).count()
    };
    assert_eq!(append(100, &[0; 100]), 1);
    assert_eq!(append(101, &[0; 58]), 1); // 400 bytes in total
    assert_eq!(append(102, &[]), 2);
    assert_eq!(append(111, &[]), 2);
    assert_eq!(append(112, &[]), 3); // ten seconds old
    assert_eq!(append(113, &[0; 1000]), 4); // longer than a segment, and so alone
    assert_eq!(append(114, &[]), 5);
    assert_eq!(append(50, &[]), 5); // a clock that is set back
    let report = desk.verify(&[]);
    assert_eq!((report.finding, report.segments, report.counts.records), (None, 5, 8));
}

#[test]
fn the_rest_verifies_after_old_segments_are_removed() {
    let desk = Desk::new();
    let options = Options { segment_bytes: 1, ..calm() };
    let (mut journal, _) = desk.open_with(options);
    let heads = append(&mut journal, &[b"1", b"2", b"3", b"4", b"5"]);
    assert_eq!(journal.remove_before(1).expect("removes"), 0);
    assert_eq!(journal.remove_before(3).expect("removes"), 2);
    assert_eq!(journal.oldest(), 3);
    let report = desk.verify(&heads);
    assert_eq!(report.finding, None);
    assert_eq!(report.start, Some(heads[1]));
    assert_eq!((report.counts.records, report.counts.heads, report.counts.heads_before), (3, 4, 1));
    assert_eq!(journal.remove_before(u64::MAX).expect("removes"), 2);
    assert_eq!(journal.remove_before(u64::MAX).expect("removes"), 0);
    drop(journal);
    let (mut journal, recovery) = desk.open_with(options);
    assert_eq!(recovery, Recovery::default());
    append(&mut journal, &[b"6"]);
    assert_eq!(desk.verify(&heads).finding, None);
}
