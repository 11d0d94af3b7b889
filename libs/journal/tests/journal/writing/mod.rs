//! The writer with its own thread.

mod full;

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use journal::{
    Activity, Checkpoint, DropReason, Gap, Hooks, Journal, Kind, Limits, Notice, Options, Outcome,
    PAYLOAD_MAX, Reader, Signer, Time, Writer, verify,
};

use crate::desk::{Desk, ID, append, calm};
use crate::faulty::Faulty;

/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(10);

/// A clock that stands still until it is set.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn set(&self, time: i64) {
        self.0.store(time, Ordering::Relaxed);
    }
}

fn limits() -> Limits {
    Limits { checkpoint_every: LONG, retry: Duration::from_millis(1), ..Limits::default() }
}

fn hooks(clock: &Clock) -> Hooks {
    let clock = clock.clone();
    Hooks {
        clock: Box::new(move || Time(clock.0.load(Ordering::Relaxed))),
        notice: Box::new(|notice| format!("{notice:?}").into_bytes()),
        signer: None,
        begin: Box::new(|| {}),
    }
}

fn start_with(desk: &Desk, options: Options, limits: Limits, hooks: Hooks) -> (Writer, Faulty) {
    let disk = Faulty::default();
    let (journal, _) = Journal::open_on(Box::new(disk.clone()), desk.path(), options, ID).expect("opens");
    (Writer::start(journal, limits, hooks).expect("starts"), disk)
}

fn start(desk: &Desk, limits: Limits) -> (Writer, Faulty) {
    start_with(desk, calm(), limits, hooks(&Clock::default()))
}

/// The payloads of the journal, as text.
fn lines(desk: &Desk) -> Vec<String> {
    let mut reader = Reader::open(desk.path());
    let mut lines = Vec::new();
    while let Some(record) = reader.read().expect("reads") {
        lines.push(match record.kind {
            Kind::Data => String::from_utf8_lossy(record.payload).into_owned(),
            Kind::Checkpoint => "checkpoint".to_owned(),
        });
    }
    lines
}

fn gap(count: u64, first: i64, last: i64) -> String {
    format!("{:?}", Notice::Gap(Gap { count, first: Time(first), last: Time(last) }))
}

fn sequence(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Written(written) => written.sequence,
        other => panic!("{other:?}"),
    }
}

/// Polls until it is true, while the thread works.
fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

