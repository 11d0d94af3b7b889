//! A disk that is full.

use super::*;

#[test]
fn a_full_disk_delays_records_and_writes_them_when_there_is_space() {
    let desk = Desk::new();
    let clock = Clock::default();
    let few = Limits { queue_entries: 3, ..limits() };
    let (writer, disk) = start_with(&desk, calm(), few, hooks(&clock));
    writer.submit(b"1".to_vec()).wait();
    disk.plan().space = Some(0);
    clock.set(100);
    let full = Outcome::Delayed(ErrorKind::StorageFull);
    assert_eq!(writer.submit(b"2".to_vec()).wait(), full);
    clock.set(200);
    assert_eq!(writer.submit(b"3".to_vec()).wait(), full);
    assert_eq!(writer.submit(b"4".to_vec()).wait(), full);
    let dropped = Outcome::Dropped(DropReason::QueueFull);

    assert_eq!(writer.submit_vouched(b"known elsewhere".to_vec()).wait(), dropped);
    assert_eq!(writer.submit(b"5".to_vec()).wait(), dropped);
    assert_eq!(writer.submit_vouched(b"known elsewhere".to_vec()).wait(), dropped);
    let failing = writer.state().write_failing.expect("the disk is full");
    assert_eq!((failing.since, failing.kind), (Time(100), ErrorKind::StorageFull));
    assert_eq!(writer.state().oldest_pending, Some(Time(100)));
    disk.plan().space = None;
    until(|| writer.state().queued == 0);
    assert_eq!(writer.state().write_failing, None);
    assert_eq!(sequence(writer.submit(b"6".to_vec()).wait()), 6);
    writer.stop(LONG);
    assert_eq!(lines(&desk), ["1", "2", "3", "4", &gap(1, 200, 200), "6"]);
    assert_eq!(desk.verify(&[]).finding, None);
}

#[test]
fn new_records_do_not_postpone_the_next_attempt() {
    let desk = Desk::new();
    let clock = Clock::default();
    let (writer, disk) = start_with(&desk, calm(), Limits { retry: LONG, ..limits() }, hooks(&clock));
    disk.plan().space = Some(0);
    let full = Outcome::Delayed(ErrorKind::StorageFull);
    assert_eq!(writer.submit(b"1".to_vec()).wait(), full);
    disk.plan().space = None;
    assert_eq!(writer.submit(b"2".to_vec()).wait(), full, "it is not time yet");
    clock.set(i64::try_from(LONG.as_micros()).expect("fits"));
    assert_eq!(sequence(writer.submit(b"3".to_vec()).wait()), 3);
    assert!(writer.stop(LONG).finished);
    assert_eq!(lines(&desk), ["1", "2", "3"]);
}

#[test]
fn a_stop_on_a_full_disk_counts_what_is_left() {
    let desk = Desk::new();
    let (writer, disk) = start(&desk, Limits { retry: LONG, ..limits() });
    writer.submit(b"1".to_vec()).wait();
    disk.plan().space = Some(0);
    writer.submit(b"2".to_vec()).wait();
    writer.submit(b"3".to_vec());
    let stopped = writer.stop(LONG);
    assert!(stopped.finished);
    assert_eq!((stopped.state.written, stopped.state.dropped, stopped.state.queued), (1, 2, 0));
    assert_eq!(desk.open().0.head().sequence, 1);
}

#[test]
fn the_next_process_reports_what_a_full_disk_refused() {
    let desk = Desk::new();
    let clock = Clock::default();
    let few = Limits { queue_entries: 4, retry: LONG, ..limits() };
    let (writer, disk) = start_with(&desk, calm(), few, hooks(&clock));
    writer.submit_vouched(b"1".to_vec()).wait();
    let noted = || std::fs::read_to_string(desk.path().join("journal.unwritten")).expect("a note");
    let nothing = noted();
    disk.plan().space = Some(0);
    clock.set(100);
    writer.submit(b"2".to_vec()).wait();
    clock.set(200);
    writer.submit_vouched(b"known elsewhere".to_vec()).wait();

    for count in 2..=5 {
        writer.submit(b"lost".to_vec()).wait();
        assert!(noted().starts_with(&format!("{count:020} ")), "whoever is told is counted: {}", noted());
    }

    writer.submit_vouched(b"known elsewhere".to_vec()).wait();
    // A copy of the files now is the state after kill -9.
    let killed = Desk::new();
    for file in std::fs::read_dir(desk.path()).expect("lists").map(|file| file.expect("a file")) {
        std::fs::copy(file.path(), killed.path().join(file.file_name())).expect("copies");
    }
    let (after, _) = start_with(&killed, calm(), limits(), hooks(&clock));
    assert_eq!(sequence(after.submit(b"next".to_vec()).wait()), 3);
    assert_eq!(lines(&killed), ["1", &gap(5, 100, 200), "next"]);
    assert!(writer.stop(LONG).finished);
    // The next process has no space for that either.
    let disk = Faulty::default();
    disk.plan().space = Some(0);
    let (journal, _) = Journal::open_on(Box::new(disk), desk.path(), calm(), ID).expect("opens");
    let full = Writer::start(journal, limits(), hooks(&clock)).expect("starts");
    full.submit(b"lost, too".to_vec()).wait();
    assert!(full.stop(LONG).finished);
    let (last, _) = start_with(&desk, calm(), limits(), hooks(&clock));
    last.submit(b"next".to_vec()).wait();
    assert_eq!(lines(&desk), ["1", &gap(6, 100, 200), "next"]);
    assert_eq!(noted(), nothing, "it is told once");
    assert!(last.stop(LONG).finished);
    assert_eq!(desk.verify(&[]).finding, None);
}

#[test]
fn later_records_are_not_noted_once_the_refused_ones_are_written() {
    let desk = Desk::new();
    let clock = Clock::default();
    let (writer, disk) = start_with(&desk, calm(), limits(), hooks(&clock));
    let noted = || std::fs::read_to_string(desk.path().join("journal.unwritten")).expect("a note");
    let nothing = noted();
    disk.plan().space = Some(0);
    writer.submit(b"refused".to_vec()).wait();
    until(|| noted() != nothing);
    disk.plan().hang = true;
    disk.until_hanging();
    disk.plan().space = None;
    writer.submit(b"delayed".to_vec());

    // Each step writes a group and the note, until the next group hangs.
    let pass = || {
        let before = disk.plan().writes;
        disk.pass(2);
        until(|| disk.plan().writes == before + 2);
    };

    pass();
    assert!(noted().starts_with("00000000000000000001 "));
    let after = writer.submit(b"after".to_vec());
    pass();
    assert_eq!(noted(), nothing, "else each group waits for a note to be synced while there is another one");
    disk.release();
    assert_eq!(sequence(after.wait()), 3);
    assert!(writer.stop(LONG).finished);
}
