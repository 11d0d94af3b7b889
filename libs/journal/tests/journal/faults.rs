//! A disk that is full, broken or read-only.

use std::fs;
use std::io::ErrorKind;

use journal::{AppendError, Entry, Journal, JournalId, Kind, OpenError, Options, PAYLOAD_MAX, Time};

use crate::desk::{Desk, HEADER, ID, OVERHEAD, append, calm};
use crate::faulty::Faulty;

const NOW: Time = Time(1_000_000);

fn open(desk: &Desk, options: Options) -> (Journal, Faulty) {
    let disk = Faulty::default();
    let (journal, _) = Journal::open_on(Box::new(disk.clone()), desk.path(), options, ID).expect("opens");
    (journal, disk)
}

/// What happens to the files of a journal.
type Change<'a> = Box<dyn Fn(&Desk) + 'a>;

fn batch<'a>(payloads: &[&'a [u8]]) -> Vec<Entry<'a>> {
    payloads.iter().map(|payload| Entry { time: NOW, kind: Kind::Data, payload }).collect()
}

/// The number of written records, and the error that stopped them.
fn try_append(journal: &mut Journal, payloads: &[&[u8]]) -> (usize, Option<ErrorKind>) {
    let appended = journal.append(NOW, &batch(payloads));
    (appended.written.len(), appended.failure.map(|failure| failure.kind()))
}

#[test]
fn a_batch_is_one_write() {
    let desk = Desk::new();
    let (mut journal, disk) = open(&desk, calm());
    append(&mut journal, &[b"first, after the header"]);
    let before = disk.plan().writes;
    let payload: &[u8] = &[7; 200];
    assert_eq!(try_append(&mut journal, &[payload; 500]), (500, None));
    assert_eq!(disk.plan().writes, before + 1);
    assert_eq!(try_append(&mut journal, &[]), (0, None));
    assert_eq!(disk.plan().writes, before + 1);
    assert_eq!(desk.verify(&[journal.head()]).counts.records, 501);
}

#[test]
fn short_writes_of_every_length_are_continued() {
    for most in 1..=200 {
        let desk = Desk::new();
        let (mut journal, disk) = open(&desk, calm());
        disk.plan().short = Some(most);
        assert_eq!(try_append(&mut journal, &[b"one", b"two", b"three"]), (3, None), "{most}");
        let report = desk.verify(&[journal.head()]);
        assert_eq!((report.finding, report.torn, report.counts.records), (None, None, 3), "{most}");
    }
}

#[test]
fn a_disk_that_fills_up_keeps_whole_records_and_goes_on_when_there_is_space() {
    let payloads: [&[u8]; 3] = [b"one", b"two", b"three"];
    let sizes = payloads.map(|payload| OVERHEAD + payload.len());
    let total = sizes.iter().sum::<usize>();

    for space in 0..=total {
        let desk = Desk::new();
        let (mut journal, disk) = open(&desk, calm());
        let before = append(&mut journal, &[b"zero"])[0];
        disk.plan().space = Some(space as u64);
        let whole = (0..=3).rfind(|&whole| sizes[..whole].iter().sum::<usize>() <= space).expect("none");
        let failure = (whole < 3).then_some(ErrorKind::StorageFull);
        assert_eq!(try_append(&mut journal, &payloads), (whole, failure), "{space}");
        assert_eq!(journal.head().sequence, 1 + whole as u64);
        // no byte of the others is visible
        let report = desk.verify(&[before, journal.head()]);
        assert_eq!((report.finding, report.torn), (None, None), "{space}");
        let left = disk.plan().space.map_or(0, |space| usize::try_from(space).expect("small"));
        let expected = if left == 0 { Some(ErrorKind::StorageFull) } else { None };
        if whole < 3 {
            assert_eq!(try_append(&mut journal, &[b"again"]), (0, expected), "{space}");
        }
        disk.plan().space = None;
        assert_eq!(try_append(&mut journal, &payloads[whole..]), (3 - whole, None), "{space}");
        let report = desk.verify(&[before, journal.head()]);
        assert_eq!((report.finding, report.counts.records), (None, 4), "{space}");
    }
}

#[test]
fn remains_of_a_failed_write_are_cut_before_the_next() {
    let desk = Desk::new();
    let (mut journal, disk) = open(&desk, calm());
    append(&mut journal, &[b"zero"]);
    disk.plan().space = Some(100);
    disk.plan().cut = Some(ErrorKind::PermissionDenied);
    assert_eq!(try_append(&mut journal, &[b"one", b"two"]), (1, Some(ErrorKind::StorageFull)));
    assert!(desk.verify(&[]).torn.is_some(), "it could not be cut yet");
    disk.plan().space = None;
    assert_eq!(try_append(&mut journal, &[b""]), (0, Some(ErrorKind::PermissionDenied)));
    disk.plan().cut = None;
    assert_eq!(try_append(&mut journal, &[b""]), (1, None));
    let report = desk.verify(&[journal.head()]);
    assert_eq!((report.finding, report.torn, report.counts.records), (None, None, 3));
}

