//! Shippers of journals: every record arrives once and in order, whatever fails.

mod backlog;
mod keys;
mod receiver;
mod sinks;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use journal::{Checkpoint, Entry, Journal, JournalId, Kind, Options, Time};
use model::Now;
use serde_json::Value;
use store::audit_db::{Audit, Cursor, Filter, Record};
use store::queries::audit_key;
use tokio_util::sync::CancellationToken;

use audit::ship::{JournalTail, ShipStats, Shipper, ShipperSettings};
use audit::sinks::{Database, Sink, SinkError};
use audit::{Refused, SET_ASIDE, Voucher};
use fixtures::{Engine, Log};
use store::audit_db::{Place, Shipment, Shipped};

use crate::node::{Node, node, node_with};

const ID: JournalId = JournalId([5; 16]);
const OTHER: JournalId = JournalId([6; 16]);

/// A sink that fails on demand: unavailable, refusing one sequence, or losing an answer.
struct FaultySink {
    inner: std::sync::Mutex<Arc<Audit>>,
    away: AtomicBool,
    refused: AtomicI64,
    /// The answer is lost, but the batch is stored.
    deaf: AtomicBool,
}

/// The database as a sink, with a voucher that signs nothing.
fn database(audit: Arc<Audit>) -> Database {
    Database::new(audit, Arc::new(Voucher::new(None)))
}

impl FaultySink {
    fn new(audit: Audit) -> Self {
        let [away, deaf] = [false, false].map(AtomicBool::new);
        Self { inner: std::sync::Mutex::new(Arc::new(audit)), away, refused: AtomicI64::new(0), deaf }
    }

    fn inner(&self) -> Database {
        database(Arc::clone(&self.inner.lock().unwrap()))
    }
}

impl Sink for FaultySink {
    async fn resume(&self, journal: [u8; 16]) -> Result<Option<Place>, SinkError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(store::Error::Unavailable("away".to_owned()).into());
        }
        self.inner().resume(journal).await
    }

    async fn take(&self, parked: &runtime::Parked<'_>, shipment: Shipment) -> Result<Shipped, SinkError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(store::Error::Unavailable("away".to_owned()).into());
        }
        let refused = self.refused.load(Ordering::SeqCst);
        if shipment.records.iter().any(|record| record.sequence == refused) {
            return Ok(Shipped::Refused("it is poison".to_owned()));
        }
        let shipped = self.inner().take(parked, shipment).await;
        if self.deaf.swap(false, Ordering::SeqCst) {
            return Err(store::Error::OutcomeUnknown.into());
        }
        shipped
    }

    async fn maintain(&self, now: Now, before: Now) -> Result<bool, SinkError> {
        self.inner().maintain(now, before).await
    }
}

/// Opens the journal in the node's data directory.
fn open(folder: &Path, id: JournalId, segment_bytes: u64) -> Journal {
    let options = Options { segment_bytes, ..Options::default() };
    Journal::open(&folder.join("journal"), options, id).unwrap().0
}

fn payload(n: u64) -> Vec<u8> {
    let user = uuid::Uuid::from_u128(u128::from(n));
    let text = format!(
        "{{\"v\":1,\"at\":\"2026-01-01T00:00:00.000000Z\",\"kind\":\"login_succeeded\",\"user\":\"{user}\",\
         \"via\":\"http\",\"request_id\":\"r{n}\"}}"
    );
    text.into_bytes()
}

/// Appends events numbered from `first`, one microsecond apart.
fn append(journal: &mut Journal, node: &Node, first: u64, count: u64) {
    let now = node.clock.now().micros();
    let payloads: Vec<_> = (first..first + count).map(payload).collect();
    for (n, payload) in payloads.iter().enumerate() {
        let time = Time(now + i64::try_from(n).unwrap());
        let appended = journal.append(time, &[Entry { time, kind: Kind::Data, payload }]);
        assert!(appended.failure.is_none());
    }
}

fn settings(folder: &Path) -> ShipperSettings {
    ShipperSettings {
        name: "ship_audit",
        journal: folder.join("journal"),
        keys: Some(folder.join("keys")),
        dead_letters: folder.join("dead-letter.jsonl"),
        node: "a node".to_owned(),
        ..ShipperSettings::default()
    }
}