#[test]
fn records_are_written_in_the_order_of_submission() {
    let desk = Desk::new();
    let (writer, _) = start(&desk, limits());
    let tickets: Vec<_> = (0..100).map(|number| writer.submit(format!("{number}").into_bytes())).collect();
    for (ticket, expected) in tickets.iter().zip(1..) {
        assert_eq!(sequence(ticket.wait()), expected);
        assert_eq!(ticket.wait_timeout(Duration::ZERO), ticket.outcome());
    }
    let state = writer.state();
    assert_eq!((state.written, state.bytes, state.dropped, state.queued), (100, 190, 0, 0));
    assert_eq!((state.head.sequence, state.oldest_pending, state.busy), (100, None, None));
    let stopped = writer.stop(LONG);
    assert!(stopped.finished && !stopped.state.running);
    assert_eq!(stopped.state.synced, 100);
    assert_eq!(lines(&desk), (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(desk.verify(&[state.head]).finding, None);
    desk.open();
}

#[test]
fn records_submitted_during_a_write_are_in_the_next_one() {
    let desk = Desk::new();
    let (writer, disk) = start(&desk, limits());
    writer.submit(b"first".to_vec()).wait();
    disk.plan().hang = true;
    let hanging = writer.submit(b"second".to_vec());
    disk.until_hanging();
    let others: Vec<_> = (0..50).map(|_| writer.submit(b"other".to_vec())).collect();
    let before = disk.plan().writes;
    disk.release();
    assert_eq!(sequence(hanging.wait()), 2);
    assert_eq!(sequence(others[49].wait()), 52);
    assert_eq!(disk.plan().writes, before + 1);
}

#[test]
fn lazy_records_are_written_with_the_next_one_or_on_hurry() {
    let desk = Desk::new();
    let clock = Clock::default();
    let (writer, disk) = start_with(&desk, calm(), limits(), hooks(&clock));
    writer.submit(b"first".to_vec()).wait();
    let before = disk.plan().writes;
    let lazy = [(); 3].map(|()| writer.submit_lazily(b"lazy".to_vec()));
    assert_eq!((writer.state().queued, writer.state().oldest_pending), (3, None), "nobody misses them");
    clock.set(9);
    writer.hurry();
    writer.hurry();
    assert_eq!(sequence(lazy[2].wait()), 4);
    assert_eq!(disk.plan().writes, before + 1, "in one write");

    let earlier = writer.submit_lazily(b"earlier".to_vec());
    assert_eq!(sequence(writer.submit(b"next".to_vec()).wait()), 6);
    assert_eq!(sequence(earlier.wait()), 5);
    disk.plan().hang = true;
    writer.submit_lazily(b"late".to_vec());
    clock.set(11);
    writer.hurry();
    disk.until_hanging();
    assert_eq!(writer.state().oldest_pending, Some(Time(11)), "since it was hurried");
    let last = writer.submit_lazily(b"last".to_vec());
    disk.release();
    assert!(writer.stop(LONG).finished);
    assert_eq!(sequence(last.wait()), 8, "who stops leaves nothing behind");
}

#[test]
fn a_hanging_disk_blocks_no_submitter_and_is_visible() {
    let desk = Desk::new();
    let clock = Clock::default();
    let (writer, disk) = start_with(&desk, calm(), limits(), hooks(&clock));
    writer.submit(b"first".to_vec()).wait();
    disk.plan().hang = true;
    clock.set(5);
    let hanging = writer.submit(b"second".to_vec());
    disk.until_hanging();
    clock.set(7);
    let queued = writer.submit(b"third".to_vec());
    assert_eq!((hanging.outcome(), queued.outcome()), (None, None));

    assert_eq!(queued.wait_timeout(Duration::from_millis(1)), None);
    let state = writer.state();
    assert_eq!(state.oldest_pending, Some(Time(5)));
    assert_eq!(state.busy, Some((Activity::Write, Time(5))));
    assert_eq!((state.queued, state.queued_bytes, state.write_failing), (2, 11, None));
    assert!(!writer.stop(Duration::from_millis(1)).finished);
    let late = writer.submit(b"late".to_vec());
    assert_eq!(late.outcome(), Some(Outcome::Dropped(DropReason::Stopped)));
    disk.release();
    assert!(writer.stop(LONG).finished);
    assert_eq!((sequence(hanging.wait()), sequence(queued.wait())), (2, 3));
    assert_eq!(lines(&desk), ["first", "second", "third"]);
}

#[test]
fn an_overflow_is_recorded_once_in_its_place_with_its_count() {
    for by_bytes in [false, true] {
        let desk = Desk::new();
        let clock = Clock::default();
        let some = if by_bytes {
            Limits { queue_bytes: 3, ..limits() }
        } else {
            Limits { queue_entries: 3, ..limits() }
        };

        let (writer, disk) = start_with(&desk, calm(), some, hooks(&clock));
        disk.plan().hang = true;
        let first = writer.submit(b"1".to_vec());
        disk.until_hanging();
        writer.submit(b"2".to_vec());
        writer.submit(b"3".to_vec());

        for time in 10..17 {
            clock.set(time);
            let ticket = writer.submit(b"x".to_vec());
            assert_eq!(ticket.outcome(), Some(Outcome::Dropped(DropReason::QueueFull)));
        }

        assert_eq!(writer.state().dropped, 7);
        disk.release();
        first.wait();
        until(|| writer.state().queued == 0);
        writer.submit(b"4".to_vec()).wait();
        writer.stop(LONG);
        assert_eq!(lines(&desk), ["1", "2", "3", &gap(7, 10, 16), "4"]);
        assert_eq!(desk.verify(&[]).finding, None);
    }
}

#[test]
fn a_record_that_is_too_long_is_counted_too() {
    let desk = Desk::new();
    let (writer, _) = start(&desk, limits());
    let ticket = writer.submit(vec![0; PAYLOAD_MAX + 1]);
    assert_eq!(ticket.wait(), Outcome::Dropped(DropReason::TooLong));
    writer.submit(b"next".to_vec()).wait();
    writer.stop(LONG);
    assert_eq!(lines(&desk), [gap(1, 0, 0), "next".to_owned()]);
}

#[test]
fn syncs_come_by_bytes_and_by_time() {
    let desk = Desk::new();
    let options = Options { sync_bytes: 1, ..calm() };
    let (writer, disk) = start_with(&desk, options, limits(), hooks(&Clock::default()));
    writer.submit(b"1".to_vec()).wait();
    until(|| writer.state().synced == 1);
    writer.stop(LONG);
    assert!(disk.plan().syncs > 0);
    // the thread waits in real time; the clock stands still
    let desk = Desk::new();
    let options = Options { sync_age: Duration::from_millis(1), ..calm() };
    let (writer, _) = start_with(&desk, options, limits(), hooks(&Clock::default()));
    writer.submit(b"1".to_vec()).wait();
    until(|| writer.state().synced == 1);
}

#[test]
fn a_failed_sync_is_recorded_and_forgotten_when_the_next_works() {
    let desk = Desk::new();
    let clock = Clock::default();
    let options = Options { sync_bytes: 1, ..calm() };
    let (writer, disk) = start_with(&desk, options, limits(), hooks(&clock));
    writer.submit(b"1".to_vec()).wait();
    until(|| writer.state().synced == 1);
    disk.plan().sync = Some(ErrorKind::Other);
    clock.set(50);
    writer.submit(b"2".to_vec()).wait();
    until(|| writer.state().sync_failing.is_some());
    let failing = writer.state().sync_failing.expect("just seen");
    assert_eq!((failing.since, failing.kind), (Time(50), ErrorKind::Other));
    assert_eq!(writer.state().synced, 1);

    disk.plan().sync = None;
    clock.set(1_000_000_000);
    until(|| writer.state().sync_failing.is_none());
    writer.submit(b"3".to_vec()).wait();
    let stopped = writer.stop(LONG);
    assert_eq!(stopped.state.synced, stopped.state.head.sequence);
    let lines = lines(&desk);
    assert_eq!(lines[..3], ["1", "2", "Unsynced(2..=2)"]);
    // the notice itself is in doubt if the clock was set only after its sync had failed
    assert!(lines[3..] == ["3"] || lines[3..].contains(&"Unsynced(3..=3)".to_owned()), "{lines:?}");
    let report = desk.verify(&[]);
    assert_eq!(report.finding, None);
    assert!(report.segments >= 2);
}

fn signer(signs: bool) -> Signer {
    let sign = move |message: &[u8]| signs.then(|| message.iter().rev().copied().collect());
    Signer { key_id: b"key 1".to_vec(), statement: Box::new(|| b"said".to_vec()), sign: Box::new(sign) }
}

#[test]
fn checkpoints_come_with_the_first_records_with_their_period_and_at_the_end() {
    let desk = Desk::new();
    let clock = Clock::default();
    let hooks = Hooks { signer: Some(signer(true)), ..hooks(&clock) };
    let (writer, _) = start_with(&desk, calm(), limits(), hooks);
    writer.submit(b"1".to_vec()).wait();
    until(|| writer.state().checkpoints == 1);
    // the interval must pass first
    writer.submit(b"2".to_vec()).wait();
    assert_eq!(sequence(writer.submit(b"3".to_vec()).wait()), 4);
    clock.set(i64::try_from(LONG.as_micros()).expect("not that long"));
    writer.submit(b"4".to_vec()).wait();
    until(|| writer.state().checkpoints == 2);
    writer.submit(b"5".to_vec()).wait();

    let stopped = writer.stop(LONG);
    assert_eq!((stopped.state.checkpoints, stopped.state.synced), (3, 8));
    // The thread may see the new time before it sees the fourth record.
    let lines = lines(&desk);
    assert_eq!(lines[..4], ["1", "checkpoint", "2", "3"]);
    assert_eq!(lines[6..], ["5", "checkpoint"]);
    let second = 5 + u64::from(lines[4] == "4");
    let (mut ids, mut previous) = (Vec::new(), Vec::new());
    let is_right = |checkpoint: &Checkpoint| {
        ids.push(checkpoint.key_id.clone());
        previous.push(checkpoint.previous);
        assert_eq!(checkpoint.statement, b"said");
        checkpoint.signature.iter().rev().eq(&checkpoint.message())
    };
    let report = verify(desk.path(), None, &[], is_right, |_| {}).expect("reads");
    assert_eq!((report.finding, report.counts.checkpoints, report.unsigned), (None, 3, Vec::new()));
    assert_eq!((ids, previous), (vec![b"key 1".to_vec(); 3], vec![0, 2, second]));
}

#[test]
fn a_checkpoint_comes_after_enough_records_also_before_the_period_is_over() {
    let desk = Desk::new();
    let clock = Clock::default();
    let few = Limits { checkpoint_records: 2, ..limits() };
    let hooks = Hooks { signer: Some(signer(true)), ..hooks(&clock) };
    let (writer, _) = start_with(&desk, calm(), few, hooks);
    for (payload, checkpoints) in [(b"1", 1), (b"2", 1), (b"3", 2), (b"4", 2)] {
        writer.submit(payload.to_vec()).wait();
        until(|| writer.state().checkpoints == checkpoints);
    }
    writer.stop(LONG);
    assert_eq!(lines(&desk), ["1", "checkpoint", "2", "3", "checkpoint", "4", "checkpoint"]);
}

#[test]
fn a_killed_writers_last_records_are_signed_at_the_next_start() {
    // given a journal whose writer ended before it signed
    let desk = Desk::new();
    let (mut journal, _) = desk.open();
    append(&mut journal, &[b"1"]);
    drop(journal);

    // when a writer starts, which gets no record
    let hooks = Hooks { signer: Some(signer(true)), ..hooks(&Clock::default()) };
    let (writer, _) = start_with(&desk, calm(), limits(), hooks);
    until(|| writer.state().checkpoints == 1);
    writer.stop(LONG);

    // then the record is covered, with a notice that another process wrote it
    assert_eq!(lines(&desk), ["1", "Adopted(1..=1)", "checkpoint"]);
    let mut read = Vec::new();
    let latest = journal::latest_checkpoint(desk.path(), |record| read.push(record.sequence));
    assert_eq!(latest.expect("reads").map(|latest| latest.head.sequence), Some(2));
    assert_eq!(read, [1, 2, 3]);
}

#[test]
fn a_signer_that_refuses_is_counted() {
    let desk = Desk::new();
    let hooks = Hooks { signer: Some(signer(false)), ..hooks(&Clock::default()) };
    let (writer, _) = start_with(&desk, calm(), limits(), hooks);
    writer.submit(b"1".to_vec()).wait();
    let state = writer.stop(LONG).state;
    assert_eq!((state.checkpoints, state.unsigned, state.synced), (0, 2, 1), "at first and at the end");
}

#[test]
fn old_segments_are_removed_by_the_thread() {
    let desk = Desk::new();
    let options = Options { segment_bytes: 1, ..calm() };
    let (writer, disk) = start_with(&desk, options, limits(), hooks(&Clock::default()));
    for _ in 0..5 {
        writer.submit(b"x".to_vec()).wait();
    }
    disk.plan().remove = Some(ErrorKind::PermissionDenied);
    writer.remove_before(4);
    until(|| writer.state().remove_failing.is_some());
    disk.plan().remove = None;
    writer.remove_before(4);
    until(|| writer.state().remove_failing.is_none());
    assert!(!desk.segment(3).exists() && desk.segment(4).exists());
    writer.stop(LONG);
    assert_eq!(desk.verify(&[]).finding, None);
}

/// Counts, and notifies the test's thread.
#[derive(Default)]
struct Bell {
    rings: AtomicUsize,
    rung: (Mutex<bool>, Condvar),
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        *self.rung.0.lock().expect("nobody panicked") = true;
        self.rung.1.notify_all();
    }
}

#[test]
fn a_ticket_is_a_future() {
    let desk = Desk::new();
    let (writer, disk) = start(&desk, limits());
    disk.plan().hang = true;
    let mut ticket = pin!(writer.submit(b"1".to_vec()));
    disk.until_hanging();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    assert_eq!(ticket.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
    assert_eq!(ticket.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
    disk.release();
    let rung = bell.rung.0.lock().expect("nobody panicked");
    drop(bell.rung.1.wait_while(rung, |rung| !*rung).expect("nobody panicked"));
    let Poll::Ready(outcome) = ticket.as_mut().poll(&mut Context::from_waker(&waker)) else {
        panic!("woken without an outcome")
    };
    assert_eq!((sequence(outcome), bell.rings.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn a_thread_that_dies_releases_every_waiter() {
    let desk = Desk::new();
    let (began, was_begun) = mpsc::channel();
    let notice = move |_: Notice| -> Vec<u8> {
        began.send(()).expect("somebody listens");
        panic!("for this test")
    };
    let hooks = Hooks { notice: Box::new(notice), ..hooks(&Clock::default()) };
    let few = Limits { queue_entries: 2, ..limits() };
    let (writer, disk) = start_with(&desk, calm(), few, hooks);
    disk.plan().hang = true;
    writer.submit(b"1".to_vec());
    disk.until_hanging();
    let second = writer.submit(b"2".to_vec());
    writer.submit(b"dropped".to_vec());
    disk.release();
    was_begun.recv().expect("it began");
    assert_eq!(second.wait(), Outcome::Dropped(DropReason::Stopped));
    let stopped = writer.stop(LONG);
    assert!(!stopped.finished && !stopped.state.running);
    let third = writer.submit(b"3".to_vec());
    assert_eq!(third.wait(), Outcome::Dropped(DropReason::Stopped));
    assert_eq!(writer.state().dropped, 3);
}

#[test]
fn many_threads_submit_and_every_record_is_written_once() {
    let desk = Desk::new();
    let options = Options { segment_bytes: 20_000, ..Options::default() };
    let (writer, _) = start_with(&desk, options, limits(), hooks(&Clock::default()));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let writer = &writer;
            scope.spawn(move || {
                for number in 0..500 {
                    writer.submit(format!("{thread} {number:03}").into_bytes()).wait();
                }
            });
        }
    });
    assert_eq!(writer.stop(LONG).state.written, 2000);
    let mut lines = lines(&desk);
    lines.sort();
    let expected = (0..4).flat_map(|thread| (0..500).map(move |number| format!("{thread} {number:03}")));
    assert_eq!(lines, expected.collect::<Vec<_>>());
}