#[test]
fn a_broken_disk_is_tried_again_each_time() {
    let desk = Desk::new();
    let (mut journal, disk) = open(&desk, calm());
    append(&mut journal, &[b"zero"]);
    disk.plan().write = Some(ErrorKind::Other);
    for _ in 0..3 {
        assert_eq!(try_append(&mut journal, &[b"one"]), (0, Some(ErrorKind::Other)));
    }
    disk.plan().write = None;
    assert_eq!(append(&mut journal, &[b"one"])[0].sequence, 2);
    assert_eq!(desk.verify(&[journal.head()]).finding, None);
}

#[test]
fn a_directory_that_takes_no_files_is_tried_again() {
    let desk = Desk::new();
    let (mut journal, disk) = open(&desk, Options { segment_bytes: 1, ..calm() });
    disk.plan().create = Some(ErrorKind::ReadOnlyFilesystem);
    assert_eq!(try_append(&mut journal, &[b"one"]), (0, Some(ErrorKind::ReadOnlyFilesystem)));
    disk.plan().create = None;
    append(&mut journal, &[b"one"]);
    disk.plan().create = Some(ErrorKind::ReadOnlyFilesystem);
    assert_eq!(try_append(&mut journal, &[b"two"]), (0, Some(ErrorKind::ReadOnlyFilesystem)));
    disk.plan().create = None;
    assert_eq!(append(&mut journal, &[b"two"])[0].sequence, 2);
    assert_eq!(desk.verify(&[journal.head()]).finding, None);
}

#[test]
fn a_header_that_does_not_fit_leaves_no_segment() {
    for removable in [true, false] {
        for space in 0..HEADER as u64 {
            let desk = Desk::new();
            let (mut journal, disk) = open(&desk, Options { segment_bytes: 1, ..calm() });
            append(&mut journal, &[b"one"]);
            disk.plan().space = Some(space);
            disk.plan().remove = (!removable).then_some(ErrorKind::Other);
            assert_eq!(try_append(&mut journal, &[b"two"]), (0, Some(ErrorKind::StorageFull)));
            assert_eq!(desk.segment(2).exists(), !removable);
            assert_eq!(desk.verify(&[journal.head()]).finding, None);
            disk.plan().space = None;
            append(&mut journal, &[b"two"]);
            let report = desk.verify(&[journal.head()]);
            assert_eq!((report.finding, report.segments, report.counts.records), (None, 2, 2));
        }
    }
}

#[test]
fn a_failed_sync_is_reported_once_and_begins_a_segment() {
    let desk = Desk::new();
    let (mut journal, disk) = open(&desk, calm());
    append(&mut journal, &[b"one"]);
    journal.sync().expect("syncs");
    assert_eq!(journal.synced(), 1);
    append(&mut journal, &[b"two", b"three"]);
    disk.plan().sync = Some(ErrorKind::Other);
    let unsynced = journal.sync().expect_err("the disk refuses");
    assert_eq!(unsynced.sequences, 2..=3);
    disk.plan().sync = None;
    let syncs = disk.plan().syncs;
    journal.sync().expect("was said");

    assert_eq!(disk.plan().syncs, syncs, "the file of a failed sync is not asked again");
    assert_eq!(journal.synced(), 1);
    append(&mut journal, &[b"four"]);
    assert!(desk.segment(2).exists());
    disk.plan().sync = Some(ErrorKind::Other);
    assert_eq!(journal.sync().expect_err("the disk refuses").sequences, 4..=4);
    disk.plan().sync = None;
    append(&mut journal, &[b"five"]);
    journal.sync().expect("syncs");
    assert_eq!(journal.synced(), 5);
    let report = desk.verify(&[journal.head()]);
    assert_eq!((report.finding, report.segments), (None, 3));
}

#[test]
fn a_sync_that_fails_at_a_rollover_is_reported_by_the_append() {
    let desk = Desk::new();
    let (mut journal, disk) = open(&desk, Options { segment_bytes: 1, ..calm() });
    append(&mut journal, &[b"one"]);
    disk.plan().sync = Some(ErrorKind::Other);
    let appended = journal.append(NOW, &batch(&[b"two"]));
    assert_eq!(appended.written.len(), 1);
    assert_eq!(appended.unsynced.map(|unsynced| unsynced.sequences), Some(1..=1));
    assert_eq!(desk.verify(&[journal.head()]).finding, None);
}