fn shipper(node: &Node) -> Shipper<FaultySink> {
    Shipper::new(settings(node.folder.path()), FaultySink::new(node.open_audit()))
}

async fn rows(node: &Node) -> Vec<Record> {
    let begin = Cursor::before(Now::from_micros(i64::MIN));
    let mut rows = node.audit_db.page(&Filter::default(), begin, 100_000).await.unwrap();
    rows.sort_by_key(|row| (row.journal, row.sequence));
    rows
}

async fn sequences(node: &Node) -> Vec<i64> {
    rows(node).await.iter().map(|row| row.sequence).collect()
}

fn letters(node: &Node) -> Vec<Value> {
    let text = std::fs::read_to_string(node.folder.path().join("dead-letter.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn records_are_stored_unchanged_once_and_in_order() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 2000);
    let job = shipper(&node);
    append(&mut journal, &node, 1, 25);
    node.runner.settle(&job).await.unwrap();
    append(&mut journal, &node, 26, 5);
    node.runner.settle(&job).await.unwrap();

    let rows = rows(&node).await;
    assert_eq!(rows.iter().map(|row| row.sequence).collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    assert_eq!(rows[6].payload, payload(7));
    assert_eq!((rows[6].kind.as_str(), rows[6].request_id.as_deref()), ("login_succeeded", Some("r7")));
    assert_eq!(rows[6].user, Some(model::UserUuid(uuid::Uuid::from_u128(7))));
    assert_eq!(rows[29].hash, journal.head().hash.0);
    let known = node.audit_db.journal(ID.0).await.unwrap().unwrap();
    assert_eq!((known.shipped.sequence, known.shipped.hash), (30, journal.head().hash.0));
    assert_eq!((known.node.as_str(), known.kept.sequence), ("a node", 0));
    let shipping = job.shipping();
    assert_eq!((shipping.shipped(), shipping.dead(), shipping.last_error()), (30, 0, None));
}

#[tokio::test]
async fn a_restarted_shipper_continues_after_a_lost_answer() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1500);
    append(&mut journal, &node, 1, 10);
    let first = shipper(&node);
    first.sink().deaf.store(true, Ordering::SeqCst);
    node.runner.step(&first).await.unwrap_err();
    assert!(first.shipping().last_error().is_some());
    assert_eq!(sequences(&node).await.len(), 10, "stored, although the answer was lost");
    node.runner.settle(&first).await.unwrap();
    drop(first);
    append(&mut journal, &node, 11, 10);
    let second = shipper(&node);
    node.runner.settle(&second).await.unwrap();
    assert_eq!(sequences(&node).await, (1..=20).collect::<Vec<_>>());
    assert_eq!(second.shipping().shipped(), 10, "stored records are not shipped again");
}

#[tokio::test]
async fn nothing_is_lost_while_the_database_is_unavailable() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    let job = shipper(&node);
    append(&mut journal, &node, 1, 3);
    node.runner.settle(&job).await.unwrap();
    job.sink().away.store(true, Ordering::SeqCst);
    append(&mut journal, &node, 4, 3);
    for _ in 0..3 {
        node.runner.step(&job).await.unwrap_err();
    }
    job.sink().away.store(false, Ordering::SeqCst);
    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&node).await, (1..=6).collect::<Vec<_>>());
    assert_eq!(job.shipping().last_error(), None);
}

#[tokio::test]
async fn a_refused_record_is_set_aside_and_the_others_are_shipped() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 40);
    let job = shipper(&node);
    job.sink().refused.store(17, Ordering::SeqCst);
    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&node).await, (1..=40).filter(|n| *n != 17).collect::<Vec<_>>());
    let letters = letters(&node);
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0]["sequence"].as_i64(), letters[0]["reason"].as_str()),
        (Some(17), Some("it is poison"))
    );
    assert_eq!(letters[0]["journal"], ID.to_string());
    assert_eq!((job.shipping().dead(), job.shipping().shipped()), (1, 39));
}

