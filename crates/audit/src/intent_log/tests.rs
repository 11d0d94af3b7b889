//! Tests of announcements, ends, and the intents of a killed process.

use std::path::PathBuf;
use std::sync::{Arc, Condvar};

use journal::disk::{Disk, FileSystem, Segment};
use journal::{Entry, Hash, Head, JournalId};
use model::Rng;
use uuid::Uuid;

use super::*;

const START: Now = Now::from_seconds(1_767_225_600);

/// A disk that fails or hangs on request.
#[derive(Clone, Debug, Default)]
struct Moody(Arc<(Mutex<Mood>, Condvar)>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Well,
    Full,
    Hanging,
}

impl Moody {
    fn be(&self, mood: Mood) {
        *self.0.0.lock().unwrap() = mood;
        self.0.1.notify_all();
    }

    fn wrap(&self, segment: io::Result<Box<dyn Segment>>) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(MoodySegment(self.clone(), segment?)))
    }
}

impl Disk for Moody {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        self.wrap(FileSystem.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        self.wrap(FileSystem.open(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileSystem.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        FileSystem.sync_directory(path)
    }
}

#[derive(Debug)]
struct MoodySegment(Moody, Box<dyn Segment>);

impl Segment for MoodySegment {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (mood, changed) = &*self.0.0;
        let now = changed.wait_while(mood.lock().unwrap(), |mood| *mood == Mood::Hanging).unwrap();
        if *now == Mood::Full {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            self.1.write_at(bytes, offset)
        }
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.1.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.1.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.read_at(bytes, offset)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.1.is_at(path)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.sync()
    }
}

/// An intent log in a directory, and a journal in the role of the events' journal.
struct Place {
    folder: tempfile::TempDir,
    clock: Clock,
    disk: Moody,
    intents: IntentLog,
    events: Writer,
}

fn hooks(clock: &Clock) -> Hooks {
    let clock = clock.clone();
    let clock = Box::new(move || Time(clock.now().micros()));
    Hooks { clock, notice: Box::new(|told| notice(&told)), signer: None, begin: Box::new(|| {}) }
}

fn open(directory: &Path, options: Options, disk: &Moody, clock: &Clock) -> IntentLog {
    let (journal, _) =
        Journal::open_on(Box::new(disk.clone()), directory, options, JournalId([8; 16])).unwrap();
    IntentLog::start(journal, directory, clock).unwrap()
}

impl Place {
    fn new() -> Self {
        Self::with(SEGMENTS)
    }

    fn with(options: Options) -> Self {
        let (folder, clock, disk) = (tempfile::tempdir().unwrap(), Clock::test(START), Moody::default());
        let intents = open(&folder.path().join("intents"), options, &disk, &clock);
        // Every event is synced at once.
        let synced = Options { sync_bytes: 0, ..Options::default() };
        let (journal, _) = Journal::open(&folder.path().join("events"), synced, JournalId([7; 16])).unwrap();
        let events = Writer::start(journal, Limits::default(), hooks(&clock)).unwrap();
        Self { folder, clock, disk, intents, events }
    }

    /// Announces an intent and flushes it.
    fn begin(&self, intent: &Intent) -> Option<(u64, Option<Ticket>)> {
        let origin = Origin { request_id: RequestId::parse("r-1"), ..Origin::http() };
        let begun =
            self.intents.begin(self.clock.now(), intent, &origin, &origin.actor, &self.events.state());
        self.intents.hurry();
        begun
    }

    /// Announces an intent and waits until it is written.
    fn begun(&self, user: u128) -> u64 {
        let (number, ticket) = self.begin(&intent(user)).unwrap();
        assert!(matches!(ticket.unwrap().wait(), Outcome::Written(_)));
        number
    }

    /// Writes and syncs its event.
    fn noted(&self, number: u64) {
        let ticket = self.events.submit(b"{}".to_vec());
        assert!(matches!(ticket.wait(), Outcome::Written(_)));
        while self.events.state().synced < self.events.state().head.sequence {
            std::thread::yield_now();
        }
        self.intents.note(number, |_| ticket);
    }