#[test]
fn records_lost_after_a_failed_sync_show_as_removed() {
    let desk = Desk::new();
    let (mut journal, disk) = open(&desk, calm());
    append(&mut journal, &[b"one"]);
    journal.sync().expect("syncs");
    let durable = desk.bytes(1);
    append(&mut journal, &[b"two", b"three"]);
    disk.plan().sync = Some(ErrorKind::Other);
    journal.sync().expect_err("the disk refuses");
    disk.plan().sync = None;
    append(&mut journal, &[b"four"]);
    journal.sync().expect("syncs");
    drop(journal);
    fs::write(desk.segment(1), durable).expect("writes");
    let finding = desk.verify(&[]).finding.expect("there is");
    assert_eq!((finding.segment, finding.sequence), (1, 2));
    assert_eq!(finding.fault, journal::Fault::Removed { found: 4 });
    assert_eq!(desk.open().0.head().sequence, 4);
}

#[test]
fn a_segment_that_is_gone_is_written_again_by_the_sync() {
    let aside = tempfile::tempdir().expect("creates");
    let ways: [(&str, Change<'_>); 5] = [
        ("removed", Box::new(|desk| fs::remove_file(desk.segment(1)).expect("removes"))),
        (
            "replaced",
            Box::new(|desk| {
                let other = desk.path().join("other");
                fs::write(&other, "other").expect("writes");
                fs::rename(other, desk.segment(1)).expect("renames");
            }),
        ),
        ("moved", Box::new(|desk| fs::rename(desk.segment(1), desk.path().join("moved")).expect("renames"))),
        ("the directory removed", Box::new(|desk| fs::remove_dir_all(desk.path()).expect("removes"))),
        (
            "the directory moved",
            Box::new(|desk| {
                fs::rename(desk.path(), aside.path().join("moved")).expect("renames");
            }),
        ),
    ];
    for (what, change) in ways {
        // given a journal with a synced and an unsynced record
        let desk = Desk::new();
        let (mut journal, _) = open(&desk, calm());
        append(&mut journal, &[b"one"]);
        journal.sync().expect("syncs");
        append(&mut journal, &[b"two"]);

        let mut reader = journal::Reader::open(desk.path());
        while reader.read().expect("reads").is_some() {}

        // when its file is gone
        change(&desk);
        append(&mut journal, &[b"three"]);
        journal.sync().expect(what);
        append(&mut journal, &[b"four"]);
        journal.sync().expect(what);

        // then nothing is lost, and no second process opens it
        let report = desk.verify(&[journal.head()]);
        assert_eq!((report.finding, report.counts.records), (None, 4), "{what}");
        assert_eq!((journal.take_lost(), journal.rewritten()), (None, 1), "{what}");
        let opened = Journal::open(desk.path(), calm(), JournalId([9; 16]));
        assert!(matches!(opened, Err(OpenError::Locked(_))), "{what}");

        // and a reader goes on where it was
        let read = [(); 3].map(|()| reader.read().expect(what).map(|record| record.sequence));
        let read: Vec<u64> = read.into_iter().flatten().collect();
        assert_eq!(read, [3, 4], "{what}");
    }
}

#[test]
fn what_was_cut_off_a_segment_is_told_as_lost() {
    let desk = Desk::new();
    let (mut journal, _) = open(&desk, calm());
    append(&mut journal, &[b"one"]);
    let kept = fs::metadata(desk.segment(1)).expect("is there").len();
    append(&mut journal, &[b"two"]);
    append(&mut journal, &[b"three"]);
    journal.sync().expect("syncs");
    fs::File::options().write(true).open(desk.segment(1)).and_then(|file| file.set_len(kept)).expect("cuts");

    journal.stay_in_place().expect("goes on");
    assert_eq!((journal.take_lost(), journal.take_lost()), (Some(2..=3), None));
    append(&mut journal, &[b"four"]);
    journal.sync().expect("syncs");
    assert_eq!(journal.head().sequence, 4, "no sequence is used twice");
    let mut reader = journal::Reader::open(desk.path());
    assert_eq!(reader.read().expect("reads").map(|record| record.sequence), Some(1));
}

#[test]
fn a_segment_that_was_cut_between_two_records_is_noticed_before_the_next_write() {
    for kept in [0, 100, 200] {
        // given a journal whose file is cut, or gets bytes of another program
        let desk = Desk::new();
        let (mut journal, _) = open(&desk, calm());
        append(&mut journal, &[b"one"]);
        append(&mut journal, &[b"two"]);
        let file = fs::File::options().write(true).open(desk.segment(1)).expect("opens");
        file.set_len(kept).expect("cuts");

        // when records follow that would make its length right again
        append(&mut journal, &[b"three"]);
        append(&mut journal, &[b"four"]);
        journal.sync().expect("syncs");

        // then the loss is told, and the later records are in another file
        assert_eq!(journal.take_lost().map(|lost| *lost.end()), Some(2), "{kept}");
        assert_eq!(journal.head().sequence, 4, "no sequence is used twice");
        assert!(desk.segment(2).exists(), "{kept}");
    }
}

#[test]
fn bytes_that_another_program_adds_to_a_segment_are_removed() {
    let desk = Desk::new();
    let (mut journal, _) = open(&desk, calm());
    append(&mut journal, &[b"one"]);
    let length = fs::metadata(desk.segment(1)).expect("is there").len();
    let file = fs::File::options().write(true).open(desk.segment(1)).expect("opens");
    file.set_len(length + 4096).expect("grows");

    append(&mut journal, &[b"two"]);
    journal.sync().expect("syncs");
    let report = desk.verify(&[journal.head()]);
    assert_eq!((report.finding, report.torn.is_none(), report.counts.records), (None, true, 2));
}

#[test]
fn older_segments_that_were_removed_are_told_as_lost() {
    // given a journal with a segment for each record
    let desk = Desk::new();
    let (mut journal, _) = open(&desk, Options { segment_bytes: 1, ..calm() });
    for payload in [b"one", b"two", b"tri"] {
        append(&mut journal, &[payload]);
    }
    journal.sync().expect("syncs");

    // when all of them are removed
    fs::remove_dir_all(desk.path()).expect("removes");
    journal.stay_in_place().expect("goes on");

    // then the last is there again
    assert_eq!(journal.take_lost(), Some(1..=2));
    let report = desk.verify(&[journal.head()]);
    assert_eq!((report.finding, report.counts.records), (None, 1));
}

#[test]
fn a_directory_that_cannot_be_made_again_loses_nothing_while_the_file_is_open() {
    let desk = Desk::new();
    let (mut journal, _) = open(&desk, calm());
    append(&mut journal, &[b"one"]);
    fs::remove_dir_all(desk.path()).expect("removes");
    fs::write(desk.path(), "in the way").expect("writes");
    journal.sync().expect_err("there is a file in place of the directory");
    append(&mut journal, &[b"two"]);
    fs::remove_file(desk.path()).expect("removes");
    journal.sync().expect("syncs");
    let report = desk.verify(&[journal.head()]);
    assert_eq!((report.finding, report.counts.records), (None, 2));
}

#[test]
fn a_payload_that_is_too_long_is_refused_with_its_batch() {
    let desk = Desk::new();
    let (mut journal, disk) = open(&desk, calm());
    let (fits, too_long) = (vec![1; PAYLOAD_MAX], vec![1; PAYLOAD_MAX + 1]);
    let before = disk.plan().writes;
    let entries = batch(&[b"", &too_long]);
    let appended = journal.append(NOW, &entries);
    assert!(matches!(appended.failure, Some(AppendError::TooLong(1))));
    assert!(appended.written.is_empty());
    assert_eq!(disk.plan().writes, before);
    assert_eq!(try_append(&mut journal, &[&fits, &fits]), (2, None));
    assert_eq!(desk.verify(&[journal.head()]).finding, None);
}

#[test]
fn a_sync_is_due_by_bytes_and_by_age() {
    let desk = Desk::new();
    let options = Options { sync_bytes: 100, sync_age: std::time::Duration::from_millis(100), ..calm() };
    let (mut journal, _) = open(&desk, options);
    assert!(!journal.sync_due(Time(i64::MAX)));
    assert_eq!(journal.sync_in(NOW), None);
    assert_eq!(try_append(&mut journal, &[b"a"]), (1, None));
    assert!(!journal.sync_due(Time(NOW.0 + 99_999)));
    assert_eq!(journal.sync_in(Time(NOW.0 + 99_000)), Some(std::time::Duration::from_millis(1)));
    assert!(journal.sync_due(Time(NOW.0 + 100_000)));
    assert!(journal.sync_due(Time(NOW.0 - 1)), "a clock that is set back");
    assert_eq!(try_append(&mut journal, &[b"a"]), (1, None));
    assert!(journal.sync_due(NOW), "116 bytes");
    journal.sync().expect("syncs");
    assert!(!journal.sync_due(Time(i64::MAX)));
}