#[tokio::test]
async fn an_unreadable_record_is_skipped_and_reported() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 10);
    drop(journal);
    let path = node.folder.path().join("journal/0000000001.journal");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|some| some == b"\"r5\"").unwrap();
    bytes[at + 1] = b'x';
    std::fs::write(&path, bytes).unwrap();
    let job = shipper(&node);
    let log = Log::default();
    let logging = tracing::subscriber::set_default(log.subscriber());
    node.runner.settle(&job).await.unwrap();
    drop(logging);
    assert_eq!(sequences(&node).await, [1, 2, 3, 4, 6, 7, 8, 9, 10]);
    let errors = log.lines("ERROR");
    assert!(matches!(&errors[..], [one] if one.contains("record 5")), "{errors:?}");
    let letters = letters(&node);
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0]["from"].as_i64(), letters[0]["to"].as_i64()), (Some(5), Some(5)));
    assert!(letters[0]["reason"].as_str().unwrap().contains("record 5"), "{letters:?}");
    assert_eq!(job.shipping().dead(), 1);
}

#[tokio::test]
async fn a_payload_that_is_not_an_event_is_shipped() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    let time = Time(node.clock.now().micros());
    let entry = Entry { time, kind: Kind::Data, payload: b"\xff\x00 no JSON" };
    assert!(journal.append(time, &[entry]).failure.is_none());
    node.runner.settle(&shipper(&node)).await.unwrap();
    let rows = rows(&node).await;
    assert_eq!((rows[0].kind.as_str(), rows[0].payload.as_slice()), ("unknown", entry.payload));
}

#[tokio::test]
async fn a_new_journal_after_a_wipe_is_shipped() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 3);
    let job = shipper(&node);
    node.runner.settle(&job).await.unwrap();
    drop(journal);
    std::fs::remove_dir_all(node.folder.path().join("journal")).unwrap();
    node.runner.settle(&job).await.unwrap();
    let mut journal = open(node.folder.path(), OTHER, 1 << 20);
    append(&mut journal, &node, 1, 2);
    // The shipper notices the new journal within the hour, or at a restart.
    node.clock.advance(Duration::from_hours(1));
    node.runner.settle(&job).await.unwrap();
    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&node).await, [1, 2, 3, 1, 2]);
    assert_eq!(node.audit_db.journals().await.unwrap().len(), 2);
    assert_eq!(letters(&node), Vec::<Value>::new());
}

#[tokio::test]
async fn a_tail_that_was_lost_and_rewritten_is_reported_and_shipped() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 3);
    drop(journal);
    let path = node.folder.path().join("journal/0000000001.journal");
    let three = std::fs::read(&path).unwrap();
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 4, 2);
    drop(journal);
    node.runner.settle(&shipper(&node)).await.unwrap();
    std::fs::write(&path, three).unwrap();
    node.clock.advance(Duration::from_secs(1));
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 40, 3);
    node.runner.settle(&shipper(&node)).await.unwrap();
    assert_eq!(sequences(&node).await, [1, 2, 3, 4, 4, 5, 5, 6], "both versions stay");
    assert_eq!(letters(&node).len(), 1);
    assert_eq!(node.audit_db.journal(ID.0).await.unwrap().unwrap().shipped.sequence, 6);
}

#[tokio::test]
async fn only_records_that_are_ready_are_shipped() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 5);
    let synced = Arc::new(AtomicU64::new(3));
    let ready = Arc::clone(&synced);
    let settings = ShipperSettings {
        ready: Arc::new(move || ready.load(Ordering::SeqCst)),
        ..settings(node.folder.path())
    };
    let job = Shipper::new(settings, FaultySink::new(node.open_audit()));
    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&node).await, [1, 2, 3]);
    synced.store(5, Ordering::SeqCst);
    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&node).await, [1, 2, 3, 4, 5]);
    assert_eq!(job.shipping().backlog(), 0);
}

/// A checkpoint that is not signed yet.
fn checkpoint(head: journal::Head, time: Time) -> Checkpoint {
    Checkpoint {
        head,
        previous: 0,
        time,
        statement: Vec::new(),
        key_id: b"k1".to_vec(),
        signature: Vec::new(),
    }
}