    /// The intents that a process leaves when it is killed now: reads a copy of the files.
    fn killed(&self) -> Vec<u64> {
        let copy = self.folder.path().join(format!("copy{}", Rng::system().bytes::<8>()[0]));
        std::fs::create_dir_all(&copy).unwrap();
        for file in std::fs::read_dir(self.folder.path().join("intents")).unwrap() {
            let path: PathBuf = file.unwrap().path();
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        let after = open(&copy, SEGMENTS, &Moody::default(), &self.clock);
        let left = after.left().into_iter().map(|left| left.number).collect();
        std::fs::remove_dir_all(&copy).unwrap();
        left
    }
}

fn intent(user: u128) -> Intent {
    use model::intent::Announced as _;

    let (user, session) = (UserUuid(Uuid::from_u128(user)), SessionId(Uuid::from_u128(user + 1)));
    model::intent::RefreshStolen { user, session, generation: 3, stamp: START }.intent()
}

#[test]
fn a_killed_process_leaves_its_open_intents() {
    let place = Place::new();
    let [noted, withdrawn, open] = [1, 2, 3].map(|user| place.begun(user));
    assert_eq!(place.killed(), [noted, withdrawn, open]);
    place.intents.withdraw(withdrawn);
    place.noted(noted);
    // The next intent carries the ends before it.
    let next = place.begun(4);
    assert_eq!(place.killed(), [open, next]);
}

#[test]
fn an_intent_is_read_back_as_it_was_announced_and_numbers_go_on() {
    let place = Place::new();
    let number = place.begun(1);
    assert!(place.intents.stop(&place.events.state(), Duration::from_secs(10)));
    let path = place.folder.path().join("intents");
    let after = open(&path, SEGMENTS, &place.disk, &place.clock);
    let expected = UnresolvedIntent {
        number,
        at: START,
        behind: 0,
        intent: intent(1),
        channel: Channel::Http,
        actor: Actor::Anonymous,
        request_id: RequestId::parse("r-1"),
    };
    assert_eq!(after.left(), [expected]);
    let next = after
        .begin(START, &intent(2), &Origin::default(), &Actor::Anonymous, &place.events.state())
        .unwrap()
        .0;
    assert!(next > number);
}

#[test]
fn a_clean_stop_leaves_no_intents() {
    let place = Place::new();
    for user in 0..10 {
        let number = place.begun(user);
        place.noted(number);
    }
    assert!(place.intents.stop(&place.events.state(), Duration::from_secs(10)));
    let after = open(&place.folder.path().join("intents"), SEGMENTS, &place.disk, &place.clock);
    assert_eq!(after.left(), []);
}

/// The event is written but not synced: a power failure may remove it, so the intent stays.
#[test]
fn an_intent_outlives_an_event_that_is_not_on_disk() {
    let place = Place::new();
    let number = place.begun(1);
    let written = place.events.submit(b"{}".to_vec());
    assert!(matches!(written.wait(), Outcome::Written(_)));
    place.intents.note(number, |_| written);
    let unsynced = State { synced: 0, ..place.events.state() };
    let mut inside = place.intents.open();
    inside.sweep(&unsynced);
    assert!(inside.intents.contains_key(&number) && inside.ended.is_empty());
    let head = Head { journal: JournalId([7; 16]), sequence: 1, hash: Hash([0; 32]) };
    inside.sweep(&State { synced: head.sequence, ..unsynced });
    assert!(inside.intents.is_empty() && inside.ended == [number]);
}

/// The event queue is full: the outcome is determined from the database while the process lives.
#[test]
fn the_intent_of_a_dropped_event_stays_unresolved() {
    let place = Place::new();
    let number = place.begun(1);
    let dropped = place.events.submit(vec![0; journal::PAYLOAD_MAX + 1]);
    assert!(matches!(dropped.wait(), Outcome::Dropped(_)));
    place.intents.note(number, |_| dropped);
    let next = place.begun(2);
    let left: Vec<_> = place.intents.left().into_iter().map(|left| (left.number, left.intent)).collect();
    assert_eq!(left, [(number, intent(1))]);
    place.noted(number);
    assert_eq!(place.intents.left(), [], "its event is queued");
    place.begun(3);
    assert!(!place.killed().contains(&number) && place.killed().contains(&next));
}

#[test]
fn a_full_disk_blocks_no_request_and_later_intents_are_announced() {
    let place = Place::new();
    place.begun(1);
    place.disk.be(Mood::Full);
    let (_, ticket) = place.begin(&intent(2)).unwrap();
    assert!(matches!(ticket.unwrap().wait(), Outcome::Delayed(_)));
    assert!(place.begin(&intent(3)).is_none(), "the failure is known");
    place.disk.be(Mood::Well);
    while place.intents.state().write_failing.is_some() {
        std::thread::yield_now();
    }
    place.begun(4);
}

#[test]
fn a_hanging_disk_is_waited_for_once() {
    let place = Place::new();
    place.begun(1);
    place.disk.be(Mood::Hanging);
    let (_, ticket) = place.begin(&intent(2)).unwrap();
    let ticket = ticket.expect("the delay is not known yet");
    place.clock.advance(Duration::from_millis(51));
    let (_, unasked) = place.begin(&intent(3)).unwrap();
    assert!(unasked.is_none(), "a later request does not wait");
    place.disk.be(Mood::Well);
    assert!(matches!(ticket.wait(), Outcome::Written(_)));
}

#[test]
fn intents_over_the_limit_are_not_announced() {
    let place = Place::new();
    while place.intents.open().intents.len() < OPEN {
        let (_, ticket) = place.begin(&intent(1)).unwrap();
        if let Some(ticket) = ticket {
            ticket.wait();
        }
    }
    assert!(place.begin(&intent(1)).is_none());
}

#[test]
fn old_segments_are_removed_and_an_old_intent_is_kept() {
    let place = Place::with(Options { segment_bytes: 16 << 10, ..SEGMENTS });
    let old = place.begun(1);
    let mut last = 0;
    for user in 0..3 * FAR {
        let (number, ticket) = place.begin(&intent(u128::from(user))).unwrap();
        ticket.unwrap().wait();
        place.intents.open().end(number);
        last = number;
    }
    assert!(last - old > 2 * FAR);
    let segments = std::fs::read_dir(place.folder.path().join("intents")).unwrap().count();
    // A segment has about 60 of them; without removal there would be 400 segments.
    assert!(segments < 250, "{segments}");
    let left = place.killed();
    assert!(left.starts_with(&[old]), "{left:?}");
}

#[test]
fn damage_loses_only_the_damaged_records() {
    let place = Place::new();
    let numbers = [1, 2, 3].map(|user| place.begun(user));
    assert!(place.intents.stop(&place.events.state(), Duration::from_secs(10)));
    let path = place.folder.path().join("intents/0000000001.journal");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|some| some == b"\"intent\"").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let after = open(&place.folder.path().join("intents"), SEGMENTS, &place.disk, &place.clock);
    let left: Vec<_> = after.left().into_iter().map(|left| left.number).collect();
    assert_eq!(left, numbers[1..]);
}

/// Records of another version, or written by hand, end no intent.
#[test]
fn records_that_are_not_intents_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(folder.path(), Options::default(), JournalId([8; 16])).unwrap();
    for payload in
        [&b"no JSON"[..], b"{}", b"{\"intent\":5,\"at\":1,\"kind\":\"made_up\"}", b"{\"ended\":[5]}"]
    {
        let entry = Entry { time: Time(1), kind: journal::Kind::Data, payload };
        assert!(journal.append(Time(1), &[entry]).failure.is_none());
    }
    drop(journal);
    assert!(open(folder.path(), SEGMENTS, &Moody::default(), &Clock::test(START)).left().is_empty());
}