#[tokio::test]
async fn keys_are_stored_before_events_and_checkpoints_become_heads() {
    let node = node().await;
    let keys = node.folder.path().join("keys");
    let user = uuid::Uuid::from_u128(9);
    std::fs::write(&keys, format!("00112233445566aa {user} c2VhbGVk\nno key\n0011223344556677 {user} cut"))
        .unwrap();

    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 2);
    let (head, time) = (journal.head(), Time(node.clock.now().micros()));
    let checkpoint = checkpoint(head, time).signed(|_| Some(vec![1; 64])).unwrap().format();
    let entry = Entry { time, kind: Kind::Checkpoint, payload: &checkpoint };
    assert!(journal.append(time, &[entry]).failure.is_none());

    let job = shipper(&node);
    job.sink().away.store(true, Ordering::SeqCst);
    node.runner.step(&job).await.unwrap_err();
    job.sink().away.store(false, Ordering::SeqCst);
    node.runner.settle(&job).await.unwrap();

    let mut lease = node.lease();
    let mut read = lease.read().await.unwrap();
    let id = 0x0011_2233_4455_66aa_u64.to_be_bytes();
    let key = read.one(audit_key::find(&id)).await.unwrap().unwrap();
    assert_eq!((key.user.0, key.sealed.as_slice()), (user, b"c2VhbGVk".as_slice()));
    drop(lease);

    let heads = node.audit_db.heads(ID.0, 0, 10).await.unwrap();
    assert_eq!(heads.len(), 1);
    assert_eq!((heads[0].sequence, heads[0].hash, &heads[0].checkpoint), (2, head.hash.0, &checkpoint));
    assert_eq!(rows(&node).await[2].kind, "audit_checkpoint");

    // The truncated line is complete now.
    std::fs::write(&keys, format!("0011223344556677 {user} whole\n")).unwrap();
    append(&mut journal, &node, 4, 1);
    node.runner.settle(&job).await.unwrap();
    let mut lease = node.lease();
    let whole = 0x0011_2233_4455_6677_u64.to_be_bytes();
    assert!(lease.read().await.unwrap().one(audit_key::find(&whole)).await.unwrap().is_some());
}

#[tokio::test]
async fn postgres_refuses_a_record_with_a_nul_character_and_takes_the_rest() {
    let node = node_with(Engine::Postgres, fixtures::Options::default()).await;

    let mut journal = open(node.folder.path(), ID, 3000);
    append(&mut journal, &node, 1, 30);
    let time = Time(node.clock.now().micros());
    let entry = Entry { time, kind: Kind::Data, payload: br#"{"kind":"x","request_id":"a\u0000b"}"# };
    assert!(journal.append(time, &[entry]).failure.is_none());
    append(&mut journal, &node, 32, 30);

    let job = Shipper::new(settings(node.folder.path()), database(Arc::new(node.open_audit())));
    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&node).await, (1..=61).collect::<Vec<_>>());

    let rows = rows(&node).await;
    let letter = Refused::in_row(&rows[30]).unwrap();
    assert_eq!((rows[30].kind.as_str(), letter.payload.as_slice()), (SET_ASIDE, entry.payload));
    assert_eq!(letters(&node)[0]["sequence"], 31);

    let mut reader = journal::Reader::open(&node.folder.path().join("journal"));
    let mut chain = journal::Chain::new(ID);
    while let Some(record) = reader.read().unwrap() {
        chain.check(&record).unwrap();
        if record.sequence == 31 {
            assert_eq!(letter.record(), Some(record), "the dead letter has the whole record");
        }
    }

    assert_eq!(rows.iter().filter(|row| Refused::in_row(row).is_some()).count(), 1);
    assert_eq!(node.audit_db.partitions().await.unwrap(), ["audit_events_2026_01", "audit_events_2026_02"]);
}

/// Enough records for several batches, by number and by bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_records_are_shipped_in_full_batches() {
    let node = node_with(Engine::Postgres, fixtures::Options::default()).await;

    let mut journal = open(node.folder.path(), ID, 64 << 20);
    append(&mut journal, &node, 1, 4500);
    let time = Time(node.clock.now().micros());
    let long = vec![b'x'; 600 << 10];
    for _ in 0..3 {
        let entry = Entry { time, kind: Kind::Data, payload: &long };
        assert!(journal.append(time, &[entry]).failure.is_none());
    }

    let job = Shipper::new(settings(node.folder.path()), database(Arc::new(node.open_audit())));
    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&node).await, (1..=4503).collect::<Vec<_>>());
    assert_eq!(job.shipping().batches().count, 4, "2000, 2000, 500 with two long ones, and the last");
}
